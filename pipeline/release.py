"""Lets go of a group that no definition names, so that it holds the log back no longer."""

from pipeline import replay
from pipeline.log.port import Log
from pipeline.stores.definitions import Definitions
from pipeline.topics import PROCESSED, RUNS, destination_of, replay_of


async def release(log: Log, definitions: Definitions, group: str) -> bool:
    """Drop the group of a destination or replay unless its definition names it; whether it was dropped. Safe to repeat.

    The definition is renewed first: whoever has made this group and not named it yet fails, and begins anew with another one.
    So what is dropped here is never named, however long this process may stand still in between.
    """
    destination = destination_of(group)
    kind, id = ("destinations", destination) if destination else (replay.KIND, replay_of(group))
    if not await definitions.renew(kind, id, group):
        return False
    for topic in (RUNS, PROCESSED):
        await log.drop_group(topic, group)
    return True
