"""Profile fields computed from other profile fields after an event was folded in."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from pipeline.operations import number
from pipeline.path import Json

#: Digits after the point of a ratio.
_RATIO_DIGITS = 4


def _ltcop(profile: Json) -> None:
    """Checkouts started per checkout completed, 0 while none is completed (Tracardi's definition of ltcop)."""
    metrics = profile["data"].get("metrics")
    if type(metrics) is not dict:
        return
    started, completed = number(metrics.get("ltcosc")) or 0, number(metrics.get("ltcocc")) or 0
    try:
        ratio = round(float(started) / float(completed), _RATIO_DIGITS) if completed else 0.0
    except ArithmeticError:  # somebody's workflow has added absurd numbers: they say nothing
        return
    metrics["ltcop"] = int(ratio) if ratio.is_integer() else Decimal(repr(ratio))


COMPUTED: Mapping[str, Callable[[Json], None]] = {"ltcop": _ltcop}
