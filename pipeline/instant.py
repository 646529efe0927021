"""Instants: milliseconds since 1970 inside, RFC 3339 in UTC with milliseconds outside."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from pipeline.errors import Malformed

#: How far ahead of the server's clock a client's time may be.
MAX_AHEAD_MS = 24 * 3600 * 1000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

#: Nothing earlier can be written as text again.
_FIRST_MS = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MS


@lru_cache(maxsize=1024)
def to_text(ms: int) -> str:
    """``2026-01-31T12:00:00.000Z``."""
    return to_datetime(ms).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def to_datetime(ms: int) -> datetime:
    """The same instant, in UTC."""
    return _EPOCH + timedelta(milliseconds=ms)


@lru_cache(maxsize=1024)
def parse(text: str) -> int:
    """Milliseconds of an RFC 3339 time; naive means UTC. Raises `ValueError`."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return (value - _EPOCH) // _MS


def from_text(text: object, field: str, now_ms: int) -> int:
    """Milliseconds of an RFC 3339 time; naive means UTC.

    Raises `Malformed` when it is no time, before the year 1 in UTC, or more than a day after `now_ms`.
    """
    if not isinstance(text, str):
        raise Malformed(f"expected a time such as 2026-01-31T12:00:00Z, got {type(text).__name__}", field)
    try:
        ms = parse(text)
    except (ValueError, OverflowError):
        raise Malformed(f"{text[:64]!r} is no time; write it as 2026-01-31T12:00:00Z", field) from None
    if ms < _FIRST_MS:
        raise Malformed(f"{text[:64]!r} is before the year 1", field)
    if ms > now_ms + MAX_AHEAD_MS:
        raise Malformed(f"{text[:64]!r} is more than a day in the future", field)
    return ms
