"""Tracker payloads, one JSON object a line."""

import decimal
from collections.abc import Iterable, Iterator

import msgspec

from cluster.inputs.item import Item
from cluster.inputs.line import at_line
from pipeline import envelope


def read(lines: Iterable[str], name: str, source: str) -> Iterator[Item]:
    """Events without an id get one of file name, line number and place, so that sending again adds nothing.

    `source` stands in where a payload names none. Raises `Malformed` naming the line.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            payload = envelope.decode_object(line.encode())
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise at_line(name, number, str(error)) from None
        except RecursionError:
            raise at_line(name, number, "it is nested too deeply") from None
        except decimal.InvalidOperation:
            raise at_line(name, number, "a number is too large to be one") from None
        if source:
            payload.setdefault("source", {"id": source})
        events = payload.get("events")
        events = events if isinstance(events, list) else []
        for place, event in enumerate(events):
            if isinstance(event, dict):
                event.setdefault("id", f"{name}:{number}:{place}")
        yield Item(_key(payload, number), max(1, len(events)), envelope.encode(payload))


def _key(payload: dict[str, object], number: int) -> str:
    for part in ("profile", "session"):
        named = payload.get(part)
        if isinstance(named, dict) and isinstance(named.get("id"), str):
            return str(named["id"])
    return str(number)
