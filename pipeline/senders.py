"""Which appends of API processes were taken: a broker's client may store one again much later, after a reconnect.

An API process has one append under way per partition and numbers them, failed ones too. So of those it was told are durable
each comes after the one before it; what comes late with a lower number is a copy, or was answered with an error.
"""

from collections.abc import Mapping

from pipeline.envelope import Heard, Sender

#: A process that has sent nothing for so long, by the receive times of records, is forgotten; so are the oldest of too many.
_FORGET_MS = 7 * 24 * 3600 * 1000
_MOST = 64


def is_copy(sender: Sender, place: int, taken: Mapping[str, Heard]) -> bool:
    """Whether the record at that place of such an envelope was taken before, or stands behind one that was."""
    last = taken.get(sender.name)
    return last is not None and (sender.sequence, place) <= (last.sequence, last.place)


def remembered(taken: Mapping[str, Heard]) -> dict[str, Heard]:
    """Without those that can be forgotten."""
    by_time = sorted(taken.items(), key=lambda item: (item[1].received_ms, item[0]))[-_MOST:]
    return {name: heard for name, heard in by_time if heard.received_ms >= by_time[-1][1].received_ms - _FORGET_MS}
