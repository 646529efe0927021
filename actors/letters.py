"""Writes dead letters, and takes back those of a batch that came through after all."""

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TypeVar

from actors.counters import Counters
from actors.persist import persist
from pipeline.clock import Clock
from pipeline.letter import Letter, State
from pipeline.stores.documents import Document, Documents, Saved

T = TypeVar("T")


class Letters:
    """Of one reader; each call returns once the store has taken what there is to say."""

    def __init__(self, documents: Documents, clock: Clock, counters: Counters, alive: Callable[[], None]) -> None:
        self._documents = documents
        self._clock = clock
        self._counters = counters
        self._alive = alive

    async def bury(self, letter: Document) -> None:
        """Keep it. Of a batch that is repeated it is kept already, and stays as it was decided meanwhile."""
        (saved,) = await self._persist(partial(self._documents.save, [letter]))
        if saved.result is Saved.KEPT:
            await self._change(letter.id, State.DELIVERED, State.WAITING)

    async def withdraw(self, ids: Collection[str]) -> None:
        """These deliveries were made: what letters there are of them, whatever was decided of them, count nowhere."""
        for id in await self._persist(partial(self._documents.load, "dead", ids)):
            await self._change(id, None, State.DELIVERED)

    async def _change(self, id: str, before: State | None, after: State) -> None:
        """Unless it is in another state than `before`; None stands for any."""
        while True:
            letter = Letter((await self._persist(partial(self._documents.load, "dead", [id])))[id])
            if letter.state is after or before not in (None, letter.state):
                return
            changed = letter.becomes(after, self._clock.now_ms())
            (saved,) = await self._persist(partial(self._documents.save, [changed]))
            if saved.result is not Saved.KEPT:  # else somebody decided something of it at the same moment
                return

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        return await persist(call, self._clock, self._counters, self._alive)
