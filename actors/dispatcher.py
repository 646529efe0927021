"""The dispatcher: one group per destination on `processed`, so that a dead destination holds up only its own cursor."""

import asyncio
from collections.abc import Callable

import msgspec

from actors.counters import Counters
from actors.deliverer import Deliverer, Due
from actors.heed import Heed
from actors.partitions import Partitions
from pipeline import envelope, instant, progress
from pipeline.clock import Clock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.delivery import Outlet
from pipeline.errors import Reject, Retry, Stop
from pipeline.http.port import Http
from pipeline.log.port import Log, Message
from pipeline.secrets import SecretBox
from pipeline.stores.documents import Documents

TOPIC = "processed"

#: Read at a time: what is delivered before the resume point is saved.
_READ_BYTES = 300_000
_IDLE_WAIT_S = 1.0
_LOOK_S = 0.5


def group_of(destination: str) -> str:
    """The group that reads for this destination."""
    return f"dest.{destination}"


class Dispatcher:
    """Stage `dispatcher`: starts and ends one `_Channel` per destination as definitions change."""

    name = "dispatcher"

    def __init__(
        self,
        log: Log,
        documents: Documents,
        watch: DefinitionsWatch,
        http: Http,
        clock: Clock,
        worker: str,
        random: Callable[[], float],
        secrets: SecretBox,
    ) -> None:
        self._log = log
        self._documents = documents
        self._watch = watch
        self._http = http
        self._clock = clock
        self._worker = worker
        self._random = random
        self._secrets = secrets
        self._channels: dict[str, tuple[_Channel, asyncio.Task[None]]] = {}
        self._stopping = False
        self.counters = Counters(clock)

    @property
    def held(self) -> frozenset[int]:
        """Partitions held for any destination."""
        return frozenset().union(*(channel.partitions.held for channel, _ in self._channels.values()))

    async def run(self) -> None:
        """Until `stop`."""
        try:
            while not self._stopping:
                self.counters.alive()
                await self._look()
                await self._clock.sleep(_LOOK_S)
        finally:
            for _, task in self._channels.values():
                task.cancel()
            await asyncio.gather(*(task for _, task in self._channels.values()), return_exceptions=True)
            self._channels.clear()

    async def _look(self) -> None:
        wanted = self._watch.catalog.destinations.keys()
        for id in wanted - self._channels.keys():
            channel = _Channel(id, self)
            self._channels[id] = channel, asyncio.create_task(channel.partitions.run(), name=f"destination {id}")
        for id in self._channels.keys() - wanted:
            channel, task = self._channels.pop(id)
            await channel.partitions.stop(5.0)
            await task
        for _, task in self._channels.values():
            if task.done():
                task.result()

    async def stop(self, within_s: float) -> None:
        self._stopping = True
        await asyncio.gather(*(channel.partitions.stop(within_s) for channel, _ in self._channels.values()))


class _Channel:
    """One destination: reads, delivers, saves the resume point, commits."""

    def __init__(self, id: str, stage: Dispatcher) -> None:
        self._id = id
        self._stage = stage
        self._revision = -1
        self._outlet: Outlet | None = None
        self.partitions = Partitions(stage._log, TOPIC, group_of(id), stage._worker, self._own, stage._clock)

    def _compiled(self) -> Outlet | None:
        """The destination as of the newest revision; None when it is disabled or gone."""
        catalog = self._stage._watch.catalog
        if catalog.revision != self._revision:
            destination = catalog.destinations.get(self._id)
            self._outlet = None
            if destination is not None and destination.enabled:
                clock = self._stage._clock
                self._outlet = Outlet(
                    destination,
                    lambda: instant.to_datetime(clock.now_ms()),
                    self._stage._secrets.lookup(catalog.secrets),
                )
            self._revision = catalog.revision
        return self._outlet

    async def _own(self, partition: int) -> None:
        stage = self._stage
        partitions = self.partitions
        done = await progress.load(stage._documents, group_of(self._id), partition)
        committed = await stage._log.committed(TOPIC, partition, group_of(self._id))
        heed = await Heed.after(stage._log, partition, max(done.position, committed))
        while partitions.may_own(partition):
            stage.counters.alive()
            generation = partitions.generation
            messages = await partitions.membership.read(partition, _READ_BYTES)
            if not messages:
                await partitions.news(generation, _IDLE_WAIT_S)
                continue
            settled = await self._handle(
                partition, [one for one in messages if one.position > done.position], heed, done
            )
            if settled is None:
                return
            done = settled
            await partitions.membership.commit(partition, messages[-1].position)

    async def _handle(
        self, partition: int, messages: list[Message], heed: Heed, done: progress.Progress
    ) -> progress.Progress | None:
        """Deliver what is due in these messages; None when ownership ended before all was settled."""
        stage = self._stage
        outlet = self._outlet_or_wait()
        due: list[Due] = []
        header: envelope.ProcessedHeader | None = None
        for message in messages:
            header = envelope.decode_processed_header(message.data)
            if heed.take(header) and outlet is not None and header.pairs and outlet.wants(header.pairs):
                processed = envelope.decode_processed(message.data)
                for entry, scope in outlet.due(processed):
                    due.append(Due(outlet.request(entry, scope), entry, processed.time_ms))
        if not due or header is None:
            return done
        stage.counters.received += len(due)
        deliverer = self._deliverer(partition)
        if not await deliverer.deliver(due):
            return None
        settled = msgspec.structs.replace(
            done,
            position=messages[-1].position,
            sequence=header.sequence,
            time_ms=header.time_ms,
            due=done.due + len(due),
            delivered=done.delivered + len(due) - deliverer.dead,
            dead=done.dead + deliverer.dead,
        )
        await progress.save(stage._documents, settled)
        return settled

    def _outlet_or_wait(self) -> Outlet | None:
        """A destination that cannot be made ready holds up its own cursor until somebody mends it."""
        try:
            return self._compiled()
        except (Reject, Stop) as error:
            text = f"destination {self._id} waits: {error}"
            self._stage.counters.error(text)
            raise Retry(text) from error

    def _deliverer(self, partition: int) -> Deliverer:
        stage = self._stage
        partitions = self.partitions
        revision = self._revision

        def active() -> bool:
            catalog = stage._watch.catalog
            if catalog.revision != revision:
                now = catalog.destinations.get(self._id)
                if self._outlet is None or now != self._outlet.destination:
                    return False
            return partitions.may_own(partition)

        return Deliverer(self._id, stage._http, stage._documents, stage._clock, stage._random, stage.counters, active)
