"""Turns many requests into few appends: one in flight per partition, what arrives meanwhile is the next envelope."""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

from pipeline import envelope, identity
from pipeline.envelope import Sender
from pipeline.errors import LogUnavailable, Retry
from pipeline.intake import Accepted
from pipeline.log.port import Log
from pipeline.topics import COLLECTED

_log = logging.getLogger(__name__)

#: Bytes of records waiting for their append in this process; more is answered 429.
MAX_PENDING_BYTES = 64_000_000

#: An envelope takes records up to this size, so that it fits the broker (5 MB).
_MAX_ENVELOPE_BYTES = 2_000_000


class Overloaded(Retry):
    """More is waiting to be appended than memory may hold; slow down."""


class _Pending(NamedTuple):
    record: bytes
    events: int
    done: asyncio.Future[None]


class Coalescer:
    """Appends accepted payloads to `collected`. `name`: of this process among all there ever were; copies are known by it."""

    def __init__(self, log: Log, name: str) -> None:
        self._log = log
        self._name = name
        self._appends = [0] * log.partitions  #: begun, failed ones included
        self._pending: list[list[_Pending]] = [[] for _ in range(log.partitions)]
        self._senders: list[asyncio.Task[None] | None] = [None] * log.partitions
        self._pending_bytes = 0

    async def append(self, payloads: Sequence[Accepted]) -> None:
        """Durable on return, all of them. Raises `LogUnavailable` (some may be stored) or `Overloaded` (none is)."""
        size = sum(len(one.record) for one in payloads)
        if self._pending_bytes + size > MAX_PENDING_BYTES and self._pending_bytes:
            raise Overloaded("too much is waiting for the log; send again a little later")
        self._pending_bytes += size
        loop = asyncio.get_running_loop()
        waiting = []
        for one in payloads:
            partition = identity.partition(one.partition_key, self._log.partitions)
            done = loop.create_future()
            waiting.append(done)
            self._pending[partition].append(_Pending(one.record, one.events, done))
            if self._senders[partition] is None:
                self._senders[partition] = asyncio.create_task(self._send(partition), name=f"append to {partition}")
        if len(waiting) == 1:
            await waiting[0]
            return
        for failure in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(failure, BaseException):
                raise failure

    async def _send(self, partition: int) -> None:
        queue = self._pending[partition]
        while queue:
            taken = _take(queue)
            failure: Exception | None = None
            try:
                self._appends[partition] += 1
                sender = Sender(self._name, self._appends[partition])
                counts = [one.events for one in taken]
                data = envelope.collected([one.record for one in taken], counts, sender=sender)
                await self._log.append(COLLECTED, partition, data, sum(counts))
            except Retry as error:
                failure = error
            except Exception as error:  # noqa: BLE001  (unforeseen: those who wait are told, those who come later are served)
                _log.exception("an append to partition %d failed", partition)
                failure = LogUnavailable(f"the append failed, its outcome is unknown ({type(error).__name__}: {error})")
            for one in taken:
                self._pending_bytes -= len(one.record)
                if one.done.done():
                    continue
                if failure is None:
                    one.done.set_result(None)
                else:
                    one.done.set_exception(failure)
        self._senders[partition] = None


def _take(queue: list[_Pending]) -> list[_Pending]:
    size = count = 0
    while count < len(queue) and (not count or size + len(queue[count].record) <= _MAX_ENVELOPE_BYTES):
        size += len(queue[count].record)
        count += 1
    taken = queue[:count]
    del queue[:count]
    return taken
