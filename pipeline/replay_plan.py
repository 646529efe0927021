"""What a replay comes to, counted before it is begun."""

from collections import Counter
from typing import Any

from pipeline import envelope, instant
from pipeline.account import between
from pipeline.delivery import Selection
from pipeline.log.port import BEGINNING, Log, Message, Position
from pipeline.replay import Replay
from pipeline.to_save import Gathered, gather, gather_runs
from pipeline.topics import RUNS

_KINDS = ("events", "receipts", "sessions", "profiles", "runs")


async def count(log: Log, replay: Replay, selection: Selection | None) -> dict[str, Any]:
    """Per partition and in all: envelopes, and the deliveries due by today's definition (with `selection`), or documents.

    Every version of a document counts: the newest of them will be kept.
    """
    named = ("envelopes", "deliveries") if selection else ("envelopes", *_KINDS)
    begins = {
        topic: [await log.committed(topic, partition, replay.reader) for partition in range(log.partitions)]
        for topic in replay.ends
    }
    whole = Counter(dict.fromkeys(named, 0))
    parts = []
    for partition in range(log.partitions):
        counts = Counter(dict.fromkeys(named, 0))
        times: list[int] = []
        for topic, ends in replay.ends.items():
            async for message in between(log, topic, partition, begins[topic][partition], ends[partition]):
                counts["envelopes"] += 1
                times.append(message.published_ms)
                counts.update(_in(topic, message, selection))
        whole.update(counts)
        span = (instant.to_text(min(times)), instant.to_text(max(times))) if times else (None, None)
        parts.append({"partition": partition, "first": span[0], "last": span[1], **counts})
    return {**whole, "partitions": parts}


def _in(topic: str, message: Message, selection: Selection | None) -> Counter[str]:
    if selection is not None:
        if not selection.wants(envelope.decode_processed_header(message.data).pairs):
            return Counter()
        return Counter(deliveries=len(selection.due(envelope.decode_processed(message.data))))
    documents: Gathered = {}
    if topic == RUNS:
        gather_runs(envelope.decode_runs(message.data), documents)
    else:
        gather(envelope.decode_processed(message.data), documents)
    return Counter(f"{kind}s" for kind, _ in documents)


async def log_begins(log: Log, replay: Replay) -> str | None:
    """From when on the log still holds everything; None when nothing is missing of what was asked for."""
    begins = [
        first.published_ms
        for topic, ends in replay.ends.items()
        for partition, end in enumerate(ends)
        if (first := await _first(log, topic, partition, end)) and first.published_ms > replay.from_ms
    ]
    return instant.to_text(max(begins)) if begins else None


async def _first(log: Log, topic: str, partition: int, end: Position) -> Message | None:
    """The oldest message left, where there were older ones."""
    if end == BEGINNING:
        return None
    (first, *_) = await log.read(topic, partition, BEGINNING, 1)
    header = envelope.decode_runs_header if topic == RUNS else envelope.decode_processed_header
    return first if header(first.data).sequence > 1 else None
