"""Resume point and totals of a reader without a topic of its own: one document per (reader, partition).

The totals of a destination go on over all its lives, the resume point belongs to one: the document names its group. An owner of
another life goes on with the totals, from where its own group begins, as the successor of what it found.

Of two owners at work at once, as when one wakes up that stood still, exactly one counts: each saves the successor of what
it began from, and the store takes a version once. Whoever is told `KEPT` has counted nothing and begins anew from what is
stored (which may be its own, when the answer to it was lost).

The dead letters of a batch lie in the progress that counts it, and become documents only after that is stored; who opens
the partition next writes them again before anything else. So there is a letter of a delivery exactly if the delivery was
counted as dead, whatever crashes or wakes up; and a batch that nobody counts leaves none.
"""

from collections.abc import Mapping

import msgspec

from pipeline import envelope
from pipeline.document import SCHEMA, check_schema
from pipeline.log.port import BEGINNING, Position
from pipeline.stores.documents import Document, Documents
from pipeline.topics import reader_of


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Everything up to `position` (the envelope with `sequence`) is done and counted."""

    schema: int = SCHEMA
    group: str  #: whose position this is
    partition: int
    version: int = 0  #: of the document: how often it was saved
    position: Position = BEGINNING
    sequence: int = 0
    time_ms: int = 0
    due: int = 0
    delivered: int = 0
    dead: int = 0
    letters: Mapping[str, msgspec.Raw] = {}  #: of what it counted last, by id

    def dead_letters(self) -> list[Document]:
        """To save once this progress is stored: again is safe, and changes nothing that was decided of them since."""
        return [Document("dead", id, 1, bytes(body)) for id, body in self.letters.items()]


_decode = msgspec.json.Decoder(Progress).decode


def document_id(group: str, partition: int) -> str:
    """The same for all lives of a destination."""
    return f"{reader_of(group)}:{partition}"


async def load(documents: Documents, group: str, partition: int) -> Progress:
    """As saved last, by whatever life; a fresh one when there is none."""
    id = document_id(group, partition)
    found = await documents.load("progress", [id])
    if id not in found:
        return Progress(group=group, partition=partition)
    progress = _decode(found[id].body)
    check_schema(progress.schema, f"the progress of group {group}")
    return msgspec.structs.replace(progress, version=found[id].version)  # earlier ones do not say theirs


def of_life(progress: Progress, group: str) -> Progress:
    """The same, or, when it was saved by another life, what a life of this group begins with."""
    if progress.group == group:
        return progress
    return msgspec.structs.replace(progress, group=group, position=BEGINNING, sequence=0, time_ms=0)


def document(progress: Progress) -> Document:
    """To save; `KEPT` means that another owner has counted something since this one began."""
    return Document(
        "progress", document_id(progress.group, progress.partition), progress.version, envelope.encode(progress)
    )
