"""The groups a stage reads for, as they come and go: each with its `Partitions`."""

import asyncio
from collections.abc import Callable, Mapping

from actors.counters import Counters
from actors.partitions import Partitions
from pipeline.errors import NotFound

#: What is under way for a group that is no longer wanted gets this long.
_END_S = 5.0


class Readers:
    """Started and ended by `keep`, by name."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._running: dict[str, tuple[Partitions, asyncio.Task[None]]] = {}

    @property
    def held(self) -> frozenset[int]:
        """Partitions held for any of them."""
        return frozenset().union(*(partitions.held for partitions, _ in self._running.values()))

    @property
    def any_ended(self) -> bool:
        """Whether one has ended since the last `keep`: its group may be gone."""
        return any(task.done() for _, task in self._running.values())

    async def keep(self, wanted: Mapping[str, Callable[[], Partitions]]) -> None:
        """End what is not wanted, start what is. One whose group was dropped begins again while it is wanted.

        Raises what one of them raised that must not be tried again.
        """
        for name in self._running.keys() - wanted.keys():
            partitions, task = self._running[name]
            await partitions.stop(_END_S)
            await asyncio.wait([task])
        for name, (_, task) in list(self._running.items()):
            if task.done():
                del self._running[name]
                self._ended(name, task, name in wanted)
        for name in wanted.keys() - self._running.keys():
            partitions = wanted[name]()
            self._running[name] = partitions, asyncio.create_task(partitions.run(), name=name)

    def _ended(self, name: str, task: "asyncio.Task[None]", is_wanted: bool) -> None:
        try:
            task.result()
        except NotFound as error:
            if is_wanted:  # dropped and made again, or about to be gone here too
                self._counters.error(f"{name} begins again: {error}")

    async def stop(self, within_s: float) -> None:
        """Take nothing more; `end` waits."""
        await asyncio.gather(*(partitions.stop(within_s) for partitions, _ in self._running.values()))

    async def end(self, within_s: float) -> None:
        """What is under way gets that long; then it is cancelled."""
        tasks = [task for _, task in self._running.values()]
        try:
            if tasks and within_s:
                await asyncio.wait(tasks, timeout=within_s)
        finally:
            self._running.clear()  # first: whoever is cancelled here must not find them when it begins again
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
