"""The contract of the definitions database on SQLite, and its migrations."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.errors import Misconfigured, UnknownFormat
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


async def test_two_processes_may_migrate_at_once(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/d.db"
    await asyncio.gather(migrate(url), migrate(url))
    await (await SqlDefinitions.open(url, SystemClock())).close()


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
