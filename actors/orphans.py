"""Groups on `processed` without a destination: a change that was cut off half-way leaves one, and nobody reads for it."""

import logging

from pipeline.clock import Clock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.errors import DefinitionsUnavailable, Malformed
from pipeline.log.port import Log
from pipeline.topics import DESTINATION_GROUPS, PROCESSED

_log = logging.getLogger(__name__)

#: How often they are looked for, and for how long one is left alone: a destination that is just being put has its group first.
_LOOK_S = 10.0
_LEAVE_S = 60.0


class Orphans:
    """`look` whenever there is time; it would hold the log back for ever otherwise."""

    def __init__(self, log: Log, watch: DefinitionsWatch, clock: Clock) -> None:
        self._log = log
        self._watch = watch
        self._clock = clock
        self._looked = clock.monotonic()
        self._since: dict[str, float] = {}  #: destination → when its group was first seen without it

    async def look(self) -> None:
        """Drop the groups that have been without an enabled destination for a minute."""
        now = self._clock.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        groups = await self._log.groups(PROCESSED)
        found = {group.removeprefix(DESTINATION_GROUPS) for group in groups if group.startswith(DESTINATION_GROUPS)}
        orphans = found - self._watch.catalog.live_destinations()
        self._since = {id: self._since.get(id, now) for id in orphans}
        old = {id for id, since in self._since.items() if now - since >= _LEAVE_S}
        if not old:
            return
        try:
            await self._watch.refresh()
        except (DefinitionsUnavailable, Malformed):
            return  # what is wanted now is not known
        for id in old - self._watch.catalog.live_destinations():
            _log.warning("the group of destination %s is dropped: there is no such enabled destination", id)
            await self._log.drop_group(PROCESSED, f"{DESTINATION_GROUPS}{id}")
