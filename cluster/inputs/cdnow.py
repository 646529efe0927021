"""The CDNOW purchases: customer id, date, number of CDs, dollars, one purchase a line."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import groupby

from cluster.inputs.item import Item
from pipeline import envelope

SOURCE = "cdnow"


def read(lines: Iterable[str], name: str, source: str) -> Iterator[Item]:
    """One payload per customer and day; the message id of a purchase is file name and line number."""
    rows = ((number, line.split()) for number, line in enumerate(lines, 1))
    purchases = ((number, parts) for number, parts in rows if len(parts) == 4 and parts[0].isdigit())
    for (customer, day), group in groupby(purchases, key=lambda row: (row[1][0], row[1][1])):
        time = f"{day[:4]}-{day[4:6]}-{day[6:]}T00:00:00Z"
        events = [
            {
                "id": f"{name}:{number}",
                "type": "checkout-completed",
                "time": {"create": time},
                "properties": {
                    "id": f"{name}:{number}",
                    "status": "completed",
                    "value": Decimal(dollars),
                    "currency": "USD",
                    "quantity": int(discs),
                },
            }
            for number, (_, _, discs, dollars) in group
        ]
        payload = {"source": {"id": source}, "profile": {"id": customer}, "events": events}
        yield Item(customer, len(events), envelope.encode(payload))
