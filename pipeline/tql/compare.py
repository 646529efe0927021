"""Comparison of values as conditions see them: missing or ill-matched values compare to nothing, and never raise."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from operator import ge, gt, le, lt
from typing import Any

from pipeline.operations import number
from pipeline.path import MISSING


def to_datetime(value: Any) -> datetime | None:
    """A time from RFC 3339 text; naive means UTC."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _paired(one: Any, other: Any) -> tuple[Any, Any] | None:
    """Both as values that can be compared with each other, None when they cannot."""
    if isinstance(one, datetime) or isinstance(other, datetime):
        first, second = to_datetime(one), to_datetime(other)
        return None if first is None or second is None else (first, second)
    left, right = number(one), number(other)
    if left is not None and right is not None:
        return left, right
    return (one, other) if type(one) is type(other) else None


def equal(one: Any, other: Any) -> bool:
    """``=``: a missing value equals nothing, null equals null."""
    if one is MISSING or other is MISSING:
        return False
    if one is None or other is None:
        return one is other
    pair = _paired(one, other)
    return pair is not None and bool(pair[0] == pair[1])


def unequal(one: Any, other: Any) -> bool:
    """``!=``: false when a value is missing."""
    return one is not MISSING and other is not MISSING and not equal(one, other)


def _ordered(operator: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(one: Any, other: Any) -> bool:
        if one is MISSING or other is MISSING or one is None or other is None:
            return False
        pair = _paired(one, other)
        if pair is None or type(pair[0]) in (list, dict):
            return False
        return operator(*pair)

    return compare


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": equal,
    "==": equal,
    "!=": unequal,
    "<": _ordered(lt),
    "<=": _ordered(le),
    ">": _ordered(gt),
    ">=": _ordered(ge),
}


def is_empty(value: Any) -> bool:
    """Missing, null, or a text, list or object without content."""
    return value is MISSING or value is None or (isinstance(value, str | list | dict) and not value)


def consists(whole: Any, part: Any) -> bool:
    """A text holds a text, a list an element, an object a key."""
    if isinstance(whole, str):
        return isinstance(part, str) and part in whole
    if isinstance(whole, list):
        return any(equal(one, part) for one in whole)
    return isinstance(whole, dict) and isinstance(part, str) and part in whole


def full_text(whole: Any, words: Any) -> bool:
    """Every word occurs, in any case and order."""
    if not isinstance(whole, str) or not isinstance(words, str):
        return False
    folded = whole.casefold()
    return all(word in folded for word in words.casefold().split())
