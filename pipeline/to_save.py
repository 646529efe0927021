"""The documents an envelope holds, as the store gets them."""

from pipeline.envelope import TRANSIENT, Processed, Runs, Stored
from pipeline.stores.documents import Document, Kind

#: By kind and id: of several versions the newest.
Gathered = dict[tuple[Kind, str], Document]


def holds_documents(processed: Processed) -> bool:
    """Whether `gather` would find any."""
    return bool(processed.profiles or processed.sessions or processed.receipts) or any(
        not entry.flags & TRANSIENT for entry in processed.events
    )


def gather(processed: Processed, documents: Gathered) -> None:
    """Add those of an envelope of `processed`."""
    for entry in processed.events:
        if not entry.flags & TRANSIENT:
            documents["event", entry.id] = Document("event", entry.id, 1, bytes(entry.body))
    for receipt in processed.receipts:
        documents["receipt", receipt.id] = Document("receipt", receipt.id, 1, bytes(receipt.body))
    versioned: tuple[tuple[Kind, list[Stored]], ...] = (
        ("session", processed.sessions),
        ("profile", processed.profiles),
    )
    for kind, stored in versioned:
        for one in stored:
            before = documents.get((kind, one.id))
            if before is None or before.version < one.version:
                documents[kind, one.id] = Document(kind, one.id, one.version, bytes(one.body))


def gather_runs(runs: Runs, documents: Gathered) -> None:
    """Add those of an envelope of `runs`."""
    for one in runs.runs:
        documents["run", one.id] = Document("run", one.id, 1, bytes(one.body))
