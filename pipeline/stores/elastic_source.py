"""A document as Elasticsearch keeps it: the body with what can be searched beside it.

``{"id":…,"time":…,…,"body":{…}}``. What Elasticsearch gives back of a source are the bytes that were sent, so the body lies
in it as it is. A body that Elasticsearch would not take as JSON (a key twice, deep nesting, …) lies there as text instead
(``opaque``), its attributes not indexed; one that is no UTF-8 as base64.
"""

import base64
import hashlib
from typing import Any, NamedTuple

import msgspec

from pipeline.stores.documents import CREATE_ONLY, FIELDS, Document, Kind
from pipeline.stores.elastic_indices import TIMES, Indices
from pipeline.stores.fields import extractor

#: A longer key makes Elasticsearch refuse the whole request.
_LONGEST_KEY = 512

_LONGEST_REASON = 1_000

#: The largest external version.
_LARGEST_VERSION = 2**63 - 2

_encode = msgspec.json.encode


class Unfit(Exception):
    """The body cannot be stored as what it claims to be; its text is the reason."""


class Entry(NamedTuple):
    """What one document is in a bulk request: two lines."""

    into: str  #: the index
    lines: bytes


class _Source(msgspec.Struct, frozen=True):
    id: str
    body: msgspec.Raw = msgspec.Raw(b"")
    opaque: str | None = None
    opaque64: str | None = None


_decode = msgspec.json.Decoder(_Source).decode


def key(id: str) -> str:
    """Its ``_id``: the id itself, but where that would be too long."""
    encoded = id.encode(errors="surrogatepass")
    if 0 < len(encoded) <= _LONGEST_KEY:
        return id
    return f"sha256:{hashlib.sha256(encoded).hexdigest()}"


def read(source: bytes | msgspec.Raw) -> tuple[str, bytes]:
    """Id and body."""
    found = _decode(source)
    if found.opaque is not None:
        return found.id, found.opaque.encode()
    if found.opaque64 is not None:
        return found.id, base64.b64decode(found.opaque64)
    return found.id, bytes(found.body)


class Sources:
    """Writes documents as lines."""

    def __init__(self, indices: Indices) -> None:
        self._indices = indices
        self._extract = {kind: extractor(fields) for kind, fields in FIELDS.items()}
        self._dated = {kind: extractor({"time": path}) for kind, path in TIMES.items()}

    def entry(self, document: Document, *, opaque: bool = False) -> Entry:
        """To store it so that it can be searched; `opaque`: without its attributes. Raises `Unfit`."""
        kind, _, version, body = document
        if not 0 <= version <= _LARGEST_VERSION:
            raise Unfit(f"the version {version} is out of bounds")
        try:
            values = self._extract[kind](body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unfit(str(error)) from None
        named = zip(FIELDS[kind], values, strict=True)
        fields: dict[str, Any] = {"id": document.id, **{name: value for name, value in named if value is not None}}
        index = self._indices.at(
            kind, fields["time"] if kind in TIMES and kind != "session" else self._time(kind, body)
        )
        # a line break would end the line; what is around the braces would not come back
        if opaque or b"\n" in body or body[:1] != b"{" or body[-1:] != b"}":
            return Entry(index, self._lines(document, index, _encode({**fields, **_opaque(body)})))
        return Entry(index, self._lines(document, index, b'%b,"body":%b}' % (_encode(fields)[:-1], body)))

    def refused(self, document: Document, reason: str) -> Entry:
        """To keep it under its own id, with nothing of it indexed."""
        fields: dict[str, Any] = {"id": document.id, "refused": True, "reason": reason[:_LONGEST_REASON]}
        if "time" in FIELDS[document.kind]:
            fields["time"] = ""
        index = self._indices.at(document.kind, self._time(document.kind, document.body))
        version = min(max(document.version, 0), _LARGEST_VERSION)
        source = _encode({**fields, **_opaque(document.body)})
        return Entry(index, self._lines(document._replace(version=version), index, source))

    def _time(self, kind: Kind, body: bytes) -> str:
        """The one that tells the index; empty where there is none."""
        if kind not in TIMES:
            return ""
        try:
            (time,) = self._dated[kind](body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        return str(time)

    def _lines(self, document: Document, index: str, source: bytes) -> bytes:
        head = b'{"_index":%b,"_id":%b' % (_encode(index), _encode(key(document.id)))
        if document.kind in CREATE_ONLY:
            return b'{"create":%b}}\n%b\n' % (head, source)
        return b'{"index":%b,"version":%d,"version_type":"external"}}\n%b\n' % (head, document.version, source)


def _opaque(body: bytes) -> dict[str, str]:
    try:
        return {"opaque": body.decode()}
    except UnicodeDecodeError:
        return {"opaque64": base64.b64encode(body).decode()}
