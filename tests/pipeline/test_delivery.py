"""Deliveries: what is due, the request it becomes, and what an answer means."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import definition, envelope
from pipeline.definition import Destination
from pipeline.delivery import Outlet, Request, Selection, Verdict, delivery_id, judge, retry_after_s
from pipeline.document import decode_document
from pipeline.envelope import CHANGED, Entry, Pair, Processed, Through, Totals, View
from pipeline.errors import Malformed
from pipeline.http.port import Response
from pipeline.letter import Letter, new_letter

NOW_MS = 1_700_000_000_000  # 2023-11-14T22:13:20Z


def now() -> datetime:
    return datetime.fromtimestamp(NOW_MS / 1000, UTC)


def destination(**more: Any) -> Destination:
    settings = {"url": "https://example.com/in", **more.pop("settings", {})}
    given = {"id": "crm", **more, "settings": settings}
    found = definition.parse("destinations", json.dumps(given).encode())
    assert isinstance(found, Destination)
    return found


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(envelope.encode(value))


def entry(id: str = "e", type: str = "sign-up", source: str = "shop", flags: int = 0, view: int = 0) -> Entry:
    return Entry(id, type, source, "p", flags, view, raw({"id": id, "type": type, "properties": {"plan": "gold"}}))


def processed(*entries: Entry) -> Processed:
    profile = {"id": "p", "data": {"contact": {"email": {"main": "a@b.c"}}}, "stats": {"visits": 2}}
    view = View(raw(profile), msgspec.Raw(b"null"))
    return Processed(
        v=2,
        sequence=1,
        through=Through(),
        totals=Totals(),
        time_ms=NOW_MS,
        events=list(entries),
        views=[view],
        pairs=[Pair(*pair) for pair in sorted({(entry.source, entry.type) for entry in entries if entry.view >= 0})],
    )


def secrets(name: str) -> str:
    return {"TOKEN": "s3cret"}[name]


def request(entry: Entry, **more: Any) -> Request:
    outlet = Outlet(destination(**more), now, secrets)
    ((due, scope),) = outlet.due(processed(entry))
    return outlet.request(due, scope)


@pytest.mark.parametrize(
    ("wanted", "due"),
    [
        ({}, ["a", "b", "c"]),
        ({"source": "shop"}, ["a", "c"]),
        ({"event_type": "sign-up"}, ["a", "b"]),
        ({"source": "shop", "event_type": "sign-up"}, ["a"]),
        ({"on_profile_change_only": True}, ["c"]),
        ({"condition": "profile@stats.visits > 1"}, ["a", "b", "c"]),
        ({"condition": 'event@id = "b"'}, ["b"]),
        ({"condition": 'payload@plan = "silver"'}, []),
        ({"condition": "session@id EXISTS"}, []),
    ],
)
def test_what_is_due_follows_source_type_change_and_condition(wanted: dict[str, Any], due: list[str]) -> None:
    events = processed(
        entry("a"), entry("b", source="web"), entry("c", type="page-view", flags=CHANGED), entry("unwatched", view=-1)
    )
    found = Selection(destination(**wanted), now).due(events)
    assert [one.id for one, _ in found] == due


@given(
    st.sampled_from([None, "shop", "web"]),
    st.sampled_from([None, "sign-up", "page-view"]),
    st.lists(st.tuples(st.sampled_from(["shop", "web", "app"]), st.sampled_from(["sign-up", "page-view", "x"]))),
)
def test_an_envelope_is_never_passed_over_when_something_in_it_is_due(
    source: str | None, type: str | None, pairs: list[tuple[str, str]]
) -> None:
    selection = Selection(destination(source=source, event_type=type), now)
    events = processed(*(entry(source=one, type=other) for one, other in pairs))
    assert selection.wants(events.pairs) is bool(selection.due(events))


def test_only_what_the_destination_asked_for_when_it_was_folded_is_due() -> None:
    events = processed(entry("a"), entry("b", type="page-view"), entry("c", source="web", flags=CHANGED))
    crm, mail = "destination:crm", "destination:mail"
    asked = [Pair("shop", "page-view", (mail,)), Pair("shop", "sign-up", (mail, crm)), Pair("web", "sign-up", (crm,))]
    events = msgspec.structs.replace(events, pairs=asked)

    def due(**more: Any) -> list[str]:
        return [one.id for one, _ in Selection(destination(**more), now).due(events)]

    assert due() == ["a", "c"]
    assert due(event_type="page-view", source="app") == ["a", "c"]  # what it asks for today is of tomorrow's events
    assert due(on_profile_change_only=True) == ["c"]
    assert due(condition='event@id = "a"') == ["a"]
    assert due(id="mail") == ["a", "b"]
    assert due(id="new") == []
    assert not Selection(destination(id="new"), now).wants(asked)


def test_without_a_mapping_the_event_and_the_profile_are_sent() -> None:
    made = request(entry())
    body = json.loads(made.body or b"")
    assert (body["event"]["id"], body["profile"]["stats"], list(body)) == ("e", {"visits": 2}, ["event", "profile"])
    assert made[:3] == (delivery_id("crm", "e"), "POST", "https://example.com/in")
    assert made.headers == {"content-type": "application/json", "idempotency-key": made.id}
    assert made.timeout_s == 10.0


def test_a_mapping_shapes_the_body_and_secrets_are_filled_in() -> None:
    made = request(
        entry(),
        mapping={"email": "profile@data.contact.email.main", "none": "profile@none", "plan": ["payload@plan"]},
        settings={
            "url": "https://example.com/${TOKEN}",
            "method": "PUT",
            "headers": {"Authorization": "Bearer ${TOKEN}", "Content-Type": "text/json"},
            "timeout": 3,
        },
    )
    assert json.loads(made.body or b"") == {"email": "a@b.c", "none": None, "plan": ["gold"]}
    assert (made.method, made.url, made.timeout_s) == ("PUT", "https://example.com/s3cret", 3.0)
    assert (made.headers["authorization"], made.headers["content-type"]) == ("Bearer s3cret", "text/json")


def test_what_a_customer_sends_is_never_taken_for_a_secret() -> None:
    event = Entry("e", "t", "s", "p", 0, 0, raw({"id": "e", "type": "t", "properties": {"x": "${TOKEN}"}}))
    assert json.loads(request(event, mapping={"x": "payload@x"}).body or b"") == {"x": "${TOKEN}"}


def test_a_get_has_no_body() -> None:
    assert request(entry(), settings={"method": "GET"}).body is None


def test_an_unknown_secret_is_named() -> None:
    def nothing(name: str) -> str:
        raise Malformed(f"there is no secret {name!r}", "settings")

    with pytest.raises(Malformed, match="NAME"):
        Outlet(destination(settings={"url": "https://x/${NAME}"}), now, nothing)


def test_a_delivery_has_the_same_id_at_every_attempt_and_another_for_every_pair() -> None:
    ids = {delivery_id(one, other) for one in ("crm", "mail") for other in ("e1", "e2") for _ in range(2)}
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((200, 201, 202, 204, 299), Verdict.DELIVERED),
        ((400, 422), Verdict.DEAD),
        ((401, 403, 404), Verdict.ALARM),
        ((301, 302, 405, 408, 409, 413, 425, 429, 500, 502, 503, 504, 599), Verdict.AGAIN),
    ],
)
def test_an_answer_is_judged_by_its_status(statuses: tuple[int, ...], verdict: Verdict) -> None:
    assert {judge(Response(status, {}, b"")) for status in statuses} == {verdict}


def waits(headers: Mapping[str, str]) -> float:
    return retry_after_s(Response(503, headers, b""), NOW_MS)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("999999999999", 3600),
        ("9" * 400, 3600),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60),
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60),
        ("Tue, 14 Nov 2023 22:12:20 GMT", 0),
        ("Tue, 14 Nov 2033 22:12:20 GMT", 3600),
        ("-5", 0),
        ("soon", 0),
        ("²", 0),
        ("Mon, 01 Jan 2020 00:00:00 +99999999999999999999", 0),
        ("", 0),
    ],
)
def test_the_other_side_says_how_long_to_wait_but_never_more_than_an_hour(text: str, seconds: float) -> None:
    assert waits({"retry-after": text}) == seconds
    assert waits({}) == 0


@given(st.text() | st.from_regex(r"\A\w{3}, \d\d \w{3} \d{1,9} \d\d:\d\d:\d\d [+-]?\w{1,30}\Z"))
def test_no_header_makes_it_raise(text: str) -> None:
    assert 0 <= waits({"retry-after": text}) <= 3600


def test_a_dead_letter_holds_what_is_needed_to_send_it_again_and_no_secret() -> None:
    made = request(entry(), settings={"url": "https://x/${TOKEN}", "headers": {"authorization": "${TOKEN}"}})
    stored = new_letter(made, "crm", "", entry(), "400 Bad Request", 1_700_000_000_000)
    letter = decode_document(stored.body)
    outlet = Outlet(destination(settings={"url": "https://x/${TOKEN}"}), now, secrets)
    again = outlet.call(letter["id"], letter["body"].encode())
    assert (again.id, again.body, again.headers["idempotency-key"]) == (made.id, made.body, made.id)
    assert (letter["state"], letter["reason"], letter["event"]) == ("waiting", "400 Bad Request", "e")
    assert "s3cret" not in json.dumps(letter)
    of_replay = Letter(new_letter(made, "crm", "r-1", entry(), "400 Bad Request", 1_700_000_000_000))
    assert (of_replay.delivery, of_replay.request_body) == (made.id, made.body)
    assert of_replay.body["id"] != stored.id
