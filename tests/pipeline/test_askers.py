"""Who asks for an event: decided by the definitions it is folded by, kept in its envelope, read by those it is due to."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from pipeline import envelope
from pipeline.catalog import Catalog, applied
from pipeline.envelope import Entry, Pair, Processed, Through, Totals, View
from pipeline.secrets import unresolved
from pipeline.stores.definitions import Definition
from pipeline.workflow.flow import Tools
from pipeline.workflow_plan import Plan

START = {"id": "s", "type": "start"}
NULL = msgspec.Raw(b"null")


def row(kind: str, id: str, revision: int, body: dict[str, Any] | None) -> Definition:
    return Definition(kind, id, revision, body is None, json.dumps({"id": id, **(body or {})}).encode())


def catalog(*rows: tuple[str, str, dict[str, Any] | None]) -> Catalog:
    """After these changes, one at a time."""
    found = Catalog()
    for revision, (kind, id, body) in enumerate(rows, 1):
        found = applied(found, revision, [row(kind, id, revision, body)])
    return found


def destination(id: str, **more: Any) -> tuple[str, str, dict[str, Any]]:
    return "destinations", id, {"settings": {"url": "https://x"}, **more}


def rule(id: str, **more: Any) -> tuple[str, str, dict[str, Any]]:
    return "rules", id, {"workflow": "w", **more}


WORKFLOW = ("workflows", "w", {"nodes": [START]})


@pytest.mark.parametrize(
    ("rows", "asking"),
    [
        ([], ()),
        ([destination("d"), destination("c")], ("destination:c", "destination:d")),
        ([destination("d", source="shop"), destination("e", event_type="t")], ("destination:e", "destination:d")),
        ([destination("d", source="shop", event_type="t")], ("destination:d",)),
        ([destination("d", source="web"), destination("e", event_type="u")], ()),
        ([destination("d", enabled=False)], ()),
        ([destination("d"), destination("d", enabled=False)], ()),
        ([destination("d", enabled=False), destination("d")], ("destination:d",)),
        ([destination("d"), ("destinations", "d", None)], ()),
        ([WORKFLOW, rule("r"), rule("q", event_type="t")], ("rule:q", "rule:r")),
        ([WORKFLOW, rule("r", enabled=False)], ()),
        ([WORKFLOW, rule("r"), ("rules", "r", None)], ()),
        ([rule("r")], ()),
        ([rule("r"), WORKFLOW], ("rule:r",)),
        ([WORKFLOW, rule("r"), ("workflows", "w", None)], ()),
        ([rule("r"), ("workflows", "w", {"nodes": [START], "enabled": False})], ()),
    ],
)
def test_who_asks(rows: list[tuple[str, str, dict[str, Any] | None]], asking: tuple[str, ...]) -> None:
    assert catalog(*rows).askers("shop", "t") == asking


def processed(pair: Pair, view: int = 0) -> Processed:
    entry = Entry("e", pair.type, pair.source, "p", 0, view, msgspec.Raw(b'{"id":"e"}'))
    return Processed(
        v=envelope.PROCESSED_FORMAT,
        sequence=1,
        through=Through(),
        totals=Totals(),
        time_ms=1,
        pairs=[pair],
        events=[entry],
        views=[View(NULL, NULL)],
    )


@pytest.mark.parametrize(
    ("askers", "rows", "started"),
    [
        (("rule:r",), [rule("r")], ["r"]),
        (("destination:r", "rule:other"), [rule("r")], []),
        (("rule:r",), [rule("r", event_type="another", source="other")], ["r"]),  # as it was then, not as it is today
        (("rule:r",), [rule("r", enabled=False)], []),
        (("rule:r",), [], []),
        (("rule:q", "rule:r"), [rule("r"), rule("q")], ["q"]),  # a workflow runs once
        (("rule:r",), [rule("r"), rule("q")], ["r"]),
        (("rule:r",), [rule("r"), ("workflows", "w", None)], []),
        (None, [rule("r")], ["r"]),  # format 1: whoever matches today
        (None, [rule("r", event_type="another")], []),
    ],
)
def test_which_rules_start_a_workflow(
    askers: tuple[str, ...] | None, rows: list[tuple[str, str, dict[str, Any] | None]], started: list[str]
) -> None:
    plan = Plan(catalog(WORKFLOW, *rows), Tools(lambda: datetime.now(UTC), unresolved))
    pair = Pair("shop", "t", askers)
    assert [found.id for _, found, _ in plan.due(processed(pair))] == started
    assert plan.wants([pair]) is bool(started)
    assert plan.due(processed(pair, view=-1)) == []
