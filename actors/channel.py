"""A life of a destination, or a replay: reads `processed` in a group of its own, delivers, saves the resume point, commits."""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from actors.counters import Counters
from actors.deliverer import Deliverer, Due
from actors.heed import Heed
from actors.partitions import Partitions
from actors.persist import persist
from pipeline import envelope, instant, progress, topics
from pipeline.clock import Clock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.delivery import Outlet
from pipeline.errors import Malformed, NotFound, Reject, Retry, Stop
from pipeline.http.port import Http
from pipeline.log.port import Log, Message
from pipeline.progress import Progress
from pipeline.replay import Replay
from pipeline.secrets import SecretBox
from pipeline.stores.documents import Document, Documents, Outcome, Saved

#: Read at a time: what is delivered before the resume point is saved.
_READ_BYTES = 300_000
_IDLE_WAIT_S = 1.0
_REVISION_WAIT_S = 5.0


class Channel:
    """`partitions.run()` delivers until `partitions.stop`; raises `NotFound` when the group is gone.

    `life` is the group of the destination's life: once its definition names another one, or none, nothing more is delivered.
    A replay's channel ends where the replay does: whoever sees it there drops the group. Dead letters are written after the
    progress that counts them (`pipeline/progress.py`).
    """

    def __init__(
        self,
        id: str,
        life: str,
        log: Log,
        documents: Documents,
        watch: DefinitionsWatch,
        http: Http,
        clock: Clock,
        worker: str,
        random: Callable[[], float],
        secrets: SecretBox,
        counters: Counters,
        replay: Replay | None = None,
    ) -> None:
        self._id = id
        self._life = life
        self._replay = replay
        self._group = life if replay is None else replay.reader
        self._log = log
        self._documents = documents
        self._watch = watch
        self._http = http
        self._clock = clock
        self._random = random
        self._secrets = secrets
        self._counters = counters
        self._revision = -1
        self._outlet: Outlet | None = None
        self.partitions = Partitions(log, topics.PROCESSED, self._group, worker, self._own, clock, counters)

    def _current(self) -> Outlet | None:
        """The destination as of the newest revision; None when this life of it is over.

        Raises `Retry` while it cannot be made ready: it holds up its own cursor until somebody mends it.
        """
        catalog = self._watch.catalog
        if catalog.revision == self._revision:
            return self._outlet
        outlet = None
        if catalog.lives.get(self._id) == self._life:
            try:
                outlet = Outlet(
                    catalog.destinations[self._id],
                    lambda: instant.to_datetime(self._clock.now_ms()),
                    self._secrets.lookup(catalog.secrets),
                )
            except (Reject, Stop) as error:
                raise Retry(f"destination {self._id} waits: {error}") from error
        self._outlet, self._revision = outlet, catalog.revision
        return outlet

    async def _own(self, partition: int) -> None:
        partitions = self.partitions
        alive = partial(partitions.alive, partition)
        found = await progress.load(self._documents, self._group, partition)
        await self._save(found.dead_letters(), alive)  # who counted them may have come no further
        if found.group != self._group:
            await self._check_life()
        done = progress.of_life(found, self._group)
        committed = await self._log.committed(topics.PROCESSED, partition, self._group)
        at = max(done.position, committed)
        if done.position > committed:  # its commit was lost
            await partitions.membership.commit(partition, at)
            await partitions.membership.restart(partition)
        heed = await Heed.after(self._log, partition, at)
        end = None if self._replay is None else self._replay.ends[topics.PROCESSED][partition]
        while partitions.may_own(partition):
            alive()
            generation = partitions.generation
            messages: Sequence[Message] = ()
            if end is None or at < end:
                messages = await partitions.membership.read(partition, _READ_BYTES)
                messages = [one for one in messages if end is None or one.position <= end]
            if not messages:
                if end is not None:  # it ends by its commits: one that a broker forgot is made again
                    await partitions.membership.commit(partition, at)
                await partitions.news(generation, _IDLE_WAIT_S)
                continue
            settled = await self._handle(partition, messages, heed, done, alive)
            if settled is None:
                return
            done, at = settled, messages[-1].position
            await partitions.membership.commit(partition, at)

    async def _check_life(self) -> None:
        """Raises `NotFound` when the life is over, `Retry` when that cannot be known now.

        Asked after another life's progress was read: so that one is over, and this one does not take the place of its successor.
        """
        try:
            await self._watch.refresh()
        except Malformed as error:
            raise Retry(f"whether group {self._group} is still wanted is not known: {error}") from error
        if self._watch.catalog.lives.get(self._id) != self._life:
            raise NotFound(f"group {self._group} is of a life of destination {self._id} that is over")

    async def _handle(
        self, partition: int, messages: Sequence[Message], heed: Heed, done: Progress, alive: Callable[[], None]
    ) -> Progress | None:
        """Deliver what is due in these messages and count it; None when it was not this owner who did: begin again."""
        due: list[Due] = []
        taken: envelope.ProcessedHeader | None = None
        for message in messages:
            header = envelope.decode_processed_header(message.data)
            if not heed.take(header, message.position):
                continue
            taken = header
            await self._watch.reach(header.revision, _REVISION_WAIT_S)
            outlet = self._current()
            if outlet is not None and header.pairs and outlet.wants(header.pairs):
                processed = envelope.decode_processed(message.data)
                since_ms = max(processed.time_ms, self._replay.time_ms if self._replay else 0)
                due += [Due(outlet, entry, scope, since_ms) for entry, scope in outlet.due(processed)]
        if not due or taken is None:
            return done
        self._counters.received += len(due)
        deliverer = self._deliverer(partition, alive)
        if not await deliverer.deliver(due):
            return None
        settled = msgspec.structs.replace(
            done,
            version=done.version + 1,
            position=messages[-1].position,
            sequence=taken.sequence,
            time_ms=taken.time_ms,
            due=done.due + len(due),
            delivered=done.delivered + len(due) - len(deliverer.letters),
            dead=done.dead + len(deliverer.letters),
            letters={one.id: msgspec.Raw(one.body) for one in deliverer.letters},
        )
        (saved,) = await self._save([progress.document(settled)], alive)
        if saved.result is not Saved.DONE:
            self._counters.error(f"partition {partition} of group {self._group}: another owner has counted meanwhile")
            return None
        await self._save(settled.dead_letters(), alive)
        return settled

    async def _save(self, documents: Sequence[Document], alive: Callable[[], None]) -> Sequence[Outcome]:
        if not documents:
            return ()
        return await persist(partial(self._documents.save, documents), self._clock, self._counters, alive)

    def _deliverer(self, partition: int, alive: Callable[[], None]) -> Deliverer:
        def active(outlet: Outlet) -> bool:
            """Whether the destination is still what this request was made for."""
            now = self._current()
            return now is not None and now.same_as(outlet) and self.partitions.may_own(partition)

        name = "" if self._replay is None else self._replay.id
        return Deliverer(self._id, name, self._http, self._clock, self._random, self._counters, active, alive)
