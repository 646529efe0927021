"""Dotted paths into nested JSON objects, compiled once."""

import re
from collections.abc import Callable
from typing import Any, Final

from pipeline.errors import Malformed

Json = dict[str, Any]


class _Missing:
    """Stands for a value that is not there; JSON's null is there."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()

#: Parts of a path.
_MAX_PARTS = 20

#: A part that picks an element of a list.
_INDEX = re.compile(r"[0-9]{1,9}")


def split(path: str) -> tuple[str, ...]:
    """The parts of ``a.b."with a dot.or space"``. Raises `Malformed`."""
    parts: list[str] = []
    rest = path
    while rest:
        if rest.startswith('"'):
            end = rest.find('"', 1)
            if end < 0:
                raise Malformed(f"the quote in {path!r} is not closed", path)
            part, rest = rest[1:end], rest[end + 1 :]
            if rest and not rest.startswith("."):
                raise Malformed(f"expected a dot after the quote in {path!r}", path)
            rest = rest[1:]
        else:
            part, _, rest = rest.partition(".")
        parts.append(part)
    if not parts or not all(parts) or len(parts) > _MAX_PARTS or path.endswith("."):
        raise Malformed(f"{path!r} is no path; write it as a.b.c", path)
    return tuple(parts)


def compile_get(path: str) -> Callable[[Any], Any]:
    """A function from an object to the value at the path, `MISSING` when there is none."""
    parts = split(path)
    if len(parts) == 1:
        (only,) = parts

        def get_one(value: Any) -> Any:
            return value.get(only, MISSING) if type(value) is dict else MISSING

        return get_one

    def get(value: Any) -> Any:
        for part in parts:
            if type(value) is dict:
                value = value.get(part, MISSING)
            elif type(value) is list and _INDEX.fullmatch(part) and int(part) < len(value):
                value = value[int(part)]
            else:
                return MISSING
        return value

    return get


def found_parent(value: Json, parts: tuple[str, ...]) -> Json | None:
    """The object that holds the last part; None when it is not there. Changes nothing."""
    for part in parts[:-1]:
        child = value.get(part)
        if type(child) is not dict:
            return None
        value = child
    return value


def parent_of(value: Json, parts: tuple[str, ...]) -> Json | None:
    """The object that holds the last part, made if need be; None when something else stands in the way."""
    for part in parts[:-1]:
        child = value.get(part)
        if child is None:
            child = value[part] = {}
        elif type(child) is not dict:
            return None
        value = child
    return value
