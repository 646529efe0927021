"""The definitions database on SQLAlchemy: SQLite here, MySQL or MariaDB by another URL."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Table, delete, func, select, text, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pipeline.clock import Clock
from pipeline.errors import DefinitionsUnavailable, Misconfigured, NotFound, Overtaken, UnknownFormat
from pipeline.stores.definitions import Changes, Definition, Heartbeat
from pipeline.stores.definitions_tables import REVISION, Tables
from pipeline.stores.engine import away, open_engine, unopened
from pipeline.stores.mysql_engine import CALL_S, MISSING_TABLE, TRANSIENT, UNDONE, code_of
from pipeline.stores.mysql_revision import MysqlRevision
from pipeline.stores.sqlite_revision import SqliteRevision
from pipeline.undisturbed import Undisturbed

#: Format of definition bodies.
SCHEMA = 1

_COUNTER = "revision"

#: Of one call to a server, with pauses between them.
_TRIES = 3
_PAUSE_S = 0.2

#: MySQL has no clock that no time zone turns back, but this.
_MYSQL_NOW_MS = text("select timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000")

T = TypeVar("T")

_FORGET_HEARTBEAT_MS = 24 * 3600 * 1000


class SqlDefinitions:
    """See `pipeline.stores.definitions.Definitions`. Made by `open`; the tables by `pipeline.stores.migrate`."""

    def __init__(self, engine: AsyncEngine, tables: Tables, clock: Clock, random: Callable[[], float]) -> None:
        self._engine = engine
        self._tables = tables
        self._clock = clock
        self._random = random
        self._is_mysql = engine.dialect.name == "mysql"
        # SQLite has one connection, which takes no turns; a pool waits by itself
        self._turn: AbstractAsyncContextManager[object] = nullcontext() if self._is_mysql else asyncio.Lock()
        self._undisturbed = Undisturbed()  # a transaction left open would lock everybody out
        newest = select(tables.counter.c.n).where(tables.counter.c.name == _COUNTER)
        self._revision: SqliteRevision | MysqlRevision | None = (
            MysqlRevision(engine, newest) if self._is_mysql else None
        )
        self._is_checked = False
        self._is_open = False

    @classmethod
    async def open(
        cls, url: str, clock: Clock, prefix: str = "", random: Callable[[], float] = random.random
    ) -> "SqlDefinitions":
        """Raises `Misconfigured` when the tables are missing, the file is unusable or the server refuses this user,
        `UnknownFormat` for newer tables.

        A server that is away is no error: the first call that it answers checks the tables.
        """
        opened = cls(open_engine(url), Tables(prefix), clock, random)
        try:
            try:
                await opened._undisturbed.run(opened._called(opened._check))
            except DefinitionsUnavailable:
                if not opened._is_mysql:
                    raise
            if opened._engine.dialect.name == "sqlite":
                path = Path(opened._engine.url.database or "")
                opened._revision = SqliteRevision(path, opened._tables.counter.name, _COUNTER)
            opened._is_open = True
        except BaseException:
            await opened.close()
            raise
        return opened

    async def _check(self) -> None:
        """Once, that the tables are those this code knows."""
        if self._is_checked:
            return
        try:
            async with self._engine.execution_options(writes=False).begin() as connection:
                found = await connection.scalar(select(self._tables.version.c.version_num))
        except DBAPIError as error:
            if "no such table" in str(error) or code_of(error) == MISSING_TABLE:
                raise Misconfigured("the definitions database has no tables yet: run `rayfold migrate`") from error
            if code_of(error) in TRANSIENT:
                raise
            raise unopened(self._engine, error) from error
        if found != REVISION:
            raise UnknownFormat(
                f"the definitions database is at revision {found}, this Rayfold needs {REVISION}: "
                "run `rayfold migrate`, or upgrade Rayfold if the database is newer"
            )
        self._is_checked = True

    async def _called(self, work: Callable[[], Awaitable[T]]) -> T:
        """One call to the database, in bounded time where that is a server."""
        if not self._is_mysql:
            return await _answered(work)
        try:
            async with asyncio.timeout(CALL_S):
                return await self._tried(work)
        except TimeoutError as error:
            raise away(self._engine, f"no answer within {CALL_S:g} s") from error
        except Misconfigured as error:
            if not self._is_open:
                raise
            raise DefinitionsUnavailable(str(error)) from error  # a password that is changed ends nobody who runs

    async def _tried(self, work: Callable[[], Awaitable[T]]) -> T:
        """Once more after what is likely to succeed then."""
        for left in reversed(range(_TRIES)):
            try:
                await self._check()
                return await work()
            except SQLAlchemyError as error:
                if code_of(error) not in TRANSIENT or not left:
                    raise unopened(self._engine, error) from error
            await self._clock.sleep(_PAUSE_S * (0.5 + self._random()))
        raise AssertionError

    async def put(
        self, kind: str, id: str, body: bytes, *, group: str | None = None, expected: int | None = None
    ) -> int:
        return await self._undisturbed.run(self._called(partial(self._put, kind, id, body, group, expected)))

    async def _put(self, kind: str, id: str, body: bytes, group: str | None, expected: int | None) -> int:
        async with self._begun() as connection:
            revision = await self._next_revision(connection)
            if expected is not None:
                _check_is(await self._row(connection, kind, id), expected, kind, id)
            row = Definition(kind, id, revision, False, body, group)
            await connection.execute(_upsert(connection, self._tables.definition, _columns_of(row), ("kind", "id")))
            return revision

    async def delete(self, kind: str, id: str, *, expected: int | None = None) -> int:
        return await self._undisturbed.run(self._called(partial(self._delete, kind, id, expected)))

    async def _delete(self, kind: str, id: str, expected: int | None) -> int:
        async with self._begun() as connection:
            revision = await self._next_revision(connection)
            found = await self._row(connection, kind, id)
            if found is None or found.deleted:
                raise NotFound(f"there is no {kind[:-1]} {id!r}")
            if expected is not None:
                _check_is(found, expected, kind, id)
            row = Definition(kind, id, revision, True, b"{}")
            await connection.execute(_upsert(connection, self._tables.definition, _columns_of(row), ("kind", "id")))
            return revision

    async def renew(self, kind: str, id: str, group: str) -> bool:
        return await self._undisturbed.run(self._called(partial(self._renew, kind, id, group)))

    async def _renew(self, kind: str, id: str, group: str) -> bool:
        try:
            async with self._begun() as connection:
                revision = await self._next_revision(connection)
                found = await self._row(connection, kind, id) or Definition(kind, id, 0, True, b"{}")
                if found.group == group and not found.deleted:
                    raise _Named  # so that no revision is used up
                row = _columns_of(found._replace(revision=revision))
                await connection.execute(_upsert(connection, self._tables.definition, row, ("kind", "id")))
        except _Named:
            return False
        return True

    async def _row(self, connection: AsyncConnection, kind: str, id: str) -> Definition | None:
        table = self._tables.definition
        rows = (await connection.execute(_columns(table).where(table.c.kind == kind, table.c.id == id))).fetchall()
        return _definition(rows[0]) if rows else None

    async def _next_revision(self, connection: AsyncConnection) -> int:
        """First statement of the transaction: its row lock makes commits follow the order of revisions."""
        counter = self._tables.counter
        await connection.execute(update(counter).where(counter.c.name == _COUNTER).values(n=counter.c.n + 1))
        return int(await connection.scalar(select(counter.c.n).where(counter.c.name == _COUNTER)) or 0)

    async def get(self, kind: str, id: str) -> Definition | None:
        table = self._tables.definition
        rows = await self._read(_columns(table).where(table.c.kind == kind, table.c.id == id))
        return _definition(rows[0]) if rows else None

    async def list(self, kind: str, *, after: str = "", limit: int = 1000) -> Sequence[Definition]:
        table = self._tables.definition
        wanted = (table.c.kind == kind, table.c.id > after, table.c.deleted.is_(False))
        rows = await self._read(_columns(table).where(*wanted).order_by(table.c.id).limit(limit))
        return [_definition(row) for row in rows]

    async def count(self, kind: str) -> int:
        table = self._tables.definition
        wanted = (table.c.kind == kind, table.c.deleted.is_(False))
        rows = await self._read(select(func.count()).select_from(table).where(*wanted))
        return int(rows[0][0])

    async def revision(self) -> int:
        if isinstance(self._revision, MysqlRevision):
            return await self._undisturbed.run(self._called(self._revision.read))
        assert self._revision is not None
        return self._revision.read()

    async def changed(self, since: int) -> Changes:
        table = self._tables.definition
        rows = await self._read(_columns(table).where(table.c.revision > since).order_by(table.c.revision))
        found = [_definition(row) for row in rows]
        return Changes(found[-1].revision if found else since, found)

    async def beat(self, heartbeat: Heartbeat) -> None:
        await self._undisturbed.run(self._called(partial(self._beat, heartbeat)))

    async def now_ms(self) -> int:
        return await self._undisturbed.run(self._called(self._now_ms))

    async def _now_ms(self) -> int:
        async with self._begun(writes=False) as connection:
            return await self._time_of(connection)

    async def _time_of(self, connection: AsyncConnection) -> int:
        return int(await connection.scalar(_MYSQL_NOW_MS) or 0) if self._is_mysql else self._clock.now_ms()

    async def _beat(self, heartbeat: Heartbeat) -> None:
        names = self._tables.heartbeat.c
        async with self._begun() as connection:
            now = await self._time_of(connection)
            row = heartbeat._asdict() | {"time_ms": now}
            await connection.execute(_upsert(connection, self._tables.heartbeat, row, ("worker",)))
            is_old = names.time_ms < now - _FORGET_HEARTBEAT_MS
            old = (await connection.execute(select(names.worker).where(is_old))).scalars().all()
        if old:  # looked for first, and removed by key: MySQL locks every row that a search to delete comes across
            async with self._begun() as connection:
                await connection.execute(delete(self._tables.heartbeat).where(names.worker.in_(old), is_old))

    async def heartbeats(self) -> Sequence[Heartbeat]:
        table = self._tables.heartbeat
        rows = await self._read(select(table.c.worker, table.c.stage, table.c.time_ms, table.c.body))
        return [Heartbeat(row[0], row[1], row[2], bytes(row[3])) for row in rows]

    async def _read(self, statement: Any) -> Sequence[Any]:
        return await self._undisturbed.run(self._called(partial(self._rows, statement)))

    @asynccontextmanager
    async def _begun(self, *, writes: bool = True) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed in the end.

        Raises `DefinitionsUnavailable` when a server went away while it committed: tried again, what was stored then
        would find itself there and be told that somebody else was quicker.
        """
        async with self._turn, self._engine.execution_options(writes=writes).connect() as connection:
            await connection.begin()
            yield connection
            try:
                await connection.commit()
            except DBAPIError as error:
                if self._is_mysql and writes and code_of(error) not in UNDONE:
                    raise unopened(self._engine, error) from error
                raise

    async def _rows(self, statement: Any) -> Sequence[Any]:
        async with self._begun(writes=False) as connection:
            return (await connection.execute(statement)).fetchall()

    async def close(self) -> None:
        await self._undisturbed.wait()
        if isinstance(self._revision, MysqlRevision):
            await self._revision.close()
        elif self._revision is not None:
            self._revision.close()
        await self._engine.dispose()


class _Named(Exception):
    """The row names the group."""


async def _answered(work: Callable[[], Awaitable[T]]) -> T:
    """What SQLite says no to is nothing a second try would change."""
    try:
        return await work()
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise DefinitionsUnavailable(f"the definitions database does not answer: {cause}") from error


def _columns(table: Table) -> Any:
    names = table.c
    return select(names.kind, names.id, names.revision, names.deleted, names.body, names.log_group, names.schema)


def _definition(row: Any) -> Definition:
    if row[6] != SCHEMA:
        raise UnknownFormat(
            f"definition {row[1]!r} of kind {row[0]} has format {row[6]}, this Rayfold reads {SCHEMA}: "
            "install the version that wrote it"
        )
    return Definition(row[0], row[1], row[2], bool(row[3]), bytes(row[4]), row[5])


def _columns_of(row: Definition) -> dict[str, Any]:
    values = row._asdict()
    group = values.pop("group")
    return {**values, "log_group": group, "schema": SCHEMA}


def _check_is(found: Definition | None, expected: int, kind: str, id: str) -> None:
    if (found.revision if found else 0) != expected:
        raise Overtaken(f"{kind[:-1]} {id!r} was changed by somebody else meanwhile: try again")


def _upsert(connection: AsyncConnection, table: Table, row: dict[str, Any], keys: tuple[str, ...]) -> Any:
    changed = [name for name in row if name not in keys]
    if connection.dialect.name in ("mysql", "mariadb"):
        on_mysql = mysql.insert(table).values(row)
        return on_mysql.on_duplicate_key_update({name: on_mysql.inserted[name] for name in changed})
    on_sqlite = sqlite.insert(table).values(row)
    return on_sqlite.on_conflict_do_update(index_elements=keys, set_={n: on_sqlite.excluded[n] for n in changed})
