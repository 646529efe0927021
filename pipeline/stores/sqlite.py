"""The embedded document store: one SQLite file, any number of processes on one machine."""

import asyncio
import base64
import binascii
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pipeline.errors import Malformed, StoreUnavailable, UnknownFormat
from pipeline.log.counter_file import CounterFile
from pipeline.sqlite_refusal import refusal
from pipeline.stores.documents import CREATE_ONLY, Document, Kind, Outcome, Page, Query, Saved
from pipeline.stores.sqlite_schema import FORMAT, Table, statements, tables

T = TypeVar("T")

#: Ids in one statement.
_CHUNK = 500

_DONE = Outcome(Saved.DONE)
_KEPT = Outcome(Saved.KEPT)

_decode_cursor = msgspec.json.Decoder(tuple[str, str]).decode


class SqliteDocuments:
    """See `pipeline.stores.documents.Documents`.

    Reads by id take microseconds and stay on the event loop. Writes wait for the disk and searches may walk a whole
    table: each have a thread and a connection of their own.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tables = tables()
        self._lock = CounterFile(path.with_suffix(".lock"))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="documents-write")
        self._searcher = ThreadPoolExecutor(1, thread_name_prefix="documents-search")
        with self._lock:
            self._writing = _connect(path)
            self._create()
        self._reading = _connect(path)
        self._searching = _connect(path)
        self._searching.create_function("has_words", 2, _has_words, deterministic=True)

    @classmethod
    async def open(cls, path: Path) -> "SqliteDocuments":
        """Open or create.

        Raises `UnknownFormat` for a file of a newer format, `Misconfigured` for one that is damaged or cannot be opened,
        `StoreUnavailable` where that may pass.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return await asyncio.to_thread(cls, path)  # another process may hold the lock
        except (sqlite3.Error, OSError) as error:
            raise refusal(path, "document store", error) or _unavailable(path, error) from error

    def _create(self) -> None:
        db = self._writing
        for statement in statements():
            db.execute(statement)
        db.execute("insert or ignore into meta values('format', ?)", (FORMAT,))
        (found,) = db.execute("select value from meta where name = 'format'").fetchone()
        if found > FORMAT:
            raise UnknownFormat(f"{self._path} has format {found}, this Rayfold reads {FORMAT}: upgrade Rayfold")

    # ---- reading

    async def load(self, kind: Kind, ids: Collection[str], *, anywhen: bool = False) -> Mapping[str, Document]:
        found = {}
        for chunk in _chunks(ids):
            query = f"select id, version, body from {kind} where id in ({_marks(chunk)})"  # noqa: S608
            for id, version, body in self._read(query, chunk):
                found[id] = Document(kind, id, version, body)
        return found

    async def known(self, ids: Collection[str]) -> frozenset[str]:
        found: set[str] = set()
        for chunk in _chunks(ids):
            for kind in ("event", "receipt"):
                query = f"select id from {kind} where id in ({_marks(chunk)})"  # noqa: S608
                found.update(row[0] for row in self._read(query, chunk))
        return frozenset(found)

    async def search(self, kind: Kind, query: Query, *, limit: int = 25, cursor: str = "") -> Page:
        where, values = self._where(kind, query)
        after = _position(cursor) if cursor else None
        return await self._call(self._searcher, lambda: self._search(kind, where, values, limit, after))

    async def count(self, kind: Kind, query: Query) -> int:
        where, values = self._where(kind, query)
        return await self._call(self._searcher, lambda: self._count(kind, where, values))

    def _search(
        self, kind: Kind, where: Sequence[str], values: Sequence[Any], limit: int, after: tuple[str, str] | None
    ) -> Page:
        total = self._count(kind, where, values)
        order = "time" if "time" in self._tables[kind].columns else "''"
        if after is not None:
            where = [*where, f"({order}, id) < (?, ?)"]
            values = [*values, *after]
        statement = (
            f"select id, version, body, {order} from {kind} where {' and '.join(where)}"  # noqa: S608
            f" order by {order} desc, id desc limit ?"
        )
        rows = self._searching.execute(statement, [*values, limit + 1]).fetchall()
        items = [Document(kind, id, version, body) for id, version, body, _ in rows[:limit]]
        more = _cursor(rows[limit - 1][3], rows[limit - 1][0]) if len(rows) > limit else ""
        return Page(total, items, more)

    def _count(self, kind: Kind, where: Sequence[str], values: Sequence[Any]) -> int:
        statement = f"select count(*) from {kind} where {' and '.join(where)}"  # noqa: S608
        ((total,),) = self._searching.execute(statement, values).fetchall()
        return int(total)

    def _where(self, kind: Kind, query: Query) -> tuple[list[str], list[Any]]:
        columns = self._tables[kind].columns
        equals = dict(query.equals)
        where = [f"refused = {int(bool(equals.pop('refused', False)))}"]  # a constant lets the partial index serve it
        values: list[Any] = []
        if kind == "profile" and "merged_into" not in equals:
            where.append("merged_into is null")
        for name, value in equals.items():
            if name not in columns:
                raise _not_searchable(kind, name, columns)
            where.append(f'"{name}" = ?')
            values.append(value)
        if (query.since or query.until) and "time" not in columns:
            raise _not_searchable(kind, "time", columns)
        if query.since:
            where.append("time >= ?")
            values.append(query.since)
        if query.until:
            where.append("time > '' and time < ?")  # what has no time is not before one
            values.append(query.until)
        if query.text.strip():
            where.append("has_words(body, ?)")
            values.append(query.text.casefold())
        return where, values

    def _read(self, statement: str, values: Sequence[Any]) -> list[Any]:
        try:
            return self._reading.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _unavailable(self._path, error) from error

    # ---- writing

    async def save(self, documents: Sequence[Document]) -> Sequence[Outcome]:
        return await self._call(self._writer, lambda: self._save(documents))

    async def save_refused(self, document: Document, reason: str) -> None:
        await self._call(self._writer, lambda: self._save_refused(document, reason))

    async def _call(self, thread: ThreadPoolExecutor, function: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, function)
        except sqlite3.Error as error:
            raise _unavailable(self._path, error) from error

    def _save(self, documents: Sequence[Document]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = [_DONE] * len(documents)
        rows: dict[Kind, list[tuple[Any, ...]]] = {}
        places: dict[Kind, list[int]] = {}
        for place, document in enumerate(documents):
            table = self._tables[document.kind]
            try:
                values = table.extract(document.body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                outcomes[place] = Outcome(Saved.REFUSED, str(error))
                continue
            row = (document.id, document.version, 0, None, *values, document.body)
            rows.setdefault(document.kind, []).append(row)
            places.setdefault(document.kind, []).append(place)
        with self._lock:
            db = self._writing
            db.execute("begin immediate")
            try:
                for kind, found in rows.items():
                    self._insert(self._tables[kind], found, places[kind], outcomes)
                db.execute("commit")
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")
                raise
        return outcomes

    def _insert(
        self, table: Table, rows: Sequence[tuple[Any, ...]], places: Sequence[int], outcomes: list[Outcome]
    ) -> None:
        """Say of each row whether it is stored now or what was there stays."""
        db = self._writing
        before: dict[str, int] = {}
        for chunk in _chunks([row[0] for row in rows]):
            query = f"select id, version from {table.kind} where id in ({_marks(chunk)})"  # noqa: S608
            before.update(db.execute(query, chunk))
        once = table.kind in CREATE_ONLY
        for row, place in zip(rows, places, strict=True):
            version = before.get(row[0])
            if version is not None and (once or version >= row[1]):
                outcomes[place] = _KEPT
            else:
                before[row[0]] = row[1]
        db.executemany(table.insert, rows)

    def _save_refused(self, document: Document, reason: str) -> None:
        table = self._tables[document.kind]
        row = (document.id, document.version, 1, reason, *table.nothing, document.body)
        with self._lock:
            self._writing.execute(table.insert, row)

    async def expire(self, retention_ms: int) -> Sequence[str]:
        return ()

    async def close(self) -> None:
        for thread in (self._searcher, self._writer):
            await asyncio.to_thread(thread.shutdown, wait=True)
        for connection in (self._searching, self._reading, self._writing):
            connection.close()
        self._lock.close()


def _unavailable(path: Path, error: sqlite3.Error | OSError) -> StoreUnavailable:
    return StoreUnavailable(f"{path} cannot be used just now ({error}); free its disk if it is full")


def _not_searchable(kind: Kind, name: str, columns: Sequence[str]) -> Malformed:
    return Malformed(f"a {kind} cannot be searched by {name!r}; use one of {', '.join(columns)}", name)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute("pragma wal_autocheckpoint=4000")
    db.execute("pragma cache_size=-16000")
    return db


def _chunks(ids: Iterable[str]) -> Iterable[list[str]]:
    every = list(ids)
    return (every[start : start + _CHUNK] for start in range(0, len(every), _CHUNK))


def _marks(ids: Sequence[str]) -> str:
    return ",".join("?" * len(ids))


def _has_words(body: bytes, text: str) -> bool:
    folded = body.decode(errors="replace").casefold()
    return all(word in folded for word in text.split())


def _cursor(time: str, id: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((time, id))).decode()


def _position(cursor: str) -> tuple[str, str]:
    try:
        return _decode_cursor(base64.urlsafe_b64decode(cursor))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise Malformed("this cursor was not made here; begin again without one", "cursor") from None
