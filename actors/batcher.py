"""The batcher: saves what `processed` holds into the document store, in batches, and commits after success."""

import asyncio
import logging
from collections.abc import Sequence

from actors import saver
from actors.counters import Counters
from actors.heed import Heed
from actors.restorer import Restorer
from actors.saver import Saver
from pipeline import envelope
from pipeline.clock import Clock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.envelope import Processed
from pipeline.errors import StoreUnavailable
from pipeline.log.port import Log, Membership, Message, Position
from pipeline.saved import check_saved
from pipeline.stores.documents import Documents
from pipeline.to_save import Gathered, gather
from pipeline.topics import PROCESSED, STORE_GROUP

_log = logging.getLogger(__name__)

#: A batch is saved when it holds `saver.MAX_DOCUMENTS` records or this many bytes, or once its first envelope has waited so long.
_READ_BYTES = 1_500_000
_LINGER_S = 0.015

_IDLE_WAIT_S = 1.0

#: How often it is looked whether a store that has lost documents has them again.
_LOST_PAUSE_S = 1.0


class Batcher:
    """Stage `batcher`: all partitions held are saved together, one call of the store at a time; replays beside that.

    Before anything of a partition is saved, all of its newest saved envelope must be in the store: else what was lost could
    no longer be noticed there. Such a partition waits for a replay of the store; the others, and replays, go on.
    """

    name = "batcher"

    def __init__(self, log: Log, documents: Documents, watch: DefinitionsWatch, clock: Clock, worker: str) -> None:
        self._log = log
        self._documents = documents
        self._clock = clock
        self._worker = worker
        self._heeds: dict[int, Heed] = {}  #: the partitions taken up
        #: Those that are not, the store having lost documents → when to look again.
        self._waiting: dict[int, float] = {}
        self._stopping = False
        self.counters = Counters(clock)
        self._saver = Saver(documents, clock, self.counters, self.counters.alive)
        self._restorer = Restorer(log, documents, watch, clock, worker, self.counters)
        self.held: frozenset[int] = frozenset()

    async def run(self) -> None:
        """Until `stop`."""
        restoring = asyncio.create_task(self._restorer.run(), name="restorer")
        saving = asyncio.create_task(self._save_all(), name="saving")
        try:
            await asyncio.gather(restoring, saving)  # whichever fails, both begin anew
        finally:
            for task in (restoring, saving):
                task.cancel()
            await asyncio.gather(restoring, saving, return_exceptions=True)

    async def _save_all(self) -> None:
        membership = await self._log.join(PROCESSED, STORE_GROUP, self._worker)
        self._heeds.clear()  # what an earlier run took but did not commit is new again
        try:
            while not self._stopping:
                self.counters.alive()
                self.held = membership.held
                for partition in self._heeds.keys() - self.held:
                    del self._heeds[partition]
                for partition in self._waiting.keys() - self.held:
                    del self._waiting[partition]
                for partition in sorted(self.held - self._heeds.keys()):
                    await self._take_up(membership, partition)
                if not self._waiting:
                    self.counters.waiting = ""
                taken: list[Message] = []
                for partition in sorted(self._heeds):
                    taken += await membership.read(partition, _READ_BYTES)
                if not taken:
                    await membership.wait(_IDLE_WAIT_S)
                    continue
                if sum(message.records for message in taken) < saver.MAX_DOCUMENTS:
                    await self._clock.sleep(_LINGER_S)
                    for partition in sorted(self._heeds):
                        taken += await membership.read(partition, _READ_BYTES)
                await self._store(taken)
                for partition, position in _newest(taken).items():
                    await membership.commit(partition, position)
        finally:
            await membership.close()

    async def _take_up(self, membership: Membership, partition: int) -> None:
        """Begin with a partition, unless the store has lost what was saved of it, or does not answer."""
        now = self._clock.monotonic()
        if now < self._waiting.get(partition, now):
            return
        try:
            await check_saved(self._log, self._documents, partition)
        except StoreUnavailable as error:
            if partition not in self._waiting:
                _log.warning("saving of partition %d waits: %s", partition, error)
            self.counters.error(str(error))
            self.counters.waiting = str(error)
            self._waiting[partition] = now + _LOST_PAUSE_S
            return
        self._waiting.pop(partition, None)
        await membership.restart(partition)
        at = await self._log.committed(PROCESSED, partition, STORE_GROUP)
        self._heeds[partition] = await Heed.after(self._log, partition, at)

    async def stop(self, within_s: float) -> None:
        self._stopping = True
        await self._restorer.stop(within_s)

    async def _store(self, messages: Sequence[Message]) -> None:
        documents: Gathered = {}
        for message in messages:
            processed: Processed = envelope.decode_processed(message.data)
            if self._heeds[message.partition].take(processed, message.position):
                self.counters.received += processed.stored
                gather(processed, documents)
        await self._saver.save(list(documents.values()))


def _newest(messages: Sequence[Message]) -> dict[int, Position]:
    return {message.partition: message.position for message in messages}
