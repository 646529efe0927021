"""The synthetic shop clickstream: one event a line, sorted by user and session."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from cluster.inputs.item import Item
from cluster.inputs.line import at_line
from pipeline import envelope

SOURCE = "shop"

#: Event names of the file → event types; the name itself is kept in the properties.
EVENT_TYPES: Mapping[str, str] = {
    "home": "page-view",
    "catalog": "page-view",
    "filter_results": "page-view",
    "promo_page": "page-view",
    "account_page": "page-view",
    "compare": "page-view",
    "cart": "basket-viewed",
    "product_view": "product-details-page-view",
    "search": "search",
    "add_to_cart": "product-added-to-basket",
    "wishlist_add": "product-added-to-wishlist",
    "shipping_details": "delivery-info-entered",
    "payment_details": "payment-info-entered",
    "purchase": "checkout-completed",
    "review_page": "product-reviewed",
    "support_chat": "messaging-started",
    "error_page": "error-shown",
    "payment_error": "payment-failed",
    "checkout_bug": "checkout-failed",
}

_COLUMNS = (
    *("user_id", "session_id", "event", "timestamp"),
    *("platform", "acquisition_channel", "user_cohort", "user_lifecycle"),
)

#: acquisition_channel → utm.
_UTM: Mapping[str, Mapping[str, str]] = {
    "paid_search": {"source": "search", "medium": "cpc"},
    "organic": {"source": "search", "medium": "organic"},
    "email": {"source": "newsletter", "medium": "email"},
    "social": {"source": "social", "medium": "social"},
    "direct": {"source": "direct", "medium": "none"},
}

#: Events of one payload.
_MAX_EVENTS = 100


def read(lines: Iterable[str], name: str, source: str) -> Iterator[Item]:
    """One payload per session; the message id of an event is file name and line number. Raises `Malformed` naming a line."""
    for (user, session), group in groupby(
        _rows(lines, name), key=lambda row: (row[1]["user_id"], row[1]["session_id"])
    ):
        members = list(group)
        for start in range(0, len(members), _MAX_EVENTS):
            part = members[start : start + _MAX_EVENTS]
            first = part[0][1]
            payload = {
                "source": {"id": source},
                "session": {"id": session},
                "profile": {"id": user},
                "context": {
                    "device": {"type": first["platform"]},
                    "utm": _UTM.get(first["acquisition_channel"], {"source": first["acquisition_channel"]}),
                },
                "events": [_event(number, row, name) for number, row in part],
            }
            yield Item(user, len(part), envelope.encode(payload))


def _rows(lines: Iterable[str], name: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    number = 1  # of the header
    try:
        for number, row in enumerate(csv.DictReader(lines), 2):
            missing = [column for column in _COLUMNS if row.get(column) is None]
            if missing:
                raise at_line(name, number, f"it has no {missing[0]}")
            yield number, row
    except csv.Error as error:
        raise at_line(name, number + 1, str(error)) from None


def _event(number: int, row: Mapping[str, str], name: str) -> dict[str, Any]:
    return {
        "id": f"{name}:{number}",
        "type": EVENT_TYPES.get(row["event"], row["event"].replace("_", "-")),
        "time": {"create": row["timestamp"].replace(" ", "T") + "Z"},
        "properties": {
            "event": row["event"],
            "category": row["event"],
            "cohort": row["user_cohort"],
            "lifecycle": row["user_lifecycle"],
        },
    }
