"""Documents that are put back from an older copy, or lost altogether: what the log can restore, and what is gone for good."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pipeline import envelope, instant
from pipeline.errors import Conflict, Retry
from pipeline.log.port import Message
from pipeline.progress import Progress
from pipeline.stores.documents import Kind
from pipeline.to_save import Gathered, gather, gather_runs
from pipeline.topics import PROCESSED, RUNS, reader_of
from serve.replays import Asked
from tests.simulation.broker import Broker
from tests.simulation.documents import Kept, Shards
from tests.simulation.machine import Unreachable

if TYPE_CHECKING:
    from tests.simulation.world import World

#: All that is in a store.
Copy = dict[Kind, dict[str, Kept]]


def copy_of(kinds: Copy) -> Copy:
    """As it is now."""
    return {kind: dict(kept) for kind, kept in kinds.items()}


def replay_from(copy: Copy, broker: Broker) -> int | None:
    """When the first envelope was published that the copy does not hold; None when retention has dropped one of those."""
    begins = 1 << 62
    for topic in (PROCESSED, RUNS):
        for where in broker.topics[topic].partitions:
            for place, message in enumerate(where.messages):
                if not _holds(copy, topic, message):
                    if place < where.first:
                        return None
                    begins = min(begins, message.published_ms)
    return begins


def _holds(copy: Copy, topic: str, message: Message) -> bool:
    documents: Gathered = {}
    if topic == RUNS:
        gather_runs(envelope.decode_runs(message.data), documents)
    else:
        gather(envelope.decode_processed(message.data), documents)
    return all(
        (kept := copy[kind].get(id)) is not None and kept.version >= document.version
        for (kind, id), document in documents.items()
    )


class Gone(NamedTuple):
    """What no replay of the store brings back."""

    letters: set[tuple[str, str]]  #: (destination, event) of what was given up
    due: Counter[str]  #: what reads for a destination → deliveries that had been counted

    def add(self, before: Copy, after: Copy) -> None:
        """One store takes the other's place."""
        kept = set(_letters(after))
        self.letters.update(one for id, one in _letters(before).items() if id not in kept)
        self.due.update(_due(before))
        self.due.subtract(_due(after))


def _letters(copy: Copy) -> dict[str, tuple[str, str]]:
    """Those written, and those that are only counted."""
    bodies = {id: kept.body for id, kept in copy["dead"].items()}
    for progress in _progress(copy):
        bodies |= {id: bytes(body) for id, body in progress.letters.items() if id not in bodies}
    found = {id: msgspec.json.decode(body) for id, body in bodies.items()}
    return {id: (body["destination"], body["event"]) for id, body in found.items()}


def _due(copy: Copy) -> Counter[str]:
    due: Counter[str] = Counter()
    for progress in _progress(copy):
        due[reader_of(progress.group)] += progress.due
    return due


def _progress(copy: Copy) -> Iterator[Progress]:
    for kept in copy["progress"].values():
        yield msgspec.json.decode(kept.body, type=Progress)


#: An installation that is stopped stays so for longer than anything it has sent is on its way.
_DOWN_S = 5.0


class Losses:
    """Puts documents back from a copy, or loses them, and makes them whole again as docs/replay.md says. Draws by itself."""

    def __init__(self, world: "World", random: Random) -> None:
        self._world = world
        self._random = random
        self.are_drawn = random.random() < 0.25
        self.gone = Gone(set(), Counter())

    async def run(self) -> None:
        """A few times, at random moments."""
        random, world = self._random, self._world
        for _ in range(random.choice((1, 2, 3))):
            await asyncio.sleep(random.choice((0.1, 2.0, 6.0)))
            shards = world.shards if random.random() < 0.75 else Shards(world.loop.time, random)
            copy = copy_of(shards.kinds)
            await asyncio.sleep(random.choice((0.5, 3.0, 10.0)))
            await self._put_back(copy)

    async def _put_back(self, copy: Copy) -> None:
        """With everything stopped. A copy is of use only where the log still holds all that is missing in it, and a replay of
        the store that is under way would know nothing of what is lost by then.
        """
        world = self._world
        world.shut_down()
        await asyncio.sleep(_DOWN_S)
        is_replaying = any(name.startswith("replay.") for name in world.broker.topics[RUNS].groups)
        from_ms = None if is_replaying else replay_from(copy, world.broker)
        if from_ms is not None:
            self.gone.add(world.shards.kinds, copy)
            world.shards.kinds = copy
            world.broker.faults.trims = False
            world.happened["documents lost"] += 1
        world.start_up()
        if from_ms is not None:
            await asyncio.sleep(self._random.choice((0.0, 2.0, 10.0)))
            await self._restore(from_ms)
            world.broker.faults.trims = True

    async def _restore(self, from_ms: int) -> None:
        """Replay the store from the first envelope that is missing: asked for until it is begun."""
        times = ["2020-01-01T00:00:00Z"]
        now_ms = self._world.time.now_ms()
        if from_ms < now_ms:
            times.append(instant.to_text(from_ms))
            if self._random.random() < 0.5:
                await self._restore_late(instant.to_text(self._random.randint(from_ms + 1, now_ms)))
        asked = Asked(group="store", from_=self._random.choice(times))
        while True:
            try:
                machine = self._world.api()
                await machine.do(machine.replays.begin(asked))
            except (Unreachable, Retry, Conflict):  # one before it may have to end first
                await asyncio.sleep(0.5)
            else:
                return

    async def _restore_late(self, time: str) -> None:
        """From a time after the first envelope that is missing: refused, unless nothing is missing before it after all."""
        with suppress(Conflict, Unreachable, Retry):
            machine = self._world.api()
            await machine.do(machine.replays.begin(Asked(group="store", from_=time)))
            self._world.happened["replay of the store begun late"] += 1
