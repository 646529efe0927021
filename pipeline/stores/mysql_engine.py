"""The engine of a definitions database on MySQL or MariaDB, and what its errors mean."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pipeline.errors import Misconfigured

#: A call that takes longer is given up: a server that stands still keeps its connections and answers nothing.
CALL_S = 8.0

_CONNECT_S = 4
_POOL = 4
_RECYCLE_S = 1800

#: A lock that was waited for too long, a deadlock, a connection that was gone: the same again is likely to succeed.
TRANSIENT = frozenset((1205, 1213, 2006, 2013, 2014, 2055))

#: Nothing that waiting cures: access denied, no such database, no right.
_REFUSED = frozenset((1044, 1045, 1049, 1142, 1227))

#: A table that is not there.
MISSING_TABLE = 1146


def is_mysql(url: str) -> bool:
    return url.startswith(("mysql", "mariadb"))


def open_mysql(url: str) -> AsyncEngine:
    """Nothing is connected yet. Raises `Misconfigured` for what is no address of a database, never showing its password."""
    try:
        asked = make_url(url)
    except ArgumentError:
        raise Misconfigured(
            "RAYFOLD_DEFINITIONS is no address: write mysql://user:password@host:3306/database"
        ) from None
    if not asked.database:
        raise Misconfigured("RAYFOLD_DEFINITIONS names no database: write mysql://user:password@host:3306/database")
    address = URL.create(
        "mysql+aiomysql", asked.username, asked.password, asked.host, asked.port or 3306, asked.database
    )
    return create_async_engine(
        address,
        isolation_level="READ COMMITTED",  # a snapshot would hide what was answered before it is asked for
        pool_pre_ping=True,
        pool_recycle=_RECYCLE_S,
        pool_size=_POOL,
        max_overflow=0,
        pool_timeout=CALL_S,
        connect_args={"connect_timeout": _CONNECT_S, "charset": "utf8mb4"},
    )


def code_of(error: BaseException) -> int:
    """The server's or the driver's number of an error, 0 where there is none."""
    cause = getattr(error, "orig", None) or error
    arguments = getattr(cause, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def refused(engine: AsyncEngine, error: DBAPIError) -> Misconfigured | None:
    """What the administrator has to mend, None for what passes."""
    if code_of(error) not in _REFUSED:
        return None
    url = engine.url
    return Misconfigured(
        f"the definitions database {url.database} at {url.host}:{url.port} refuses user {url.username} "
        f"({_text(error)}): create the database, and grant that user all rights on it"
    )


def _text(error: DBAPIError) -> str:
    arguments: tuple[object, ...] = getattr(error.orig, "args", ())
    return str(arguments[1]) if len(arguments) > 1 else str(error.orig)
