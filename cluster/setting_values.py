"""How the text of a setting is read. Each raises `ValueError` that says what to write instead."""

import re
from typing import Any
from urllib.parse import urlsplit

LAYOUTS = ("compact", "v1.0", "v1.1")
EMBEDDED = "embedded"

_MOST_PARTITIONS = 256
_LEAST_MESSAGE_BYTES = 4_000_000

_SIZE = re.compile(r"^(\d+)\s*(b|kb|mb|gb)?$", re.IGNORECASE)
_SIZES = {"b": 1, "kb": 1_000, "mb": 1_000_000, "gb": 1_000_000_000}
_DURATION = re.compile(r"^(\d+)\s*(s|seconds?|m|minutes?|h|hours?|d|days?)$", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_INSTANCE = re.compile(r"^[a-z][a-z0-9-]{0,19}$")
_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,100}$")


def text(value: Any) -> str:
    return str(value)


def flag(value: Any) -> bool:
    written = str(value).lower()
    if written in ("true", "1", "yes", "on"):
        return True
    if written in ("false", "0", "no", "off"):
        return False
    raise ValueError("use true or false")


def size(value: Any) -> int:
    """Bytes."""
    found = _SIZE.match(str(value).strip())
    if found is None:
        raise ValueError("write a size as 10 MB")
    return _at_least_one(int(found.group(1)) * _SIZES[(found.group(2) or "b").lower()])


def message(value: Any) -> int:
    """Bytes of the largest message: batches are cut well below the least of these."""
    number = size(value)
    if number < _LEAST_MESSAGE_BYTES:
        raise ValueError("at least 4 MB; Pulsar's own maxMessageSize is 5 MB")
    return number


def count(value: Any) -> int:
    return _at_least_one(int(value))


def natural(value: Any) -> int:
    number = int(value)
    if number < 0:
        raise ValueError("a number from 0")
    return number


def _at_least_one(number: int) -> int:
    if number < 1:
        raise ValueError("a number from 1")
    return number


def duration(value: Any) -> int:
    """Milliseconds."""
    found = _DURATION.match(str(value).strip())
    if found is None:
        raise ValueError("write a duration as 7 days or 12 h")
    return _at_least_one(int(found.group(1))) * _SECONDS[found.group(2)[0].lower()] * 1000


def port(value: Any) -> int:
    number = int(value)
    if not 0 < number < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return number


def partitions(value: Any) -> int:
    number = int(value)
    if not 0 < number <= _MOST_PARTITIONS:
        raise ValueError(f"a number from 1 to {_MOST_PARTITIONS}")
    return number


def layout(value: Any) -> str:
    return _one_of(value, LAYOUTS)


def time_partition(value: Any) -> str:
    return _one_of(value, ("day", "month", "year"))


def _one_of(value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"one of {', '.join(known)}")
    return str(value)


def instance(value: Any) -> str:
    if not _INSTANCE.match(str(value)):
        raise ValueError("up to 20 lower-case letters, digits and dashes, a letter first")
    return str(value)


def name(value: Any) -> str:
    if not _NAME.match(str(value)):
        raise ValueError("letters, digits, dashes, dots and underscores")
    return str(value)


def log(value: Any) -> str:
    return _server(value, ("pulsar", "pulsar+ssl"), "pulsar://host:6650")


def documents(value: Any) -> str:
    return _server(value, ("http", "https"), "http://host:9200")


def definitions(value: Any) -> str:
    return _server(value, ("mysql", "mariadb"), "mysql://user:password@host:3306/database")


def http(value: Any) -> str:
    if value == EMBEDDED:
        raise ValueError("write it as http://host:8080")
    return _server(value, ("http", "https"), "http://host:8080")


def _server(value: Any, schemes: tuple[str, ...], example: str) -> str:
    if value == EMBEDDED:
        return EMBEDDED
    try:
        parts = urlsplit(str(value))
        known = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"write embedded or {example}")
    return str(value)
