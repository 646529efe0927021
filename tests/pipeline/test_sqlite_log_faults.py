"""What the embedded log does when processes stop, disks are wrong, names meet and clocks jump."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.errors import LogUnavailable, Misconfigured, NotFound, UnknownFormat
from pipeline.log import group_commit, sqlite_topic
from pipeline.log.port import BEGINNING, Position
from pipeline.log.sqlite import SqliteLog
from tests.contracts.joined import joined

_ANY = 1 << 40
_BOUND_S = 10.0

_HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    log = await SqliteLog.open(tmp_path / "log", 4, SystemClock())
    yield log
    await log.close()


@pytest.fixture
def holder(log: SqliteLog, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A stopped process that holds the lock of topic `collected`."""
    arguments = [sys.executable, "-c", _HOLD, str(tmp_path / "log" / "collected.lock")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            os.kill(process.pid, signal.SIGSTOP)
            yield process
        finally:
            process.kill()


async def test_a_stopped_holder_of_the_lock_is_named_and_what_was_not_begun_is_never_stored(
    log: SqliteLog, holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "APPEND_DEADLINE_S", 0.3)
    with pytest.raises(LogUnavailable, match=r"outcome is unknown; process \d+ held"):
        await log.append("collected", 0, b"begun", 1)
    with pytest.raises(LogUnavailable):
        await log.append("collected", 0, b"not begun", 1)
    with pytest.raises(LogUnavailable):
        await log.exclusive("collected", 0)
    monkeypatch.setattr(group_commit, "APPEND_DEADLINE_S", _BOUND_S)
    await log.append("processed", 0, b"another topic", 1)
    holder.kill()
    await log.append("collected", 0, b"after", 1)
    assert [m.data for m in await log.read("collected", 0, BEGINNING, _ANY)] == [b"begun", b"after"]


async def test_opening_and_closing_do_not_hang_behind_a_stopped_holder(
    log: SqliteLog, holder: "subprocess.Popen[str]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "APPEND_DEADLINE_S", 0.3)
    monkeypatch.setattr(sqlite_topic, "_OPEN_DEADLINE_S", 0.3)
    with pytest.raises(LogUnavailable, match="could not be opened"):
        await SqliteLog.open(tmp_path / "log", 4, SystemClock())
    with pytest.raises(LogUnavailable):
        await log.append("collected", 0, b"x", 1)
    async with asyncio.timeout(_BOUND_S):
        await log.close()


async def test_retention_lets_appends_of_its_own_process_in_between(log: SqliteLog) -> None:
    for _ in range(8):
        await asyncio.gather(*(log.append("collected", 0, os.urandom(200_000), 1) for _ in range(8)))
    order: list[str] = []

    async def note(name: str, work: object) -> None:
        await work  # type: ignore[misc]
        order.append(name)

    trim = note("trim", log.trim("collected", SystemClock().now_ms() + 1000))
    await asyncio.gather(trim, note("append", log.append("collected", 1, b"x", 1)))
    assert order == ["append", "trim"]
    assert len(await log.read("collected", 0, BEGINNING, _ANY)) == 1


async def test_a_partition_that_does_not_exist_takes_no_neighbour_with_it(log: SqliteLog) -> None:
    good, bad = await asyncio.gather(
        log.append("collected", 3, b"x", 1), log.append("collected", 4, b"x", 1), return_exceptions=True
    )
    assert isinstance(good, Position)
    assert isinstance(bad, NotFound)


async def test_a_worker_gets_its_name_again_at_once_but_not_while_a_namesake_lives(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.log.sqlite_membership._NAMESAKE_S", 0.1)
    first = await joined(log, "collected", "g", "w")
    with pytest.raises(LogUnavailable, match="lives in"):
        await joined(log, "collected", "g", "w")
    assert first.held == {0, 1, 2, 3}
    monkeypatch.setattr("pipeline.log.sqlite_membership._NAMESAKE_S", _BOUND_S)
    second, _ = await asyncio.gather(joined(log, "collected", "g", "w"), first.close())
    assert second.held == {0, 1, 2, 3}


async def test_one_process_may_be_several_workers_of_a_group(log: SqliteLog) -> None:
    a, b = await joined(log, "collected", "g", "a"), await joined(log, "collected", "g", "b")
    elsewhere = await joined(log, "processed", "g", "b")
    await _until(lambda: a.held == {0, 2} and b.held == {1, 3})
    assert elsewhere.held == {0, 1, 2, 3}


async def test_nobody_dies_when_the_wall_clock_is_set(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    member = await joined(log, "collected", "g", "w")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert member.held == {0, 1, 2, 3}


async def test_a_commit_that_another_holder_overwrote_comes_back(log: SqliteLog, tmp_path: Path) -> None:
    member = await joined(log, "collected", "g", "w")
    await member.commit(0, Position(0, 9))
    (cursor,) = (tmp_path / "log").glob("collected@g.cursor")
    with cursor.open("r+b") as file:
        file.write((7).to_bytes(8, "little"))

    async def committed() -> bool:
        return await log.committed("collected", 0, "g") == Position(0, 9)

    async with asyncio.timeout(_BOUND_S):
        while not await committed():
            await asyncio.sleep(0.02)


async def test_a_dropped_group_leaves_no_file_and_begins_anew(log: SqliteLog, tmp_path: Path) -> None:
    files = {path.name for path in (tmp_path / "log").iterdir()}
    position = await log.append("processed", 0, b"x", 1)
    member = await joined(log, "processed", "dest.x", "w")
    await member.commit(0, position)
    await member.close()
    await log.drop_group("processed", "dest.x")
    assert {path.name for path in (tmp_path / "log").iterdir()} == files
    await log.create_group("processed", "dest.x", "start")
    assert await log.committed("processed", 0, "dest.x") == BEGINNING


async def test_closing_ends_memberships_and_tells_who_waits(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path / "log", 4, SystemClock())
    other = await SqliteLog.open(tmp_path / "log", 4, SystemClock())
    await joined(log, "collected", "g", "a")
    member = await joined(other, "collected", "g", "b")
    await log.wait("collected", 0.0)
    waiting = asyncio.create_task(log.wait("collected", 60.0))
    await asyncio.sleep(0)
    async with asyncio.timeout(_BOUND_S):
        await log.close()
        with pytest.raises(LogUnavailable, match="closed"):
            await waiting
    await _until(lambda: member.held == {0, 1, 2, 3})
    await member.close()
    await member.close()
    await other.close()


async def test_a_file_of_a_newer_format_is_refused_and_not_altered(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "collected.db")
    with db:
        db.execute("create table meta(name text primary key, value integer not null)")
        db.execute("insert into meta values('format', 99), ('partitions', 4)")
    with pytest.raises(UnknownFormat, match="format 99"):
        await SqliteLog.open(tmp_path, 4, SystemClock())
    assert db.execute("select name from sqlite_master where type = 'table'").fetchall() == [("meta",)]
    db.close()


async def test_what_cannot_be_a_log_is_said_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Misconfigured, match="RAYFOLD_DATA"):
        await SqliteLog.open(tmp_path / "file", 4, SystemClock())
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "processed.db").write_bytes(b"this is no database, but long enough to look like one" * 50)
    with pytest.raises(Misconfigured, match="backup"):
        await SqliteLog.open(tmp_path / "log", 4, SystemClock())


async def test_opening_many_times_leaves_no_descriptor_open(tmp_path: Path) -> None:
    async def once(partitions: int) -> None:
        log = await SqliteLog.open(tmp_path / "log", partitions, SystemClock())
        member = await joined(log, "collected", "g", "w")
        await log.committed("collected", 0, "g")
        await log.drop_group("collected", "g")
        await log.create_group("collected", "g", "end")
        await log.committed("collected", 0, "g")
        await member.close()
        await log.close()

    await once(4)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await once(4)
        with pytest.raises(Misconfigured):
            await once(5)
    assert len(os.listdir("/proc/self/fd")) <= before


async def _until(found: object) -> None:
    async with asyncio.timeout(_BOUND_S):
        while not found():  # type: ignore[operator]
            await asyncio.sleep(0.02)
