"""Lets go of groups that no definition names, so that they hold the log back no longer."""

from pipeline import replay
from pipeline.catalog import Catalog
from pipeline.log.port import Log
from pipeline.stores.definitions import Definitions
from pipeline.topics import DESTINATION_GROUPS, PROCESSED, REPLAY_GROUPS, RUNS, destination_of, replay_of


async def unnamed(log: Log, catalog: Catalog) -> set[str]:
    """The groups of destinations and replays that these definitions do not name: as a change leaves that is cut off half-way."""
    named = {*catalog.lives.values(), *(one.reader for one in catalog.replays.values())}
    groups = {*await log.groups(PROCESSED), *await log.groups(RUNS)}
    return {group for group in groups - named if group.startswith((DESTINATION_GROUPS, REPLAY_GROUPS))}


async def release(log: Log, definitions: Definitions, group: str) -> bool:
    """Drop the group of a destination or replay unless its definition names it; whether it was dropped. Safe to repeat.

    The definition is renewed first: whoever has made this group and not named it yet fails, and begins anew with another one.
    So what is dropped here is never named, however long this process may stand still in between.
    """
    destination = destination_of(group)
    kind, id = ("destinations", destination) if destination else (replay.KIND, replay_of(group))
    if not await definitions.renew(kind, id, group):
        return False
    if destination:
        await log.drop_group(PROCESSED, group)
    else:
        await replay.end(log, id)
    return True
