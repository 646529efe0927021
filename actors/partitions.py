"""One task for each partition this worker holds, started, restarted and stopped as the group's assignment changes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from actors.counters import Counters
from pipeline.clock import Clock
from pipeline.errors import Fenced, Retry, Undigested
from pipeline.log.port import Log, Membership

_log = logging.getLogger(__name__)

#: How often the assignment is looked at when nothing is appended.
_LOOK_S = 0.25

#: Pause before a partition is opened again after a fault.
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


class Partitions:
    """This worker's part of a group: runs `own(partition)` for every partition held, from the committed position.

    `own` returns when it no longer `may_own` the partition, or to be called again.
    """

    def __init__(
        self,
        log: Log,
        topic: str,
        group: str,
        worker: str,
        own: Callable[[int], Awaitable[None]],
        clock: Clock,
        counters: Counters,
    ) -> None:
        self._log = log
        self._topic = topic
        self._group = group
        self._worker = worker
        self._own = own
        self._clock = clock
        self._counters = counters
        self._membership: Membership | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._generation = 0
        self._news = asyncio.Condition()
        self._stopping = False
        self._within_s = 0.0

    @property
    def membership(self) -> Membership:
        """Only within `own`."""
        assert self._membership is not None
        return self._membership

    @property
    def held(self) -> frozenset[int]:
        """Partitions held now; none before `run` has joined the group."""
        return frozenset() if self._membership is None else self._membership.held

    def may_own(self, partition: int) -> bool:
        """Whether `own(partition)` should go on."""
        return not self._stopping and partition in self.held

    @property
    def generation(self) -> int:
        """Rises with every append that may concern us; take it before reading, give it to `news`."""
        return self._generation

    async def news(self, generation: int, timeout_s: float) -> None:
        """Return when the generation has passed the given one, or time is over."""
        async with self._news:
            if self._generation > generation or self._stopping:
                return
            try:
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
            except TimeoutError:
                return

    def alive(self, partition: int) -> None:
        """The owner of this partition goes on: it is not stuck."""
        self._counters.alive((self._topic, self._group, partition))

    async def run(self) -> None:
        """Until `stop`. Raises what a task raised that must not be tried again; `NotFound` when there is no such group."""
        self._membership = await self._log.join(self._topic, self._group, self._worker)
        try:
            while not self._stopping:
                await self._assign()
                await self._membership.wait(_LOOK_S)
                await self._announce()
            if self._tasks:
                await asyncio.wait(self._tasks.values(), timeout=self._within_s)
        finally:
            await self._end()
            membership, self._membership = self._membership, None
            await membership.close()

    async def _announce(self) -> None:
        async with self._news:
            self._generation += 1
            self._news.notify_all()

    async def _assign(self) -> None:
        held = self.held
        for partition in held - self._tasks.keys():
            self._tasks[partition] = asyncio.create_task(self._keep(partition), name=f"partition {partition}")
        for partition, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[partition]
                task.result()

    async def _keep(self, partition: int) -> None:
        pause = _FIRST_PAUSE_S
        try:
            while self.may_own(partition):
                started = self._clock.monotonic()
                self.alive(partition)
                try:
                    await self.membership.restart(partition)
                    await self._own(partition)
                except (Retry, Fenced) as error:
                    self._counters.error(f"partition {partition} of group {self._group} given up: {error}")
                    _log.warning("partition %d of group %s given up: %s", partition, self._group, error)
                    if isinstance(error, Undigested) or self._clock.monotonic() - started > _LONGEST_PAUSE_S:
                        pause = _FIRST_PAUSE_S
                    await self._clock.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE_S)
        finally:
            self._counters.ended((self._topic, self._group, partition))

    async def _end(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    async def stop(self, within_s: float) -> None:
        """Take nothing more; `run` lets every owner finish its batch for that long, then cancels it and returns."""
        self._within_s = within_s
        self._stopping = True
        await self._announce()
