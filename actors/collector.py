"""The collector: folds payloads and commands of `collected` into profiles and sessions, one owner a partition."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from actors.counters import Counters
from actors.owned import Owned
from actors.partitions import Partitions
from pipeline import envelope
from pipeline.batch import Batch
from pipeline.catalog import Catalog
from pipeline.clock import Clock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.document import decode_living
from pipeline.envelope import CollectedRecords, Processed, Sender
from pipeline.errors import Incomplete, Retry, Stop, StoreUnavailable, TooLarge, Undigested
from pipeline.fold import Fold, Missing
from pipeline.hot import Limits
from pipeline.log.port import Log, Message, Position
from pipeline.mapping.table import EventType
from pipeline.record import Origin, Record
from pipeline.saved import check_all_saved
from pipeline.senders import hear, is_copy
from pipeline.stores.documents import Documents, Kind
from pipeline.topics import COLLECTED, COLLECTOR_GROUP, PROCESSED, STORE_GROUP
from pipeline.underway import Underway

T = TypeVar("T")

_log = logging.getLogger(__name__)

#: Input taken at a time; the state of the output is one envelope of about `_CUT_BYTES` or less.
_READ_BYTES = 1_000_000

#: An envelope is appended once it holds this much, so that it always fits the broker (5 MB).
_CUT_BYTES = 1_500_000

#: How long ago the store may have been that far: what is evicted later costs memory only.
_STORED_AGE_S = 1.0

#: Pause while too much is waiting to be stored, or while the store does not answer.
_PRESSURE_PAUSE_S = 0.05
_STORE_PAUSE_S = 0.5

#: How long a record waits for definitions at least as new as those it was judged by.
_REVISION_WAIT_S = 5.0

_IDLE_WAIT_S = 1.0

#: How often it is looked whether the store has been restored.
_RESTORING_PAUSE_S = 0.25


class _Item(NamedTuple):
    position: Position
    place: int
    origin: Origin | None  #: None: from the API
    sender: Sender | None  #: which append of which API process
    record: Record
    events: int


class Collector:
    """Stage `collector`."""

    name = "collector"

    def __init__(
        self,
        log: Log,
        documents: Documents,
        watch: DefinitionsWatch,
        clock: Clock,
        worker: str,
        table: Mapping[str, EventType],
        limits: Limits,
        retention_ms: int,
    ) -> None:
        self._log = log
        self._documents = documents
        self._watch = watch
        self._clock = clock
        self._table = table
        self._limits = limits
        self._checkpoint_ms = retention_ms // 2
        #: Records that made the fold fail: (partition, position, place) → why.
        self._undigested: dict[tuple[int, Position, int], str] = {}
        self._underway = Underway(log, watch)
        self._is_whole = False  #: the store has been looked at
        self._looking = asyncio.Lock()
        self.counters = Counters(clock)
        self._partitions = Partitions(log, COLLECTED, COLLECTOR_GROUP, worker, self._own, clock, self.counters)

    async def run(self) -> None:
        self._is_whole = False
        await self._partitions.run()

    async def stop(self, within_s: float) -> None:
        await self._partitions.stop(within_s)

    @property
    def held(self) -> frozenset[int]:
        return self._partitions.held

    async def _own(self, partition: int) -> None:
        partitions = self._partitions
        await self._until_whole(partition)
        if not partitions.may_own(partition):
            return
        owned = await Owned.open(self._log, partition, COLLECTED, COLLECTOR_GROUP, self._limits)
        fold = Fold(partition, self._log.partitions, owned.hot, self._table)
        while partitions.may_own(partition):
            partitions.alive(partition)
            generation = partitions.generation
            if await self._underway.of_store():
                self._is_whole = False
                return  # open again when it has ended: what is remembered as absent may come back
            await self._relieve(owned, partition)
            messages = await partitions.membership.read(partition, _READ_BYTES)
            if messages:
                await self._handle(owned, fold, messages)
                await partitions.membership.commit(partition, messages[-1].position)
            else:
                await self._checkpoint(owned)
                await partitions.news(generation, _IDLE_WAIT_S)

    async def _until_whole(self, partition: int) -> None:
        """While the store is being restored nothing is read: what is missing there would be taken for new.

        Raises `Incomplete` when the store has lost what it had: until somebody restores it the log keeps the input. All
        partitions are looked at, once: what was lost of another's may be asked for by this one.
        """
        while await self._underway.of_store() and self._partitions.may_own(partition):
            self._is_whole = False
            self.counters.waiting = "a replay of the store is under way, input waits until it has ended"
            self._partitions.alive(partition)
            await self._clock.sleep(_RESTORING_PAUSE_S)
        async with self._looking:
            if not self._is_whole:
                try:
                    await check_all_saved(self._log, self._documents)
                except Incomplete as error:
                    self.counters.waiting = str(error)
                    raise
                self._is_whole = True
                self.counters.waiting = ""

    async def _relieve(self, owned: Owned, partition: int) -> None:
        """Forget what is stored; while too much is not, take nothing more."""
        hot = owned.hot
        hot.evict(await self._log.committed(PROCESSED, partition, STORE_GROUP, max_age_s=_STORED_AGE_S))
        while hot.full and self._partitions.may_own(partition):
            self._partitions.alive(partition)
            await self._clock.sleep(_PRESSURE_PAUSE_S)
            hot.evict(await self._log.committed(PROCESSED, partition, STORE_GROUP, max_age_s=_STORED_AGE_S))

    async def _handle(self, owned: Owned, fold: Fold, messages: Sequence[Message]) -> None:
        items = _items(owned, messages)
        self.counters.received += sum(item.events for item in items)
        if not items:
            return
        # asked after the batch was read: what came after a change finds it, whatever revision the API judged by
        catalog = await self._watch.current(_REVISION_WAIT_S)
        fold.forget()
        await self._prefetch(fold, items)
        batch = _batch(owned)
        for item in items:
            if _is_heard(item, batch):
                batch.done(item.position, item.place)
                continue
            while missing := self._apply(fold, item, catalog, batch):
                await self._load(fold, missing)
            _hear(item, batch)
            batch.done(item.position, item.place)
            if batch.size >= _CUT_BYTES:
                await self._publish(owned, fold, item, batch.finish(owned.hot, self._clock.now_ms(), catalog.revision))
                batch = _batch(owned)
        if batch.records:
            await owned.publish(batch.finish(owned.hot, self._clock.now_ms(), catalog.revision))
        self.counters.handled += sum(item.events for item in items)
        if self._undigested:
            for item in items:  # durable: what was set aside is done with
                self._undigested.pop(_slot(fold, item), None)

    async def _publish(self, owned: Owned, fold: Fold, last: _Item, processed: Processed) -> None:
        """An envelope that no message can hold is so because of its last record: all before it stayed below the cut."""
        try:
            await owned.publish(processed)
        except TooLarge as error:
            raise self._set_aside(fold, last, str(error)) from error

    def _apply(self, fold: Fold, item: _Item, catalog: Catalog, batch: Batch) -> Missing:
        """Fold one record in, or reject it when it could not be digested before; returns what has to be loaded first."""
        api = item.origin is None
        reason = self._undigested.get(_slot(fold, item)) if self._undigested else None
        if reason is None:
            return self._digest(fold, item, partial(fold.apply, item.record, api, catalog, batch))
        missing = fold.reject(item.record, api, reason, batch)
        if not missing:
            self.counters.error(f"record {item.position.entry}/{item.place} of partition {fold.partition}: {reason}")
        return missing

    def _digest(self, fold: Fold, item: _Item, work: Callable[[], T]) -> T:
        """A record that cannot be digested must not stop its partition for ever.

        What it left half done is dropped with the ownership; on the next pass it is rejected with its reason.
        """
        try:
            return work()
        except (Retry, Stop, MemoryError):
            raise
        except Exception as error:  # whatever it is: it is named, counted and kept with the event
            _log.exception("partition %d cannot digest a record", fold.partition)
            raise self._set_aside(fold, item, f"{type(error).__name__}: {error}") from error

    def _set_aside(self, fold: Fold, item: _Item, reason: str) -> Undigested:
        self._undigested[_slot(fold, item)] = reason
        return Undigested(f"a record could not be folded and is set aside: {reason}")

    async def _prefetch(self, fold: Fold, items: Sequence[_Item]) -> None:
        """Ask for everything the batch is likely to need in few questions; what a profile reveals needs another."""
        if self._undigested:
            items = [item for item in items if _slot(fold, item) not in self._undigested]
        while items:
            wanted = [(item, self._digest(fold, item, partial(fold.missing, item.record))) for item in items]
            union = Missing(*(frozenset().union(*parts) for parts in zip(*(m for _, m in wanted), strict=True)))
            if union:
                await self._load(fold, union)
            items = [item for item, missing in wanted if missing.profiles]

    async def _load(self, fold: Fold, missing: Missing) -> None:
        """Ask the store until it answers: a failed look-up is no answer."""
        while True:
            try:
                _, _, known = await asyncio.gather(
                    self._load_documents(fold, "profile", missing.profiles),
                    self._load_documents(fold, "session", missing.sessions),
                    self._documents.known(missing.events) if missing.events else _nothing(),
                )
            except StoreUnavailable as error:
                self.counters.error(str(error))
                self._partitions.alive(fold.partition)
                await self._clock.sleep(_STORE_PAUSE_S)
                continue
            fold.asked(missing.events, known)
            return

    async def _load_documents(self, fold: Fold, kind: Kind, ids: frozenset[str]) -> None:
        if not ids:
            return
        found = await self._documents.load(kind, ids)
        for id in ids:
            document = found.get(id)
            if document is None:
                fold.hot.loaded(id, 0, None, 0)
            else:
                fold.hot.loaded(id, document.version, decode_living(document.body), len(document.body))

    async def _checkpoint(self, owned: Owned) -> None:
        """A quiet partition's last envelope must never be the oldest thing that retention could take."""
        now = self._clock.now_ms()
        if owned.sequence and now - owned.last_ms > self._checkpoint_ms:
            await owned.publish(_batch(owned).finish(owned.hot, now, self._watch.catalog.revision))


def _slot(fold: Fold, item: _Item) -> tuple[int, Position, int]:
    return fold.partition, item.position, item.place


async def _nothing() -> frozenset[str]:
    return frozenset()


def _batch(owned: Owned) -> Batch:
    return Batch(owned.sequence + 1, owned.through, owned.heard, owned.senders, owned.totals)


def _is_heard(item: _Item, batch: Batch) -> bool:
    origin, sender = item.origin, item.sender
    if origin is not None:
        return (origin.sequence, origin.place) <= batch.heard.get(origin.sender, (-1, -1))
    return sender is not None and is_copy(sender, item.place, batch.senders)


def _hear(item: _Item, batch: Batch) -> None:
    origin, sender = item.origin, item.sender
    if origin is not None:
        batch.heard[origin.sender] = (origin.sequence, origin.place)
    elif sender is not None:
        hear(batch.senders, sender, item.place)


def _items(owned: Owned, messages: Sequence[Message]) -> list[_Item]:
    """The records beyond `through`, in order."""
    items = []
    through = owned.through
    for message in messages:
        if message.position < through.position:
            continue
        collected: CollectedRecords = envelope.decode_collected(message.data)
        origins = collected.origins
        first = through.index + 1 if message.position == through.position else 0
        for index in range(first, len(collected.records)):
            items.append(
                _Item(
                    message.position,
                    index,
                    origins[index] if origins else None,
                    collected.sender,
                    collected.records[index],
                    collected.counts[index],
                )
            )
    return items
