"""The engine of a definitions database on MySQL or MariaDB, and what its errors mean."""

import ssl
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pipeline.errors import Misconfigured

#: A call that takes longer is given up: a server that stands still keeps its connections and answers nothing.
CALL_S = 8.0

_CONNECT_S = 4
_POOL = 4

#: After which the server ends a connection that says nothing, and with it the locks of a process that stands still.
_IDLE_S = 60
_RECYCLE_S = 45

#: One wait for a row's lock: there is time for another try within `CALL_S`.
_LOCK_WAIT_S = 2

#: A lock that was waited for too long, a deadlock: the server has undone all of it.
UNDONE = frozenset((1205, 1213))

#: Those, or a connection that was gone: the same again is likely to succeed.
TRANSIENT = UNDONE | frozenset((2006, 2013, 2014, 2055, 4031))

#: Nothing that waiting cures: access denied, no such database, no right, this host, how to prove who one is.
_REFUSED = frozenset((1044, 1045, 1049, 1130, 1142, 1143, 1227, 1251, 1698, 2059))

_ADDRESS = "write mysql://user:password@host:3306/database"

#: A table that is not there.
MISSING_TABLE = 1146


def is_mysql(url: str) -> bool:
    return url.startswith(("mysql", "mariadb"))


def definitions_url(url: str) -> URL:
    """What SQLAlchemy is given, by what the setting says. Raises `Misconfigured`, never showing the password."""
    try:
        asked = make_url(url)
    except (ArgumentError, ValueError):
        raise Misconfigured(f"RAYFOLD_DEFINITIONS is no address: {_ADDRESS}") from None
    if not asked.database:
        raise Misconfigured(f"RAYFOLD_DEFINITIONS names no database: {_ADDRESS}")
    unknown = sorted(asked.query.keys() - {"ssl_ca"})
    if unknown:
        raise Misconfigured(
            f"RAYFOLD_DEFINITIONS has {unknown[0][:64]!r} after its question mark: only ssl_ca is known there, "
            "the file of the authority that has signed the server's certificate (`system`: those this machine trusts)"
        )
    return URL.create(
        "mysql+aiomysql",
        asked.username,
        asked.password,
        asked.host,
        asked.port or 3306,
        asked.database,
        {"charset": "utf8mb4", **asked.query},
    )


def open_mysql(url: str) -> AsyncEngine:
    """Nothing is connected yet. Raises as `definitions_url`."""
    address = definitions_url(url)
    authority = address.query.get("ssl_ca")
    secure: dict[str, Any] = {"ssl": _context(str(authority))} if authority else {}
    return create_async_engine(
        address.difference_update_query(["ssl_ca"]),
        isolation_level="READ COMMITTED",  # a snapshot would hide what was answered before it is asked for
        hide_parameters=True,  # an error's text may be logged, and bodies hold what customers wrote
        pool_pre_ping=True,
        pool_recycle=_RECYCLE_S,
        pool_size=_POOL,
        max_overflow=0,
        pool_timeout=CALL_S,
        connect_args={
            "connect_timeout": _CONNECT_S,
            "init_command": f"set session wait_timeout = {_IDLE_S}, session innodb_lock_wait_timeout = {_LOCK_WAIT_S}",
            **secure,
        },
    )


def _context(authority: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if authority == "system" else authority)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"ssl_ca={authority} of RAYFOLD_DEFINITIONS cannot be used: {error}") from None


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
