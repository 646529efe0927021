"""The account: what became of every event, from durable facts only.

``accepted = stored + duplicate + rejected + not_stored + dead + in_flight``, in client events. Every term is read from
envelope totals, positions and documents; `in_flight` is counted from headers between positions, never derived.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime

import msgspec

from pipeline import envelope, identity
from pipeline.catalog import Catalog
from pipeline.delivery import Selection
from pipeline.envelope import CollectedHeader, Processed, Runs, Totals
from pipeline.log.port import BEGINNING, Log, Message, Position
from pipeline.progress import load as load_progress
from pipeline.secrets import unresolved
from pipeline.stores.documents import Documents, Query
from pipeline.workflow.flow import Tools
from pipeline.workflow_plan import Plan

_READ_BYTES = 4_000_000


class Reader(msgspec.Struct, kw_only=True):
    """What is due to a destination or to the workflows: ``due = delivered + dead + in_flight``."""

    due: int = 0
    delivered: int = 0
    dead: int = 0
    in_flight: int = 0


class Executed(msgspec.Struct, kw_only=True):
    due: int = 0
    run: int = 0
    dead: int = 0
    in_flight: int = 0


class Account(msgspec.Struct, kw_only=True):
    """Client events, but for `internal`."""

    accepted: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    not_stored: int = 0
    dead: int = 0
    in_flight: int = 0
    internal: int = 0
    erased: int = 0
    refused_effects: int = 0
    forwarded: int = 0
    taken: int = 0
    forwards_in_flight: int = 0
    destinations: dict[str, Reader] = {}
    workflows: Executed = msgspec.field(default_factory=Executed)
    balanced: bool = False
    quiet: bool = False  #: nothing is under way anywhere
    verified: bool | None = None  #: the documents were counted too, and agree
    documents: dict[str, int] = {}  #: as counted

    def close(self) -> "Account":
        """Draw the line: says whether both sides agree."""
        outcomes = self.stored + self.duplicate + self.rejected + self.not_stored + self.dead + self.in_flight
        self.balanced = (
            self.accepted == outcomes
            and self.forwarded == self.taken + self.forwards_in_flight
            and all(one.due == one.delivered + one.dead + one.in_flight for one in self.destinations.values())
            and self.workflows.due == self.workflows.run + self.workflows.dead + self.workflows.in_flight
        )
        self.quiet = not (
            self.in_flight or self.workflows.in_flight or any(one.in_flight for one in self.destinations.values())
        )
        return self


async def take(
    log: Log, documents: Documents, catalog: Catalog, now: Callable[[], datetime], *, verify: bool = False
) -> Account:
    """Draw up the account once; on a system under load the partitions are read one after the other."""
    account = Account()
    unsent = _Unsent(log.partitions)
    newest: list[Processed | None] = []
    ends: list[Position] = []
    for partition in range(log.partitions):
        saved = await log.committed("processed", partition, "store")
        last = await log.last("processed", partition)
        last_processed: Processed | None = envelope.decode_processed(last.data) if last is not None else None
        newest.append(last_processed)
        ends.append(last.position if last is not None else BEGINNING)
        if last is not None and last_processed is not None:
            await _processed(log, partition, saved, last, last_processed, account)
        await _collected(log, partition, last_processed, account, unsent)
    unsent.count(newest, account)
    account.dead = await documents.count("event", Query(equals={"refused": True}))
    account.stored -= account.dead
    await _destinations(log, documents, catalog, now, ends, account)
    await _workflows(log, catalog, now, ends, account)
    account.close()
    if verify:
        await _verify(documents, account)
    return account


async def _processed(
    log: Log, partition: int, saved: Position, last: Message, newest: Processed, account: Account
) -> None:
    totals = newest.totals
    account.accepted += totals.accepted
    account.duplicate += totals.duplicate
    account.rejected += totals.rejected
    account.not_stored += totals.not_stored
    account.internal += totals.internal
    account.refused_effects += totals.refused
    account.forwarded += totals.forwarded
    account.taken += totals.taken
    at_saved = Totals()
    if saved != BEGINNING:
        (message, *_) = await log.read("processed", partition, saved, 1, inclusive=True)
        at_saved = envelope.decode_processed_header(message.data).totals
    account.stored += at_saved.stored
    async for message in between(log, "processed", partition, saved, last.position):
        account.in_flight += envelope.decode_processed_header(message.data).stored


async def _collected(log: Log, partition: int, newest: Processed | None, account: Account, unsent: "_Unsent") -> None:
    """What lies in the input beyond the newest envelope's `through`."""
    through = newest.through if newest is not None else envelope.Through()
    heard = newest.heard if newest is not None else {}
    unsent.heard[partition] = heard
    end = await log.last("collected", partition)
    if end is None:
        return
    async for message in between(log, "collected", partition, through.position, end.position, inclusive=True):
        header: CollectedHeader = envelope.decode_collected_header(message.data)
        first = through.index + 1 if message.position == through.position else 0
        for index in range(first, len(header.counts)):
            count = header.counts[index]
            origin = header.origins[index] if header.origins else None
            if origin is None:
                account.accepted += count
                account.in_flight += count
            elif (origin.sequence, origin.place) > heard.get(origin.sender, (-1, -1)):
                if origin not in unsent.seen:
                    account.in_flight += count
                    account.forwards_in_flight += count
                unsent.seen.add(origin)


class _Unsent:
    """Forwarded payloads of a newest envelope that have not reached their partition yet."""

    def __init__(self, partitions: int) -> None:
        self.heard: list[dict[str, tuple[int, int]]] = [{} for _ in range(partitions)]
        self.seen: set[tuple[str, int, int]] = set()

    def count(self, newest: list[Processed | None], account: Account) -> None:
        for partition, processed in enumerate(newest):
            if processed is None:
                continue
            sender = f"collector:{partition}"
            for index, item in enumerate(processed.out):
                slot = (processed.sequence, index)
                target = identity.partition(item.key, len(newest))
                arrived = slot <= self.heard[target].get(sender, (-1, -1)) or (sender, *slot) in self.seen
                if item.count and not arrived:
                    account.in_flight += item.count
                    account.forwards_in_flight += item.count


async def _destinations(
    log: Log,
    documents: Documents,
    catalog: Catalog,
    now: Callable[[], datetime],
    ends: list[Position],
    account: Account,
) -> None:
    for id, destination in catalog.destinations.items():
        reader = account.destinations[id] = Reader()
        selection = Selection(destination, now)
        group = f"dest.{id}"
        for partition, end in enumerate(ends):
            progress = await load_progress(documents, group, partition)
            reader.due += progress.due
            reader.delivered += progress.delivered
            reader.dead += progress.dead
            after = max(progress.position, await log.committed("processed", partition, group))
            if not destination.enabled:
                continue
            async for message in between(log, "processed", partition, after, end):
                if selection.wants(envelope.decode_processed_header(message.data).pairs):
                    due = len(selection.due(envelope.decode_processed(message.data)))
                    reader.due += due
                    reader.in_flight += due


async def _workflows(
    log: Log, catalog: Catalog, now: Callable[[], datetime], ends: list[Position], account: Account
) -> None:
    workflows = account.workflows
    on = "workflow" in await log.groups("processed")
    plan = Plan(catalog, Tools(now, unresolved))
    for partition, end in enumerate(ends):
        last = await log.last("runs", partition)
        after = BEGINNING
        if last is not None:
            runs: Runs = envelope.decode_runs(last.data)
            workflows.due += runs.totals.due
            workflows.run += runs.totals.run
            workflows.dead += runs.totals.dead
            after = runs.through.position
        if not on:
            continue
        after = max(after, await log.committed("processed", partition, "workflow"))
        async for message in between(log, "processed", partition, after, end):
            if plan.wants(envelope.decode_processed_header(message.data).pairs):
                processed: Processed = envelope.decode_processed(message.data)
                due = sum(len(plan.due(entry)) for entry in processed.events)
                workflows.due += due
                workflows.in_flight += due


async def _verify(documents: Documents, account: Account) -> None:
    """Count the documents: they must agree with what the envelopes say."""
    account.documents = {
        "events": await documents.count("event", Query(equals={"client": True})),
        "internal": await documents.count("event", Query(equals={"client": False})),
        "receipts": await documents.count("receipt", Query()),
        "refused": account.dead,
    }
    account.verified = (
        account.documents["events"] == account.stored
        and account.documents["receipts"] == account.not_stored + account.rejected
    )


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
