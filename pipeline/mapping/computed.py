"""Profile fields computed from other profile fields after an event was folded in."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation, Overflow

from pipeline.operations import number
from pipeline.path import Json

#: Digits after the point of a ratio.
_RATIO = Decimal("0.0001")


def _ltcop(profile: Json) -> None:
    """Checkouts started per checkout completed, 0 while none is completed (Tracardi's definition of ltcop)."""
    metrics = profile["data"].get("metrics")
    if type(metrics) is not dict:
        return
    started, completed = number(metrics.get("ltcosc")) or 0, number(metrics.get("ltcocc")) or 0
    try:
        ratio = (Decimal(started) / Decimal(completed)).quantize(_RATIO) if completed else Decimal(0)
    except (InvalidOperation, Overflow):  # a workflow has set counts of astronomical size
        return
    metrics["ltcop"] = int(ratio) if ratio == ratio.to_integral_value() else ratio.normalize()


COMPUTED: Mapping[str, Callable[[Json], None]] = {"ltcop": _ltcop}
