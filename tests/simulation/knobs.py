"""Sizes and pauses of the stages, turned so that a short schedule meets what otherwise takes hours and gigabytes.

None changes what a stage does, only how soon it comes to that; but for two bounds after which it goes on with less, made long.
"""

from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any

from actors import (
    batcher,
    channel,
    collector,
    deliverer,
    dispatcher,
    executor,
    host,
    orphans,
    owned,
    partitions,
    persist,
    restorer,
    saver,
)
from actors import build as stages
from pipeline import definitions_watch
from pipeline.hot import Limits
from pipeline.mapping.table import EventType, load_table
from serve import changes, coalescer

_HUGE = 1_500_000

#: Module, its constant, and what it may be: the first is as in production.
_KNOBS: tuple[tuple[Any, str, tuple[float, ...]], ...] = (
    (collector, "_READ_BYTES", (1_000_000, 1, 2_000)),
    (collector, "_CUT_BYTES", (_HUGE, 1, 3_000)),
    (batcher, "_READ_BYTES", (_HUGE, 1, 8_000)),
    (saver, "MAX_DOCUMENTS", (2_000, 1, 5)),
    (channel, "_READ_BYTES", (300_000, 1, 4_000)),
    (executor, "_READ_BYTES", (300_000, 1, 4_000)),
    (owned, "_READ_BYTES", (4_000_000, 1)),
    (coalescer, "_MAX_ENVELOPE_BYTES", (2_000_000, 1, 1_000)),
    (deliverer, "_CONCURRENCY", (16, 1)),
    (executor, "_CONCURRENCY", (16, 1)),
    (orphans, "_LEAVE_S", (60.0, 0.0, 2.0)),
    (orphans, "_LOOK_S", (10.0, 0.0)),
)

#: Pauses that only cost time: nothing happens in them.
_PAUSES: tuple[tuple[Any, str, float], ...] = (
    (partitions, "_LOOK_S", 2.0),
    (collector, "_IDLE_WAIT_S", 5.0),
    (batcher, "_IDLE_WAIT_S", 5.0),
    (channel, "_IDLE_WAIT_S", 5.0),
    (executor, "_IDLE_WAIT_S", 5.0),
    (dispatcher, "_LOOK_S", 0.7),
    (restorer, "_LOOK_S", 5.0),
    (host, "BEAT_S", 30.0),
    (host, "_TRIM_S", 20.0),
    (definitions_watch, "POLL_S", 1.0),
    (deliverer, "ALARM_PAUSE_S", 2.0),
    (deliverer, "LONGEST_PAUSE_S", 3.0),
    (deliverer, "_LOOK_S", 0.5),
    (changes, "_CATCH_UP_S", 600.0),  # in production, what collectors are too far behind for counts as coming after
    (collector, "_REVISION_WAIT_S", 60.0),  # in production, work goes on without the database's newest definitions
    (persist, "_LONGEST_PAUSE_S", 1.0),
)

#: Bytes of profiles and sessions, ids, unsaved bytes: of one partition.
_LIMITS = (Limits(), Limits(bytes=1, ids=0), Limits(bytes=20_000, ids=3), Limits(unsaved_bytes=3_000))


@cache
def _table() -> Mapping[str, EventType]:
    """Compiled once: nobody changes it."""
    return load_table()


def turn(random: Random) -> None:
    """Choose every one anew."""
    for module, name, choices in _KNOBS:
        assert hasattr(module, name), name
        setattr(module, name, random.choice(choices))
    for module, name, pause in _PAUSES:
        assert hasattr(module, name), name
        setattr(module, name, pause)
    stages.load_table = _table
    limits = random.choice(_LIMITS)
    stages.Limits = lambda: limits  # type: ignore[misc,assignment]
