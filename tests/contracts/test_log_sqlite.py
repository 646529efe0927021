"""The log contract, and what only the embedded log promises."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.errors import Misconfigured, UnknownFormat
from pipeline.log.port import BEGINNING, Position
from pipeline.log.sqlite import SqliteLog
from tests.contracts.log import LogContract, OpenLog, held


@pytest.fixture
async def open_log(tmp_path: Path) -> AsyncIterator[OpenLog]:
    opened: list[SqliteLog] = []

    async def open_it() -> SqliteLog:
        opened.append(await SqliteLog.open(tmp_path / "log", 4, SystemClock()))
        return opened[-1]

    yield open_it
    for log in opened:
        await log.close()


class TestSqliteLog(LogContract):
    """Runs the contract."""


async def test_trimming_keeps_the_last_message_and_what_a_group_has_not_done(open_log: OpenLog) -> None:
    log = await open_log()
    positions = [await log.append("processed", 0, b"x" * 200_000, 1) for _ in range(30)]
    await log.append("processed", 1, b"only one", 1)
    await log.create_group("processed", "store", "start")
    later = SystemClock().now_ms() + 1000
    assert await log.trim("processed", later) == 0
    member = await log.join("processed", "store", "w")
    await member.commit(0, positions[19])
    await member.commit(1, Position(0, 1))
    assert await log.trim("processed", 0) == 0  # nothing is that old
    assert await log.trim("processed", later) == 19
    assert (await log.read("processed", 0, BEGINNING, 1))[0].position == positions[19]
    await member.commit(0, positions[-1])
    assert await log.trim("processed", later) == 10
    last = await log.last("processed", 0)
    assert last is not None
    assert last.position == positions[-1]
    assert await log.append("processed", 0, b"next", 1) > positions[-1]
    await member.close()


async def test_numbers_never_start_again_after_everything_was_done(open_log: OpenLog) -> None:
    log = await open_log()
    first = await log.append("collected", 0, b"x", 1)
    await log.trim("collected", SystemClock().now_ms() + 1000)
    again = await open_log()
    assert await again.append("collected", 0, b"y", 1) > first


async def test_another_partition_count_and_a_newer_format_are_refused(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, 4, SystemClock())
    await log.close()
    with pytest.raises(Misconfigured, match="RAYFOLD_PARTITIONS=4"):
        await SqliteLog.open(tmp_path, 8, SystemClock())
    db = sqlite3.connect(tmp_path / "collected.db")
    with db:
        db.execute("update meta set value = 2 where name = 'format'")
    db.close()
    with pytest.raises(UnknownFormat, match="format 2"):
        await SqliteLog.open(tmp_path, 4, SystemClock())


_APPEND = """
import asyncio, sys
from pathlib import Path
from pipeline.clock import SystemClock
from pipeline.log.sqlite import SqliteLog

async def main():
    log = await SqliteLog.open(Path(sys.argv[1]), 4, SystemClock())
    async def task(t):
        for n in range(1_000_000):
            data = b"%s %d %d" % (sys.argv[2].encode(), t, n)
            await log.append("collected", (t + n) % 4, data, 1)
            sys.stdout.write(data.decode() + "\\n")
            sys.stdout.flush()
    await asyncio.gather(*(task(t) for t in range(8)))

asyncio.run(main())
"""


async def test_nothing_acknowledged_is_missing_after_kill_9_of_writers(tmp_path: Path) -> None:
    # Given three processes that append and say what was acknowledged
    files = [tmp_path / f"said-{n}" for n in range(3)]
    writers = []
    for n, file in enumerate(files):
        with file.open("wb") as out:
            arguments = [sys.executable, "-c", _APPEND, str(tmp_path / "log"), str(n)]
            writers.append(subprocess.Popen(arguments, stdout=out))
    _until(lambda: all(file.stat().st_size > 20_000 for file in files), 60)
    # When one is killed, the others go on
    writers[0].kill()
    writers[0].wait()
    sizes = [file.stat().st_size for file in files]
    _until(lambda: all(f.stat().st_size > s + 5_000 for f, s in zip(files[1:], sizes[1:], strict=True)), 60)
    for writer in writers[1:]:
        writer.kill()
        writer.wait()
    # Then all that was acknowledged is there, once
    log = await SqliteLog.open(tmp_path / "log", 4, SystemClock())
    stored = [m.data for p in range(4) for m in await log.read("collected", p, BEGINNING, 1 << 40)]
    await log.close()
    assert len(stored) == len(set(stored))
    said = {line for file in files for line in file.read_bytes().split(b"\n")[:-1]}
    assert said <= set(stored)


_JOIN = """
import asyncio, sys
from pathlib import Path
from pipeline.clock import SystemClock
from pipeline.log.sqlite import SqliteLog

async def main():
    log = await SqliteLog.open(Path(sys.argv[1]), 4, SystemClock())
    member = await log.join("collected", "g", "a")
    writer = await log.exclusive("processed", 0)
    print("joined", flush=True)
    while True:
        await asyncio.sleep(0.05)
        try:
            await writer.append(b"from the zombie", 1)
        except Exception as error:
            print(type(error).__name__, flush=True)
            return

asyncio.run(main())
"""


@pytest.mark.parametrize(("number", "within_s"), [(signal.SIGKILL, 2.0), (signal.SIGSTOP, 6.0)])
async def test_a_dead_or_stopped_member_is_replaced_and_its_writer_fenced(
    open_log: OpenLog, tmp_path: Path, number: signal.Signals, within_s: float
) -> None:
    log = await open_log()
    other = subprocess.Popen([sys.executable, "-c", _JOIN, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "joined\n"
    member = await log.join("collected", "g", "b")
    await held(member, {1, 3})
    os.kill(other.pid, number)
    started = time.monotonic()
    await held(member, {0, 1, 2, 3})
    assert time.monotonic() - started < within_s
    writer = await log.exclusive("processed", 0)
    await writer.append(b"from the new owner", 1)
    if number is signal.SIGSTOP:
        os.kill(other.pid, signal.SIGCONT)
        assert other.stdout.readline() == "Fenced\n"
    last = await log.last("processed", 0)
    assert last is not None
    assert last.data == b"from the new owner"
    await member.close()
    other.stdout.close()
    other.wait()


async def test_a_full_disk_is_said_and_stores_nothing(tmp_path: Path) -> None:
    # Given a process whose files may not grow beyond 400 KB
    script = """
import asyncio, resource, signal, sys
from pathlib import Path
from pipeline.clock import SystemClock
from pipeline.errors import LogFull
from pipeline.log.sqlite import SqliteLog

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log = await SqliteLog.open(Path(sys.argv[1]), 4, SystemClock())
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    import os
    stored = 0
    try:
        while True:
            await log.append("collected", 0, os.urandom(20_000), 1)
            stored += 1
    except LogFull as error:
        print(stored, error, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await log.append("collected", 0, b"room again", 1)
    await log.close()

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    stored, _, said = done.stdout.partition(" ")
    assert "free space" in said
    log = await SqliteLog.open(tmp_path, 4, SystemClock())
    messages = await log.read("collected", 0, BEGINNING, 1 << 40)
    await log.close()
    assert len(messages) == int(stored) + 1
    assert messages[-1].data == b"room again"


def _until(found: object, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not found():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)
