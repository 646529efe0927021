"""The dispatcher: one channel per life of a destination, so that a dead one holds up only its own cursor."""

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
from pipeline.stores.definitions import Definitions
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
        definitions: Definitions,
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
        self._orphans = Orphans(log, definitions, watch, clock)
        self._stopping = False
        self._within_s = 0.0
        self.counters = Counters(clock)
        self._readers = Readers(self.counters)

        def open(life: str, replay: Replay | None) -> Partitions:
            id, counters = destination_of(life), self.counters
            channel = Channel(id, life, log, documents, watch, http, clock, worker, random, secrets, counters, replay)
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
        replays = [one for one in await self._underway.replays() if not one.is_of_store]
        lives = self._watch.catalog.lives  # no older than the replays: a life that is not among them is over
        for id in self.counters.paused.keys() - lives.keys():
            del self.counters.paused[id]
        live = set(lives.values())
        wanted = {f"group {life}": partial(self._open, life, None) for life in live}
        for one in replays:
            if one.group in live:
                wanted[f"replay {one.id} of {one.group}"] = partial(self._open, one.group, one)
        await self._readers.keep(wanted)
        for one in replays:
            if one.group not in live or await replay.is_through(self._log, one):
                await replay.end(self._log, one.id)

    async def stop(self, within_s: float) -> None:
        self._within_s = within_s
        self._stopping = True
        await self._readers.stop(within_s)
