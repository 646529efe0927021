"""Restores documents: replays of the store, each by a group of its own on `processed` and on `runs`."""

from functools import partial

from actors.counters import Counters
from actors.partitions import Partitions
from actors.readers import Readers
from actors.saver import Saver
from pipeline import envelope, replay
from pipeline.clock import Clock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.log.port import Log
from pipeline.replay import Replay
from pipeline.stores.documents import Documents
from pipeline.to_save import Gathered, gather, gather_runs
from pipeline.topics import RUNS
from pipeline.underway import Underway

_LOOK_S = 0.5
_READ_BYTES = 4_000_000
_IDLE_WAIT_S = 1.0


class Restorer:
    """Part of stage `batcher`, beside its own work: what it saves is kept only where it is missing or newer.

    So whatever is repeated after a crash, or saved by both, comes to the same.
    """

    def __init__(
        self, log: Log, documents: Documents, watch: DefinitionsWatch, clock: Clock, worker: str, counters: Counters
    ) -> None:
        self._log = log
        self._clock = clock
        self._worker = worker
        self._counters = counters
        self._underway = Underway(log, watch)
        self._readers = Readers(counters)
        self._documents = documents
        self._stopping = False
        self._within_s = 0.0

    async def run(self) -> None:
        """Until `stop`."""
        try:
            while not self._stopping:
                self._counters.alive(self)
                await self._look()
                await self._clock.sleep(_LOOK_S)
        finally:
            self._counters.ended(self)
            await self._readers.end(self._within_s)

    async def _look(self) -> None:
        replays = [one for one in await self._underway.replays() if one.is_of_store]
        await self._readers.keep(
            {f"replay {one.id} of {topic}": partial(self._open, one, topic) for one in replays for topic in one.ends}
        )
        for one in replays:
            if await replay.is_through(self._log, one):
                await replay.end(self._log, one.id)

    def _open(self, one: Replay, topic: str) -> Partitions:
        async def own(partition: int) -> None:
            await self._restore(one, topic, partitions, partition)

        partitions = Partitions(self._log, topic, one.reader, self._worker, own, self._clock, self._counters)
        return partitions

    async def _restore(self, one: Replay, topic: str, partitions: Partitions, partition: int) -> None:
        end = one.ends[topic][partition]
        at = await self._log.committed(topic, partition, one.reader)
        saver = Saver(self._documents, self._clock, self._counters, partial(partitions.alive, partition))
        while partitions.may_own(partition):
            partitions.alive(partition)
            generation = partitions.generation
            messages = await partitions.membership.read(partition, _READ_BYTES) if at < end else ()
            if not messages:
                await partitions.membership.commit(partition, at)  # it ends by its commits: one that a broker forgot
                await partitions.news(generation, _IDLE_WAIT_S)
                continue
            documents: Gathered = {}
            for message in messages:
                if topic == RUNS:
                    gather_runs(envelope.decode_runs(message.data), documents)
                else:
                    gather(envelope.decode_processed(message.data), documents)
            await saver.save(list(documents.values()))
            at = messages[-1].position
            await partitions.membership.commit(partition, at)

    async def stop(self, within_s: float) -> None:
        """Take nothing more; `run` finishes what is under way for that long, then returns."""
        self._within_s = within_s
        self._stopping = True
        await self._readers.stop(within_s)
