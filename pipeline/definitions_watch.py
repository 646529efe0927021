"""Keeps a worker's catalog up to date with the definitions database."""

import asyncio
import logging

from pipeline.catalog import Catalog, applied
from pipeline.clock import Clock
from pipeline.errors import DefinitionsUnavailable, Malformed, UnknownFormat
from pipeline.stores.definitions import Changes, Definition, Definitions
from pipeline.stores.definitions_copy import DefinitionsCopy

_log = logging.getLogger(__name__)

#: Pause between two questions; every worker acts on a change within two seconds.
POLL_S = 0.5

#: What the last question is given when the others took all the time there was.
_LAST_S = 0.25

#: After that went without an answer too, nobody waits for so long.
_GIVEN_UP_S = 1.0

#: How often the copy's time is set; one whose definitions never change is not old.
_CONFIRM_S = 30.0

#: Pause before the database is asked again when it did not answer.
_AGAIN_S = 0.05


class DefinitionsWatch:
    """The newest catalog this worker knows; an unreachable database leaves it as it is."""

    def __init__(self, definitions: Definitions, clock: Clock, copy: DefinitionsCopy | None = None) -> None:
        """`copy`: what to begin with while the database is away, kept up to date."""
        self._definitions = definitions
        self._clock = clock
        self._copy = copy
        self._rows: dict[tuple[str, str], Definition] = {}  #: of the catalog; only for the copy
        self._lock = asyncio.Lock()
        self._begun = 0  #: questions
        self._answered = 0  #: number of the last one that was answered
        self._unanswered: tuple[int, DefinitionsUnavailable] | None = None  #: the last one that was not, and why
        self._silent_since: float | None = None  #: when the first question without an answer since then was begun
        self._gave_up = -_GIVEN_UP_S  #: when somebody went on without an answer
        self.catalog = Catalog()
        self.last_error = ""
        self.asked_ms = 0  #: when the database was asked the last question it answered
        self.known_ms = 0  #: when the catalog was known to be the newest, by others too
        self._confirmed = self._clock.monotonic()

    @property
    def is_loaded(self) -> bool:
        """Whether there is a catalog to go by."""
        return bool(self.asked_ms or self.catalog.revision)

    async def refresh(self) -> None:
        """Ask, or share a question begun after this call, and what came of it: nobody waits for more than two.

        Raises `DefinitionsUnavailable`, `Malformed` or `UnknownFormat`.
        """
        wanted = self._begun + 1
        async with self._lock:
            if self._answered >= wanted:
                return
            if self._unanswered is not None and self._unanswered[0] >= wanted:
                raise DefinitionsUnavailable(str(self._unanswered[1])) from self._unanswered[1]
            await self._ask()

    async def begin(self) -> None:
        """The first look; by the copy while the database is away. Raises as `refresh` where there is none."""
        try:
            await self.refresh()
        except DefinitionsUnavailable as error:
            if not self.is_loaded:
                await self._begin_with_copy(error)
            self.last_error = str(error)

    async def _begin_with_copy(self, error: DefinitionsUnavailable) -> None:
        copied = None if self._copy is None else await asyncio.to_thread(self._copy.read)
        if self._copy is None or copied is None:
            raise error
        self._take(copied)
        self.known_ms = self._copy.confirmed_ms()
        _log.warning("beginning with the copy of the definitions of revision %d: %s", copied.revision, error)

    def _take(self, changes: Changes, *, anew: bool = False) -> None:
        self.catalog = applied(Catalog() if anew else self.catalog, changes.revision, changes.rows)
        if self._copy is None:
            return
        if anew:
            self._rows = {}
        for row in changes.rows:
            if row.deleted:
                self._rows.pop((row.kind, row.id), None)
            else:
                self._rows[row.kind, row.id] = row

    async def _keep(self, *, anew: bool) -> None:
        if self._copy is None:
            return
        changes = Changes(self.catalog.revision, list(self._rows.values()))
        try:
            await asyncio.to_thread(self._copy.write, changes, anew=anew)
        except OSError as error:
            _log.warning(
                "no copy of the definitions could be written, workers cannot begin without their database: %s", error
            )

    async def _confirm(self) -> None:
        """Now and then: the copy is as new as the catalog."""
        if self._copy is None or self._clock.monotonic() < self._confirmed + _CONFIRM_S:
            return
        self._confirmed = self._clock.monotonic()
        try:
            await asyncio.to_thread(self._copy.confirm)
        except OSError as error:
            _log.warning("the copy of the definitions cannot be touched: %s", error)

    async def _ask(self) -> None:
        began_ms = self._clock.now_ms()
        self._begun += 1
        number = self._begun
        if self._silent_since is None:
            self._silent_since = self._clock.monotonic()
        try:
            await self._look()
        except DefinitionsUnavailable as error:
            self._unanswered = number, error
            raise
        self._answered = number
        self._silent_since = None
        self.asked_ms = self.known_ms = began_ms
        self.last_error = ""

    async def _look(self) -> None:
        """Take what is new since the last look; everything where the database is behind the copy that was begun with."""
        revision = await self._definitions.revision()
        first = not self.asked_ms
        anew = first and revision < self.catalog.revision
        if anew:
            _log.warning(
                "the database of the definitions is at revision %d, their copy was of %d: they are read anew",
                revision,
                self.catalog.revision,
            )
        if first or revision != self.catalog.revision:
            changes = await self._definitions.changed(0 if anew else self.catalog.revision)
            if changes.rows or anew:
                self._take(changes, anew=anew)
                await self._keep(anew=anew)

    async def current(self, within_s: float) -> Catalog:
        """The catalog by a question begun after this call: it holds every change that was answered before.

        Callers at the same time share a question. When the database has not answered for `within_s` seconds, the catalog
        as it is: workers outlive the definitions database. Raises `UnknownFormat`.
        """
        wanted = self._begun + 1
        last = False
        while self._answered < wanted:
            since = self._silent_since
            left = within_s if since is None else since + within_s - self._clock.monotonic()
            if left <= 0:
                if last or self._clock.monotonic() < self._gave_up + _GIVEN_UP_S:
                    break
                last = True  # once more: this process may have stood still for longer than the database was away
            try:
                async with asyncio.timeout(max(left, _LAST_S)), self._lock:
                    if self._answered < wanted:
                        await self._ask()
            except TimeoutError:
                self.last_error = f"the definitions database has not answered for {within_s:g} s"
            except (DefinitionsUnavailable, Malformed) as error:
                self.last_error = str(error)
                await self._clock.sleep(_AGAIN_S)
        if last and self._answered < wanted:
            self._gave_up = self._clock.monotonic()
        return self.catalog

    async def run(self, ended: asyncio.Event) -> None:
        """Until `ended` is set."""
        while not ended.is_set():
            try:
                await self.refresh()
                await self._confirm()
            except (DefinitionsUnavailable, Malformed, UnknownFormat) as error:
                if not self.last_error:
                    _log.warning("going on with the definitions of revision %d: %s", self.catalog.revision, error)
                self.last_error = str(error)
            try:
                async with asyncio.timeout(POLL_S):
                    await ended.wait()
            except TimeoutError:
                continue

    async def reach(self, revision: int, within_s: float) -> None:
        """Return once the catalog has at least that revision. Raises `DefinitionsUnavailable` when it has not in time."""
        deadline = self._clock.monotonic() + within_s
        while self.catalog.revision < revision and self._clock.monotonic() < deadline:
            try:
                await self.refresh()
            except (DefinitionsUnavailable, Malformed) as error:
                self.last_error = str(error)
            if self.catalog.revision < revision:
                await self._clock.sleep(_AGAIN_S)
        if self.catalog.revision < revision:
            raise DefinitionsUnavailable(
                f"events were judged by definitions of revision {revision}, but only {self.catalog.revision} could be "
                f"read ({self.last_error or 'the database has no newer ones'}): what they are due to waits"
            )
