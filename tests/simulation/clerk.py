"""Somebody who decides over dead letters while everything runs, and again when it has come to rest."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from pipeline.errors import Reject, Retry
from pipeline.letter import State
from serve.dead_letters import DeadLetters
from tests.simulation.documents import Shards
from tests.simulation.machine import Unreachable

#: Gives the work to some API process.
Anybody = Callable[[Callable[[DeadLetters], Awaitable[State]]], Awaitable[State]]


class Clerk:
    """Sends most and drops some, now and then twice at once. Draws by itself: other schedules stay as they are."""

    def __init__(self, seed: object, shards: Shards, anybody: Anybody, happened: Counter[str]) -> None:
        self._random = Random(f"{seed}/clerk")
        self._shards = shards
        self._anybody = anybody
        self._happened = happened

    async def run(self, decisions: int) -> None:
        """Decide that often, one after the other, over whatever there is by then."""
        for _ in range(decisions):
            await asyncio.sleep(self._random.choice((0.1, 1.0, 4.0)))
            letters = list(self._shards.kinds["dead"])
            if letters:
                id = self._random.choice(letters)
                await asyncio.gather(*(self._decide(id) for _ in range(self._random.choice((1, 1, 2)))))

    async def _decide(self, id: str) -> None:
        wish = DeadLetters.send if self._random.random() < 0.7 else DeadLetters.drop
        try:
            state = await self._anybody(lambda letters: wish(letters, id))
        except (Reject, Retry, Unreachable):  # it was decided, is not taken, or nobody is there
            return
        self._happened[f"dead letter {state}"] += 1
