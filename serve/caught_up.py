"""Waits for the collectors: what was answered before a change is to be folded by the definitions before it."""

from pipeline.clock import Clock
from pipeline.log.port import BEGINNING, Log
from pipeline.topics import COLLECTED, COLLECTOR_GROUP

#: Rounds: a payload may be forwarded to another partition, and once more from there.
_ROUNDS = 3

_LOOK_S = 0.005
_AGE_S = 0.05  #: how old an answer may be: it errs to the side of waiting


async def caught_up(log: Log, clock: Clock, within_s: float) -> bool:
    """True once all that lies in `collected` now, and what is forwarded of it, is folded; False when that takes longer."""
    deadline = clock.monotonic() + within_s
    for _ in range(_ROUNDS):
        for partition in range(log.partitions):
            last = await log.last(COLLECTED, partition)
            end = BEGINNING if last is None else last.position
            while await log.committed(COLLECTED, partition, COLLECTOR_GROUP, max_age_s=_AGE_S) < end:
                if clock.monotonic() > deadline:
                    return False
                await clock.sleep(_LOOK_S)
    return True
