"""Keeps a worker's catalog up to date with the definitions database."""

import asyncio
import logging

from pipeline.catalog import Catalog, applied
from pipeline.clock import Clock
from pipeline.errors import DefinitionsUnavailable, Malformed
from pipeline.stores.definitions import Definitions

_log = logging.getLogger(__name__)

#: Pause between two questions; every worker acts on a change within two seconds.
POLL_S = 0.5


class DefinitionsWatch:
    """The newest catalog this worker knows; an unreachable database leaves it as it is."""

    def __init__(self, definitions: Definitions, clock: Clock) -> None:
        self._definitions = definitions
        self._clock = clock
        self._lock = asyncio.Lock()
        self.catalog = Catalog()
        self.last_error = ""
        self.asked_ms = 0  #: when the database was asked the last question it answered

    async def refresh(self) -> None:
        """Ask once. Raises `DefinitionsUnavailable`."""
        async with self._lock:
            began_ms = self._clock.now_ms()
            changes = await self._definitions.changed(self.catalog.revision)
            if changes.rows:
                self.catalog = applied(self.catalog, changes.revision, changes.rows)
            self.asked_ms = began_ms
            self.last_error = ""

    async def run(self, ended: asyncio.Event) -> None:
        """Until `ended` is set."""
        while not ended.is_set():
            try:
                await self.refresh()
            except (DefinitionsUnavailable, Malformed) as error:
                if not self.last_error:
                    _log.warning("going on with the definitions of revision %d: %s", self.catalog.revision, error)
                self.last_error = str(error)
            try:
                async with asyncio.timeout(POLL_S):
                    await ended.wait()
            except TimeoutError:
                continue

    async def reach(self, revision: int, within_s: float) -> None:
        """The same, but raises `DefinitionsUnavailable` when that revision is not reached in time."""
        if self.catalog.revision < revision and (await self.at_least(revision, within_s)).revision < revision:
            raise DefinitionsUnavailable(
                f"events were judged by definitions of revision {revision}, but only {self.catalog.revision} could be "
                f"read ({self.last_error or 'the database has no newer ones'}): what they are due to waits"
            )

    async def at_least(self, revision: int, within_s: float) -> Catalog:
        """The catalog, once it has at least that revision; after `within_s` seconds as it is."""
        deadline = self._clock.monotonic() + within_s
        while self.catalog.revision < revision and self._clock.monotonic() < deadline:
            try:
                await self.refresh()
            except (DefinitionsUnavailable, Malformed) as error:
                self.last_error = str(error)
            if self.catalog.revision < revision:
                await self._clock.sleep(0.05)
        return self.catalog
