"""A document store that passes the contract and misbehaves as search engines do: its shards, and one process' view."""

import base64
import binascii
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple, TypeVar

import msgspec

from pipeline.errors import Malformed, StoreUnavailable
from pipeline.stores.documents import CREATE_ONLY, Document, Kind, Outcome, Page, Query, Saved
from pipeline.stores.sqlite_schema import tables
from tests.simulation.process import Process

T = TypeVar("T")


@dataclass
class Faults:
    """What the store does wrong."""

    away: bool = False
    down: bool = False  #: somebody puts another copy in its place
    partial: float = 0.0  #: saves of which only some documents are stored, and the caller is told of a failure
    unanswered: float = 0.0  #: look-ups that fail
    refused: float = 0.0  #: documents it will never take
    refresh_s: float = 0.0  #: how long a search does not see what was saved
    checks_versions: bool = True
    keeps_tombstones: bool = True


class Kept(NamedTuple):
    version: int
    body: bytes
    refused: bool
    visible_s: float
    fields: Mapping[str, Any]


class Shards:
    """What all processes share. `now_s`: virtual time."""

    def __init__(self, now_s: Callable[[], float], random: Random, seed: object = 0) -> None:
        self.faults = Faults()
        self.seen: dict[str, int] = {}
        self._tables = tables()
        self.kinds: dict[Kind, dict[str, Kept]] = {kind: {} for kind in self._tables}
        self._now_s = now_s
        self.random = random
        self._seed = seed

    def count(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1

    def answer(self) -> None:
        if self.faults.away or self.faults.down:
            raise StoreUnavailable("the store is away")

    def look_up(self) -> None:
        """Fails as some look-ups do."""
        self.answer()
        if self.faults.unanswered and self.random.random() < self.faults.unanswered:
            self.count("look-up failed")
            raise StoreUnavailable("a shard did not answer")

    def load(self, kind: Kind, ids: Collection[str]) -> dict[str, Document]:
        self.look_up()
        kept = self.kinds[kind]
        return {id: Document(kind, id, kept[id].version, kept[id].body) for id in ids if id in kept}

    def known(self, ids: Collection[str]) -> frozenset[str]:
        self.look_up()
        return frozenset(id for id in ids if id in self.kinds["event"] or id in self.kinds["receipt"])

    def save(self, documents: Sequence[Document]) -> list[Outcome]:
        self.answer()
        partial = self.faults.partial and self.random.random() < self.faults.partial
        outcomes = []
        for document in documents:
            if partial and self.random.random() < 0.5:
                continue
            outcomes.append(self._save(document))
        if partial:
            self.count("only some were saved")
            raise StoreUnavailable("some shards failed")
        return outcomes

    def _save(self, document: Document) -> Outcome:
        table = self._tables[document.kind]
        try:
            values = table.extract(document.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Outcome(Saved.REFUSED, str(error))
        if self._refuses(document):
            self.count("document refused")
            return Outcome(Saved.REFUSED, "the store does not like it")
        return self._keep(document, False, dict(zip(table.columns, values, strict=True)))

    def _refuses(self, document: Document) -> bool:
        """The same answer each time for one document."""
        if not self.faults.refused or document.kind not in ("event", "profile", "session"):
            return False
        return Random(f"{self._seed}/{document.id}/{document.version}").random() < self.faults.refused

    def save_refused(self, document: Document) -> None:
        self.answer()
        table = self._tables[document.kind]
        self._keep(document, True, dict(zip(table.columns, table.nothing, strict=True)))

    def _keep(self, document: Document, refused: bool, fields: Mapping[str, Any]) -> Outcome:
        kept = self.kinds[document.kind]
        before = kept.get(document.id)
        if before is not None:
            older = before.version >= document.version and self.faults.checks_versions
            if document.kind in CREATE_ONLY or older:
                return Outcome(Saved.KEPT)
        if not self.faults.keeps_tombstones and b'"deleted":true' in document.body:
            kept.pop(document.id, None)
            return Outcome(Saved.DONE)
        visible_s = self._now_s() + self.faults.refresh_s
        kept[document.id] = Kept(document.version, document.body, refused, visible_s, fields)
        return Outcome(Saved.DONE)

    def found(self, kind: Kind, query: Query) -> list[tuple[str, str]]:
        """(time, id) of what a search sees, newest first."""
        self.answer()
        columns = self._tables[kind].columns
        equals = dict(query.equals)
        refused = bool(equals.pop("refused", False))
        asked = [*equals, *(["time"] if query.since or query.until else [])]
        for name in asked:
            if name not in columns:
                raise Malformed(f"a {kind} cannot be searched by {name!r}; use one of {', '.join(columns)}", name)
        words = query.text.casefold().split()
        now = self._now_s()
        found = []
        for id, kept in self.kinds[kind].items():
            fields = kept.fields
            time = fields.get("time") or ""
            if (
                kept.refused is refused
                and kept.visible_s <= now
                and all(fields[name] == value for name, value in equals.items())
                and not (kind == "profile" and "merged_into" not in equals and fields["merged_into"] is not None)
                and not (query.since and time < query.since)
                and not (query.until and not "" < time < query.until)
                and (not words or _has_words(kept.body, words))
            ):
                found.append((time, id))
        return sorted(found, reverse=True)


def _has_words(body: bytes, words: Sequence[str]) -> bool:
    folded = body.decode(errors="replace").casefold()
    return all(word in folded for word in words)


class SimulatedDocuments:
    """See `pipeline.stores.documents.Documents`: one process' connection to the store."""

    def __init__(self, shards: Shards, process: Process) -> None:
        self._shards = shards
        self._process = process

    async def load(self, kind: Kind, ids: Collection[str], *, anywhen: bool = False) -> Mapping[str, Document]:
        return await self._process.call(lambda: self._shards.load(kind, ids))

    async def known(self, ids: Collection[str]) -> frozenset[str]:
        return await self._process.call(lambda: self._shards.known(ids))

    async def save(self, documents: Sequence[Document]) -> Sequence[Outcome]:
        return await self._process.call(lambda: self._shards.save(documents))

    async def save_refused(self, document: Document, reason: str) -> None:
        await self._process.call(lambda: self._shards.save_refused(document))

    async def search(self, kind: Kind, query: Query, *, limit: int = 25, cursor: str = "") -> Page:
        after = _position(cursor) if cursor else None

        def search() -> Page:
            every = self._shards.found(kind, query)
            rest = [one for one in every if after is None or one < after]
            kept = self._shards.kinds[kind]
            items = [Document(kind, id, kept[id].version, kept[id].body) for _, id in rest[:limit]]
            more = base64.urlsafe_b64encode(json.dumps(rest[limit - 1]).encode()).decode() if len(rest) > limit else ""
            return Page(len(every), items, more)

        return await self._process.call(search)

    async def count(self, kind: Kind, query: Query) -> int:
        return len(await self._process.call(lambda: self._shards.found(kind, query)))

    async def expire(self, retention_ms: int) -> Sequence[str]:
        return ()

    async def close(self) -> None:
        """Nothing is under way once its callers have returned."""


def _position(cursor: str) -> tuple[str, str]:
    try:
        time, id = json.loads(base64.urlsafe_b64decode(cursor))
    except (binascii.Error, ValueError):
        raise Malformed("this cursor was not made here", "cursor") from None
    return time, id
