"""Brings the definitions database to the newest tables; safe to repeat."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import UnknownFormat
from pipeline.stores.engine import open_engine, unopened


async def migrate(url: str, prefix: str = "") -> None:
    """Create or upgrade the tables.

    Raises `UnknownFormat` for a newer database, `Misconfigured` for one that is damaged or cannot be opened,
    `DefinitionsUnavailable` when it does not answer.
    """
    engine = open_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, prefix)
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
        command.upgrade(config, "head")
    except CommandError as error:
        raise UnknownFormat(
            f"the definitions database was written by a newer Rayfold ({error}): upgrade Rayfold"
        ) from error
