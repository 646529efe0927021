"""Workflows: every node type, ports, joints, failures, bounds, and mistakes named by node and key."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pipeline.definition import Workflow, parse
from pipeline.errors import Malformed
from pipeline.http.port import Response
from pipeline.workflow.flow import Flow, HttpCall, HttpResult, Run, Tools, compile_workflow
from pipeline.workflow.registry import NODE_TYPES

START = {"id": "start", "type": "start"}


def now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def flow(nodes: list[dict[str, Any]], *edges: tuple[str, str] | tuple[str, str, str]) -> Flow:
    wired = [{"from": e[0], "to": e[1], **({"port": e[2]} if len(e) > 2 else {})} for e in edges]
    definition = parse("workflows", json.dumps({"id": "w", "nodes": [START, *nodes], "edges": wired}).encode())
    assert isinstance(definition, Workflow)
    return compile_workflow(definition, Tools(now, {"TOKEN": "s3cret", "HOST": "http://crm"}.__getitem__))


def node(id: str, type: str, /, **settings: Any) -> dict[str, Any]:
    return {"id": id, "type": type, "settings": settings}


def run(flow: Flow, scope: dict[str, Any], *results: HttpResult) -> tuple[Run, list[HttpCall]]:
    steps, calls = flow.run(scope, "run-1"), []
    try:
        call = next(steps)
        for result in results:
            calls.append(call)
            call = steps.send(result)
    except StopIteration as end:
        return end.value, calls
    raise AssertionError("more calls than results")


def scope() -> dict[str, Any]:
    return {"profile": {"id": "p", "stats": {"visits": 2}, "segments": ["old"]}, "event": {"type": "t", "n": 5}}


def test_changes_are_collected_and_later_nodes_see_them() -> None:
    made = flow(
        [
            node(
                "copy",
                "copy-data",
                mapping={"profile@data.pii.firstname": "event@type", "profile@traits.x": "hi {{event@n}}"},
            ),
            node("more", "increment", field="profile@stats.counters.n", by=2),
            node("if", "if", condition='profile@data.pii.firstname = "t" AND profile@stats.counters.n = 2'),
            node("add", "add-segment", segment="yes"),
            node("remove", "remove-segment", segment="old"),
            node("no", "add-segment", segment="no"),
            node("end", "end"),
        ],
        *(("start", "copy"), ("copy", "more"), ("more", "if"), ("if", "add", "true"), ("if", "no", "false")),
        *(("add", "remove"), ("remove", "end")),
    )
    given = scope()
    done, _ = run(made, given)
    assert done.state == "done"
    assert done.operations == (
        ("=", "data.pii.firstname", "t"),
        ("=", "traits.x", "hi 5"),
        ("+", "stats.counters.n", 2),
        ("[]", "segments", "yes"),
        ("-[]", "segments", "old"),
    )
    assert [id for id, _ in done.trace] == ["start", "copy", "more", "if", "add", "remove", "end"]
    assert given == scope()


#: By node type: settings, the port it goes on by, what it does to the profile.
ONE_NODE: dict[str, tuple[dict[str, Any], str, tuple[Any, ...]]] = {
    "start": ({}, "payload", ()),
    "if": ({"condition": "event@n = 5"}, "true", ()),
    "copy-data": ({"mapping": {"profile@x": "event@n"}}, "payload", (("=", "x", 5),)),
    "set-data": ({"mapping": {"profile@x": "event@n"}}, "payload", (("=", "x", 5),)),
    "increment": ({"field": "profile@x"}, "payload", (("+", "x", 1),)),
    "add-segment": ({"segment": "new"}, "payload", (("[]", "segments", "new"),)),
    "remove-segment": ({"segment": "old"}, "payload", (("-[]", "segments", "old"),)),
    "emit-event": ({"type": "t"}, "payload", ()),
    "call-http": ({"url": "http://x"}, "response", ()),
    "end": ({}, "", ()),
}


@pytest.mark.parametrize("type", NODE_TYPES)
def test_each_node_type_goes_on_by_its_port(type: str) -> None:
    settings, port, operations = ONE_NODE[type]
    made = flow([]) if type == "start" else flow([node("n", type, **settings)], ("start", "n"))
    answers = [HttpResult(Response(204, {}, b""), "")] if type == "call-http" else []
    done, calls = run(made, scope(), *answers)
    assert (done.state, done.operations, len(calls)) == ("done", operations, len(answers))
    assert done.trace[-1] == ("start" if type == "start" else "n", port)


@pytest.mark.parametrize("type", ["copy-data", "set-data"])
def test_data_is_set_from_references_templates_and_literals(type: str) -> None:
    mapping = {
        "profile@data.pii.firstname": "event@type",
        "profile@traits.text": "hi {{event@n}}",
        "profile@traits.literal": "`event@type",
        "profile@traits.number": 7,
        "profile@traits.deep": {"list": ["event@n", None]},
        "profile@traits.missing": "event@none",
        "profile@traits.run": "flow@run",
    }
    done, _ = run(flow([node("set", type, mapping=mapping)], ("start", "set")), scope())
    assert done.state == "done"
    assert done.operations == (
        ("=", "data.pii.firstname", "t"),
        ("=", "traits.text", "hi 5"),
        ("=", "traits.literal", "event@type"),
        ("=", "traits.number", 7),
        ("=", "traits.deep", {"list": [5, None]}),
        ("=", "traits.missing", None),
        ("=", "traits.run", "run-1"),
    )


def test_a_branch_ends_at_an_end() -> None:
    with pytest.raises(Malformed, match="no port 'payload'"):
        flow([node("end", "end"), node("a", "add-segment", segment="a")], ("start", "end"), ("end", "a"))
    done, _ = run(flow([node("end", "end")], ("start", "end")), scope())
    assert (done.state, done.operations, [id for id, _ in done.trace]) == ("done", (), ["start", "end"])


@pytest.mark.parametrize(("text", "taken"), [("profile@stats.visits = 2", "yes"), ("flow@run = 'other'", "no")])
def test_a_condition_goes_on_by_one_port_only(text: str, taken: str) -> None:
    made = flow(
        [node("if", "if", condition=text), *(node(id, "add-segment", segment=id) for id in ("yes", "no"))],
        *(("start", "if"), ("if", "yes", "true"), ("if", "no", "false")),
    )
    done, _ = run(made, scope())
    assert done.operations == (("[]", "segments", taken),)


def test_a_removal_is_sent_even_when_the_profile_lacks_the_segment() -> None:
    done, _ = run(flow([node("r", "remove-segment", segment="cart")], ("start", "r")), scope())
    assert done.operations == (("-[]", "segments", "cart"),)


def test_an_event_is_emitted_with_rendered_properties() -> None:
    made = flow(
        [node("e", "emit-event", type="Thank You", properties={"n": "event@n", "who": "profile@none"})], ("start", "e")
    )
    done, _ = run(made, scope())
    assert [(one.type, one.properties) for one in done.emitted] == [("thank-you", {"n": 5, "who": None})]


def test_a_call_goes_on_by_its_outcome_and_later_nodes_see_the_answer() -> None:
    made = flow(
        [
            node("call", "call-http", url="http://x/{{profile@id}}", body={"type": "event@type"}, headers={"X-A": "b"}),
            node("ok", "copy-data", mapping={"profile@traits.score": "memory@call.body.score"}),
            node("failed", "copy-data", mapping={"profile@traits.error": "memory@call.error"}),
        ],
        *(("start", "call"), ("call", "ok", "response"), ("call", "failed", "error")),
    )
    done, calls = run(made, scope(), HttpResult(Response(200, {}, b'{"score": 7}'), ""))
    assert calls[0][:2] == ("POST", "http://x/p")
    assert (calls[0].headers["x-a"], calls[0].body) == ("b", b'{"type":"t"}')
    assert done.operations == (("=", "traits.score", 7),)
    done, _ = run(made, scope(), HttpResult(None, "no answer within 10 s"))
    assert done.operations == (("=", "traits.error", "no answer within 10 s"),)
    done, _ = run(made, scope(), HttpResult(Response(500, {}, b"oops"), ""))
    assert done.trace[-1][0] == "failed"


def test_a_node_runs_once_for_each_active_edge() -> None:
    made = flow(
        [
            node("a", "add-segment", segment="a"),
            node("b", "add-segment", segment="b"),
            node("n", "increment", field="profile@stats.n"),
        ],
        *(("start", "a"), ("start", "b"), ("a", "n"), ("b", "n")),
    )
    done, _ = run(made, scope())
    assert [operation[1] for operation in done.operations].count("stats.n") == 2


def test_a_failing_node_ends_the_run_and_what_was_changed_stays() -> None:
    made = flow(
        [
            node("a", "add-segment", segment="a"),
            node("n", "increment", field="profile@segments"),
            node("b", "add-segment", segment="b"),
        ],
        *(("start", "a"), ("a", "n"), ("n", "b")),
    )
    done, _ = run(made, scope())
    assert (done.state, done.operations) == ("failed", (("[]", "segments", "a"),))
    assert "'n'" in done.error


def test_a_run_is_bounded() -> None:
    nodes, edges = [], []
    for level in range(12):
        nodes += [node(f"{level}{side}", "increment", field="profile@stats.n") for side in "ab"]
        before = ["start"] if level == 0 else [f"{level - 1}a", f"{level - 1}b"]
        edges += [(one, f"{level}{side}") for one in before for side in "ab"]
    done, _ = run(flow(nodes, *edges), scope())
    assert (done.state, "1000 steps" in done.error) == ("failed", True)


@pytest.mark.parametrize(
    ("nodes", "edges", "said"),
    [
        ([node("x", "fly")], (), "unknown type 'fly'"),
        ([node("x", "increment")], (), "'x'.*field"),
        ([node("x", "increment", field="profile@a", of=2)], (), "'x'.*of"),
        ([node("x", "if", condition="profile@a >")], (), "'x': column 12"),
        (
            [node("x", "emit-event", type="t", properties={"a": "{{customer@id}}"})],
            (),
            "'x': properties.a: .*customer@id",
        ),
        ([node("x", "emit-event", type=" ")], (), "'x'.*event type"),
        ([node("x", "increment", field="profile@id")], (), "'x'.*profile@id"),
        ([node("x", "increment", field="event@n")], (), "event@n"),
        ([node("x", "copy-data", mapping={"profile@stats": 5})], (), "'x'.*profile@stats"),
        ([node("x", "call-http", url="ftp://x")], (), "http"),
        ([node("x", "call-http", url="http://x", timeout=100)], (), "timeout"),
        ([node("x", "end"), node("x", "end")], (), "two nodes"),
        ([START | {"id": "again"}], (), "one start node"),
        ([node("x", "end")], (("start", "y"),), "'y'"),
        ([node("x", "end")], (("start", "x", "true"),), "no port 'true'"),
        (
            [node("a", "add-segment", segment="a"), node("b", "add-segment", segment="b")],
            (("start", "a"), ("a", "b"), ("b", "a")),
            "cycle",
        ),
    ],
)
def test_mistakes_are_named(nodes: list[dict[str, Any]], edges: tuple[Any, ...], said: str) -> None:
    with pytest.raises(Malformed, match=said):
        flow(nodes, *edges)


def test_a_mistake_says_where_it_is() -> None:
    with pytest.raises(Malformed) as caught:
        flow([node("cart", "call-http", url="http://x", timeout=0)])
    assert caught.value.field == "nodes.cart.settings.timeout"


def test_secrets_and_values_are_filled_into_a_call_but_never_one_into_the_other() -> None:
    settings = {
        "url": "${HOST}/{{event@type}}",
        "headers": {"Authorization": "Bearer ${TOKEN}", "X-Who": "{{profile@id}}"},
        "body": {"key": "${TOKEN}", "who": "profile@id"},
    }
    made = flow([node("call", "call-http", **settings)], ("start", "call"))
    _, calls = run(made, {"event": {"type": "${TOKEN}"}, "profile": {"id": "${TOKEN}"}}, HttpResult(None, "none"))
    assert calls[0].url == "http://crm/%24%7BTOKEN%7D"
    assert calls[0].headers["authorization"] == "Bearer s3cret"
    assert calls[0].headers["x-who"] == "${TOKEN}"
    assert calls[0].body == b'{"key":"s3cret","who":"${TOKEN}"}'


def test_what_a_customer_sends_stays_inside_its_part_of_the_address() -> None:
    made = flow([node("call", "call-http", url="http://x/{{event@type}}/end")], ("start", "call"))
    _, calls = run(made, {"event": {"type": "../a?b#c d"}}, HttpResult(None, "none"))
    assert calls[0].url == "http://x/..%2Fa%3Fb%23c%20d/end"


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"a": 1.10}', {"a": Decimal("1.10")}),
        (b"[1e99999999999999999999]", "[1e99999999999999999999]"),
        (b"\xff", "\ufffd"),
        (b"", ""),
        (b"[" * 5000, "[" * 5000),
        (b"[" * 30 + b"]" * 30, "[" * 30 + "]" * 30),
        (b"1e999", "1e999"),
        (b'"a\\u0000"', "a\ufffd"),
        (b"a\0", "a\ufffd"),
    ],
)
def test_whatever_the_other_side_answers_is_kept_as_json_or_text(body: bytes, kept: Any) -> None:
    made = flow(
        [
            node("call", "call-http", url="http://x"),
            node("copy", "copy-data", mapping={"profile@x": "memory@call.body"}),
        ],
        *(("start", "call"), ("call", "copy", "response")),
    )
    done, _ = run(made, scope(), HttpResult(Response(200, {}, body), ""))
    assert done.operations == (("=", "x", kept),)
