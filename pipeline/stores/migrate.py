"""Brings the definitions database to the newest tables; safe to repeat."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import DefinitionsUnavailable, UnknownFormat
from pipeline.stores.engine import away, open_engine, unopened
from pipeline.stores.mysql_engine import CALL_S

#: A server that answered and then stands still is given up.
_MIGRATE_S = 180.0

#: What another one that migrates is given, and the longest name of a lock.
_LOCK_S = 60
_MOST_LOCK_NAME = 64


async def migrate(url: str, prefix: str = "") -> None:
    """Create or upgrade the tables.

    Raises `UnknownFormat` for a newer database, `Misconfigured` for one that is damaged or cannot be opened,
    `DefinitionsUnavailable` when it does not answer.
    """
    engine = open_engine(url)
    is_server = engine.dialect.name == "mysql"
    try:
        if is_server:
            async with asyncio.timeout(CALL_S), engine.connect() as connection:
                await connection.execute(text("select 1"))
        async with asyncio.timeout(_MIGRATE_S if is_server else None), engine.begin() as connection:
            await connection.run_sync(_upgrade, prefix)
    except TimeoutError as error:
        raise away(engine, "no answer") from error
    except SQLAlchemyError as error:
        raise unopened(engine, error) from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, prefix: str) -> None:
    from alembic import command  # takes 0.3 s to import, and only `migrate` needs it
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("version_path_separator", "os")
    attributes: dict[str, Any] = config.attributes
    attributes.update(connection=connection, prefix=prefix)
    try:
        with _alone(connection, prefix):
            command.upgrade(config, "head")
    except CommandError as error:
        raise UnknownFormat(
            f"the definitions database was written by a newer Rayfold ({error}): upgrade Rayfold"
        ) from error


@contextmanager
def _alone(connection: Connection, prefix: str) -> Iterator[None]:
    """Others that migrate wait: SQLite's write lock sees to that, MySQL commits each statement by itself."""
    if connection.dialect.name != "mysql":
        yield
        return
    name = {"name": f"rayfold {prefix}migrate"[:_MOST_LOCK_NAME]}
    if not connection.scalar(text("select get_lock(:name, :seconds)"), {**name, "seconds": _LOCK_S}):
        raise DefinitionsUnavailable(f"another process has been migrating the definitions for {_LOCK_S} s: try again")
    try:
        yield
    finally:
        connection.execute(text("select release_lock(:name)"), name)
