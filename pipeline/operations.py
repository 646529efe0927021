"""What can be done to a profile: the operations of mappings and of workflow effects.

In place, on a decoded body whose non-integers are `Decimal`. Sums are exact in 34 digits. A value of the wrong type
changes nothing: that field is refused and reported, the rest goes on.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from decimal import Context, Decimal, Overflow
from typing import Any, NamedTuple

from pipeline.limits import MAX_EXPONENT
from pipeline.path import Json, found_parent, parent_of, split

#: Significant digits of sums: IEEE 754 decimal128.
_EXACT = Context(prec=34)

#: What no store could compare; sums stop before it.
_TOO_LARGE = 10 ** (MAX_EXPONENT + 1)

#: Elements of one list, characters of one name: what a client can make a profile grow to.
MAX_LIST = 10_000


class FieldError(NamedTuple):
    """One field that was refused."""

    path: str
    reason: str


def reported(errors: Iterable[FieldError]) -> list[Json]:
    """As an event carries them."""
    return [{"field": error.path, "reason": error.reason} for error in errors]


#: (operation, path, value) as it travels in commands.
Operation = Sequence[Any]

Applied = FieldError | None


def number(value: Any) -> int | Decimal | None:
    """An exact number, None when it is none; true and false are none."""
    kind = type(value)
    if kind is int or kind is Decimal:
        return value  # type: ignore[no-any-return]
    if kind is float:
        return Decimal(repr(value))
    return None


def add_numbers(one: int | Decimal, other: int | Decimal) -> int | Decimal:
    """The exact sum; whole sums of whole numbers stay whole."""
    if type(one) is int and type(other) is int:
        return one + other
    return _EXACT.add(Decimal(one), Decimal(other))


def _own(value: Any) -> Any:
    """A copy of what can change: later operations must not alter the event or command it came with."""
    return deepcopy(value) if type(value) in (list, dict) else value


def set_value(profile: Json, path: str, parts: tuple[str, ...], value: Any) -> Applied:
    """``=``"""
    parent = parent_of(profile, parts)
    if parent is None:
        return FieldError(path, "something else stands in its way")
    parent[parts[-1]] = _own(value)
    return None


def set_if_missing(profile: Json, path: str, parts: tuple[str, ...], value: Any) -> Applied:
    """``?=``: null counts as missing."""
    parent = parent_of(profile, parts)
    if parent is None:
        return FieldError(path, "something else stands in its way")
    if parent.get(parts[-1]) is None:
        parent[parts[-1]] = _own(value)
    return None


def append(profile: Json, path: str, parts: tuple[str, ...], value: Any) -> Applied:
    """``[]``: each value once; a list's elements one by one."""
    parent = parent_of(profile, parts)
    if parent is None:
        return FieldError(path, "something else stands in its way")
    found = parent.get(parts[-1])
    if found is None:
        found = parent[parts[-1]] = []
    elif type(found) is not list:
        return FieldError(path, "is no list")
    for one in value if type(value) is list else (value,):
        if one not in found:
            if len(found) >= MAX_LIST:
                return FieldError(path, f"holds {MAX_LIST} values already")
            found.append(_own(one))
    return None


def add(profile: Json, path: str, parts: tuple[str, ...], value: Any) -> Applied:
    """``+``: an exact sum; a missing field counts as 0."""
    amount = number(value)
    if amount is None:
        return FieldError(path, f"cannot add {type(value).__name__} to a number")
    parent = parent_of(profile, parts)
    if parent is None:
        return FieldError(path, "something else stands in its way")
    found = parent.get(parts[-1])
    before = 0 if found is None else number(found)
    if before is None:
        return FieldError(path, "is no number")
    try:
        total = add_numbers(before, amount)
        too_large = abs(total) >= _TOO_LARGE if type(total) is int else Decimal(total).adjusted() > MAX_EXPONENT
    except Overflow:
        too_large = True
    if too_large:
        return FieldError(path, "its sum would be too large")
    parent[parts[-1]] = total
    return None


def subtract(profile: Json, path: str, parts: tuple[str, ...], value: Any) -> Applied:
    """``-``"""
    amount = number(value)
    if amount is None:
        return FieldError(path, f"cannot subtract {type(value).__name__} from a number")
    return add(profile, path, parts, -amount)


def increment(profile: Json, path: str, parts: tuple[str, ...], value: Any) -> Applied:
    """``++``: by 1, or by the value."""
    return add(profile, path, parts, 1 if value is None else value)


def delete(profile: Json, path: str, parts: tuple[str, ...], value: Any) -> Applied:
    """``x``"""
    parent = found_parent(profile, parts)
    if parent is not None:
        parent.pop(parts[-1], None)
    return None


def remove(profile: Json, path: str, parts: tuple[str, ...], value: Any) -> Applied:
    """``-[]``: take a value out of a list."""
    parent = found_parent(profile, parts)
    found = None if parent is None else parent.get(parts[-1])
    if type(found) is list and value in found:
        found.remove(value)
    return None


OPERATIONS: Mapping[str, Callable[[Json, str, tuple[str, ...], Any], Applied]] = {
    "=": set_value,
    "?=": set_if_missing,
    "[]": append,
    "-[]": remove,
    "+": add,
    "-": subtract,
    "++": increment,
    "x": delete,
}

#: Kept by Rayfold itself: no mapping and no workflow may write there.
_PROTECTED = frozenset(("schema", "id", "ids", "primary_id", "merged_into", "metadata", "deleted"))

#: Objects that Rayfold keeps fields of its own in: their other fields may be written, they themselves may not.
_SHARED = frozenset(("stats", "data"))


def is_protected(parts: tuple[str, ...]) -> bool:
    """Whether no mapping and no workflow may write there."""
    return parts[0] in _PROTECTED or (len(parts) == 1 and parts[0] in _SHARED)


def apply(profile: Json, operations: Iterable[Operation]) -> list[FieldError]:
    """Carry out operations in order; returns the refused ones."""
    errors = []
    for name, path, value in operations:
        parts = split(path)
        function = OPERATIONS.get(name)
        if function is None:
            errors.append(FieldError(path, f"unknown operation {name!r}"))
        elif is_protected(parts):
            errors.append(FieldError(path, "is kept by Rayfold itself"))
        else:
            error = function(profile, path, parts, value)
            if error is not None:
                errors.append(error)
    return errors
