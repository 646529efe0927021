"""The log contract on a real broker, and what only the log on Pulsar promises."""

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from cluster.servers.pulsar import Pulsar
from pipeline.clock import SystemClock
from pipeline.errors import Fenced, LogUnavailable, Misconfigured
from pipeline.log.port import BEGINNING, Log, Position
from pipeline.log.pulsar import PulsarLog
from pipeline.log.pulsar_address import PulsarAddress
from pipeline.log.pulsar_migrate import migrate
from tests.contracts.child import child
from tests.contracts.joined import joined
from tests.contracts.log import LogAcrossProcesses, LogContract, OpenLog, OpenLogElsewhere, held, later_ms
from tests.servers import folder, need, up

_ANY = 10_000_000

#: A broker that was killed is found lost within a few seconds, one that is back within seconds of answering; machines are slow.
_NOTICED_S = 30.0
_BACK_S = 30.0

#: What a call may take while the broker is away: its deadline, and something for a slow machine.
_AT_MOST_S = 10.0


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


_OPEN = """
from pipeline.clock import SystemClock
from pipeline.log.pulsar import PulsarLog
from pipeline.log.pulsar_address import PulsarAddress

async def open_log():
    address = PulsarAddress({url!r}, {admin_url!r}, prefix={prefix!r}, partitions=4)
    return await PulsarLog.open(address, SystemClock())
"""


@pytest.fixture
def open_log_elsewhere(address: PulsarAddress) -> OpenLogElsewhere:
    return _OPEN.format(url=address.url, admin_url=address.admin_url, prefix=address.prefix)


class TestPulsarLog(LogContract, LogAcrossProcesses):
    """Runs the contract."""


async def test_two_installations_share_a_namespace(address: PulsarAddress, open_log: OpenLog) -> None:
    log = await open_log()
    neighbours = dataclasses.replace(address, prefix=f"{address.prefix}b-")
    await migrate(neighbours)
    other = await PulsarLog.open(neighbours, SystemClock())
    await log.append("collected", 0, b"here", 1)
    await other.append("collected", 0, b"there", 1)
    await log.create_group("collected", "g", "start")
    assert [m.data for m in await log.read("collected", 0, BEGINNING, _ANY)] == [b"here"]
    assert [m.data for m in await other.read("collected", 0, BEGINNING, _ANY)] == [b"there"]
    assert list(await other.groups("collected")) == []
    writer = await log.exclusive("processed", 0)
    await other.exclusive("processed", 0)
    await writer.append(b"not fenced", 1)
    await other.close()


async def test_migrating_again_changes_nothing_and_another_partition_count_is_refused(
    address: PulsarAddress, open_log: OpenLog
) -> None:
    log = await open_log()
    position = await log.append("collected", 0, b"x", 1)
    member = await joined(log, "collected", "g", "w")
    await member.commit(0, position)
    await member.close()
    await migrate(address)
    assert await log.committed("collected", 0, "g") == position
    assert [m.data for m in await log.read("collected", 0, BEGINNING, _ANY)] == [b"x"]
    others = dataclasses.replace(address, partitions=8)
    for refused in (migrate(others), PulsarLog.open(others, SystemClock())):
        with pytest.raises(Misconfigured, match="RAYFOLD_PARTITIONS=4"):
            await refused


async def test_topics_that_were_never_made_are_said(address: PulsarAddress) -> None:
    with pytest.raises(Misconfigured, match="rayfold migrate"):
        await PulsarLog.open(dataclasses.replace(address, prefix="never-made-"), SystemClock())


_END = """
import asyncio, sys

async def main():
    log = await open_log()
    await log.create_group("collected", "g", "start")
    member = await log.join("collected", "g", "w")
    sending = [asyncio.create_task(log.append("collected", n % 4, b"x" * 50_000, 1)) for n in range(20)]
    waiting = [asyncio.create_task(log.wait("collected", 60)), asyncio.create_task(member.wait(60))]
    await sending[0]
    await member.read(0, 1)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await log.close()
    assert all(task.exception() is None for task in sending)

asyncio.run(main())
"""


def test_a_process_ends_in_order_just_after_the_log_was_closed(open_log_elsewhere: OpenLogElsewhere) -> None:
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", open_log_elsewhere + _END], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


_JOIN = """
import asyncio, sys

async def main():
    log = await open_log()
    await log.create_group("collected", "g", "start")
    member = await log.join("collected", "g", "a")
    writer = await log.exclusive("processed", 0)
    print("joined", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for _ in range(2):
        try:
            await writer.append(b"from the zombie", 1)
        except Exception as error:
            print(type(error).__name__, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_dead_or_stopped_member_is_replaced_and_its_writer_fenced(
    open_log: OpenLog, open_log_elsewhere: OpenLogElsewhere, number: signal.Signals
) -> None:
    log = await open_log()
    with child(open_log_elsewhere + _JOIN) as other:
        assert await other.said() == "joined"
        member = await joined(log, "collected", "g", "b")
        await held(member, {1, 3})
        os.kill(other.process.pid, number)
        async with asyncio.timeout(60):
            while member.held != {0, 1, 2, 3}:
                await member.wait(1.0)
        writer = await log.exclusive("processed", 0)
        await writer.append(b"from the new owner", 1)
        if number is signal.SIGSTOP:
            other.tell("append")
            os.kill(other.process.pid, signal.SIGCONT)
            assert await other.said() in ("Fenced", "LogUnavailable")  # it may find its connection closed first
            assert await other.said() in ("Fenced", "LogUnavailable")
        assert [m.data for m in await log.read("processed", 0, BEGINNING, _ANY)] == [b"from the new owner"]
        await member.close()


async def test_a_broker_that_was_never_there_is_said_in_time_and_its_coming_is_noticed(prefix: str) -> None:
    address = PulsarAddress("pulsar://127.0.0.1:9", "http://127.0.0.1:9", prefix=prefix, partitions=4)
    log = await PulsarLog.open(address, SystemClock())
    for call in (
        lambda: log.append("collected", 0, b"x", 1),
        lambda: log.exclusive("processed", 0),
        lambda: log.read("collected", 0, BEGINNING, 1),
        lambda: log.last("collected", 0),
        lambda: log.committed("collected", 0, "g"),
        lambda: log.groups("collected"),
        lambda: log.create_group("collected", "g", "start"),
        lambda: log.drop_group("collected", "g"),
        lambda: log.join("collected", "g", "w"),
        lambda: log.backlog("collected", "g"),
        lambda: log.wait("collected", 1.0),
        log.check,
    ):
        await _unavailable(call)
    await log.close()


async def _unavailable(call: "Callable[[], object]") -> None:
    started = time.monotonic()
    with pytest.raises(LogUnavailable):
        await call()  # type: ignore[misc]
    assert time.monotonic() - started < _AT_MOST_S


async def _retry(call: "Callable[[], object]", within_s: float = _BACK_S) -> object:
    """Its result, as soon as it raises nothing."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                return await call()  # type: ignore[misc]
            except LogUnavailable:
                await asyncio.sleep(0.1)


class _Appending:
    """Eight tasks that append all the time, and what was acknowledged to them."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.acknowledged: list[bytes] = []
        self.longest_s = 0.0
        self._tasks = [asyncio.create_task(self._append(n)) for n in range(8)]

    async def _append(self, number: int) -> None:
        count = 0
        while True:
            data, count = b"%d %d" % (number, count) + b" " * 5_000, count + 1
            started = time.monotonic()
            try:
                await self._log.append("collected", count % 4, data, 1)
                self.acknowledged.append(data)
            except LogUnavailable:
                await asyncio.sleep(0.05)
            self.longest_s = max(self.longest_s, time.monotonic() - started)

    async def more(self, count: int) -> None:
        """Return when so many more were acknowledged."""
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(_BACK_S):
            while len(self.acknowledged) < wanted:
                await asyncio.sleep(0.02)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.mark.timeout(600)
async def test_a_broker_that_is_killed_and_comes_back(
    own_pulsar: Pulsar, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    address = address_of(own_pulsar, prefix)
    await migrate(address)
    log = await PulsarLog.open(address, SystemClock())
    first = await log.append("processed", 0, b"first", 1)
    member = await joined(log, "processed", "g", "w")
    await held(member, {0, 1, 2, 3})
    assert len(await member.read(0, _ANY)) == 1
    await member.commit(0, first)
    writer = await log.exclusive("processed", 1)
    before = await writer.append(b"before", 1)
    appending = _Appending(log)
    await appending.more(200)
    # When it is killed
    own_pulsar.kill()
    with pytest.raises(LogUnavailable):
        await writer.append(b"of unknown fate", 1)
    await _unavailable(lambda: log.append("collected", 0, b"x", 1))
    await _unavailable(log.check)
    await _unavailable(lambda: log.last("processed", 0))
    started = time.monotonic()
    with pytest.raises(LogUnavailable):
        await log.append("collected", 0, b"x", 1)
    assert time.monotonic() - started < 1.0  # known by now
    # Then all goes on by itself when it is back, but for the fenced writer
    await own_pulsar.start()
    await appending.more(200)
    await appending.end()
    assert appending.longest_s < _AT_MOST_S
    await _retry(log.check)
    with pytest.raises(LogUnavailable):
        await writer.append(b"too late", 1)
    new = await log.exclusive("processed", 1)
    await new.append(b"after", 1)
    stored = [m.data for m in await log.read("processed", 1, before, _ANY, inclusive=True)]
    assert stored in ([b"before", b"after"], [b"before", b"of unknown fate", b"after"])
    await log.append("processed", 0, b"second", 1)
    found: list[bytes] = []
    async with asyncio.timeout(_BACK_S):
        while b"second" not in found:
            await member.wait(1.0)
            found += [m.data for m in await _retry(lambda: member.read(0, _ANY))]  # type: ignore[attr-defined]
    assert found == [b"second"]
    assert await log.committed("processed", 0, "g") == first
    # nothing acknowledged is missing
    collected = [m.data for p in range(4) for m in await log.read("collected", p, BEGINNING, 1 << 40)]
    assert set(appending.acknowledged) <= set(collected)
    # and it was said once that it was lost, once that it was back
    said = [record.getMessage() for record in caplog.records if record.name == "rayfold.log"]
    assert [("is lost" in text, "is back after" in text) for text in said] == [(True, False), (False, True)], said
    # one that stands still is the same
    own_pulsar.pause()
    await _unavailable(lambda: log.append("collected", 0, b"x", 1))
    await _unavailable(log.check)
    own_pulsar.resume()
    await _retry(lambda: log.append("collected", 0, b"x", 1))
    await _retry(lambda: log.append("processed", 0, b"third", 1))
    async with asyncio.timeout(_BACK_S):
        while b"third" not in found:
            await member.wait(1.0)
            found += [m.data for m in await _retry(lambda: member.read(0, _ANY))]  # type: ignore[attr-defined]
    await member.close()
    await log.close()


async def test_retention_of_the_broker_keeps_the_last_message_and_what_groups_have_done_last(prefix: str) -> None:
    """On a broker that begins a new ledger every few messages, and drops at once what all subscriptions have passed."""
    need("pulsar")
    quick = {
        "managedLedgerMaxEntriesPerLedger": "3",
        "managedLedgerMinLedgerRolloverTimeMinutes": "0",
        "retentionCheckIntervalInSeconds": "1",
    }
    with folder() as path:
        async with up(Pulsar(path, os.environ, quick)) as server:
            address = address_of(server, prefix)
            await migrate(address)
            url = f"{server.admin_url}/admin/v2/namespaces/{address.tenant}/{address.namespace}/retention"
            nothing = {"retentionTimeInMinutes": 0, "retentionSizeInMB": 0}
            async with aiohttp.ClientSession() as session, session.post(url, json=nothing) as answer:
                assert answer.status < 300
            log = await PulsarLog.open(address, SystemClock())
            try:
                await _keeps(log)
            finally:
                await log.close()


async def _keeps(log: Log) -> None:
    positions = [await log.append("processed", 0, b"%d" % n, 1) for n in range(12)]
    assert len({position.ledger for position in positions}) > 2

    async def first() -> Position:
        (message, *_) = await log.read("processed", 0, BEGINNING, 1)
        return message.position

    async def trimmed(until: Position) -> None:
        async with asyncio.timeout(_NOTICED_S):
            while await first() < until:
                await log.trim("processed", later_ms())
                await asyncio.sleep(0.5)

    member = await joined(log, "processed", "g", "w")
    await held(member, {0, 1, 2, 3})
    # what is done goes, not where the group stands, though that is the end of a ledger
    await member.commit(0, positions[5])
    await trimmed(positions[3])
    assert await log.committed("processed", 0, "g") == positions[5]
    (kept, *_) = await log.read("processed", 0, positions[5], 1, inclusive=True)
    assert kept.position == positions[5]
    # all is done: the last one stays; the broker takes its time with the ledger before
    await member.commit(0, positions[11])
    await trimmed(positions[6])
    for _ in range(3):
        await log.trim("processed", later_ms())
        await asyncio.sleep(1.0)  # what must not happen gets time to
    last = await log.last("processed", 0)
    assert last is not None
    assert (last.position, last.data) == (positions[11], b"11")
    assert await log.committed("processed", 0, "g") == positions[11]
    assert (await log.backlog("processed", "g")).records == 0
    await member.close()


async def test_a_writer_stays_fenced(open_log: OpenLog) -> None:
    log, other = await open_log(), await open_log()
    old = await log.exclusive("processed", 0)
    await other.exclusive("processed", 0)
    for _ in range(3):
        with pytest.raises(Fenced):
            await old.append(b"x", 1)
    assert await log.last("processed", 0) is None


def _token(secret: bytes, role: str) -> str:
    """A token of this role, as the broker's tools make them."""

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    signed = part(b'{"alg":"HS256"}') + b"." + part(json.dumps({"sub": role}).encode())
    return (signed + b"." + part(hmac.new(secret, signed, hashlib.sha256).digest())).decode()


async def test_a_broker_that_asks_for_a_token_and_lets_only_some_do_some_things(prefix: str) -> None:
    need("pulsar")
    secret = os.urandom(32)
    provider = "org.apache.pulsar.broker.authentication.AuthenticationProviderToken"
    admin = _token(secret, "admin")
    asking = {
        "authenticationEnabled": "true",
        "authorizationEnabled": "true",
        "authenticationProviders": provider,
        "tokenSecretKey": f"data:;base64,{base64.b64encode(secret).decode()}",
        "superUserRoles": "admin",
        "brokerClientAuthenticationPlugin": "org.apache.pulsar.client.impl.auth.AuthenticationToken",
        "brokerClientAuthenticationParameters": f"token:{admin}",
    }
    with folder() as path:
        async with up(Pulsar(path, os.environ, asking)) as server:
            address = dataclasses.replace(address_of(server, prefix), token=admin)
            await migrate(address)
            log = await PulsarLog.open(address, SystemClock())
            try:
                position = await log.append("collected", 0, b"x", 1)
                member = await joined(log, "collected", "g", "w")
                await member.commit(0, position)
                assert await log.committed("collected", 0, "g") == position
            finally:
                await log.close()
            assert admin not in repr(address)
            for token in ("", "no.token.atall", _token(secret, "nobody")):
                refused = dataclasses.replace(address, token=token)
                with pytest.raises(Misconfigured, match="token"):
                    await migrate(refused)
                with pytest.raises(Misconfigured, match="token"):
                    await PulsarLog.open(refused, SystemClock())
