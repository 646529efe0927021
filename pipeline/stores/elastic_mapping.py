"""How the kinds are indexed: settings, mappings and templates."""

from typing import Any

import msgspec

from pipeline.stores.documents import FIELDS, Kind
from pipeline.stores.elastic_address import ElasticAddress
from pipeline.stores.elastic_indices import TIMES, Indices

#: Of the documents and their mappings; a newer one is not touched.
FORMAT = 1

_PRIORITY = 500

#: Longer text cannot be a term (32,766 bytes of UTF-8, four a character).
_LONGEST_TERM = 8_191

#: Longer attributes cannot be searched for.
_LONGEST_ATTRIBUTE = 1_024

#: Attributes that clients choose, by kind: one field each, however many names they think of. Of those with "" the whole body.
ATTRIBUTES: dict[Kind, tuple[str, ...]] = {
    "profile": ("traits", "data"),
    "session": ("properties", "context"),
    "event": ("properties", "context", "traits"),
    "dead": ("",),
    "run": ("",),
    "log": ("",),
}

_TERM = {"type": "keyword", "ignore_above": _LONGEST_TERM}
_FLATTENED = {"type": "flattened", "ignore_above": _LONGEST_ATTRIBUTE}


def attributes(kind: Kind) -> list[str]:
    """Fields that hold them."""
    return [f"body.{name}".removesuffix(".") for name in ATTRIBUTES.get(kind, ())]


def index_body(address: ElasticAddress, indices: Indices, kind: Kind) -> dict[str, Any]:
    """What an index of this kind is created with."""
    body: dict[str, Any] = {"settings": _settings(address, kind), "mappings": mappings(address, kind)}
    if kind in TIMES:
        body["aliases"] = {indices.name(kind): {}}
    return body


def template(address: ElasticAddress, indices: Indices, kind: Kind) -> bytes:
    return msgspec.json.encode(
        {
            "index_patterns": [indices.template_pattern(kind)],
            "priority": _PRIORITY,
            "version": FORMAT,
            # One of a new period may be made by whoever is first. The others are there for ever: if one is gone, so are its
            # documents, and an empty one in its place would hide that.
            "allow_auto_create": kind in TIMES,
            "template": index_body(address, indices, kind),
        }
    )


def mappings(address: ElasticAddress, kind: Kind) -> dict[str, Any]:
    properties: dict[str, Any] = {name: _field(name) for name in ("id", "refused", *FIELDS[kind])}
    properties["body"] = _body(ATTRIBUTES.get(kind, ()))
    meta = {"rayfold_format": FORMAT, "time_partition": address.time_partition}
    return {"dynamic": False, "_meta": meta, "properties": properties}


def changing_settings(address: ElasticAddress) -> dict[str, Any]:
    """Those that an index takes at any time."""
    return {"number_of_replicas": address.replicas, "refresh_interval": address.refresh_interval}


def _settings(address: ElasticAddress, kind: Kind) -> dict[str, Any]:
    return {
        "index": {
            "number_of_shards": address.shards if kind in TIMES else address.profile_shards,
            **changing_settings(address),
        }
    }


def _field(name: str) -> dict[str, Any]:
    if name in ("client", "refused"):
        return {"type": "boolean"}
    if name == "time":  # compared as text, as everywhere; the date is for whoever looks from outside
        return {**_TERM, "fields": {"date": {"type": "date", "ignore_malformed": True}}}
    return _TERM


def _body(names: tuple[str, ...]) -> dict[str, Any]:
    if names == ("",):
        return _FLATTENED
    if not names:
        return {"type": "object", "enabled": False}
    return {"type": "object", "dynamic": False, "properties": dict.fromkeys(names, _FLATTENED)}
