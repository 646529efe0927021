"""What can be searched, taken from a body by one decode."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec


def extractor(fields: Mapping[str, str]) -> Callable[[bytes], tuple[Any, ...]]:
    """Takes the values at these paths, in their order; `missing` where there is none.

    The function raises `msgspec.DecodeError` or `UnicodeDecodeError` for what is no JSON object, or has a value of another
    type than `FIELDS` says.
    """
    tree: dict[str, Any] = {}
    for name, path in fields.items():
        node = tree
        *parents, leaf = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = bool if name == "client" else str
    decode = msgspec.json.Decoder(_struct("Root", tree)).decode
    paths = [(path.split("."), missing(name)) for name, path in fields.items()]

    def extract(body: bytes) -> tuple[Any, ...]:
        root = decode(body)
        values = []
        for path, absent in paths:
            value: Any = root
            for part in path:
                value = getattr(value, part, None)
            values.append(absent if value is None else value)
        return tuple(values)

    return extract


def missing(name: str) -> str | None:
    """A missing time is stored as the lowest one: null compares with nothing, so a cursor would pass it over."""
    return "" if name == "time" else None


def _struct(name: str, tree: Mapping[str, Any]) -> type[msgspec.Struct]:
    fields = [
        (key, (_struct(key.title(), kind) if isinstance(kind, dict) else kind) | None, None)
        for key, kind in tree.items()
    ]
    return msgspec.defstruct(name, fields)
