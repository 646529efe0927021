"""Whether the document store still has what was saved in it.

What was confirmed lasts: nobody deletes a document, each is followed by higher versions only, and what the store refuses is
kept under its own id. So all of the newest envelope that was saved must be there, in that version or a newer one. A store
that was put back as a whole lacks it; had it only lost what is older, this would not tell.
"""

from collections import defaultdict

from pipeline import envelope, instant
from pipeline.envelope import Processed
from pipeline.errors import Incomplete
from pipeline.log.port import BEGINNING, Log, Position
from pipeline.stores.documents import Document, Documents, Kind
from pipeline.to_save import Gathered, gather, holds_documents
from pipeline.topics import PROCESSED, STORE_GROUP


async def check_saved(log: Log, documents: Documents, partition: int, until: Position | None = None) -> None:
    """Raises `Incomplete` when a document is missing, or older, of the newest envelope with documents that was saved.

    `until`: of those up to that position. Nothing is known of a partition in which nothing was saved, nor of one without
    documents for longer than retention.
    """
    committed = await log.committed(PROCESSED, partition, STORE_GROUP)
    saved = await _at(log, partition, committed if until is None else min(until, committed))
    if saved is not None and not holds_documents(saved):
        saved = await _at(log, partition, saved.documents_at)
    if saved is None:
        return
    gathered: Gathered = {}
    gather(saved, gathered)
    lacking = await _lacking(documents, gathered)
    if lacking:
        raise Incomplete(
            f"the document store lacks {len(lacking)} of the {len(gathered)} documents that were saved there from the envelope "
            f"of {instant.to_text(saved.time_ms)} in partition {partition}, such as {lacking[0]}: it was emptied, or put back "
            "from a copy. Input waits in the log: put the newest copy of the documents back, if there is one, then run "
            "`rayfold replay store --from` a time before that copy, or `--from 1970-01-01`"
        )


async def check_all_saved(log: Log, documents: Documents) -> None:
    """The same for every partition: what one has lost, another may ask for."""
    for partition in range(log.partitions):
        await check_saved(log, documents, partition)


async def _at(log: Log, partition: int, position: Position) -> Processed | None:
    """The envelope there; None where retention has dropped it: what follows it may not be saved."""
    if position != BEGINNING:
        for message in await log.read(PROCESSED, partition, position, 1, inclusive=True):
            if message.position == position:
                processed: Processed = envelope.decode_processed(message.data)
                return processed
    return None


async def _lacking(documents: Documents, gathered: Gathered) -> list[str]:
    ids: defaultdict[Kind, list[str]] = defaultdict(list)
    for kind, id in gathered:
        ids[kind].append(id)
    found = {kind: await documents.load(kind, wanted, anywhen=True) for kind, wanted in ids.items()}
    return [said for document in gathered.values() if (said := _said(document, found[document.kind].get(document.id)))]


def _said(wanted: Document, found: Document | None) -> str:
    """What is wrong with it; nothing when it is there."""
    if found is None:
        return f"{wanted.kind} {wanted.id}"
    if found.version < wanted.version:
        return f"{wanted.kind} {wanted.id}, there in version {found.version} instead of {wanted.version}"
    return ""
