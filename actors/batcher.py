"""The batcher: saves what `processed` holds into the document store, in batches, and commits after success."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from actors.counters import Counters
from actors.heed import Heed
from actors.persist import persist
from pipeline import envelope
from pipeline.clock import Clock
from pipeline.envelope import TRANSIENT, Processed
from pipeline.log.port import Log, Message, Position
from pipeline.stores.documents import Document, Documents, Kind, Saved
from pipeline.topics import PROCESSED, STORE_GROUP

T = TypeVar("T")

#: A batch is saved when it holds this many documents or bytes, or when its first envelope has waited this long.
_MAX_DOCUMENTS = 2_000
_READ_BYTES = 1_500_000
_LINGER_S = 0.015

_IDLE_WAIT_S = 1.0


class Batcher:
    """Stage `batcher`: all partitions held are saved together, one call of the store at a time."""

    name = "batcher"

    def __init__(self, log: Log, documents: Documents, clock: Clock, worker: str) -> None:
        self._log = log
        self._documents = documents
        self._clock = clock
        self._worker = worker
        self._heeds: dict[int, Heed] = {}
        self._stopping = False
        self.counters = Counters(clock)
        self.held: frozenset[int] = frozenset()

    async def run(self) -> None:
        """Until `stop`."""
        membership = await self._log.join(PROCESSED, STORE_GROUP, self._worker)
        self._heeds.clear()  # what an earlier run took but did not commit is new again
        try:
            while not self._stopping:
                self.counters.alive()
                self.held = membership.held
                for partition in self._heeds.keys() - self.held:
                    del self._heeds[partition]
                taken: list[Message] = []
                for partition in sorted(self.held):
                    if partition not in self._heeds:
                        await membership.restart(partition)
                        at = await self._log.committed(PROCESSED, partition, STORE_GROUP)
                        self._heeds[partition] = await Heed.after(self._log, partition, at)
                    taken += await membership.read(partition, _READ_BYTES)
                if not taken:
                    await membership.wait(_IDLE_WAIT_S)
                    continue
                if sum(message.records for message in taken) < _MAX_DOCUMENTS:
                    await self._clock.sleep(_LINGER_S)
                    for partition in sorted(self.held):
                        taken += await membership.read(partition, _READ_BYTES)
                await self._store(taken)
                for partition, position in _newest(taken).items():
                    await membership.commit(partition, position)
        finally:
            await membership.close()

    async def stop(self, within_s: float) -> None:
        self._stopping = True

    async def _store(self, messages: Sequence[Message]) -> None:
        documents: dict[tuple[Kind, str], Document] = {}
        for message in messages:
            processed: Processed = envelope.decode_processed(message.data)
            if self._heeds[message.partition].take(processed):
                self.counters.received += processed.stored
                _gather(processed, documents)
        waiting = list(documents.values())
        for start in range(0, len(waiting), _MAX_DOCUMENTS):
            await self._save(waiting[start : start + _MAX_DOCUMENTS])

    async def _save(self, documents: Sequence[Document]) -> None:
        outcomes = await self._persist(partial(self._documents.save, documents))
        for document, outcome in zip(documents, outcomes, strict=True):
            if outcome.result is Saved.REFUSED:
                await self._persist(partial(self._documents.save_refused, document, outcome.reason))
                self.counters.dead += 1
                self.counters.error(f"{document.kind} {document.id} refused by the store: {outcome.reason}")
        self.counters.handled += sum(1 for document in documents if document.kind == "event")

    async def _persist(self, save: Callable[[], Awaitable[T]]) -> T:
        return await persist(save, self._clock, self.counters, self.counters.alive)


def _gather(processed: Processed, documents: dict[tuple[Kind, str], Document]) -> None:
    for entry in processed.events:
        if not entry.flags & TRANSIENT:
            documents["event", entry.id] = Document("event", entry.id, 1, bytes(entry.body))
    for receipt in processed.receipts:
        documents["receipt", receipt.id] = Document("receipt", receipt.id, 1, bytes(receipt.body))
    versioned: tuple[tuple[Kind, list[envelope.Stored]], ...] = (
        ("session", processed.sessions),
        ("profile", processed.profiles),
    )
    for kind, stored in versioned:
        for one in stored:
            before = documents.get((kind, one.id))
            if before is None or before.version < one.version:
                documents[kind, one.id] = Document(kind, one.id, one.version, bytes(one.body))


def _newest(messages: Sequence[Message]) -> dict[int, Position]:
    return {message.partition: message.position for message in messages}
