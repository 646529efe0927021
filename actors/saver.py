"""Saves documents and what the store makes of them: a refused one is kept under its own id with the reason."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from actors.counters import Counters
from actors.persist import persist
from pipeline.clock import Clock
from pipeline.stores.documents import Document, Documents, Saved

T = TypeVar("T")

#: Documents of one call.
MAX_DOCUMENTS = 2_000


class Saver:
    """`alive` is called while the store is away."""

    def __init__(self, documents: Documents, clock: Clock, counters: Counters, alive: Callable[[], None]) -> None:
        self._documents = documents
        self._clock = clock
        self._counters = counters
        self._alive = alive

    async def save(self, documents: Sequence[Document]) -> None:
        """All are stored on return, however long that takes; after a crash any subset is, and saving again is safe."""
        for start in range(0, len(documents), MAX_DOCUMENTS):
            await self._save(documents[start : start + MAX_DOCUMENTS])

    async def _save(self, documents: Sequence[Document]) -> None:
        outcomes = await self._persist(partial(self._documents.save, documents))
        for document, outcome in zip(documents, outcomes, strict=True):
            if outcome.result is Saved.REFUSED:
                await self._persist(partial(self._documents.save_refused, document, outcome.reason))
                self._counters.dead += 1
                self._counters.error(f"{document.kind} {document.id} refused by the store: {outcome.reason}")
        self._counters.handled += sum(1 for document in documents if document.kind == "event")

    async def _persist(self, save: Callable[[], Awaitable[T]]) -> T:
        return await persist(save, self._clock, self._counters, self._alive)
