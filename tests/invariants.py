"""What must be true of any installation at rest, by its log and its documents alone: simulated or real, whatever its storage."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import envelope
from pipeline.envelope import INTERNAL, TRANSIENT, Entry, Processed, Runs
from pipeline.log.port import Message
from pipeline.stores.documents import Kind

#: Says what is wrong when the second argument is false: name, whether it holds, of what.
Check = Callable[[str, bool, object], None]


@dataclass(frozen=True)
class Evidence:
    """Everything an installation ever appended, and what its store holds: kind → id → body as stored."""

    processed: Sequence[tuple[Message, Processed]]
    runs: Sequence[tuple[Message, Runs]]
    kept: Mapping[Kind, Mapping[str, bytes]]

    @property
    def entries(self) -> Iterator[Entry]:
        return (entry for _, one in self.processed for entry in one.events)


def once(messages: Sequence[Message], decode: Any, check: Check) -> Iterator[tuple[Message, Any]]:
    """A partition's envelopes, each sequence once: a broker's client may store one again, later and behind others."""
    sequence = 0
    for message in messages:
        value = decode(message.data)
        check("a sequence fell:", value.sequence >= sequence, f"{message.partition}: {value.sequence} after {sequence}")
        if value.sequence > sequence:
            check("a sequence was left out:", value.sequence == sequence + 1, f"{message.partition}: {value.sequence}")
            sequence = value.sequence
            yield message, value


def check_all(evidence: Evidence, check: Check) -> None:
    """Every invariant that needs nothing else."""
    events(evidence, check)
    documents(evidence, check)
    runs(evidence, check)


def events(evidence: Evidence, check: Check) -> None:
    """What was processed is there once and stored, and nothing else is stored."""
    ids = Counter(entry.id for entry in evidence.entries)
    for entry in evidence.entries:
        kind: Kind = "receipt" if entry.flags & TRANSIENT else "event"
        check("an id twice:", ids[entry.id] == 1, entry.id)
        check("processed but not stored:", entry.id in evidence.kept[kind], entry.id)
    stored = evidence.kept["event"].keys() | evidence.kept["receipt"].keys()
    rejected = {receipt.id for _, one in evidence.processed for receipt in one.receipts}
    check("events nobody sent:", not stored - ids.keys() - rejected, stored - ids.keys() - rejected)


def documents(evidence: Evidence, check: Check) -> None:
    """Each profile and session has one writer, counts its own changes, and is stored as it was written last."""
    kinds: tuple[Kind, Kind] = ("profile", "session")
    for kind in kinds:
        newest: dict[str, Any] = {}
        for _, one in evidence.processed:
            for stored in one.profiles if kind == "profile" else one.sessions:
                before = newest.get(stored.id)
                check(f"{kind} versions", stored.version == (before.version if before else 0) + 1, stored.id)
                newest[stored.id] = stored
        kept = evidence.kept[kind]
        check(f"{kind} documents", kept.keys() == newest.keys(), kept.keys() ^ newest.keys())
        for id, stored in newest.items():
            if id in kept:
                check(f"{kind} not as written last:", kept[id] == bytes(stored.body), id)


def runs(evidence: Evidence, check: Check) -> None:
    """Each run has one record, and its effects come to no more than it asked for."""
    made = Counter(stored.id for _, one in evidence.runs for stored in one.runs)
    for id, times in made.items():
        check("ran twice:", times == 1, id)
        check("run not recorded:", id in evidence.kept["run"], id)
    check(
        "runs that nobody made", evidence.kept["run"].keys() == made.keys(), evidence.kept["run"].keys() ^ made.keys()
    )
    applied = Counter(
        entry.id for entry in evidence.entries if entry.flags & INTERNAL and entry.type != "profile-deleted"
    )
    check("effects too many", not applied - effects(evidence), applied - effects(evidence))


def effects(evidence: Evidence) -> Counter[str]:
    """Ids of what runs asked for."""
    return Counter(envelope.decode_any(bytes(item.record))["id"] for _, one in evidence.runs for item in one.out)
