"""The log contract, and what only the embedded log promises."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pipeline.clock import SystemClock
from pipeline.errors import Misconfigured
from pipeline.log.port import BEGINNING
from pipeline.log.sqlite import TOPICS, SqliteLog
from tests.contracts.child import child
from tests.contracts.joined import joined
from tests.contracts.log import LogAcrossProcesses, LogContract, OpenLog, OpenLogElsewhere, held, later_ms


@pytest.fixture
async def open_log(tmp_path: Path) -> AsyncIterator[OpenLog]:
    opened: list[SqliteLog] = []

    async def open_it() -> SqliteLog:
        opened.append(await SqliteLog.open(tmp_path / "log", 4, SystemClock()))
        return opened[-1]

    yield open_it
    for log in opened:
        await log.close()


@pytest.fixture
def open_log_elsewhere(tmp_path: Path) -> OpenLogElsewhere:
    return f"""
from pathlib import Path
from pipeline.clock import SystemClock
from pipeline.log.sqlite import SqliteLog

async def open_log():
    return await SqliteLog.open(Path({str(tmp_path / "log")!r}), 4, SystemClock())
"""


class TestSqliteLog(LogContract, LogAcrossProcesses):
    """Runs the contract."""


async def test_trimming_drops_what_is_old_and_done_in_steps(open_log: OpenLog) -> None:
    log = await open_log()
    positions = [await log.append("processed", 0, b"x" * 200_000, 1) for _ in range(30)]
    member = await joined(log, "processed", "store", "w")
    assert await log.trim("processed", later_ms()) == 0
    await member.commit(0, positions[19])
    assert await log.trim("processed", 0) == 0  # nothing is that old
    assert await log.trim("processed", later_ms()) == 19
    await member.commit(0, positions[-1])
    assert await log.trim("processed", later_ms()) == 10
    assert await log.trim("processed", later_ms()) == 0
    await member.close()


async def test_every_connection_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def connected(*given: Any, **more: Any) -> sqlite3.Connection:
        connections.append(connect(*given, **more))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", connected)
    log = await SqliteLog.open(tmp_path, 4, SystemClock())
    for connection in connections:
        pragmas = [connection.execute(f"pragma {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
        assert pragmas == ["wal", 2]  # full: an fdatasync at every commit
    assert len(connections) >= len(TOPICS)
    await log.close()


async def test_another_partition_count_is_refused(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, 4, SystemClock())
    await log.close()
    with pytest.raises(Misconfigured, match="RAYFOLD_PARTITIONS=4"):
        await SqliteLog.open(tmp_path, 8, SystemClock())


_APPEND = """
import asyncio, sys
from pathlib import Path
from pipeline.clock import SystemClock
from pipeline.log.sqlite import SqliteLog

async def main():
    log = await SqliteLog.open(Path(sys.argv[1]), 4, SystemClock())
    said = open(sys.argv[3], "wb", buffering=0)
    async def task(t):
        for n in range(1_000_000):
            data = b"%s %d %d" % (sys.argv[2].encode(), t, n)
            await log.append("collected", (t + n) % 4, data, 1)
            said.write(data + b"\\n")
    await asyncio.gather(*(task(t) for t in range(8)))

asyncio.run(main())
"""


async def test_nothing_acknowledged_is_missing_after_kill_9_of_writers(tmp_path: Path) -> None:
    # Given three processes that append and say what was acknowledged
    files = [tmp_path / f"said-{n}" for n in range(3)]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(child(_APPEND, str(tmp_path / "log"), str(n), str(file)))
            for n, file in enumerate(files)
        ]
        _until(lambda: all(file.exists() and file.stat().st_size > 20_000 for file in files), 60)
        # When one is killed, the others go on
        writers[0].kill()
        sizes = [file.stat().st_size for file in files]
        _until(lambda: all(f.stat().st_size > s + 5_000 for f, s in zip(files[1:], sizes[1:], strict=True)), 60)
        for writer in writers[1:]:
            writer.kill()
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
    await log.create_group("collected", "g", "start")
    member = await log.join("collected", "g", "a")
    writer = await log.exclusive("processed", 0)
    print("joined", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    try:
        await writer.append(b"from the zombie", 1)
    except Exception as error:
        print(type(error).__name__, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize(("number", "within_s"), [(signal.SIGKILL, 2.0), (signal.SIGSTOP, 6.0)])
async def test_a_dead_or_stopped_member_is_replaced_and_its_writer_fenced(
    open_log: OpenLog, tmp_path: Path, number: signal.Signals, within_s: float
) -> None:
    log = await open_log()
    with child(_JOIN, str(tmp_path / "log")) as other:
        assert await other.said() == "joined"
        member = await joined(log, "collected", "g", "b")
        await held(member, {1, 3})
        os.kill(other.process.pid, number)
        started = time.monotonic()
        await held(member, {0, 1, 2, 3})
        assert time.monotonic() - started < within_s
        writer = await log.exclusive("processed", 0)
        await writer.append(b"from the new owner", 1)
        if number is signal.SIGSTOP:
            other.tell("append")
            os.kill(other.process.pid, signal.SIGCONT)
            assert await other.said() == "Fenced"
        last = await log.last("processed", 0)
        assert last is not None
        assert last.data == b"from the new owner"
        await member.close()


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
        await log.check()
        print("it says that there is room")
    except LogFull:
        pass
    try:
        while True:
            await log.append("collected", 0, os.urandom(20_000), 1)
            stored += 1
    except LogFull as error:
        print(stored, error, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await log.check()
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
