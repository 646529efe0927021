"""The contract of the definitions database on MySQL or MariaDB, and what only a server brings."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiomysql
import pytest
from sqlalchemy import make_url

from cluster.servers.mariadb import MariaDB
from pipeline.clock import SystemClock
from pipeline.errors import DefinitionsUnavailable, Misconfigured
from pipeline.stores.definitions import Heartbeat
from pipeline.stores.migrate import migrate
from pipeline.stores.sqlalchemy import SqlDefinitions
from tests.contracts.definitions import DefinitionsContract, OpenDefinitions


@pytest.fixture
async def open_definitions(mariadb: MariaDB, prefix: str) -> AsyncIterator[OpenDefinitions]:
    await migrate(mariadb.url, f"{prefix}_")
    opened: list[SqlDefinitions] = []

    async def open_it() -> SqlDefinitions:
        opened.append(await SqlDefinitions.open(mariadb.url, SystemClock(), f"{prefix}_"))
        return opened[-1]

    yield open_it
    for definitions in opened:
        await definitions.close()


class TestMysqlDefinitions(DefinitionsContract):
    """Runs the contract."""


async def _query(url: str, *statements: str) -> Any:
    """Past the adapter; rows of the last statement."""
    parts = make_url(url)
    connection = await aiomysql.connect(
        host=parts.host, port=parts.port, user=parts.username, db=parts.database, autocommit=True
    )
    try:
        async with connection.cursor() as cursor:
            for statement in statements:
                await cursor.execute(statement)
            return await cursor.fetchall()
    finally:
        connection.close()


async def test_migrating_again_changes_nothing_and_prefixes_stay_apart(mariadb: MariaDB, prefix: str) -> None:
    await asyncio.gather(*(migrate(mariadb.url, f"{prefix}one_") for _ in range(3)))
    one = await SqlDefinitions.open(mariadb.url, SystemClock(), f"{prefix}one_")
    await one.put("sources", "a", b"{}")
    await migrate(mariadb.url, f"{prefix}one_")
    await migrate(mariadb.url, f"{prefix}two_")
    two = await SqlDefinitions.open(mariadb.url, SystemClock(), f"{prefix}two_")
    assert [row.id for row in await one.list("sources")] == ["a"]
    assert await two.list("sources") == []
    await one.close()
    await two.close()


async def test_without_tables_the_cure_is_named(mariadb: MariaDB, prefix: str) -> None:
    with pytest.raises(Misconfigured, match="rayfold migrate"):
        await SqlDefinitions.open(mariadb.url, SystemClock(), f"{prefix}_")


async def test_rows_not_written_for_a_day_are_removed(
    open_definitions: OpenDefinitions, mariadb: MariaDB, prefix: str
) -> None:
    definitions = await open_definitions()
    await definitions.beat(Heartbeat("old", "collector", 0, b"{}"))
    await _query(mariadb.url, f"update `{prefix}_heartbeat` set time_ms = time_ms - 24 * 3600 * 1000 - 1000")
    await definitions.beat(Heartbeat("new", "collector", 0, b"{}"))
    assert [beat.worker for beat in await definitions.heartbeats()] == ["new"]


async def test_a_user_who_is_refused_is_told_without_the_password(mariadb: MariaDB, prefix: str) -> None:
    await _query(mariadb.url, f"create user '{prefix}'@'%' identified by 'right'")
    for login in (f"{prefix}:hush-hush", "nobody-known:hush-hush"):
        url = mariadb.url.replace("root@", f"{login}@")
        with pytest.raises(Misconfigured) as refused:
            await migrate(url)
        assert "refuses user" in str(refused.value)
        assert "hush" not in str(refused.value)
    with pytest.raises(Misconfigured, match="create the database"):
        await migrate(f"{mariadb.url}-none")


async def test_a_change_waits_for_a_lock_and_comes_through(
    open_definitions: OpenDefinitions, mariadb: MariaDB, prefix: str
) -> None:
    definitions = await open_definitions()
    parts = make_url(mariadb.url)
    holder = await aiomysql.connect(host=parts.host, port=parts.port, user=parts.username, db=parts.database)
    try:
        async with holder.cursor() as cursor:
            await cursor.execute(f"select n from `{prefix}_counter` for update")
            put = asyncio.create_task(definitions.put("sources", "a", b"{}"))
            done, _ = await asyncio.wait([put], timeout=1.0)
            assert not done
            await holder.commit()
        assert await put == 1
    finally:
        holder.close()


async def test_a_killed_server_is_away_and_answers_again_by_itself(own_mariadb: MariaDB) -> None:
    await migrate(own_mariadb.url)
    definitions = await SqlDefinitions.open(own_mariadb.url, SystemClock())
    revision = await definitions.put("sources", "a", b"{}")
    own_mariadb.kill()
    with pytest.raises(DefinitionsUnavailable, match="does not answer"):
        await definitions.revision()
    away = await SqlDefinitions.open(own_mariadb.url, SystemClock())  # no error: it may start before its server
    with pytest.raises(DefinitionsUnavailable):
        await away.changed(0)
    await own_mariadb.start()
    assert await definitions.revision() == revision
    assert (await away.changed(0)).revision == revision
    assert await definitions.put("sources", "b", b"{}") > revision
    await definitions.close()
    await away.close()


async def test_a_server_that_stands_still_is_given_up_in_bounded_time(own_mariadb: MariaDB) -> None:
    await migrate(own_mariadb.url)
    definitions = await SqlDefinitions.open(own_mariadb.url, SystemClock())
    revision = await definitions.revision()
    own_mariadb.pause()
    try:
        async with asyncio.timeout(30):
            with pytest.raises(DefinitionsUnavailable):
                await definitions.revision()
    finally:
        own_mariadb.resume()
    assert await definitions.revision() == revision
    await definitions.close()
