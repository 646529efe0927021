"""Every mechanism that the guarantees rest on, and how to switch it off: without it, schedules must go wrong."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec

from actors import batcher, channel, collector, owned
from actors.channel import Channel
from actors.collector import Collector
from actors.deliverer import Deliverer
from actors.executor import Executor
from actors.heed import Heed
from actors.owned import Owned
from pipeline import envelope, fold, identity, progress, resolve, saved, to_save
from pipeline.batch import Batch
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.envelope import Processed, Through
from pipeline.hot import Hot
from pipeline.progress import Progress
from pipeline.saved import check_saved
from pipeline.stores.documents import Document, Outcome, Saved
from pipeline.topics import PROCESSED, STORE_GROUP, destination_group, destination_reader
from serve import changes, coalescer
from serve.changes import Changes
from serve.replays import Replays
from tests.simulation.definitions import SimulatedDefinitions
from tests.simulation.documents import Shards, SimulatedDocuments
from tests.simulation.loss import Losses
from tests.simulation.world import World

#: What replaces what: (object, attribute, replacement).
Patch = tuple[Any, str, Any]


class Guard(NamedTuple):
    """One mechanism."""

    name: str
    faults: tuple[str, ...]  #: what goes wrong without it begins so, in one way or another
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
    before = vars(self).get("_under_way")
    if before is not None and before.done():
        before.result()  # what failed ends the ownership, only later
    self._under_way = asyncio.create_task(_append(self, data, processed))  # type: ignore[attr-defined]
    self.sequence, self.through, self.heard = processed.sequence, processed.through, processed.heard
    self.totals, self.last_ms = processed.totals, processed.time_ms
    await owned.outbox.send(self._log, self.sender, processed.sequence, processed.out)


async def _append(self: Owned, data: bytes, processed: Processed) -> None:
    position = await self._writer.append(data, 1)
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


async def _no_check(self: Any, one: Any) -> None:
    pass


async def _group_of_all(self: Changes, id: str) -> str:
    group = destination_group(id, self._ports.new_id())
    await self._ports.log.create_group(PROCESSED, group, "start")
    return group


async def _group_later(self: Changes, id: str) -> str:
    group = destination_group(id, self._ports.new_id())

    async def later() -> None:
        await asyncio.sleep(1.0)
        await self._ports.log.create_group(PROCESSED, group, "end")

    asyncio.create_task(later())  # noqa: RUF006
    return group


async def _put_anyway(self: SimulatedDefinitions, *given: Any, expected: int | None = None, **more: Any) -> int:
    return await _put(self, *given, **more)


async def _delete_anyway(self: SimulatedDefinitions, *given: Any, expected: int | None = None) -> int:
    return await _delete(self, *given)


_put, _delete = SimulatedDefinitions.put, SimulatedDefinitions.delete


async def _named_only(self: SimulatedDefinitions, kind: str, id: str, group: str) -> bool:
    """Whether the row names the group, and nothing else."""
    found = await self.get(kind, id)
    return found is None or found.group != group


async def _as_it_is(self: Any, *given: Any) -> Any:
    return self.catalog if isinstance(self, DefinitionsWatch) else True


def _numbered_by_envelope(one: Progress) -> Document:
    """Whoever has come further wins, whatever another one has counted since it began."""
    return progress.document(one)._replace(version=one.sequence)


async def _whoever_counts(self: Channel, documents: Sequence[Document], *given: Any) -> Sequence[Outcome]:
    """Goes on from its own progress, though another owner's was stored."""
    return [Outcome(Saved.DONE) for _ in await _save(self, documents, *given)]


class _Eager(list[Document]):
    """Saves each letter as soon as its delivery is given up."""

    def __init__(self, save: Callable[[Sequence[Document]], Any]) -> None:
        super().__init__()
        self._save = save

    def append(self, letter: Document) -> None:
        super().append(letter)
        asyncio.create_task(self._save([letter]))  # noqa: RUF006


def _with_eager_letters(self: Channel, partition: int, alive: Callable[[], None]) -> Deliverer:
    deliverer = _deliverer(self, partition, alive)
    deliverer.letters = _Eager(lambda letters: _save(self, letters, alive))
    return deliverer


_deliverer = Channel._deliverer
_save = Channel._save


async def _without_letters(*given: Any) -> Progress:
    return msgspec.structs.replace(await progress.load(*given), letters={})


async def _no_replay(self: Deliverer, due: Any) -> bool:
    """What is due to a replay counts as delivered."""
    return True if self._replay else await _deliver(self, due)


_deliver = Deliverer.deliver


async def _twice_due(self: Channel, documents: Sequence[Document], *given: Any) -> Sequence[Outcome]:
    return await _save(self, [_doubled(one) if one.kind == "progress" else one for one in documents], *given)


def _doubled(document: Document) -> Document:
    one = msgspec.json.decode(document.body, type=Progress)
    return progress.document(msgspec.structs.replace(one, due=one.due * 2, delivered=one.due * 2 - one.dead))


async def _anything_of_it(documents: Any, gathered: to_save.Gathered) -> list[str]:
    """Nothing lacks while something of the envelope is there, in whatever version."""
    for document in gathered.values():
        if await documents.load(document.kind, [document.id]):
            return []
    return ["everything"]


async def _its_own(self: Collector, partition: int) -> None:
    while await self._underway.of_store() and self._partitions.may_own(partition):
        self._partitions.alive(partition)
        await self._clock.sleep(0.25)
    await check_saved(self._log, self._documents, partition)


async def _no_checkpoint(self: Any, *given: Any) -> None:
    return


def _progress(**other: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(progress), **other})


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

#: What was saved was taken for new.
_COUNTED_ANEW = ("counted more than once", "an id twice", "profile versions", "session versions", "interest")

_LOSSES = ("lost", "append", "crash")
_KILLS = ("crash", "fuse", "pause", "append", "forgets")

GUARDS: Sequence[Guard] = (
    Guard(
        "epoch fence",
        ("answered 200 and lost", "processed 0: sequence", "processed 1: sequence", "processed 2: sequence"),
        world=_no_fences,
        only=("pause", "scale", "fuse", "crash"),
    ),
    Guard(
        "through",
        ("accepted", "counted more than once"),
        [(collector, "_items", _from_the_cursor)],
        only=_KILLS,
        given=[(coalescer, "envelope", _UNNUMBERED)],
    ),
    Guard("sequence", ("ran twice",), [(Heed, "take", lambda self, header, position: True)], only=("twice", "crash")),
    Guard(
        "heard",
        ("counted more than once", "an id twice", "the account does not agree"),
        [(collector, "_is_heard", _copies_only)],
        only=(*_KILLS, "twice", "late"),
    ),
    Guard(
        "outbox after the envelope",
        (
            "answered 200 and lost",
            "an answered id leads elsewhere",
            "the account does not agree",
            "effects too many",
            "an id twice",
        ),
        [(Owned, "publish", _outbox_first)],
        only=_KILLS,
    ),
    Guard(
        "outbox sent again by a new owner", ("answered 200 and lost",), [(owned, "envelope", _ENVELOPE)], only=_KILLS
    ),
    Guard(
        "one unacknowledged envelope",
        ("answered 200 and lost", "counted more than once", "processed"),
        [(Owned, "publish", _without_waiting)],
        only=_KILLS,
    ),
    Guard(
        "window of recent events",
        ("counted more than once", "an id twice"),
        [(Hot, "knows", lambda self, id: False)],
        only=("append", "store", "late"),
    ),
    Guard(
        "question to the store",
        ("counted more than once",),
        [(SimulatedDocuments, "known", _nothing_known)],
        only=("crash", "append", "late"),
    ),
    Guard(
        "nothing forgotten within a batch",
        ("counted more than once",),
        [(Owned, "publish", _forget_in_between)],
        only=("append", "broker"),
    ),
    Guard(
        "pinning until stored",
        ("profile versions", "session versions", "interest"),
        [(Hot, "evict", _forget_the_unsaved)],
        only=("store", "append"),
    ),
    Guard("receipts", ("counted more than once",), [(Batch, "receipt", lambda self, id, body: None)]),
    Guard(
        "versions of documents",
        ("profile not as written last", "session not as written last"),
        world=_any_version,
        only=("pause", "scale", "partial", "fuse"),
    ),
    Guard("tombstones", ("profile versions", "interest"), world=_no_tombstones, only=("erase", "crash")),
    Guard(
        "last envelope kept",
        ("collector stands still", "executor stands still", "ran twice"),
        world=_drops_the_last,
        only=("trim", "crash", "jump"),
    ),
    Guard(
        "checkpoint envelopes",
        ("collector stands still", "executor stands still", "did not run", "run not", "the account does not agree"),
        [(Collector, "_checkpoint", _no_checkpoint), (Executor, "_checkpoint", _no_checkpoint)],
        only=("days", "crash"),
        by_age=True,
    ),
    Guard(
        "refused documents kept",
        ("counted more than once", "interest", "profile versions"),
        [(Shards, "save_refused", lambda self, document: None)],
        only=("refused", "append"),
    ),
    Guard("one kind of alias", ("an answered id leads elsewhere",), [(resolve, "identity", _IDENTITY)]),
    Guard("session parts", ("session versions",), [(fold.identity, "session_document_id", _one_part)]),
    Guard(
        "numbers of the API's appends",
        ("counted more than once",),
        [(collector, "is_copy", lambda *given: False)],
        only=("late", "twice", "crash"),
    ),
    Guard(
        "definitions as of a batch",
        ("folded by old definitions",),
        [(DefinitionsWatch, "current", _as_it_is)],
        only=("changes",),
    ),
    Guard(
        "revision stamp",
        ("not delivered", "did not run"),
        [(DefinitionsWatch, "reach", _as_it_is)],
        only=("changes", "scale", "crash"),
    ),
    Guard(
        "changes wait for collectors",
        ("folded by newer definitions",),
        [(changes, "caught_up", _as_it_is)],
        only=("changes", "pause"),
    ),
    Guard(
        "one progress after the other",
        ("dead letters counted", "due counted", "the account does not agree"),
        [(channel, "progress", _progress(document=_numbered_by_envelope))],
        only=("pause", "receivers"),
    ),
    Guard(
        "who has not counted begins anew",
        ("dead letters counted", "due counted", "the account does not agree", "not delivered"),
        [(Channel, "_save", _whoever_counts)],
        only=("jump", "pause", "receivers"),
    ),
    Guard(
        "letters after the count",
        ("dead letters counted", "not delivered"),
        [(Channel, "_deliverer", _with_eager_letters)],
        only=("receivers", "crash"),
    ),
    Guard(
        "letters written by a new owner",
        ("the account does not agree", "not delivered", "letters not written"),
        [(channel, "progress", _progress(load=_without_letters))],
        only=("receivers", "fuse", "crash"),
        seeds=range(400, 2000),  # rare: it takes a crash between a count and its letters
    ),
    Guard(
        "totals of destinations",
        ("due counted",),
        [(Channel, "_save", _twice_due)],
        only=("receivers",),
    ),
    Guard("replays deliver", ("not delivered often enough",), [(Deliverer, "deliver", _no_replay)], only=("replay",)),
    Guard(
        "whole envelope looked at",
        _COUNTED_ANEW,
        [(saved, "_lacking", _anything_of_it)],
        only=_LOSSES,
    ),
    Guard(
        "last envelope with documents",
        _COUNTED_ANEW,
        [(owned, "holds_documents", lambda processed: True)],
        only=_LOSSES,
    ),
    Guard(
        "batcher looks before it saves",
        _COUNTED_ANEW,
        [(batcher, "check_saved", _no_checkpoint)],
        only=_LOSSES,
    ),
    Guard(
        "collector looks at all partitions",
        _COUNTED_ANEW,
        [(Collector, "_until_whole", _its_own)],
        only=_LOSSES,
        given=[  # as for a partition without documents for a week, whose loss nobody who replays too late is told of
            (owned, "holds_documents", lambda processed: True),
            (Losses, "_restore_late", _no_check),
        ],
    ),
    Guard(
        "store replays begin early",
        _COUNTED_ANEW,
        [(Replays, "_check_early", _no_check)],
        only=_LOSSES,
        seeds=range(400, 2000),  # rare: somebody has to ask for too late a replay
    ),
    Guard("a group begins at the end", ("more due",), [(Changes, "_new_group", _group_of_all)], only=("changes",)),
    Guard("group before the answer", ("not delivered",), [(Changes, "_new_group", _group_later)], only=("changes",)),
    Guard(
        "a group's name is used once",
        ("not delivered", "a group was dropped that its destination names"),
        [(changes, "destination_group", lambda id, life: destination_reader(id))],
        only=("changes", "sleeper"),
    ),
    Guard(
        "compare-and-set",
        ("not delivered", "a destination names a group that is gone"),
        [(SimulatedDefinitions, "put", _put_anyway), (SimulatedDefinitions, "delete", _delete_anyway)],
        only=("changes", "sleeper"),
    ),
    Guard(
        "renewal before a group is dropped",
        ("not delivered", "a destination names a group that is gone"),
        [(SimulatedDefinitions, "renew", _named_only)],
        only=("changes", "sleeper"),
    ),
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
        wrong = [one for one in wrong if one.startswith(guard.faults)]
        if wrong:
            with patched(guard.given):
                return seed, wrong, _world(guard, seed).run()
    return len(guard.seeds), [], []


def _world(guard: Guard, seed: int) -> World:
    return World(seed, guard.only, by_age=guard.by_age)
