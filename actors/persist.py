"""Saves documents for as long as it takes."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from actors.counters import Counters
from pipeline.clock import Clock
from pipeline.errors import StoreUnavailable

T = TypeVar("T")

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0


async def persist(save: Callable[[], Awaitable[T]], clock: Clock, counters: Counters, alive: Callable[[], None]) -> T:
    """Return what `save` answers once the store has taken it; the caller pulls nothing else meanwhile. Counts each failure."""
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return await save()
        except StoreUnavailable as error:
            if pause == _FIRST_PAUSE_S:
                _log.warning("saving waits: %s", error)
            counters.error(str(error))
            alive()
            await clock.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
