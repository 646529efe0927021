"""The account: what became of every event, from durable facts only.

``accepted = stored + duplicate + rejected + not_stored + dead + in_flight``, in client events. Every term is read from
envelope totals, positions and documents; `in_flight` is counted from headers between positions, never derived.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from pipeline import account_verify, envelope, identity
from pipeline.account_terms import Account, Reader
from pipeline.delivery import Selection
from pipeline.envelope import CollectedHeader, Heard, Outgoing, Processed, Runs, Through, Totals
from pipeline.letter import State
from pipeline.log.port import BEGINNING, Log, Message, Position
from pipeline.progress import load as load_progress
from pipeline.progress import of_life
from pipeline.replay import Replay
from pipeline.senders import hear, is_copy
from pipeline.stores.documents import Documents, Query
from pipeline.topics import (
    COLLECTED,
    PROCESSED,
    RUNS,
    STORE_GROUP,
    WORKFLOW_GROUP,
    collector_outbox,
    destination_of,
    destination_reader,
    executor_outbox,
)
from pipeline.workflow_plan import Plan

_READ_BYTES = 4_000_000

#: Each takes a few reads; a sender is rarely ahead twice.
_CUT_TRIES = 100


class Askers(NamedTuple):
    """Who asks for events, compiled by the definitions of one revision."""

    destinations: Mapping[str, Selection]
    plan: Plan
    lives: Mapping[str, str] = {}  #: destination → its group
    replays: Mapping[str, Replay] = {}


class _Newest(NamedTuple):
    """The newest envelope of one partition of `processed`."""

    position: Position = BEGINNING
    processed: Processed | None = None

    @property
    def sequence(self) -> int:
        return self.processed.sequence if self.processed else 0

    @property
    def through(self) -> Through:
        return self.processed.through if self.processed else Through()

    @property
    def heard(self) -> Mapping[str, tuple[int, int]]:
        return self.processed.heard if self.processed else {}

    @property
    def senders(self) -> Mapping[str, Heard]:
        return self.processed.senders if self.processed else {}

    @property
    def totals(self) -> Totals:
        return self.processed.totals if self.processed else Totals()


async def take(log: Log, documents: Documents, askers: Askers, *, verify: bool = False) -> Account:
    """Draw up the account once; also of a system under load, whose partitions go on meanwhile."""
    account = Account()
    saved = [await log.committed(PROCESSED, partition, STORE_GROUP) for partition in range(log.partitions)]
    newest = await _cut(log)
    at_saved = [await _totals_at(log, partition, position) for partition, position in enumerate(saved)]
    ways = _Ways(newest)
    for partition, one in enumerate(newest):
        _add_totals(account, one.totals)
        account.stored += at_saved[partition].stored
        async for message in between(log, PROCESSED, partition, saved[partition], one.position):
            account.in_flight += envelope.decode_processed_header(message.data).stored
            account.unsaved_envelopes += 1
        await _collected(log, partition, one, ways, account)
        if one.processed is not None:
            ways.sent(collector_outbox(partition), one.sequence, one.processed.out)
    await _workflows(log, askers.plan, newest, ways, account)
    letters = await _destinations(log, documents, askers, newest, account)
    await _replays(log, documents, askers, account)
    account.forwards_in_flight, account.commands_in_flight = ways.events, ways.commands
    account.in_flight += ways.events
    account.dead = await documents.count("event", Query(equals={"refused": True}))
    account.stored -= account.dead
    account.close()
    if verify:
        await account_verify.verify(log, documents, at_saved, letters, account)
    return account


async def _cut(log: Log) -> list[_Newest]:
    """The newest envelope of every partition, none of which has heard what its sender has not written here yet.

    Where that never comes about something is lost: the account will not balance.
    """
    newest = [await _newest(log, partition) for partition in range(log.partitions)]
    for _ in range(_CUT_TRIES):
        behind = [
            sender
            for sender in range(log.partitions)
            if any(one.heard.get(collector_outbox(sender), (0, 0))[0] > newest[sender].sequence for one in newest)
        ]
        if not behind:
            return newest
        for sender in behind:
            newest[sender] = await _newest(log, sender)
    return newest


async def _newest(log: Log, partition: int) -> _Newest:
    last = await log.last(PROCESSED, partition)
    return _Newest() if last is None else _Newest(last.position, envelope.decode_processed(last.data))


async def _totals_at(log: Log, partition: int, position: Position) -> Totals:
    """As of the envelope there."""
    if position == BEGINNING:
        return Totals()
    (message, *_) = await log.read(PROCESSED, partition, position, 1, inclusive=True)
    totals: Totals = envelope.decode_processed_header(message.data).totals
    return totals


def _add_totals(account: Account, totals: Totals) -> None:
    account.accepted += totals.accepted
    account.duplicate += totals.duplicate
    account.rejected += totals.rejected
    account.not_stored += totals.not_stored
    account.internal += totals.internal
    account.refused_effects += totals.refused
    account.forwarded += totals.forwarded
    account.taken += totals.taken


class _Ways:
    """Records on their way from an outbox to the partition they are for: written there or not, but not yet heard."""

    def __init__(self, newest: list[_Newest]) -> None:
        self._newest = newest
        self._counted: set[tuple[str, int, int]] = set()
        self.events = 0
        self.commands = 0

    def sent(self, sender: str, sequence: int, out: list[Outgoing]) -> None:
        """What the newest envelope of a sender holds: it may not have left."""
        for place, item in enumerate(out):
            self._add(identity.partition(item.key, len(self._newest)), (sender, sequence, place), item.count)

    def arrived(self, partition: int, origin: tuple[str, int, int], count: int) -> None:
        """A record found in the input of this partition, beyond what its owner is through with."""
        own = [number for number in range(len(self._newest)) if collector_outbox(number) == origin[0]]
        if own and origin[1] > self._newest[own[0]].sequence:
            return  # sent after the moment the account is of
        self._add(partition, origin, count)

    def _add(self, partition: int, origin: tuple[str, int, int], count: int) -> None:
        sender, *slot = origin
        if tuple(slot) <= self._newest[partition].heard.get(sender, (-1, -1)) or origin in self._counted:
            return
        self._counted.add(origin)
        self.events += count
        self.commands += not count


async def _collected(log: Log, partition: int, newest: _Newest, ways: _Ways, account: Account) -> None:
    """What lies in the input beyond the newest envelope's `through`."""
    through = newest.through
    taken = dict(newest.senders)
    end = await log.last(COLLECTED, partition)
    if end is None:
        return
    async for message in between(log, COLLECTED, partition, through.position, end.position, inclusive=True):
        header: CollectedHeader = envelope.decode_collected_header(message.data)
        first = through.index + 1 if message.position == through.position else 0
        for index in range(first, len(header.counts)):
            count = header.counts[index]
            if header.origins:
                ways.arrived(partition, header.origins[index], count)
            elif header.sender is None or not is_copy(header.sender, index, taken):
                account.accepted += count
                account.in_flight += count
        if header.sender is not None and not is_copy(header.sender, len(header.counts) - 1, taken):
            hear(taken, header.sender, len(header.counts) - 1)


async def _destinations(
    log: Log, documents: Documents, askers: Askers, newest: list[_Newest], account: Account
) -> Mapping[str, int]:
    """Returns how many dead letters of each are surely written."""
    letters = {}
    groups = await log.groups(PROCESSED)
    for id, selection in askers.destinations.items():
        group = askers.lives.get(id)
        ends = [one.position if group in groups else BEGINNING for one in newest]
        # asked before the totals are read: what is sent is counted, so those hold all of these
        sent = await documents.count("dead", Query({"destination": id, "state": State.SENT}))
        reader, unwritten = await _reader(log, documents, group or destination_reader(id), selection, ends)
        letters[id] = reader.dead - unwritten
        reader.dead -= sent
        reader.delivered += sent
        account.destinations[id] = reader
    return letters


async def _replays(log: Log, documents: Documents, askers: Askers, account: Account) -> None:
    groups = await log.groups(PROCESSED)
    for replay in askers.replays.values():
        is_underway = replay.reader in groups
        account.replays_underway += is_underway
        selection = askers.destinations.get(destination_of(replay.group))
        if selection is not None:
            ends = [end if is_underway else BEGINNING for end in replay.ends[PROCESSED]]
            account.replays[replay.id], _ = await _reader(log, documents, replay.reader, selection, ends)


async def _reader(
    log: Log, documents: Documents, group: str, selection: Selection, ends: Sequence[Position]
) -> tuple[Reader, int]:
    """What a group has counted, and what lies from there to the end of each partition; how many letters it has to write."""
    reader, unwritten = Reader(), 0
    for partition, end in enumerate(ends):
        progress = of_life(await load_progress(documents, group, partition), group)
        reader.due += progress.due
        reader.delivered += progress.delivered
        reader.dead += progress.dead
        if progress.letters:
            unwritten += len(progress.letters) - len(await documents.load("dead", progress.letters.keys()))
        after = max(progress.position, await log.committed(PROCESSED, partition, group))
        async for message in between(log, PROCESSED, partition, after, end):
            if selection.wants(envelope.decode_processed_header(message.data).pairs):
                due = len(selection.due(envelope.decode_processed(message.data)))
                reader.due += due
                reader.in_flight += due
    return reader, unwritten


async def _workflows(log: Log, plan: Plan, newest: list[_Newest], ways: _Ways, account: Account) -> None:
    workflows = account.workflows
    on = WORKFLOW_GROUP in await log.groups(PROCESSED)
    for partition, one in enumerate(newest):
        last = await log.last(RUNS, partition)
        after = BEGINNING
        if last is not None:
            runs: Runs = envelope.decode_runs(last.data)
            workflows.due += runs.totals.due
            workflows.run += runs.totals.run
            workflows.dead += runs.totals.dead
            ways.sent(executor_outbox(partition), runs.sequence, runs.out)
            after = runs.through.position
        if not on:
            continue
        after = max(after, await log.committed(PROCESSED, partition, WORKFLOW_GROUP))
        async for message in between(log, PROCESSED, partition, after, one.position):
            if plan.wants(envelope.decode_processed_header(message.data).pairs):
                due = len(plan.due(envelope.decode_processed(message.data)))
                workflows.due += due
                workflows.in_flight += due


async def between(
    log: Log, topic: str, partition: int, after: Position, end: Position, *, inclusive: bool = False
) -> AsyncIterator[Message]:
    """Messages after one position (from it on, when `inclusive`) up to and including another."""
    first = inclusive
    while after < end or first:
        messages = await log.read(topic, partition, after, _READ_BYTES, inclusive=first)
        first = False
        for message in messages:
            if message.position > end:
                return
            yield message
            after = message.position
        if not messages:
            return
        await asyncio.sleep(0)  # an adapter may answer without waiting: let others have their turn
