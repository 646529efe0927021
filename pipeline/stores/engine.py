"""Database engines of SQLAlchemy, SQLite's set up so that it orders writers as MySQL's row locks do."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from pipeline.errors import DefinitionsUnavailable, Misconfigured
from pipeline.sqlite_refusal import refusal
from pipeline.stores.mysql_engine import is_mysql, open_mysql, refused

#: Seconds a writer waits for another one, and between two looks where SQLite does not wait by itself.
_BUSY_TIMEOUT_S = 10.0
_LOOK_S = 0.02


def open_engine(url: str) -> AsyncEngine:
    """Of SQLite one connection a process: definitions are asked seldom and briefly.

    Raises what `unopened` makes of a SQLite file that cannot be opened, `Misconfigured` for what is no address.
    """
    if is_mysql(url):
        return open_mysql(url)
    engine = create_async_engine(
        url, poolclass=StaticPool, hide_parameters=True, connect_args={"timeout": _BUSY_TIMEOUT_S}
    )
    _try(engine)

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the driver must not open transactions by itself
        connection.run_async(_set_up)

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Any) -> None:
        immediate = connection.get_execution_options().get("writes", True)
        connection.exec_driver_sql("begin immediate" if immediate else "begin")

    return engine


def _try(engine: AsyncEngine) -> None:
    """Open the file once here: where that fails, the driver's thread outlives the loop and its complaint is printed."""
    try:
        sqlite3.connect(engine.url.database or "").close()
    except sqlite3.Error as error:
        raise unopened(engine, error) from error


def unopened(engine: AsyncEngine, error: SQLAlchemyError | sqlite3.Error) -> DefinitionsUnavailable | Misconfigured:
    """What an error of the first statements means to the user."""
    cause = getattr(error, "orig", None) or error
    if engine.dialect.name == "mysql":
        return (refused(engine, error) if isinstance(error, DBAPIError) else None) or away(engine, cause)
    path = Path(engine.url.database or "")
    return refusal(path, "definitions database", cause) or DefinitionsUnavailable(
        f"the definitions database does not answer: {cause}"
    )


def away(engine: AsyncEngine, cause: object) -> DefinitionsUnavailable:
    """A server that does not answer, by where it is."""
    url = engine.url
    return DefinitionsUnavailable(
        f"the definitions database at {url.host}:{url.port} does not answer ({cause}): "
        "workers go on with the definitions they have until it is back"
    )


async def _set_up(connection: Any) -> None:
    """Make every transaction durable on return, and readers and writers independent of each other."""
    try:
        await _use_wal(connection)
        await connection.execute("pragma synchronous=full")
    except BaseException:
        await connection.close()  # nobody else will, and its thread must not outlive the loop
        raise


async def _use_wal(connection: Any) -> None:
    """Of a new file, the switch of the journal needs it alone and fails at once while another process looks at it."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _BUSY_TIMEOUT_S
    while True:
        try:
            await connection.execute("pragma journal_mode=wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or loop.time() > end:
                raise
        await asyncio.sleep(_LOOK_S)
