"""The CDNOW purchases: customer id, date, number of CDs, dollars, one purchase a line."""

from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import NamedTuple

from cluster.inputs.item import Item
from cluster.inputs.line import at_line
from pipeline import envelope

SOURCE = "cdnow"


class _Purchase(NamedTuple):
    customer: str
    day: str  #: YYYYMMDD
    discs: int
    dollars: Decimal


def _purchases(lines: Iterable[str], name: str) -> Iterator[tuple[int, _Purchase]]:
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if not parts or (number == 1 and parts[0] == "customer_id"):
            continue
        found = _purchase(parts)
        if found is None:
            raise at_line(name, number, "it is no purchase (customer, date as YYYYMMDD, number of CDs, dollars)")
        yield number, found


def _purchase(parts: list[str]) -> _Purchase | None:
    try:
        customer, day, discs, dollars = parts
        found = _Purchase(customer, day, int(discs), Decimal(dollars))
    except (ValueError, InvalidOperation):
        return None
    return found if customer.isdigit() and len(day) == 8 and day.isdigit() and found.dollars.is_finite() else None


def read(lines: Iterable[str], name: str, source: str) -> Iterator[Item]:
    """One payload per customer and day; the message id of a purchase is file name and line number.

    Raises `Malformed` naming the line.
    """
    for (customer, day), group in groupby(_purchases(lines, name), key=lambda row: (row[1].customer, row[1].day)):
        time = f"{day[:4]}-{day[4:6]}-{day[6:]}T00:00:00Z"
        events = [
            {
                "id": f"{name}:{number}",
                "type": "checkout-completed",
                "time": {"create": time},
                "properties": {
                    "id": f"{name}:{number}",
                    "status": "completed",
                    "value": purchase.dollars,
                    "currency": "USD",
                    "quantity": purchase.discs,
                },
            }
            for number, purchase in group
        ]
        payload = {"source": {"id": source}, "profile": {"id": customer}, "events": events}
        yield Item(customer, len(events), envelope.encode(payload))
