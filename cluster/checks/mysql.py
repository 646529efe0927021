"""The definitions database on a server: whether it answers, its version, its tables, and whether it can be written."""

import asyncio
import time

from sqlalchemy import Table, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from cluster.checks import clocks
from cluster.checks.finding import TIMEOUT_S, Finding
from cluster.settings import Settings
from pipeline.stores.definitions_tables import REVISION, Tables
from pipeline.stores.engine import open_engine, unopened
from pipeline.stores.mysql_engine import MISSING_TABLE, code_of

_CHECK = "definitions database server"

#: Oldest major and minor version.
_MYSQL = (8, 0)
_MARIADB = (10, 6)


async def mysql(settings: Settings) -> list[Finding]:
    """Asked directly. Raises `Misconfigured` for what is no address."""
    engine = open_engine(settings.definitions)
    where = f"{engine.url.host}:{engine.url.port}"
    try:
        async with asyncio.timeout(TIMEOUT_S), engine.connect() as connection:
            return await _asked(connection, settings)
    except TimeoutError:
        return [_away(f"the definitions database at {where} does not answer within {TIMEOUT_S:g} s")]
    except SQLAlchemyError as error:
        return [_away(str(unopened(engine, error)))]
    finally:
        await engine.dispose()


async def _asked(connection: AsyncConnection, settings: Settings) -> list[Finding]:
    row = (await connection.execute(text("select version(), @@global.read_only, unix_timestamp(now(6))"))).one()
    found = [judged(str(row[0])), *clocks.of_server("the definitions database", float(row[2]) - time.time())]
    if int(row[1]):
        cure = "point RAYFOLD_DEFINITIONS to the one that is written (the primary), or end read_only there"
        found.append(
            Finding(_CHECK, False, "is read only: no change of a definition and no heartbeat can be stored", cure)
        )
    return [*found, await _tables(connection, Tables(settings.prefix).version)]


async def _tables(connection: AsyncConnection, table: Table) -> Finding:
    check = "definitions database tables"
    try:
        found = await connection.scalar(select(table.c.version_num))
    except SQLAlchemyError as error:
        if code_of(error) != MISSING_TABLE:
            raise
        return Finding(
            check,
            False,
            f"are not there ({table.name})",
            "run `rayfold migrate`, or see that RAYFOLD_INSTANCE is right",
        )
    if found != REVISION:
        cure = "run `rayfold migrate`, or upgrade Rayfold if the database is newer"
        return Finding(check, False, f"are at revision {found}, this Rayfold needs {REVISION}", cure)
    return Finding(check, True, f"are at revision {found}")


def _away(what: str) -> Finding:
    return Finding(
        _CHECK,
        False,
        f"lost connection to MySQL: {what}",
        "start it, or mend RAYFOLD_DEFINITIONS; workers go on with the definitions they have, changes are refused meanwhile",
    )


def judged(version: str) -> Finding:
    """Whether a version, as the server writes it, is one that Rayfold runs on."""
    is_mariadb = "mariadb" in version.lower()
    name, least = ("MariaDB", _MARIADB) if is_mariadb else ("MySQL", _MYSQL)
    numbers = version.split("-")[0].split(".")
    if not all(part.isdigit() for part in numbers[:2]):
        return Finding(_CHECK, True, f"answers, {name} {version}")
    if tuple(int(part) for part in numbers[:2]) < least:
        cure = f"use {name} {least[0]}.{least[1]} or newer"
        return Finding(_CHECK, False, f"is {name} {version}, out of range", cure)
    return Finding(_CHECK, True, f"answers, {name} {version}")
