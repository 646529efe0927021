"""Sends what an envelope's outbox holds: after the envelope is durable, in order, before the next one."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from pipeline import envelope, identity
from pipeline.envelope import Outgoing
from pipeline.log.port import Log
from pipeline.record import Origin
from pipeline.topics import COLLECTED


async def send(log: Log, sender: str, sequence: int, out: Sequence[Outgoing]) -> None:
    """Append every record to the partition of its key; all durable on return.

    Numbered (sender, sequence, index), so that a receiver recognises what it has heard: sending again is harmless.
    """
    if not out:
        return
    by_partition: dict[int, list[tuple[Origin, Outgoing]]] = defaultdict(list)
    for index, item in enumerate(out):
        by_partition[identity.partition(item.key, log.partitions)].append((Origin(sender, sequence, index), item))
    await asyncio.gather(*(_append(log, partition, items) for partition, items in by_partition.items()))


async def _append(log: Log, partition: int, items: Sequence[tuple[Origin, Outgoing]]) -> None:
    counts = [item.count for _, item in items]
    data = envelope.collected([bytes(item.record) for _, item in items], counts, [origin for origin, _ in items])
    await log.append(COLLECTED, partition, data, max(sum(counts), len(items)))
