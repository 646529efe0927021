"""Documents that are put back from an older copy, or lost altogether: what the log can restore, and what is gone for good."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from pipeline import envelope
from pipeline.log.port import Message
from pipeline.progress import Progress
from pipeline.stores.documents import Kind
from pipeline.to_save import Gathered, gather, gather_runs
from pipeline.topics import PROCESSED, RUNS, reader_of
from tests.simulation.broker import Broker
from tests.simulation.documents import Kept

#: All that is in a store.
Copy = Mapping[Kind, Mapping[str, Kept]]


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
