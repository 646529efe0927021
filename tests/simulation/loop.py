"""An event loop whose time is nobody's: it jumps to the next thing that is due."""

import asyncio
from heapq import heappop
from typing import Any


class Stalled(Exception):
    """Nothing is due, now or ever: everybody waits for somebody else."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order they are due, without waiting for any clock and without I/O.

    Two runs of the same program schedule the same callbacks in the same order, as long as the program asks no set of
    strings for its order: run it with a fixed ``PYTHONHASHSEED``.
    """

    _ready: Any
    _scheduled: Any

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_s

    def _run_once(self) -> None:
        """The base class' own, without the parts that wait and watch: half of a schedule's time goes here."""
        ready, scheduled = self._ready, self._scheduled
        if not ready:
            while scheduled and scheduled[0]._cancelled:
                heappop(scheduled)._scheduled = False
            if not scheduled:
                raise Stalled("nothing is due")
            self._now_s = scheduled[0]._when
        while scheduled and scheduled[0]._when <= self._now_s:
            timer = heappop(scheduled)
            timer._scheduled = False
            if not timer._cancelled:
                ready.append(timer)
        for _ in range(len(ready)):
            callback = ready.popleft()
            if not callback._cancelled:
                callback._run()

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """Cancelled timers are passed over when their time has come."""

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Nobody else has to be woken: there is one thread."""
