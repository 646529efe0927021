"""Time as an argument: the clock every stage is given, and the real one."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Tells and waits. Logic never reads the time in any other way."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z; may step backwards."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
