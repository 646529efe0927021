"""Saves documents for as long as it takes."""

import logging
from collections.abc import Callable, Sequence

from actors.counters import Counters
from pipeline.clock import Clock
from pipeline.errors import StoreUnavailable
from pipeline.stores.documents import Document, Documents, Outcome

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0


async def persist(
    documents: Documents, wanted: Sequence[Document], clock: Clock, counters: Counters, alive: Callable[[], None]
) -> Sequence[Outcome]:
    """Return the outcomes once the store has taken them; the caller pulls nothing else meanwhile. Counts each failure."""
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return await documents.save(wanted)
        except StoreUnavailable as error:
            if pause == _FIRST_PAUSE_S:
                _log.warning("saving waits: %s", error)
            counters.error(str(error))
            alive()
            await clock.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
