"""The definitions database on a server: whether it answers, and its version."""

import asyncio

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cluster.checks.finding import TIMEOUT_S, Finding
from cluster.settings import Settings
from pipeline.stores.engine import open_engine, unopened

_CHECK = "definitions database server"

#: Oldest major and minor version.
_MYSQL = (8, 0)
_MARIADB = (10, 6)


def mysql(settings: Settings) -> Finding:
    """Asked directly, in bounded time."""
    return asyncio.run(_ask(settings.definitions))


async def _ask(url: str) -> Finding:
    engine = open_engine(url)
    where = f"{engine.url.host}:{engine.url.port}"
    try:
        async with asyncio.timeout(TIMEOUT_S), engine.connect() as connection:
            return judged(str(await connection.scalar(text("select version()"))))
    except TimeoutError:
        return _away(f"the definitions database at {where} does not answer within {TIMEOUT_S:g} s")
    except SQLAlchemyError as error:
        return _away(str(unopened(engine, error)))
    finally:
        await engine.dispose()


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
    if tuple(int(part) for part in numbers[:2]) < least:
        cure = f"use {name} {least[0]}.{least[1]} or newer"
        return Finding(_CHECK, False, f"is {name} {version}, out of range", cure)
    return Finding(_CHECK, True, f"answers, {name} {version}")
