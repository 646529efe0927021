"""What every stage is: one plain class with a loop."""

from typing import Protocol

from actors.counters import Counters


class Stage(Protocol):
    """Runs in one process; several stages may share it."""

    name: str
    counters: Counters

    @property
    def held(self) -> frozenset[int]:
        """Partitions this worker holds now."""
        ...

    async def run(self) -> None:
        """Until `stop`. A `Retry` error means: run it again later; a `Stop` error is final."""
        ...

    async def stop(self, within_s: float) -> None:
        """Take nothing more, finish what is under way for that long, then return; `run` returns soon after."""
        ...
