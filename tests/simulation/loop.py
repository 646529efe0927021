"""An event loop whose time is an argument of nobody: it jumps to the next thing that is due."""

import asyncio
from typing import Any


class Stalled(Exception):
    """Nothing is due, now or ever: everybody waits for somebody else."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order they are due, without waiting for any clock and without I/O.

    Two runs of the same program schedule the same callbacks in the same order, as long as the program asks no set of
    strings for its order: run it with a fixed ``PYTHONHASHSEED``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._clock_resolution = 1e-6
        self._selector = self

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_s

    def select(self, timeout: float | None) -> list[Any]:
        """Called by the base class where another loop waits for I/O."""
        if timeout is None:
            raise Stalled("nothing is due")
        self._now_s += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Nobody else has to be woken: there is one thread."""
