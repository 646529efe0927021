"""Ids that say where they belong: routing hashes, minted profile ids, event and session document ids.

A minted id is an RFC 9562 UUID of version 8 laid out as

    hhhhhhhh-dddd-8kdd-vddd-ddddddddcccc

h: routing hash of the value it was minted from (32 bits), k: kind, d: digest, v: variant, c: check digits (16 bits).
So ``partition(mint(kind, value)) == partition(value)``, and a minted id is recognised without asking anyone.
"""

import re
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b

_HASH_BYTES = 4
_UUID_LENGTH = 36

#: A profile's or session's ids are asked for several times in a batch and again in the next one, and would be half of what
#: folding an event costs. So many of each function's answers are kept, of some 300 bytes each.
_REMEMBERED = 4_096

_MINTED = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[1-4][0-9a-f]{2}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Kind(IntEnum):
    """What a minted id was made from; visible in the id."""

    PROFILE = 1  #: a profile id chosen by a client
    SESSION = 2  #: a session id
    EVENT = 3  #: a source and a client's message id
    DOCUMENT = 4  #: a session and the profile it belongs to


def _text(value: str) -> bytes:
    return value.encode("utf-8")


def _check(head: str) -> str:
    return blake2b(_text(head), digest_size=2, person=b"rayfold-check").hexdigest()


def _format(route: str, kind: Kind, digest: str) -> str:
    """`route`: 8 hex digits; `digest`: 20 hex digits."""
    variant = "89ab"[int(digest[6], 16) & 3]
    head = f"{route}-{digest[:4]}-8{kind:x}{digest[4:6]}-{variant}{digest[7:10]}-{digest[10:18]}"
    return head + _check(head)


@lru_cache(_REMEMBERED)
def mint(kind: Kind, value: str) -> str:
    """The id that stands for `value`; the same on every machine, for ever. A minted profile is never minted again.

    Ids of events and documents are no profiles: given as one, they are minted like any other text.
    """
    known = minted_kind(value)
    if known is kind or (kind is Kind.PROFILE and known is Kind.SESSION):
        return value  # a profile made by a session is named by the session's id
    digest = blake2b(_text(value), digest_size=10, person=b"rayfold-%d" % kind).hexdigest()
    return _format(_route(value), kind, digest)


def _route(value: str) -> str:
    if minted_kind(value) is not None:
        return value[:8]
    return blake2b(_text(value), digest_size=_HASH_BYTES, person=b"rayfold-route").hexdigest()


def minted_kind(value: str) -> Kind | None:
    """The kind of a minted id, None for any other string."""
    # the length first: most ids are told apart by it alone
    if len(value) != _UUID_LENGTH or not _MINTED.fullmatch(value) or _check(value[:32]) != value[32:]:
        return None
    return Kind(int(value[15]))


@lru_cache(_REMEMBERED)
def partition(value: str, partitions: int) -> int:
    """The partition of a routing key or of any id minted from it."""
    return int(_route(value), 16) % partitions


def event_id(source: str, message: str) -> str:
    """The event id of a client's own message id: the same for every repeat."""
    return mint.__wrapped__(Kind.EVENT, f"{source}\0{message}")  # each is another one: nothing to remember


def session_document_id(session: str, profile: str) -> str:
    """Where the part of a session that belongs to one profile is kept."""
    return mint(Kind.DOCUMENT, f"{session}\0{profile}")
