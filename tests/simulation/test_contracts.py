"""What misbehaves on purpose is a good log, store and database as long as it is not told to."""

import time
from random import Random

import pytest

from pipeline.stores.documents import Documents
from tests.contracts.definitions import DefinitionsContract, OpenDefinitions
from tests.contracts.documents import DocumentsContract
from tests.contracts.log import LogContract, OpenLog
from tests.simulation.broker import Broker
from tests.simulation.definitions import Rows, SimulatedDefinitions
from tests.simulation.documents import Shards, SimulatedDocuments
from tests.simulation.log import SimulatedLog
from tests.simulation.process import Process


def _at_once() -> float:
    return 0.0


def _process() -> Process:
    return Process("p", Random(0), _at_once)


@pytest.fixture
def open_log() -> OpenLog:
    broker = Broker(4, lambda: time.time_ns() // 1_000_000, Random(0), _at_once)

    async def open_it() -> SimulatedLog:
        return SimulatedLog(broker, _process())

    return open_it


@pytest.fixture
def documents() -> Documents:
    return SimulatedDocuments(Shards(time.monotonic, Random(0)), _process())


@pytest.fixture
def open_definitions() -> OpenDefinitions:
    rows = Rows()

    async def open_it() -> SimulatedDefinitions:
        return SimulatedDefinitions(rows, _process())

    return open_it


class TestSimulatedLog(LogContract):
    """Runs the contract."""


class TestSimulatedDocuments(DocumentsContract):
    """Runs the contract."""


class TestSimulatedDefinitions(DefinitionsContract):
    """Runs the contract."""
