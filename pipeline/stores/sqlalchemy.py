"""The definitions database on SQLAlchemy: SQLite here, MySQL or MariaDB by another URL."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Table, delete, func, select, text, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pipeline.clock import Clock
from pipeline.errors import DefinitionsUnavailable, Misconfigured, NotFound, Overtaken, UnknownFormat
from pipeline.stores.definitions import Changes, Definition, Heartbeat
from pipeline.stores.definitions_tables import REVISION, Tables
from pipeline.stores.engine import open_engine, unopened
from pipeline.stores.sqlite_revision import SqliteRevision
from pipeline.undisturbed import Undisturbed

#: Format of definition bodies.
SCHEMA = 1

_COUNTER = "revision"
_FORGET_HEARTBEAT_MS = 24 * 3600 * 1000


class SqlDefinitions:
    """See `pipeline.stores.definitions.Definitions`. Made by `open`; the tables by `pipeline.stores.migrate`."""

    def __init__(self, engine: AsyncEngine, tables: Tables, clock: Clock) -> None:
        self._engine = engine
        self._tables = tables
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._undisturbed = Undisturbed()  # a transaction left open would lock everybody out
        self._revision: SqliteRevision | None = None

    @classmethod
    async def open(cls, url: str, clock: Clock, prefix: str = "") -> "SqlDefinitions":
        """Raises `Misconfigured` when the tables are missing or the file is unusable, `UnknownFormat` for newer tables."""
        opened = cls(open_engine(url), Tables(prefix), clock)
        try:
            await opened._check()
            if opened._engine.dialect.name == "sqlite":
                path = Path(opened._engine.url.database or "")
                opened._revision = SqliteRevision(path, opened._tables.counter.name, _COUNTER)
        except BaseException:
            await opened.close()
            raise
        return opened

    async def _check(self) -> None:
        try:
            async with self._engine.execution_options(writes=False).begin() as connection:
                found = await connection.scalar(text(f"select version_num from {self._tables.version_table}"))  # noqa: S608
        except DBAPIError as error:
            if "no such table" in str(error) or "doesn't exist" in str(error):
                raise Misconfigured("the definitions database has no tables yet: run `rayfold migrate`") from error
            raise unopened(self._engine, error) from error
        if found != REVISION:
            raise UnknownFormat(
                f"the definitions database is at revision {found}, this Rayfold needs {REVISION}: "
                "run `rayfold migrate`, or upgrade Rayfold if the database is newer"
            )

    async def put(
        self, kind: str, id: str, body: bytes, *, group: str | None = None, expected: int | None = None
    ) -> int:
        return await self._undisturbed.run(self._put(kind, id, body, group, expected))

    async def _put(self, kind: str, id: str, body: bytes, group: str | None, expected: int | None) -> int:
        async with _translated(), self._one_at_a_time, self._engine.begin() as connection:
            revision = await self._next_revision(connection)
            if expected is not None:
                _check_is(await self._row(connection, kind, id), expected, kind, id)
            row = Definition(kind, id, revision, False, body, group)
            await connection.execute(_upsert(connection, self._tables.definition, _columns_of(row), ("kind", "id")))
            return revision

    async def delete(self, kind: str, id: str, *, expected: int | None = None) -> int:
        return await self._undisturbed.run(self._delete(kind, id, expected))

    async def _delete(self, kind: str, id: str, expected: int | None) -> int:
        async with _translated(), self._one_at_a_time, self._engine.begin() as connection:
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
        return await self._undisturbed.run(self._renew(kind, id, group))

    async def _renew(self, kind: str, id: str, group: str) -> bool:
        try:
            async with _translated(), self._one_at_a_time, self._engine.begin() as connection:
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
        if self._revision is not None:
            return self._revision.read()
        counter = self._tables.counter
        rows = await self._read(select(counter.c.n).where(counter.c.name == _COUNTER))
        return int(rows[0][0])

    async def changed(self, since: int) -> Changes:
        table = self._tables.definition
        rows = await self._read(_columns(table).where(table.c.revision > since).order_by(table.c.revision))
        found = [_definition(row) for row in rows]
        return Changes(found[-1].revision if found else since, found)

    async def beat(self, heartbeat: Heartbeat) -> None:
        await self._undisturbed.run(self._beat(heartbeat))

    async def _beat(self, heartbeat: Heartbeat) -> None:
        table = self._tables.heartbeat
        async with _translated(), self._one_at_a_time, self._engine.begin() as connection:
            await connection.execute(_upsert(connection, table, heartbeat._asdict(), ("worker",)))
            old = heartbeat.time_ms - _FORGET_HEARTBEAT_MS
            await connection.execute(delete(table).where(table.c.time_ms < old))

    async def heartbeats(self) -> Sequence[Heartbeat]:
        table = self._tables.heartbeat
        rows = await self._read(select(table.c.worker, table.c.stage, table.c.time_ms, table.c.body))
        return [Heartbeat(row[0], row[1], row[2], bytes(row[3])) for row in rows]

    async def _read(self, statement: Any) -> Sequence[Any]:
        return await self._undisturbed.run(self._rows(statement))

    async def _rows(self, statement: Any) -> Sequence[Any]:
        async with (
            _translated(),
            self._one_at_a_time,
            self._engine.execution_options(writes=False).begin() as connection,
        ):
            return (await connection.execute(statement)).fetchall()

    async def close(self) -> None:
        await self._undisturbed.wait()
        if self._revision is not None:
            self._revision.close()
        await self._engine.dispose()


class _Named(Exception):
    """The row names the group."""


class _translated:  # noqa: N801  (reads as a statement)
    """Turns the driver's errors into `DefinitionsUnavailable`."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SQLAlchemyError):
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
