"""The document store as every stage sees it: profiles, sessions, events and what else is kept about them.

An adapter is correct when it passes tests/contracts/documents.py. Bodies are JSON objects as bytes, with their
format in the field ``schema``, stored and returned byte for byte; what can be searched is taken from the body's fields
by the adapter.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

Kind = Literal["profile", "session", "event", "receipt", "dead", "run", "progress", "log"]

#: Kinds that are written once: a second save of an id is success and changes nothing.
CREATE_ONLY: frozenset[Kind] = frozenset(("event", "receipt", "run", "log"))

#: Searchable fields by kind: name in a query → path in the body. All are strings, but for ``time`` (RFC 3339, UTC,
#: milliseconds, ``Z``; sorts as text), ``client`` and ``refused``. ``refused`` is true for documents saved with `refused`.
FIELDS: Mapping[Kind, Mapping[str, str]] = {
    "profile": {"time": "metadata.time.update", "primary": "primary_id", "merged_into": "merged_into"},
    "session": {"time": "metadata.time.insert", "session": "id", "profile": "profile.id"},
    "event": {
        "time": "metadata.time.insert",
        "type": "type",
        "source": "source.id",
        "profile": "profile.id",
        "session": "session.id",
        "message": "message_id",
        "client": "metadata.client",  # bool: sent by a client, not made by Rayfold itself
    },
    "receipt": {"time": "time", "outcome": "outcome", "source": "source"},
    "dead": {"time": "time", "destination": "destination", "state": "state", "profile": "profile"},
    "run": {"time": "time", "workflow": "workflow", "profile": "profile", "state": "state"},
    "progress": {"group": "group"},
    "log": {"time": "time", "level": "level", "stage": "stage"},
}


class Document(NamedTuple):
    """One document to save, or as loaded."""

    kind: Kind
    id: str
    version: int  #: 1 for kinds written once; else higher wins
    body: bytes


class Saved(StrEnum):
    """What became of one saved document."""

    DONE = "done"  #: stored now
    KEPT = "kept"  #: this id exists already (written-once kinds), or an equal or higher version does: success
    REFUSED = "refused"  #: the store will never take this body; save it again by `save_refused`


class Outcome(NamedTuple):
    result: Saved
    reason: str = ""


class Query(NamedTuple):
    """What to search for; all parts must hold. Newest first by ``time``, ties by id."""

    equals: Mapping[
        str, str | bool
    ] = {}  #: names of `FIELDS`, plus ``refused``; a merged profile matches only by ``merged_into``
    since: str = ""  #: time >= this
    until: str = ""  #: time < this
    text: str = ""  #: these words are in what can be searched or in attributes, in any order and case


class Page(NamedTuple):
    total: int
    items: Sequence[Document]
    cursor: str  #: for the next page; empty at the end


class Documents(Protocol):
    """Documents by kind and id. All methods raise `StoreUnavailable` when the store cannot answer: nothing is concluded then."""

    async def load(self, kind: Kind, ids: Collection[str], *, anywhen: bool = False) -> Mapping[str, Document]:
        """Documents by id, those that exist; sees every `save` that has returned (realtime).

        Of sessions, events, receipts, runs and logs a store may look only at the recent ones: sessions made and events
        received in the last weeks. `anywhen`: at all, however long that takes.
        """
        ...

    async def known(self, ids: Collection[str]) -> frozenset[str]:
        """Which of these event ids are stored as an event or a receipt, refused ones included; realtime.

        A store may forget events that were received longer ago than repeats are recognised (7 days, and what may wait in
        the log).
        """
        ...

    async def save(self, documents: Sequence[Document]) -> Sequence[Outcome]:
        """Store many idempotently, durable on return; outcomes in the order of the documents.

        Within one call a later document of the same id wins by version like any other. After a crash during `save`
        any subset may be stored; saving the same again is safe.
        """
        ...

    async def save_refused(self, document: Document, reason: str) -> None:
        """Keep a refused document under its own id, body unindexed; the next higher version replaces it."""
        ...

    async def search(self, kind: Kind, query: Query, *, limit: int = 25, cursor: str = "") -> Page:
        """One page. Refused documents are found only by ``refused: True``. Raises `Malformed` on a bad cursor or field.

        May lag behind `save` by the seconds that a store takes to make documents findable.
        """
        ...

    async def count(self, kind: Kind, query: Query) -> int:
        """How many there are; counts every `save` that has returned, and what is searched afterwards finds those too."""
        ...

    async def expire(self, retention_ms: int) -> Sequence[str]:
        """Drop what only grows with time and is wholly older than that, in large pieces; names of what was dropped.

        Profiles never go, nor does anything that a repeat is recognised by. What is embedded is kept for ever.
        """
        ...

    async def close(self) -> None: ...
