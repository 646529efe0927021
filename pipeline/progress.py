"""Resume point and totals of a reader without a topic of its own: one document per (group, partition)."""

import msgspec

from pipeline import envelope
from pipeline.document import SCHEMA, check_schema
from pipeline.log.port import BEGINNING, Position
from pipeline.stores.documents import Document, Documents


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Everything up to `position` (the envelope with `sequence`) is done and counted."""

    schema: int = SCHEMA
    group: str
    partition: int
    position: Position = BEGINNING
    sequence: int = 0
    time_ms: int = 0
    due: int = 0
    delivered: int = 0
    dead: int = 0


_decode = msgspec.json.Decoder(Progress).decode


def document_id(group: str, partition: int) -> str:
    return f"{group}:{partition}"


async def load(documents: Documents, group: str, partition: int) -> Progress:
    """As saved last; a fresh one when there is none."""
    id = document_id(group, partition)
    found = await documents.load("progress", [id])
    if id not in found:
        return Progress(group=group, partition=partition)
    progress = _decode(found[id].body)
    check_schema(progress.schema, f"the progress of group {group}")
    return progress


def document(progress: Progress) -> Document:
    """To save. Its version is the envelope's sequence: an owner that woke up late changes nothing."""
    id = document_id(progress.group, progress.partition)
    return Document("progress", id, progress.sequence, envelope.encode(progress))
