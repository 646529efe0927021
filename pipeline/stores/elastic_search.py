"""Searches: what a query is in Elasticsearch's words, and pages of what it finds."""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.errors import Malformed, StoreUnavailable
from pipeline.stores.documents import FIELDS, Document, Kind, Page, Query
from pipeline.stores.elastic_client import ElasticClient, fault
from pipeline.stores.elastic_fault import MISSING, unavailable
from pipeline.stores.elastic_indices import TIMES
from pipeline.stores.elastic_mapping import attributes
from pipeline.stores.elastic_source import read

#: Of the words in a query: each is looked for among all terms.
_LONGEST_TEXT = 1_000

_WILD = re.compile(r"[*?\\]")

_decode_cursor = msgspec.json.Decoder(tuple[str, str]).decode


class _Hit(msgspec.Struct, frozen=True):
    sort: list[str]
    version: int = msgspec.field(name="_version", default=1)
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b""))


class _Total(msgspec.Struct, frozen=True):
    value: int


class _Hits(msgspec.Struct, frozen=True):
    total: _Total
    hits: list[_Hit]


class _Shards(msgspec.Struct, frozen=True):
    failed: int


class _Answer(msgspec.Struct, frozen=True):
    hits: _Hits


class _Count(msgspec.Struct, frozen=True):
    count: int
    shards: _Shards = msgspec.field(name="_shards")


class _Refreshed(msgspec.Struct, frozen=True):
    shards: _Shards = msgspec.field(name="_shards")


_decode_page = msgspec.json.Decoder(_Answer).decode
_decode_count = msgspec.json.Decoder(_Count).decode
_decode_refreshed = msgspec.json.Decoder(_Refreshed).decode


class Search:
    """Finds what was refreshed. `name` is the index or alias to ask."""

    def __init__(self, client: ElasticClient) -> None:
        self._client = client

    async def page(self, name: str, kind: Kind, query: Query, limit: int, cursor: str) -> Page:
        # (time, id) is a total order that stays: no view of one moment (PIT) is needed to page without gaps
        timed = "time" in FIELDS[kind]
        body: dict[str, Any] = {
            "size": limit + 1,
            "query": where(kind, query),
            "sort": [{"time": "desc"}, {"id": "desc"}] if timed else [{"id": "desc"}],
            "track_total_hits": True,
            "version": True,
        }
        if cursor:
            time, id = _position(cursor)
            body["search_after"] = [time, id] if timed else [id]
        target = f"/{name}/_search?allow_partial_search_results=false"
        answer = await self._client.request("POST", target, msgspec.json.encode(body))
        if answer.status != 200:
            failure = fault(answer)
            if failure.cause.type == MISSING and kind in TIMES:
                return Page(0, [], "")  # nothing was saved yet
            raise unavailable(failure, name)
        hits = _decode_page(answer.data).hits
        items = [_document(kind, hit) for hit in hits.hits[:limit]]
        more = _cursor(hits.hits[limit - 1].sort) if len(hits.hits) > limit else ""
        return Page(hits.total.value, items, more)

    async def count(self, name: str, kind: Kind, query: Query, pattern: str) -> int:
        """Counts what was saved until now: all indices of `pattern` are refreshed, so that what is listed next is as new."""
        answer = await self._client.call("POST", f"/{pattern}/_refresh", index=name)
        _whole(_decode_refreshed(answer.data).shards, name)
        answer = await self._client.request(
            "POST", f"/{name}/_count", msgspec.json.encode({"query": where(kind, query)})
        )
        if answer.status != 200:
            failure = fault(answer)
            if failure.cause.type == MISSING and kind in TIMES:
                return 0  # nothing was saved yet
            raise unavailable(failure, name)
        found = _decode_count(answer.data)
        _whole(found.shards, name)
        return found.count


def where(kind: Kind, query: Query) -> dict[str, Any]:
    """Raises `Malformed` for a field that the kind does not have."""
    fields = FIELDS[kind]
    equals = dict(query.equals)
    must: list[dict[str, Any]] = []
    never: list[dict[str, Any]] = []
    (must if equals.pop("refused", False) else never).append({"term": {"refused": True}})
    if kind == "profile" and "merged_into" not in equals:
        never.append({"exists": {"field": "merged_into"}})
    for name, value in equals.items():
        if name not in fields or isinstance(value, bool) != (name == "client"):
            raise _not_searchable(kind, name)
        must.append({"term": {name: value}})
    if (query.since or query.until) and "time" not in fields:
        raise _not_searchable(kind, "time")
    if query.since:
        must.append({"range": {"time": {"gte": query.since}}})
    if query.until:
        must.append({"range": {"time": {"gt": "", "lt": query.until}}})  # what has no time is not before one
    must += [_word(kind, word) for word in _words(query.text)]
    return {"bool": {"filter": must, "must_not": never}}


def _words(text: str) -> Sequence[str]:
    if len(text) > _LONGEST_TEXT:
        raise Malformed(f"at most {_LONGEST_TEXT:,} characters can be searched for", "text")
    return text.split()


def _word(kind: Kind, word: str) -> dict[str, Any]:
    """Anywhere in a field that can be searched or in an attribute. It reads all terms: slow, but costs nothing to keep."""
    escaped = _WILD.sub(r"\\\g<0>", word)
    pattern = {"value": f"*{escaped}*", "case_insensitive": True}
    names = ["id", *(name for name in FIELDS[kind] if name not in ("time", "client")), *attributes(kind)]
    return {"bool": {"should": [{"wildcard": {name: pattern}} for name in names], "minimum_should_match": 1}}


def _whole(shards: _Shards, name: str) -> None:
    if shards.failed:
        raise StoreUnavailable(
            f"{shards.failed} shards of {name} did not answer: look at GET /_cluster/health and bring their nodes back"
        )


def _not_searchable(kind: Kind, name: str) -> Malformed:
    return Malformed(f"a {kind} cannot be searched by {name!r}; use one of {', '.join(FIELDS[kind])}", name)


def _document(kind: Kind, hit: _Hit) -> Document:
    id, body = read(hit.source)
    return Document(kind, id, hit.version, body)


def _cursor(sort: Sequence[str]) -> str:
    time, id = sort if len(sort) == 2 else ("", sort[0])
    return base64.urlsafe_b64encode(msgspec.json.encode((time, id))).decode()


def _position(cursor: str) -> tuple[str, str]:
    try:
        return _decode_cursor(base64.urlsafe_b64decode(cursor))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise Malformed("this cursor was not made here; begin again without one", "cursor") from None
