"""The dispatcher: one channel per enabled destination, so that a dead one holds up only its own cursor."""

from collections.abc import Callable
from functools import partial

from actors.channel import Channel
from actors.counters import Counters
from actors.orphans import Orphans
from actors.partitions import Partitions
from actors.readers import Readers
from pipeline import replay
from pipeline.clock import Clock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.http.port import Http
from pipeline.log.port import Log
from pipeline.replay import Replay
from pipeline.secrets import SecretBox
from pipeline.stores.documents import Documents
from pipeline.topics import destination_of
from pipeline.underway import Underway

_LOOK_S = 0.5
_ASK_S = 5.0


class Dispatcher:
    """Stage `dispatcher`: starts and ends channels as definitions change; a replay of a destination has its own."""

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
        self._watch = watch
        self._clock = clock
        self._underway = Underway(log, watch)
        self._orphans = Orphans(log, watch, clock)
        self._stopping = False
        self._within_s = 0.0
        self.counters = Counters(clock)
        self._readers = Readers(self.counters)

        def open(id: str, replay: Replay | None) -> Partitions:
            counters = self.counters
            channel = Channel(id, log, documents, watch, http, clock, worker, random, secrets, counters, replay)
            return channel.partitions

        self._open = open

    @property
    def held(self) -> frozenset[int]:
        """Partitions held for any destination."""
        return self._readers.held

    async def run(self) -> None:
        """Until `stop`."""
        try:
            while not self._stopping:
                self.counters.alive()
                await self._look()
                await self._orphans.look()
                await self._clock.sleep(_LOOK_S)
        finally:
            self.counters.ended()
            await self._readers.end(self._within_s)

    async def _look(self) -> None:
        if self._readers.any_ended:
            await self._watch.current(_ASK_S)  # its destination may be gone, and this worker not know it yet
        live = self._watch.catalog.live_destinations()
        for id in self.counters.paused.keys() - live:
            del self.counters.paused[id]
        wanted = {f"destination {id}": partial(self._open, id, None) for id in live}
        replays = [one for one in await self._underway.replays() if not one.is_of_store]
        for one in replays:
            id = destination_of(one.group)
            if id in live:
                wanted[f"replay {one.id} of {id}"] = partial(self._open, id, one)
        await self._readers.keep(wanted)
        for one in replays:
            if destination_of(one.group) not in live or await replay.is_through(self._log, one):
                await replay.end(self._log, one.id)

    async def stop(self, within_s: float) -> None:
        self._within_s = within_s
        self._stopping = True
        await self._readers.stop(within_s)
