"""Groups that no definition names: a change that was cut off half-way leaves one, and nobody reads for it."""

import logging

from pipeline.clock import Clock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.errors import DefinitionsUnavailable
from pipeline.log.port import Log
from pipeline.release import release, unnamed
from pipeline.stores.definitions import Definitions

_log = logging.getLogger(__name__)

#: How often they are looked for, and for how long one is left alone: what is just being put has its group first.
_LOOK_S = 10.0
_LEAVE_S = 60.0


class Orphans:
    """`look` whenever there is time; it would hold the log back for ever otherwise."""

    def __init__(self, log: Log, definitions: Definitions, watch: DefinitionsWatch, clock: Clock) -> None:
        self._log = log
        self._definitions = definitions
        self._watch = watch
        self._clock = clock
        self._looked = clock.monotonic()
        self._since: dict[str, float] = {}  #: group → when it was first seen without what it is for

    async def look(self) -> None:
        """Drop the groups that have been without an enabled destination, or without their replay, for a minute."""
        now = self._clock.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        orphans = await unnamed(self._log, self._watch.catalog)
        self._since = {group: self._since.get(group, now) for group in orphans}
        for group in [group for group, since in self._since.items() if now - since >= _LEAVE_S]:
            try:
                if await release(self._log, self._definitions, group):
                    _log.warning("group %s is dropped: no enabled destination and no replay names it", group)
            except DefinitionsUnavailable:
                return  # who names it is not known
