"""Reads by id: they see every save that has returned, refreshed or not."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from pipeline.clock import Clock
from pipeline.errors import StoreUnavailable
from pipeline.stores.elastic_client import ElasticClient
from pipeline.stores.elastic_fault import MISSING, OPENING, Cause, Fault, unavailable

#: Of one request.
_MOST_ITEMS = 1_000

#: Requests of this process at once: more would only wait in Elasticsearch.
_AT_ONCE = 2

#: A shard that is only being opened is asked again so often; all in all 6 s.
_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.5, 3.0)


class Wanted(NamedTuple):
    """One id in one index: an alias over several would be refused."""

    name: str  #: of the index
    key: str


class Found(msgspec.Struct, frozen=True):
    key: str = msgspec.field(name="_id", default="")
    version: int = msgspec.field(name="_version", default=0)
    found: bool = False
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b""))
    error: Cause | None = None


class _Answer(msgspec.Struct, frozen=True):
    docs: list[Found]


_decode = msgspec.json.Decoder(_Answer).decode

_WITH_SOURCE = "/_mget"  # without a filter: a filtered answer is written anew, and numbers change
_WITHOUT = "/_mget?_source=false&filter_path=docs._id,docs.found,docs.error"


class Lookup:
    def __init__(self, client: ElasticClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def get(self, wanted: Iterable[Wanted], fixed: str = "", *, source: bool = True) -> list[Found]:
        """Those that are there. `fixed` is an index that must exist; any other one may be missing: nothing is in it then.

        Raises `StoreUnavailable` when anything but that kept Elasticsearch from looking.
        """
        found: list[Found] = []
        for chunk in _chunks(wanted):
            async with self._room:
                found += await self._chunk(chunk, fixed, _WITH_SOURCE if source else _WITHOUT)
        return found

    async def _chunk(self, chunk: Sequence[Wanted], fixed: str, target: str) -> list[Found]:
        docs = [{"_index": one.name, "_id": one.key} for one in chunk]
        body = msgspec.json.encode({"docs": docs})
        for pause in (*_PAUSES_S, None):
            answer = await self._client.call("POST", target, body, index=chunk[0].name)
            found = _decode(answer.data).docs
            if len(found) != len(chunk):
                raise StoreUnavailable(
                    f"Elasticsearch answered {len(found)} of {len(chunk)} questions: see its log for why"
                )
            failed = [(one, what.error) for one, what in zip(chunk, found, strict=True) if what.error is not None]
            faults = [(one, error) for one, error in failed if error.type != MISSING or one.name == fixed]
            if not faults:
                return [one for one in found if one.found]
            if pause is None or any(error.type not in OPENING for _, error in faults):
                break
            await self._clock.sleep(pause)
        one, error = next(((one, error) for one, error in faults if error.type not in OPENING), faults[0])
        raise unavailable(Fault(503, error), one.name)


def _chunks(wanted: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    every = list(wanted)
    return (every[start : start + _MOST_ITEMS] for start in range(0, len(every), _MOST_ITEMS))
