"""Bulk requests: cut by bytes, judged document by document."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from pipeline.stores.documents import Outcome, Saved
from pipeline.stores.elastic_client import LINES, ElasticClient, fault
from pipeline.stores.elastic_fault import CLOSED, MISSING, Cause, Fault, unavailable
from pipeline.stores.elastic_source import Entry

#: Of one request; Elasticsearch holds all that are under way in memory, and rejects beyond a tenth of its heap.
_LARGEST_BYTES = 5_000_000

#: How long Elasticsearch itself waits for a shard that is being opened.
_SHARD_WAIT = "10s"

_TARGET = f"/_bulk?timeout={_SHARD_WAIT}&filter_path=items.*.status,items.*.error,items.*._index"

_DONE = Outcome(Saved.DONE)
_KEPT = Outcome(Saved.KEPT)


class Placed(NamedTuple):
    """An entry, and where its outcome belongs."""

    place: int
    entry: Entry


class Refusal(NamedTuple):
    """Elasticsearch does not take this document as it is."""

    place: int
    reason: str


class _Item(msgspec.Struct, frozen=True):
    status: int
    index: str = msgspec.field(name="_index", default="")
    error: Cause | None = None


class _Answer(msgspec.Struct, frozen=True):
    items: list[dict[str, _Item]] = []


_decode = msgspec.json.Decoder(_Answer).decode


class Bulk:
    def __init__(self, client: ElasticClient) -> None:
        self._client = client

    async def send(self, placed: Iterable[Placed], outcomes: list[Outcome]) -> list[Refusal]:
        """Fill in the outcomes of what is stored; returns what was refused. The order is kept.

        Raises `StoreUnavailable` when anything else happens to any document; others may be stored then.
        """
        refusals: list[Refusal] = []
        for part in _parts(placed):
            refusals += await self._part(part, outcomes)
        return refusals

    async def _part(self, part: Sequence[Placed], outcomes: list[Outcome]) -> list[Refusal]:
        body = b"".join(one.entry.lines for one in part)
        answer = await self._client.request("POST", _TARGET, body, mimetype=LINES)
        if answer.status == 200:
            return _judge(part, _decode(answer.data).items, outcomes)
        found = fault(answer)
        # One document spoils a whole request with 400; 413 says that all together are too much.
        if answer.status in (400, 413) and len(part) > 1:
            half = len(part) // 2
            first = await self._part(part[:half], outcomes)
            return first + await self._part(part[half:], outcomes)
        if answer.status == 400:
            return [Refusal(part[0].place, found.cause.text)]
        raise unavailable(found, part[0].entry.into)


def _parts(placed: Iterable[Placed]) -> Iterator[list[Placed]]:
    part: list[Placed] = []
    size = 0
    for one in placed:
        if part and size + len(one.entry.lines) > _LARGEST_BYTES:
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one.entry.lines)
    if part:
        yield part


def _judge(part: Sequence[Placed], items: Sequence[dict[str, _Item]], outcomes: list[Outcome]) -> list[Refusal]:
    refusals = []
    for one, item in zip(part, items, strict=True):
        (found,) = item.values()
        if found.status in (200, 201):
            outcomes[one.place] = _DONE
        elif found.status == 409:  # it is there already, or an equal or higher version of it
            outcomes[one.place] = _KEPT
        else:
            cause = found.error or Cause()
            if found.status != 400 or cause.type in (CLOSED, MISSING):
                raise unavailable(Fault(found.status, cause), one.entry.into)
            refusals.append(Refusal(one.place, cause.text))
    return refusals
