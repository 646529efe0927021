"""The dispatcher: one channel per enabled destination, so that a dead one holds up only its own cursor."""

import asyncio
from collections.abc import Callable

from actors.channel import Channel
from actors.counters import Counters
from actors.orphans import Orphans
from pipeline.clock import Clock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.errors import NotFound
from pipeline.http.port import Http
from pipeline.log.port import Log
from pipeline.secrets import SecretBox
from pipeline.stores.documents import Documents

_LOOK_S = 0.5
_ASK_S = 5.0

#: Deliveries under way of a destination that was deleted or disabled get this long.
_END_S = 5.0


class Dispatcher:
    """Stage `dispatcher`: starts and ends channels as definitions change."""

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
        self._watch = watch
        self._clock = clock
        self._orphans = Orphans(log, watch, clock)
        self._channels: dict[str, tuple[Channel, asyncio.Task[None]]] = {}
        self._stopping = False
        self._within_s = 0.0
        self.counters = Counters(clock)
        self._open: Callable[[str], Channel] = lambda id: Channel(
            id, log, documents, watch, http, clock, worker, random, secrets, self.counters
        )

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
                await self._orphans.look()
                await self._clock.sleep(_LOOK_S)
            tasks = [task for _, task in self._channels.values()]
            if tasks:
                await asyncio.wait(tasks, timeout=self._within_s)
        finally:
            self.counters.ended()
            for _, task in self._channels.values():
                task.cancel()
            await asyncio.gather(*(task for _, task in self._channels.values()), return_exceptions=True)
            self._channels.clear()

    async def _look(self) -> None:
        if any(task.done() for _, task in self._channels.values()):
            await self._watch.current(_ASK_S)  # its destination may be gone, and this worker not know it yet
        wanted = self._watch.catalog.live_destinations()
        for id in self._channels.keys() - wanted:
            await self._channels[id][0].partitions.stop(_END_S)
        for id, (_, task) in list(self._channels.items()):
            if task.done():
                del self._channels[id]
                self.counters.paused.pop(id, None)
                self._ended(id, task)
        for id in wanted - self._channels.keys():
            channel = self._open(id)
            self._channels[id] = channel, asyncio.create_task(channel.partitions.run(), name=f"destination {id}")

    def _ended(self, id: str, task: "asyncio.Task[None]") -> None:
        try:
            task.result()
        except NotFound as error:
            if id in self._watch.catalog.live_destinations():  # gone and put again
                self.counters.error(f"destination {id} begins again: {error}")

    async def stop(self, within_s: float) -> None:
        self._within_s = within_s
        self._stopping = True
        await asyncio.gather(*(channel.partitions.stop(within_s) for channel, _ in self._channels.values()))
