"""Every mechanism that the guarantees rest on, and how to switch it off: without it, schedules must go wrong."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec

from actors import collector, owned
from actors.collector import Collector
from actors.executor import Executor
from actors.heed import Heed
from actors.owned import Owned
from pipeline import envelope, fold, identity, resolve
from pipeline.batch import Batch
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.envelope import Processed, Through
from pipeline.errors import LogUnavailable
from pipeline.hot import Hot
from pipeline.topics import PROCESSED, STORE_GROUP, destination_group
from serve import changes, coalescer
from serve.changes import Changes
from tests.simulation.documents import Shards, SimulatedDocuments
from tests.simulation.world import World

#: What replaces what: (object, attribute, replacement).
Patch = tuple[Any, str, Any]


class Guard(NamedTuple):
    """One mechanism."""

    name: str
    without: Sequence[Patch] = ()
    world: Callable[[World], None] | None = None  #: or a switch of the simulated servers
    only: tuple[str, ...] | None = None  #: faults that bring it out soonest; None: as each schedule draws them
    given: Sequence[Patch] = ()  #: what the program is without, in either case
    seeds: range = range(200)  #: one of these schedules goes wrong without it
    by_age: bool = False  #: under a broker whose retention drops all that is old and done with


@contextmanager
def patched(patches: Sequence[Patch]) -> Iterator[None]:
    """The program with these replaced."""
    with ExitStack() as stack:
        for target, name, replacement in patches:
            stack.enter_context(patch.object(target, name, replacement))
        yield


# ---- how each is switched off

_items = collector._items


def _from_the_cursor(one: Any, messages: Any) -> Any:
    return _items(SimpleNamespace(through=Through()), messages)


def _copies_only(item: Any, batch: Batch) -> bool:
    return item.origin is None and _is_heard(item, batch)


_is_heard = collector._is_heard


async def _outbox_first(self: Owned, processed: Processed) -> None:
    await owned.outbox.send(self._log, self.sender, processed.sequence, processed.out)
    out, processed.out = processed.out, []
    await _publish(self, msgspec.structs.replace(processed, out=[]))
    processed.out = out


_publish = Owned.publish


def _without_outbox(data: bytes) -> Processed:
    processed: Processed = envelope.decode_processed(data)
    processed.out = []
    return processed


async def _without_waiting(self: Owned, processed: Processed) -> None:
    """The next envelope goes out before this one is acknowledged."""
    data = envelope.encode(processed)
    asyncio.create_task(_append(self, data, processed))  # noqa: RUF006
    self.sequence, self.through, self.heard = processed.sequence, processed.through, processed.heard
    self.totals, self.last_ms = processed.totals, processed.time_ms
    await owned.outbox.send(self._log, self.sender, processed.sequence, processed.out)


async def _append(self: Owned, data: bytes, processed: Processed) -> None:
    try:
        position = await self._writer.append(data, 1)
    except LogUnavailable:
        return
    self.hot.appended(position, processed.sequence, len(data))


async def _nothing_known(self: SimulatedDocuments, ids: Any) -> frozenset[str]:
    return frozenset()


async def _forget_in_between(self: Owned, processed: Processed) -> None:
    """What is stored leaves the window while a batch is being folded."""
    await _publish(self, processed)
    for _ in range(20):
        self.hot.evict(await self._log.committed(PROCESSED, self._partition, STORE_GROUP))
        await asyncio.sleep(0.02)


def _forget_the_unsaved(self: Hot, saved: Any) -> None:
    _evict(self, saved)
    self._saved_sequence = 1 << 60
    _evict(self, saved)


_evict = Hot.evict


def _mint_again(kind: identity.Kind, value: str) -> str:
    return identity.mint(kind, f"again {value}" if identity.minted_kind(value) else value)


def _one_part(session: str, profile: str) -> str:
    return identity.mint(identity.Kind.DOCUMENT, session)


async def _put_group_later(self: Changes, kind: str, id: str, body: bytes) -> int:
    revision = await self._ports.definitions.put(kind, id, body)
    if kind == "destinations":

        async def later() -> None:
            await asyncio.sleep(1.0)
            await self._ports.log.create_group(PROCESSED, destination_group(id), "end")

        asyncio.create_task(later())  # noqa: RUF006
    return revision


async def _as_it_is(self: Any, *given: Any) -> Any:
    return self.catalog if isinstance(self, DefinitionsWatch) else True


async def _no_checkpoint(self: Any, *given: Any) -> None:
    return


def _no_fences(world: World) -> None:
    world.broker.faults.fences = False


def _any_version(world: World) -> None:
    world.shards.faults.checks_versions = False


def _no_tombstones(world: World) -> None:
    world.shards.faults.keeps_tombstones = False


def _drops_the_last(world: World) -> None:
    world.broker.faults.keeps_last = False


_ENVELOPE = SimpleNamespace(
    encode=envelope.encode, decode_object=envelope.decode_object, decode_processed=_without_outbox
)
#: As the previous format had it, and as one API process after the other may still be unknown.
_UNNUMBERED = SimpleNamespace(collected=lambda records, counts, sender: envelope.collected(records, counts))
_IDENTITY = SimpleNamespace(
    **{name: getattr(identity, name) for name in ("partition", "minted_kind", "Kind", "event_id")}, mint=_mint_again
)

_KILLS = ("crash", "fuse", "pause", "append", "forgets")

GUARDS: Sequence[Guard] = (
    Guard("epoch fence", world=_no_fences, only=("pause", "scale", "fuse", "crash")),
    Guard(
        "through", [(collector, "_items", _from_the_cursor)], only=_KILLS, given=[(coalescer, "envelope", _UNNUMBERED)]
    ),
    Guard("sequence", [(Heed, "take", lambda self, header: True)], only=("twice", "crash")),
    Guard("heard", [(collector, "_is_heard", _copies_only)], only=(*_KILLS, "twice", "late")),
    Guard("outbox after the envelope", [(Owned, "publish", _outbox_first)], only=_KILLS),
    Guard("outbox sent again by a new owner", [(owned, "envelope", _ENVELOPE)], only=_KILLS),
    Guard("one unacknowledged envelope", [(Owned, "publish", _without_waiting)], only=_KILLS),
    Guard("window of recent events", [(Hot, "knows", lambda self, id: False)], only=("append", "store", "late")),
    Guard("question to the store", [(SimulatedDocuments, "known", _nothing_known)], only=("crash", "append", "late")),
    Guard("nothing forgotten within a batch", [(Owned, "publish", _forget_in_between)], only=("append", "broker")),
    Guard("pinning until stored", [(Hot, "evict", _forget_the_unsaved)], only=("store", "append")),
    Guard("receipts", [(Batch, "receipt", lambda self, id, body: None)]),
    Guard("versions of documents", world=_any_version, only=("pause", "scale", "partial", "fuse")),
    Guard("tombstones", world=_no_tombstones, only=("erase", "crash")),
    Guard("last envelope kept", world=_drops_the_last, only=("trim", "crash", "jump")),
    Guard(
        "checkpoint envelopes",
        [(Collector, "_checkpoint", _no_checkpoint), (Executor, "_checkpoint", _no_checkpoint)],
        only=("days", "crash"),
        by_age=True,
    ),
    Guard(
        "refused documents kept", [(Shards, "save_refused", lambda self, document: None)], only=("refused", "append")
    ),
    Guard("one kind of alias", [(resolve, "identity", _IDENTITY)]),
    Guard("session parts", [(fold.identity, "session_document_id", _one_part)]),
    Guard(
        "numbers of the API's appends", [(collector, "is_copy", lambda *given: False)], only=("late", "twice", "crash")
    ),
    Guard("definitions as of a batch", [(DefinitionsWatch, "current", _as_it_is)], only=("changes",)),
    Guard("revision stamp", [(DefinitionsWatch, "reach", _as_it_is)], only=("changes", "scale", "crash")),
    Guard("changes wait for collectors", [(changes, "caught_up", _as_it_is)], only=("changes", "pause")),
    Guard("group before the answer", [(Changes, "_put", _put_group_later)], only=("changes",)),
)


def by_name() -> Mapping[str, Guard]:
    """All of them."""
    return {guard.name: guard for guard in GUARDS}


def needed(name: str) -> tuple[int, list[str], list[str]]:
    """The first seed that goes wrong without it and how (nothing: none did), and how the same one goes with it."""
    guard = by_name()[name]
    for seed in guard.seeds:
        world = _world(guard, seed)
        if guard.world is not None:
            guard.world(world)
        with patched([*guard.given, *guard.without]):
            wrong = world.run()
        if wrong:
            with patched(guard.given):
                return seed, wrong, _world(guard, seed).run()
    return len(guard.seeds), [], []


def _world(guard: Guard, seed: int) -> World:
    return World(seed, guard.only, by_age=guard.by_age)
