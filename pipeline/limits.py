"""What one request may hold, and the checks that enforce it."""

import re
from decimal import Decimal
from typing import Any, NamedTuple

from pipeline.errors import Malformed

#: Levels of arrays and objects in a payload, the payload itself included.
MAX_DEPTH = 20

#: Bytes of an id in UTF-8.
MAX_ID_BYTES = 512

#: Ids kept with a profile; clients choose them.
MAX_IDS = 1_000

#: Numbers of 10^309 and more are no doubles: no store could compare them.
MAX_EXPONENT = 308

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


class Limits(NamedTuple):
    """Sizes are bytes of the body as received."""

    body: int = 10_000_000
    events: int = 1_000  #: in one payload
    event: int = 256_000


def replace_nul(body: bytes) -> bytes:
    """The same JSON with every NUL in a string replaced by U+FFFD: no store keeps NUL faithfully."""
    if b"\\u0000" not in body:
        return body
    return _ESCAPED_NUL.sub(rb"\1\\ufffd", body)


def check_id(value: str, field: str) -> str:
    """The id without surrounding spaces. Raises `Malformed` unless 1-512 bytes without control characters are left."""
    value = value.strip()
    if not value:
        raise Malformed("an id must not be empty", field)
    if len(value) * 4 > MAX_ID_BYTES and len(value.encode()) > MAX_ID_BYTES:
        raise Malformed(f"an id may have at most {MAX_ID_BYTES} bytes", field)
    if _CONTROL.search(value):
        raise Malformed("an id must not contain control characters", field)
    return value


def check_value(value: Any, field: str, depth: int) -> None:
    """Raises `Malformed` when an object or array nests too deep, or a number is no double. `depth`: its own level."""
    if depth > MAX_DEPTH:
        raise Malformed(f"nested deeper than {MAX_DEPTH} levels", field)
    for key, item in value.items() if type(value) is dict else enumerate(value):
        kind = type(item)
        if kind is dict or kind is list:
            check_value(item, f"{field}.{key}", depth + 1)
        elif (kind is Decimal and item.adjusted() > MAX_EXPONENT) or (kind is int and abs(item) >= 10**MAX_EXPONENT):
            raise Malformed("this number is too large", f"{field}.{key}")
