"""The contract of the definitions database on SQLite, and its migrations."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.errors import DefinitionsUnavailable, Misconfigured, UnknownFormat
from pipeline.stores.migrate import migrate
from pipeline.stores.sqlalchemy import SqlDefinitions
from tests.contracts.definitions import DefinitionsContract, OpenDefinitions


@pytest.fixture
async def open_definitions(tmp_path: Path) -> AsyncIterator[OpenDefinitions]:
    url = f"sqlite+aiosqlite:///{tmp_path}/definitions.db"
    await migrate(url)
    opened: list[SqlDefinitions] = []

    async def open_it() -> SqlDefinitions:
        opened.append(await SqlDefinitions.open(url, SystemClock()))
        return opened[-1]

    yield open_it
    for definitions in opened:
        await definitions.close()


class TestSqliteDefinitions(DefinitionsContract):
    """Runs the contract."""


async def test_migrating_again_changes_nothing_and_prefixes_stay_apart(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/d.db"
    await migrate(url, "one_")
    one = await SqlDefinitions.open(url, SystemClock(), "one_")
    await one.put("sources", "a", b"{}")
    await migrate(url, "one_")
    await migrate(url, "two_")
    two = await SqlDefinitions.open(url, SystemClock(), "two_")
    assert [row.id for row in await one.list("sources")] == ["a"]
    assert await two.list("sources") == []
    await one.close()
    await two.close()


_MIGRATE = """
import asyncio, sys
import alembic.command
from pipeline.stores.migrate import migrate

print("0", flush=True)  # ready
sys.stdin.readline()
asyncio.run(migrate(sys.argv[1]))
"""

_PUT = """
import asyncio, sys
from pipeline.clock import SystemClock
from pipeline.stores.sqlalchemy import SqlDefinitions

async def main():
    definitions = await SqlDefinitions.open(sys.argv[1], SystemClock())
    for n in range(50):
        print(await definitions.put("sources", f"{sys.argv[2]}-{n}", b"{}"), flush=True)
    await definitions.close()

asyncio.run(main())
"""


async def started(program: str, *arguments: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-c", program, *arguments]
    return await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def finished(process: asyncio.subprocess.Process) -> list[int]:
    """The numbers it printed; it must have ended well."""
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return [int(line) for line in printed.split()]


async def test_several_processes_may_migrate_at_once(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/d.db"
    processes = [await started(_MIGRATE, url) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), 60)
    for process in processes:  # all stand ready: let them go
        assert process.stdin is not None
        process.stdin.write(b"go\n")
    for process in processes:
        await finished(process)
    definitions = await SqlDefinitions.open(url, SystemClock())
    assert await definitions.put("sources", "a", b"{}") == 1
    await definitions.close()


async def test_a_poller_misses_no_change_of_other_processes(open_definitions: OpenDefinitions, tmp_path: Path) -> None:
    reader = await open_definitions()
    url = f"sqlite+aiosqlite:///{tmp_path}/definitions.db"
    writers = [await started(_PUT, url, str(name)) for name in range(3)]
    ends = asyncio.gather(*(finished(writer) for writer in writers))
    seen: list[int] = []
    polls_with_news = since = 0
    last = False
    while not last:
        last = ends.done()
        changes = await reader.changed(since)
        seen += [row.revision for row in changes.rows]
        polls_with_news += bool(changes.rows)
        since = changes.revision
    assert seen == sorted(revision for printed in await ends for revision in printed)
    assert polls_with_news > 5  # it read while they wrote


async def test_missing_tables_and_a_newer_database_are_refused(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/d.db"
    with pytest.raises(Misconfigured, match="rayfold migrate"):
        await SqlDefinitions.open(url, SystemClock())
    await migrate(url)
    db = sqlite3.connect(tmp_path / "d.db")
    with db:
        db.execute("update alembic_version set version_num = '9999'")
    db.close()
    with pytest.raises(UnknownFormat, match="9999"):
        await SqlDefinitions.open(url, SystemClock())


async def test_a_revision_that_cannot_be_read_says_so(open_definitions: OpenDefinitions, tmp_path: Path) -> None:
    definitions = await open_definitions()
    db = sqlite3.connect(tmp_path / "definitions.db")
    db.execute("delete from counter")
    db.commit()
    with pytest.raises(DefinitionsUnavailable, match="cannot be read just now"):
        await definitions.revision()
    db.execute("drop table counter")
    db.close()
    with pytest.raises(DefinitionsUnavailable, match="no such table"):
        await definitions.revision()


async def test_a_definition_of_a_newer_format_stops_whoever_reads_it(
    open_definitions: OpenDefinitions, tmp_path: Path
) -> None:
    definitions = await open_definitions()
    await definitions.put("sources", "a", b"{}")
    db = sqlite3.connect(tmp_path / "definitions.db")
    with db:
        db.execute("update definition set schema = 2")
    db.close()
    for read in (definitions.changed(0), definitions.get("sources", "a"), definitions.list("sources")):
        with pytest.raises(UnknownFormat, match="format 2"):
            await read


async def test_definitions_of_the_tables_before_keep_their_groups(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/d.db"
    await migrate(url, "x_")
    definitions = await SqlDefinitions.open(url, SystemClock(), "x_")
    rows = {("destinations", "on"): b'{"id":"on"}', ("destinations", "off"): b'{"id":"off","enabled":false}'}
    rows |= {
        ("destinations", "gone"): b'{"id":"gone"}',
        ("replays", "r"): b'{"id":"r"}',
        ("sources", "s"): b'{"id":"s"}',
    }
    for (kind, id), body in rows.items():
        await definitions.put(kind, id, body)
    await definitions.delete("destinations", "gone")
    await definitions.close()
    db = sqlite3.connect(tmp_path / "d.db")
    with db:
        db.execute("alter table x_definition drop column log_group")
        db.execute("update x_alembic_version set version_num = '0001'")
    db.close()
    for _ in range(2):
        await migrate(url, "x_")
    definitions = await SqlDefinitions.open(url, SystemClock(), "x_")
    named = {row.id: row.group for row in (await definitions.changed(0)).rows}
    assert named == {"on": "dest.on", "off": None, "gone": None, "r": "replay.r", "s": None}
    await definitions.close()
