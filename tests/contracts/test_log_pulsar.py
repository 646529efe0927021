"""The log contract on a real broker, and what only the log on Pulsar promises."""

from collections.abc import AsyncIterator

import pytest

from cluster.servers.pulsar import Pulsar
from pipeline.clock import SystemClock
from pipeline.log.pulsar import PulsarLog
from pipeline.log.pulsar_address import PulsarAddress
from pipeline.log.pulsar_migrate import migrate
from tests.contracts.log import LogAcrossProcesses, LogContract, OpenLog, OpenLogElsewhere


def address_of(server: Pulsar, prefix: str) -> PulsarAddress:
    return PulsarAddress(server.url, server.admin_url, prefix=prefix, partitions=4)


@pytest.fixture
async def address(pulsar: Pulsar, prefix: str) -> PulsarAddress:
    address = address_of(pulsar, prefix)
    await migrate(address)
    return address


@pytest.fixture
async def open_log(address: PulsarAddress) -> AsyncIterator[OpenLog]:
    opened: list[PulsarLog] = []

    async def open_it() -> PulsarLog:
        opened.append(await PulsarLog.open(address, SystemClock()))
        return opened[-1]

    yield open_it
    for log in opened:
        await log.close()


@pytest.fixture
def open_log_elsewhere(address: PulsarAddress) -> OpenLogElsewhere:
    return f"""
from pipeline.clock import SystemClock
from pipeline.log.pulsar import PulsarLog
from pipeline.log.pulsar_address import PulsarAddress

async def open_log():
    address = PulsarAddress({address.url!r}, {address.admin_url!r}, prefix={address.prefix!r}, partitions=4)
    return await PulsarLog.open(address, SystemClock())
"""


class TestPulsarLog(LogContract, LogAcrossProcesses):
    """Runs the contract."""
