"""The embedded log: one SQLite file per topic, any number of processes on one machine, no server."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote
from weakref import WeakSet

from pipeline.clock import Clock
from pipeline.errors import LogUnavailable, NotFound
from pipeline.log.cursor_file import CursorFile
from pipeline.log.group_commit import GroupCommit
from pipeline.log.members import dissolve
from pipeline.log.port import BEGINNING, Backlog, Message, Position
from pipeline.log.sqlite_fault import unavailable, unusable
from pipeline.log.sqlite_membership import SqliteMembership
from pipeline.log.sqlite_topic import Item, Topic
from pipeline.log.watch import Watch
from pipeline.topics import TOPICS

#: With less room than this on its disk the log counts as full; smaller appends may still succeed.
_ROOM_BYTES = 1_000_000

_CURSOR = ".cursor"
_MEMBERS = ".members"


class SqliteWriter:
    """See `pipeline.log.port.Writer`."""

    def __init__(self, log: "SqliteLog", topic: str, partition: int, epoch: int) -> None:
        self._log = log
        self._topic = topic
        self._partition = partition
        self._epoch = epoch

    async def append(self, data: bytes, records: int) -> Position:
        return await self._log.append_as(self._topic, self._partition, self._epoch, data, records)


class SqliteLog:
    """See `pipeline.log.port.Log`. Made by `open`."""

    def __init__(self, folder: Path, partitions: int, clock: Clock, topics: Mapping[str, Topic]) -> None:
        self._folder = folder
        self._partitions = partitions
        self._clock = clock
        self._topics = topics
        self._commits = {name: GroupCommit(topic) for name, topic in topics.items()}
        self._watch = Watch([topic.counter for topic in topics.values()])
        self._seen = dict.fromkeys(topics, -1)
        self._cursors: dict[tuple[str, str], CursorFile] = {}
        self._memberships: WeakSet[SqliteMembership] = WeakSet()
        self._closed = False

    @classmethod
    async def open(cls, folder: Path, partitions: int, clock: Clock, topics: Sequence[str] = TOPICS) -> "SqliteLog":
        """Open or create.

        Raises `Misconfigured` for another partition count or a folder or file that cannot be used, `UnknownFormat` for a
        newer format (nothing is altered then), `LogUnavailable` when another process does not let go of the lock.
        """
        return cls(folder, partitions, clock, await asyncio.to_thread(_open_topics, folder, partitions, topics))

    @property
    def partitions(self) -> int:
        return self._partitions

    async def append(self, topic: str, partition: int, data: bytes, records: int) -> Position:
        return await self.append_as(topic, partition, None, data, records)

    async def append_as(self, topic: str, partition: int, epoch: int | None, data: bytes, records: int) -> Position:
        """Append by a fenced writer (with its epoch) or by one of many (None)."""
        if self._closed:
            raise LogUnavailable("this process has closed the log, nothing was appended: open it again")
        if not 0 <= partition < self._partitions:
            raise NotFound(f"topic {topic} has no partition {partition}, only 0 to {self._partitions - 1}")
        return await self._commits[topic].append(Item(partition, epoch, records, self._clock.now_ms(), data))

    async def check(self) -> None:
        if self._closed:
            raise LogUnavailable("this process has closed the log: open it again")
        await asyncio.to_thread(_look_for_room, self._folder)

    async def exclusive(self, topic: str, partition: int) -> SqliteWriter:
        epoch = await self._commits[topic].call(partial(self._topics[topic].raise_epoch, partition))
        return SqliteWriter(self, topic, partition, epoch)

    async def join(self, topic: str, group: str, worker: str) -> SqliteMembership:
        cursor, members = self._file(topic, group, _CURSOR), self._file(topic, group, _MEMBERS)
        membership = await SqliteMembership.join(self._topics[topic], self._watch, cursor, members, worker)
        self._memberships.add(membership)
        return membership

    def _file(self, topic: str, group: str, suffix: str) -> Path:
        return self._folder / f"{topic}@{quote(group, safe='')}{suffix}"

    async def create_group(self, topic: str, group: str, at: Literal["start", "end"] | int) -> None:
        file = self._file(topic, group, _CURSOR)
        if isinstance(at, int):
            await self._commits[topic].call(partial(self._topics[topic].create_cursor, file, at))
            return
        ends = [self._topics[topic].end(p) if at == "end" else 0 for p in range(self._partitions)]
        CursorFile.create(file, ends)

    async def drop_group(self, topic: str, group: str) -> None:
        self._file(topic, group, _CURSOR).unlink(missing_ok=True)
        cursor = self._cursors.pop((topic, group), None)
        if cursor is not None:
            cursor.close()
        dissolve(self._file(topic, group, _MEMBERS))

    async def groups(self, topic: str) -> Sequence[str]:
        names = (path.name for path in self._folder.glob(f"{topic}@*{_CURSOR}"))
        return sorted(unquote(name.removeprefix(f"{topic}@").removesuffix(_CURSOR)) for name in names)

    async def read(
        self, topic: str, partition: int, after: Position, max_bytes: int, *, inclusive: bool = False
    ) -> Sequence[Message]:
        return self._topics[topic].read(partition, after, max_bytes, inclusive)

    async def wait(self, topic: str, timeout_s: float) -> None:
        self._seen[topic] = await self._watch.wait(self._topics[topic].counter, self._seen[topic], timeout_s)

    async def last(self, topic: str, partition: int) -> Message | None:
        return self._topics[topic].last(partition)

    async def committed(self, topic: str, partition: int, group: str, *, max_age_s: float = 0) -> Position:
        sequence = self._committed(topic, group, partition)
        return Position(0, sequence) if sequence else BEGINNING

    def _committed(self, topic: str, group: str, partition: int) -> int:
        """Of the group as it is now: one that was dropped and made again has another file."""
        path = self._file(topic, group, _CURSOR)
        key = (topic, group)
        cursor = self._cursors.get(key)
        try:
            if cursor is None or path.stat().st_ino != cursor.inode:
                cursor = self._cursors[key] = CursorFile(path, self._partitions)
        except FileNotFoundError:
            return 0
        return cursor.get(partition)

    async def backlog(self, topic: str, group: str) -> Backlog:
        if not self._file(topic, group, _CURSOR).exists():
            raise NotFound(f"topic {topic} has no group {group!r}")
        now = self._clock.now_ms()
        parts = [
            self._topics[topic].backlog(partition, self._committed(topic, group, partition), now)
            for partition in range(self._partitions)
        ]
        return Backlog(sum(part.records for part in parts), max(part.seconds for part in parts))

    async def trim(self, topic: str, older_than_ms: int) -> int:
        dropped = 0
        for partition in range(self._partitions):
            floor = partial(self._floor, topic, partition)
            step = partial(self._topics[topic].trim_step, partition, floor, older_than_ms)
            while count := await self._commits[topic].call(step):  # one at a time: appends go in between
                dropped += count
        return dropped

    def _floor(self, topic: str, partition: int) -> int | None:
        """The lowest cursor of all groups as it is now, None without groups. Safe on any thread."""
        floors = []
        for path in self._folder.glob(f"{topic}@*{_CURSOR}"):
            with contextlib.suppress(FileNotFoundError):  # dropped just now
                floors.append(CursorFile.read(path, partition))
        return min(floors, default=None)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for membership in list(self._memberships):
            await membership.close()
        ended = await asyncio.gather(*(commits.close() for commits in self._commits.values()))
        self._watch.close()
        for cursor in self._cursors.values():
            cursor.close()
        for topic, has_ended in zip(self._topics.values(), ended, strict=True):
            if has_ended:
                topic.close()


def _look_for_room(folder: Path) -> None:
    """By taking it for a moment, without a name: of a disk with quotas or reserves nothing else tells the truth."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, _ROOM_BYTES)
    except OSError as error:
        raise unavailable(folder, error) from error


def _open_topics(folder: Path, partitions: int, topics: Sequence[str]) -> dict[str, Topic]:
    """All or none. Blocks."""
    opened: dict[str, Topic] = {}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in topics:
            opened[name] = Topic(folder / f"{name}.db", partitions)
    except OSError as error:
        raise unusable(folder, error) from error
    finally:
        if len(opened) < len(topics):
            for topic in opened.values():
                topic.close()
    return opened
