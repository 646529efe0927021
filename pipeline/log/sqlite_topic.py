"""One topic in one SQLite file: partitions share a table, key = partition << 40 | sequence.

WAL with synchronous=FULL: a commit is an fdatasync of the WAL. All writers of all processes take the lock of the counter
file around BEGIN IMMEDIATE … COMMIT, so that SQLite's sleeping busy handler is never the queue. Sequence numbers come from
table `head`, never from the largest key: trimming must not make them start again.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import zstandard

from pipeline.errors import Fenced, LogUnavailable, Misconfigured, RayfoldError, UnknownFormat
from pipeline.log.counter_file import CounterFile
from pipeline.log.cursor_file import CursorFile
from pipeline.log.port import BEGINNING, Backlog, Message, Position
from pipeline.log.sqlite_fault import unavailable, unusable

FORMAT = 1

_SHIFT = 40
_MASK = (1 << _SHIFT) - 1

#: Smaller messages gain little from compression.
_COMPRESS_FROM_BYTES = 4096

#: Rows fetched at a time while reading.
_FETCH_ROWS = 8

#: Opening waits this long for a lock that other processes hold.
_OPEN_DEADLINE_S = 10.0

#: Bytes removed under one hold of the lock while trimming.
_TRIM_STEP_BYTES = 1_500_000

_META = "create table if not exists meta(name text primary key, value integer not null)"

_SCHEMA = (
    "create table if not exists log(id integer primary key, records integer not null, published_ms integer not null,"
    " compressed integer not null, data blob not null)",
    "create table if not exists head(partition integer primary key, next integer not null, epoch integer not null)",
)


class Item(NamedTuple):
    """One message to append; `epoch` of its fenced writer, None for one of many."""

    partition: int
    epoch: int | None
    records: int
    published_ms: int
    data: bytes


class Topic:
    """Connections of one process: one for its append thread, one for reading on the event loop."""

    def __init__(self, path: Path, partitions: int) -> None:
        """Blocks; raises `Misconfigured`, `UnknownFormat` or `LogUnavailable`, and leaves nothing open then."""
        self.path = path
        self.partitions = partitions
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._decompressor = zstandard.ZstdDecompressor()
        with ExitStack() as opened:
            try:
                self.counter = CounterFile(path.with_suffix(".lock"))
                opened.callback(self.counter.close)
                if not self.counter.take(_OPEN_DEADLINE_S):
                    raise LogUnavailable(
                        f"{path} could not be opened for {_OPEN_DEADLINE_S:g} s, process {self.counter.holder} "
                        "held its lock last: look whether that one is stopped"
                    )
                try:
                    self._writing = opened.enter_context(closing(_connect(path)))
                    self._create()
                finally:
                    self.counter.release()
                self._reading = opened.enter_context(closing(_connect(path)))
            except (sqlite3.Error, OSError) as error:
                raise unusable(path, error) from error
            self._opened = opened.pop_all()

    def _create(self) -> None:
        db = self._writing
        db.execute(_META)
        db.execute("insert or ignore into meta values('format', ?), ('partitions', ?)", (FORMAT, self.partitions))
        meta = dict(db.execute("select name, value from meta"))
        if meta["format"] > FORMAT:
            raise UnknownFormat(
                f"{self.path} has format {meta['format']}, this Rayfold reads {FORMAT}: upgrade Rayfold"
            )
        if meta["partitions"] != self.partitions:
            raise Misconfigured(
                f"{self.path} has {meta['partitions']} partitions and cannot get {self.partitions}: "
                f"set RAYFOLD_PARTITIONS={meta['partitions']}, or start with an empty data folder"
            )
        for statement in _SCHEMA:
            db.execute(statement)
        rows = [(partition, 1, 0) for partition in range(self.partitions)]
        db.executemany("insert or ignore into head values(?, ?, ?)", rows)

    # ---- writing: on the append thread only

    def append(self, items: Sequence[Item]) -> list[Position | RayfoldError]:
        """One transaction for all; durable on return. An outdated writer's item fails alone."""
        packed = [self._pack(item.data) for item in items]
        db = self._writing
        try:
            with self.counter:
                db.execute("begin immediate")
                try:
                    outcomes = self._insert(items, packed)
                    db.execute("commit")
                except BaseException:
                    if db.in_transaction:
                        db.execute("rollback")
                    raise
                self.counter.bump()
        except (sqlite3.Error, OSError) as error:
            raise unavailable(self.path, error) from error
        self.counter.touch()
        return outcomes

    def _pack(self, data: bytes) -> tuple[int, bytes]:
        if len(data) < _COMPRESS_FROM_BYTES:
            return 0, data
        return 1, self._compressor.compress(data)

    def _insert(self, items: Sequence[Item], packed: Sequence[tuple[int, bytes]]) -> list[Position | RayfoldError]:
        db = self._writing
        heads = {row[0]: [row[1], row[2]] for row in db.execute("select partition, next, epoch from head")}
        outcomes: list[Position | RayfoldError] = []
        rows = []
        changed = {}
        for item, (compressed, data) in zip(items, packed, strict=True):
            head = heads[item.partition]
            if item.epoch is not None and item.epoch != head[1]:
                outcomes.append(
                    Fenced(f"partition {item.partition} of {self.path.stem} has a newer writer (epoch {head[1]})")
                )
                continue
            sequence = head[0]
            head[0] = changed[item.partition] = sequence + 1
            rows.append((item.partition << _SHIFT | sequence, item.records, item.published_ms, compressed, data))
            outcomes.append(Position(0, sequence))
        db.executemany("insert into log values(?, ?, ?, ?, ?)", rows)
        db.executemany("update head set next = ? where partition = ?", [(n, p) for p, n in changed.items()])
        return outcomes

    def raise_epoch(self, partition: int) -> int:
        """Fence every older writer of the partition; returns the new one's epoch."""
        db = self._writing
        try:
            with self.counter:
                db.execute("begin immediate")
                try:
                    db.execute("update head set epoch = epoch + 1 where partition = ?", (partition,))
                    (epoch,) = db.execute("select epoch from head where partition = ?", (partition,)).fetchone()
                    db.execute("commit")
                except BaseException:
                    if db.in_transaction:
                        db.execute("rollback")
                    raise
        except sqlite3.Error as error:
            raise unavailable(self.path, error) from error
        return int(epoch)

    def create_cursor(self, path: Path, at_ms: int) -> None:
        """Make a group's cursors before what was published at that time; under the lock, so that no trimming comes between."""
        try:
            with self.counter:
                CursorFile.create(path, [self._before(partition, at_ms) for partition in range(self.partitions)])
        except sqlite3.Error as error:
            raise unavailable(self.path, error) from error

    def _before(self, partition: int, at_ms: int) -> int:
        """The sequence number before the first message that is not older: halving, as numbers have no gaps."""
        db = self._writing
        base = partition << _SHIFT
        (high,) = db.execute("select next from head where partition = ?", (partition,)).fetchone()
        (first,) = db.execute(
            "select min(id) from log where id > ? and id < ?", (base, (partition + 1) << _SHIFT)
        ).fetchone()
        low = high if first is None else first & _MASK
        while low < high:
            middle = (low + high) // 2
            (published_ms,) = db.execute("select published_ms from log where id = ?", (base | middle,)).fetchone()
            low, high = (middle + 1, high) if published_ms < at_ms else (low, middle)
        return int(low) - 1

    def trim_step(self, partition: int, floor: Callable[[], int | None], older_than_ms: int) -> int:
        """Drop some megabytes of older messages below the floor; the partition's last one always stays. 0: none is left.

        The floor is asked for under the lock: a group made meanwhile keeps what it was made for.
        """
        db = self._writing
        base = partition << _SHIFT
        try:
            with self.counter:
                (next_,) = db.execute("select next from head where partition = ?", (partition,)).fetchone()
                lowest = floor()
                end = base | (next_ - 1 if lowest is None else min(lowest, next_ - 1))
                size = count = 0
                last = None
                for id, length, published_ms in db.execute(
                    "select id, length(data), published_ms from log where id > ? and id < ? order by id", (base, end)
                ):
                    if published_ms >= older_than_ms or (count and size + length > _TRIM_STEP_BYTES):
                        break
                    last, size, count = id, size + length, count + 1
                if last is not None:
                    db.execute("delete from log where id > ? and id <= ?", (base, last))
        except sqlite3.Error as error:
            raise unavailable(self.path, error) from error
        return count

    # ---- reading: on the event loop; short transactions, so that the WAL can be checkpointed

    def read(self, partition: int, after: Position, max_bytes: int, inclusive: bool) -> list[Message]:
        """See `pipeline.log.port.Log.read`."""
        base = partition << _SHIFT
        first = max(0, after.entry) + (0 if inclusive else 1)
        found: list[Message] = []
        size = 0
        rows = self._query(
            "select id, records, published_ms, compressed, data from log where id >= ? and id < ? order by id",
            (base | max(first, 1), (partition + 1) << _SHIFT),
        )
        try:
            while size < max_bytes and (batch := rows.fetchmany(_FETCH_ROWS)):
                for row in batch:
                    message = self._message(partition, row)
                    found.append(message)
                    size += len(message.data)
                    if size >= max_bytes:
                        break
        except sqlite3.Error as error:
            raise unavailable(self.path, error) from error
        finally:
            rows.close()
        return found

    def last(self, partition: int) -> Message | None:
        """See `pipeline.log.port.Log.last`."""
        row = self._query(
            "select id, records, published_ms, compressed, data from log where id > ? and id < ? order by id desc limit 1",
            (partition << _SHIFT, (partition + 1) << _SHIFT),
        ).fetchone()
        return None if row is None else self._message(partition, row)

    def end(self, partition: int) -> int:
        """The newest sequence number, 0 when nothing was ever appended."""
        (next_,) = self._query("select next from head where partition = ?", (partition,)).fetchone()
        return int(next_) - 1

    def backlog(self, partition: int, committed: int, now_ms: int) -> Backlog:
        """What lies behind a cursor."""
        records, oldest = self._query(
            "select coalesce(sum(records), 0), min(published_ms) from log where id > ? and id < ?",
            (partition << _SHIFT | committed, (partition + 1) << _SHIFT),
        ).fetchone()
        return Backlog(int(records), 0.0 if oldest is None else max(0.0, (now_ms - oldest) / 1000))

    def _query(self, statement: str, values: tuple[int, ...]) -> sqlite3.Cursor:
        try:
            return self._reading.execute(statement, values)
        except sqlite3.Error as error:
            raise unavailable(self.path, error) from error

    def _message(self, partition: int, row: tuple[int, int, int, int, bytes]) -> Message:
        id, records, published_ms, compressed, data = row
        if compressed:
            data = self._decompressor.decompress(data)
        return Message(partition, Position(0, id & _MASK), published_ms, records, data)

    def close(self) -> None:
        """After the append thread has ended."""
        self._opened.close()


def sequence_of(position: Position) -> int:
    """The cursor value for a position; 0 for `BEGINNING`."""
    return 0 if position == BEGINNING else position.entry


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    db.execute("pragma page_size=4096")  # larger pages cost 2.5-5 times the write volume for small messages
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute("pragma wal_autocheckpoint=1000")
    return db
