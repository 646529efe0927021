"""Which replays have still something to read."""

from collections.abc import Sequence

from pipeline.definitions_watch import DefinitionsWatch
from pipeline.log.port import Log
from pipeline.replay import Replay
from pipeline.topics import PROCESSED


class Underway:
    """A replay's group stands before its row and is dropped when it ends; it is never made again."""

    def __init__(self, log: Log, watch: DefinitionsWatch) -> None:
        self._log = log
        self._watch = watch
        self._ended: set[str] = set()

    async def replays(self) -> Sequence[Replay]:
        """Those of the newest definitions here. Without any, nothing is asked of the log."""
        known = [one for id, one in self._watch.catalog.replays.items() if id not in self._ended]
        if not known:
            return known
        groups = set(await self._log.groups(PROCESSED))
        self._ended.update(one.id for one in known if one.reader not in groups)
        return [one for one in known if one.reader in groups]

    async def of_store(self) -> bool:
        """Whether documents may be missing just now."""
        return any(one.is_of_store for one in await self.replays())
