"""Whether the document store still has what was saved in it."""

from collections import defaultdict

from pipeline import envelope, instant
from pipeline.envelope import Processed
from pipeline.errors import Incomplete
from pipeline.log.port import BEGINNING, Log
from pipeline.stores.documents import Documents, Kind
from pipeline.to_save import Gathered, gather
from pipeline.topics import PROCESSED, STORE_GROUP


async def check_saved(log: Log, documents: Documents) -> None:
    """Raises `Incomplete` when nothing is there of the newest envelope that was saved, in any partition.

    That finds a store that was lost, or put back from a copy. It knows nothing of an envelope without documents, such as
    a quiet partition's last one.
    """
    for partition in range(log.partitions):
        at = await log.committed(PROCESSED, partition, STORE_GROUP)
        if at != BEGINNING:
            for saved in await log.read(PROCESSED, partition, at, 1, inclusive=True):
                await _check(documents, partition, envelope.decode_processed(saved.data))


async def _check(documents: Documents, partition: int, processed: Processed) -> None:
    gathered: Gathered = {}
    gather(processed, gathered)
    ids: defaultdict[Kind, list[str]] = defaultdict(list)
    for kind, id in gathered:
        ids[kind].append(id)
    for kind, wanted in ids.items():
        if await documents.load(kind, wanted):
            return
    if gathered:
        raise Incomplete(
            f"the document store has lost what was saved there until {instant.to_text(processed.time_ms)} (partition "
            f"{partition}), so input waits in the log: put the newest copy of the documents back, if there is one, then run "
            "`rayfold replay store --from` the time of that copy, or a time before the log begins"
        )
