"""For ``?wait=``: follows `processed` while somebody waits and hands each payload's outcome to its request."""

import asyncio
import logging
from typing import NamedTuple

from pipeline import envelope
from pipeline.clock import Clock
from pipeline.envelope import Answer, ProcessedHeader
from pipeline.errors import Retry, Stop
from pipeline.log.port import BEGINNING, Log, Position
from pipeline.topics import PROCESSED, STORE_GROUP

_log = logging.getLogger(__name__)

_READ_BYTES = 1_000_000
_LOOK_S = 0.2
_PAUSE_S = 0.02

#: All who wait for one partition ask a broker together.
_STORED_AGE_S = 0.1


class Outcome(NamedTuple):
    """Where a payload's answer lies."""

    answer: Answer
    partition: int
    position: Position


class Outcomes:
    """One tail over all partitions, running only while there are waiters."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._waiters: dict[str, asyncio.Future[Outcome]] = {}
        self._tail: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def expect(self, task: str) -> asyncio.Future[Outcome]:
        """Call before the payload is appended; `forget` must follow. Cancelled when outcomes cannot be followed any more."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiters[task] = future
        if self._tail is None:
            self._ready.clear()
            self._tail = asyncio.create_task(self._follow(), name="outcomes")
        await self._ready.wait()
        return future

    def forget(self, task: str) -> None:
        """Nobody waits for this payload any more."""
        self._waiters.pop(task, None)

    async def stored(self, outcome: Outcome) -> None:
        """Return once the batcher has saved everything up to the outcome."""
        log, partition = self._log, outcome.partition
        while await log.committed(PROCESSED, partition, STORE_GROUP, max_age_s=_STORED_AGE_S) < outcome.position:
            await self._clock.sleep(_PAUSE_S)

    async def _follow(self) -> None:
        try:
            positions: list[Position] = []
            for partition in range(self._log.partitions):
                last = await self._log.last(PROCESSED, partition)
                positions.append(last.position if last is not None else BEGINNING)
            self._ready.set()
            while self._waiters:
                for partition in range(self._log.partitions):
                    positions[partition] = await self._read(partition, positions[partition])
                await self._log.wait(PROCESSED, _LOOK_S)
        except (Retry, Stop) as error:  # the payloads are safe all the same: those who wait are answered 202
            _log.warning("outcomes cannot be followed: %s", error)
            for future in self._waiters.values():
                future.cancel()
        finally:
            self._tail = None
            self._ready.set()

    async def _read(self, partition: int, position: Position) -> Position:
        for message in await self._log.read(PROCESSED, partition, position, _READ_BYTES):
            position = message.position
            header: ProcessedHeader = envelope.decode_processed_header(message.data)
            for answer in header.answers:
                future = self._waiters.get(answer.task)
                if future is not None and not answer.forwarded_to and not future.done():
                    future.set_result(Outcome(answer, partition, position))
        return position
