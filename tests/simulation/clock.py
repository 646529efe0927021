"""Clocks of simulated processes: one true time, and what each of them takes for it."""

import asyncio

from tests.simulation.process import Process

_START_MS = 1_750_000_000_000


class TrueTime:
    """The wall clock all processes go by, as long as theirs are right. Days may pass at once."""

    def __init__(self) -> None:
        self._passed_ms = 0

    def now_ms(self) -> int:
        return _START_MS + self._passed_ms + int(asyncio.get_running_loop().time() * 1000)

    def jump(self, ms: int) -> None:
        """That much time passes for everybody, while nothing happens."""
        self._passed_ms += ms


class ProcessClock:
    """See `pipeline.clock.Clock`."""

    def __init__(self, process: Process, time: TrueTime) -> None:
        self._process = process
        self._time = time

    def now_ms(self) -> int:
        return self._time.now_ms() + self._process.skew_ms

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._process.gate()
