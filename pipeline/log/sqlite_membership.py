"""A worker's membership in a group of an embedded topic."""

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import LogUnavailable, NotFound
from pipeline.log.cursor_file import CursorFile
from pipeline.log.members import RENEW_S, Member, alive, dissolve
from pipeline.log.port import Message, Position
from pipeline.log.sqlite_fault import unavailable
from pipeline.log.sqlite_topic import Topic, sequence_of
from pipeline.log.watch import Watch

_log = logging.getLogger(__name__)

#: How long an assignment read from the members' folder is believed.
_BELIEVE_S = 0.2

#: How long a namesake that was just killed may take to vanish, and between two looks.
_NAMESAKE_S = 2.0
_LOOK_S = 0.01


class SqliteMembership:
    """See `pipeline.log.port.Membership`. Made by `join`."""

    def __init__(
        self, topic: Topic, watch: Watch, cursor: CursorFile, member: Member, folder: Path, worker: str
    ) -> None:
        self._topic = topic
        self._watch = watch
        self._cursor = cursor
        self._folder = folder
        self._group = folder.name.removesuffix(".members")
        self._worker = worker
        self._gone = False
        self._member = member
        self._next: dict[int, int] = {}
        self._done: dict[int, int] = {}
        self._seen = -1
        self._held: frozenset[int] = frozenset()
        self._announced: frozenset[int] = frozenset()
        self._looked = float("-inf")
        self._renewal: asyncio.Task[None] | None = asyncio.create_task(self._renew(), name=f"lease of {worker}")

    @classmethod
    async def join(cls, topic: Topic, watch: Watch, cursor: Path, folder: Path, worker: str) -> "SqliteMembership":
        """Raises `NotFound` for a group that was never made, `LogUnavailable` while a live namesake is in it."""
        end = time.monotonic() + _NAMESAKE_S
        while True:
            try:
                return cls(topic, watch, CursorFile(cursor, topic.partitions), Member(folder, worker), folder, worker)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise LogUnavailable(
                        f"a worker named {worker!r} lives in {folder.name} already: give each a name of its own, "
                        "or end the other one"
                    ) from None
            except FileNotFoundError:
                raise NotFound(
                    f"there is no group {cursor.stem}: run `rayfold migrate`, or put its destination again"
                ) from None
            except OSError as error:
                raise unavailable(folder, error) from error
            await asyncio.sleep(_LOOK_S)

    async def _renew(self) -> None:
        while True:
            try:
                self._member.renew()
            except OSError as error:  # without the lease others take over; it may succeed again
                _log.warning("the lease of %s cannot be renewed: %s", self._worker, error)
            for partition, sequence in self._done.items():
                self._cursor.advance(partition, sequence)
            await asyncio.sleep(RENEW_S)

    @property
    def held(self) -> frozenset[int]:
        now = time.monotonic()
        if now - self._looked > _BELIEVE_S:
            self._looked = now
            self._gone = self._gone or not self._cursor.is_current
            workers = alive(self._folder)
            if self._worker in workers and not self._gone:
                place, count = workers.index(self._worker), len(workers)
                self._held = frozenset(p for p in range(self._topic.partitions) if p % count == place)
            else:
                self._held = frozenset()
        return self._held

    def _check(self) -> None:
        if self._gone:
            raise NotFound(f"group {self._group} was dropped: what it had read was committed nowhere")

    async def read(self, partition: int, max_bytes: int) -> Sequence[Message]:
        self._check()
        start = self._next.get(partition)
        if start is None:
            start = self._cursor.get(partition)
        messages = self._topic.read(partition, Position(0, start), max_bytes, inclusive=False)
        self._next[partition] = messages[-1].position.entry if messages else start
        return messages

    async def restart(self, partition: int) -> None:
        self._next.pop(partition, None)

    async def commit(self, partition: int, position: Position) -> None:
        self._check()
        done = self._done[partition] = max(sequence_of(position), self._done.get(partition, 0))
        self._cursor.advance(partition, done)

    async def wait(self, timeout_s: float) -> None:
        self._check()
        end = time.monotonic() + timeout_s
        while self._topic.counter.count == self._seen and self.held == self._announced:
            left = end - time.monotonic()
            if left <= 0:
                break
            await self._watch.wait(self._topic.counter, self._seen, min(left, _BELIEVE_S * 1.1))
        self._seen = self._topic.counter.count
        self._announced = self._held
        self._check()

    async def close(self) -> None:
        renewal, self._renewal = self._renewal, None
        if renewal is None:
            return
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        self._member.close()
        if not self._cursor.is_current:
            dissolve(self._folder)  # the last member of a dropped group leaves nothing behind
        self._cursor.close()
