"""Tracker payloads and what the intake makes of them."""

import json
import random
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import msgspec

from pipeline import intake
from pipeline.catalog import Catalog
from pipeline.definition import Source
from pipeline.intake import Accepted, Caller
from pipeline.limits import Limits
from pipeline.record import Payload

NOW = 1_700_000_000_000  # 2023-11-14T22:13:20Z
CATALOG = Catalog(
    revision=7,
    sources={
        "shop": Source(id="shop", channel="web"),
        "static": Source(id="static", static_profile_id=True),
        "short": Source(id="short", ephemeral=True),
        "off": Source(id="off", enabled=False),
        "hook": Source(id="hook", type="webhook"),
    },
)
GOOD: dict[str, Any] = {
    "source": {"id": "shop"},
    "session": {"id": "s-1", "metadata": {"time": {"insert": "2023-01-01T00:00:00Z"}}},
    "profile": {"id": "p-1", "ids": ["other"], "metadata": {"time": {"insert": "2022-01-01T00:00:00Z"}}},
    "context": {"page": {"url": "https://example.com/"}, "time": {"tz": "Europe/Berlin"}},
    "properties": {"a": 1},
    "options": {"saveSession": True},
    "events": [
        {"id": "m-1", "type": "page-view", "time": {"create": "2023-01-01T00:00:00Z"}, "properties": {"id": "x"}},
        {"id": "m-2", "type": "checkout-completed", "properties": {"value": 11.77}, "tags": ["t"]},
    ],
}


def new_ids() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"new-{next(numbers)}"


def take(
    body: bytes, limits: Limits = Limits(), new_id: Callable[[], str] | None = None, **caller: Any
) -> list[Accepted]:
    payloads, listed = intake.decode(body, limits)
    who, new_id = Caller(NOW, **caller), new_id or new_ids()
    return [
        intake.accept(one, index if listed else None, CATALOG, limits, who, new_id)
        for index, one in enumerate(payloads)
    ]


def one(given: dict[str, Any], **caller: Any) -> tuple[Accepted, Payload]:
    (accepted,) = take(json.dumps(given).encode(), **caller)
    return accepted, read(accepted)


def read(accepted: Accepted) -> Payload:
    return msgspec.json.Decoder(Payload, float_hook=Decimal).decode(accepted.record)


def but(**more: Any) -> dict[str, Any]:
    return {**GOOD, **more}


def event(**more: Any) -> dict[str, Any]:
    return but(events=[{"type": "page-view", **more}])


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"x": value}
    return value


def replaced(value: Any, dice: random.Random) -> Any:
    """The same JSON with one value somewhere in it replaced."""
    nasty: tuple[Any, ...] = (
        None,
        True,
        -1,
        10**400,
        0.5,
        "",
        " ",
        "\u0000",
        "x" * 600,
        [],
        {},
        [[]],
        "0001-01-01T00:00:00+23:00",
    )
    if not isinstance(value, dict | list) or not value or dice.random() < 0.15:
        return dice.choice(nasty)
    if isinstance(value, list):
        at = dice.randrange(len(value))
        return [replaced(item, dice) if index == at else item for index, item in enumerate(value)]
    chosen = dice.choice(list(value))
    return {key: replaced(item, dice) if key == chosen else item for key, item in value.items()}
