"""Where a partition's messages and cursors stand, as the broker's internal statistics tell it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from pipeline.log.port import BEGINNING, Position


class Ledgers(NamedTuple):
    """One look at one partition."""

    last: Position  #: of the newest message; `BEGINNING` when there is none
    ledgers: Sequence[tuple[int, int]]  #: id and number of messages of each that holds any, oldest first
    cursors: Mapping[
        str, Position
    ]  #: of each subscription the newest message that is done; `BEGINNING` when none is left

    @classmethod
    def of(cls, statistics: Mapping[str, Any]) -> "Ledgers":
        """Of an answer of ``internalStats``."""
        entries = {int(one["ledgerId"]): int(one["entries"]) for one in statistics["ledgers"]}
        last = _position(statistics["lastConfirmedEntry"])
        if last.entry >= 0:  # the ledger that is written to is listed with none
            entries[last.ledger] = last.entry + 1
        ledgers = sorted((id, count) for id, count in entries.items() if count and id <= last.ledger)
        cursors = {
            unquote_plus(name): _message_at(ledgers, _position(cursor["markDeletePosition"]))
            for name, cursor in statistics["cursors"].items()
        }
        return cls(_message_at(ledgers, last), ledgers, cursors)

    def behind(self, position: Position) -> int:
        """How many messages lie after a position."""
        return sum(
            count if id > position.ledger else count - position.entry - 1
            for id, count in self.ledgers
            if id >= position.ledger
        )


def _position(text: str) -> Position:
    ledger, _, entry = text.partition(":")
    return Position(int(ledger), int(entry))


def _message_at(ledgers: Sequence[tuple[int, int]], position: Position) -> Position:
    """The broker calls the end of a ledger the beginning of the next: the message meant, which groups have seen."""
    if position.entry >= 0:
        return position
    earlier = [(id, count) for id, count in ledgers if id < position.ledger]
    return Position(earlier[-1][0], earlier[-1][1] - 1) if earlier else BEGINNING
