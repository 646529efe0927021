"""Which appends of API processes were taken: a broker's client may store one again much later, after a reconnect.

An API process has one append under way per partition and numbers them, failed ones too. So of those it was told are durable
each comes after the one before it; what comes late with a lower number is a copy, or was answered with an error.
"""

from collections.abc import Mapping

from pipeline.envelope import Heard, Sender

#: Processes that are remembered: no clock says when one is over, and copies come from those that were heard lately.
_MOST = 64


def is_copy(sender: Sender, place: int, taken: Mapping[str, Heard]) -> bool:
    """Whether the record at that place of such an envelope was taken before, or stands behind one that was."""
    last = taken.get(sender.name)
    return last is not None and (sender.sequence, place) <= (last.sequence, last.place)


def hear(taken: dict[str, Heard], sender: Sender, place: int) -> None:
    """The record at that place is taken: its process is the one heard last."""
    taken.pop(sender.name, None)
    taken[sender.name] = Heard(sender.sequence, place)


def remembered(taken: Mapping[str, Heard]) -> dict[str, Heard]:
    """Those heard last, in that order."""
    return dict(list(taken.items())[-_MOST:])
