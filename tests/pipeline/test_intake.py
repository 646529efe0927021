"""From a body to records: every refusal with its field, defaults, lists, ids, times, and a thousand mutations."""

import json
import random
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import msgspec
import pytest

from pipeline import identity, intake
from pipeline.catalog import Catalog
from pipeline.definition import Source
from pipeline.errors import Malformed, Reject, SourceRefused, TooLarge
from pipeline.identity import Kind, mint
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


def take(body: bytes, limits: Limits = Limits(), **caller: Any) -> list[Accepted]:
    payloads, listed = intake.decode(body, limits)
    who, new_id = Caller(NOW, **caller), new_ids()
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


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "source"),
        (but(source="shop"), "source"),
        (but(source={"id": None}), "source.id"),
        (but(session={"id": ""}), "session.id"),
        (but(session={"id": " \t"}), "session.id"),
        (but(session={"id": "é" * 257}), "session.id"),
        (but(session={"id": "a", "metadata": {"time": {"insert": "x"}}}), "session.metadata"),
        (but(profile={"id": "a\u0007b"}), "profile.id"),
        (but(profile={"id": "a\x7fb"}), "profile.id"),
        (but(profile={"id": "p", "ids": ["ok", ""]}), "profile.ids[1]"),
        (but(profile={"id": "p", "metadata": {"insert": "2999-01-01"}}), "profile.metadata"),
        (but(source={"id": "static"}, profile=None), "profile.id"),
        (but(context=[]), "context"),
        (but(context=nested(20)), "context" + ".x" * 19),
        (but(context={"n": 10**400}), "context.n"),
        (but(properties={"n": -(10**400)}), "properties.n"),
        (but(options=1), "options"),
        (but(profile_less="yes"), "profile_less"),
        (but(events=None), "events"),
        (but(events=[1]), "events[0]"),
        (but(events=[{}]), "events[0].type"),
        (but(events=[{"type": "x"}, {"type": "  "}]), "events[1].type"),
        (event(type="x" * 257), "events[0].type"),
        (event(properties=[]), "events[0].properties"),
        (event(properties=nested(18)), "events[0].properties" + ".x" * 17),
        (event(context={"l": [[10**400]]}), "events[0].context.l.0.0"),
        (event(id=5), "events[0].id"),
        (event(id="a\nb"), "events[0].id"),
        (event(time={"create": "yesterday"}), "events[0].time.create"),
        (event(time={"create": 5}), "events[0].time.create"),
        (event(time={"insert": "2023-11-15T22:13:21Z"}), "events[0].time.create"),
        (event(tags="x"), "events[0].tags"),
        (event(tags=[1]), "events[0].tags[0]"),
    ],
)
def test_each_refusal_names_its_field(given: dict[str, Any], field: str) -> None:
    body = json.dumps(given).encode()
    with pytest.raises(Malformed) as caught:
        take(body)
    assert caught.value.field == field
    with pytest.raises(Malformed) as caught:
        take(b"[" + json.dumps(GOOD).encode() + b"," + body + b"]")
    assert caught.value.field == f"[1].{field}"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b" \n", "body"),
        (b"null", "body"),
        (b'"x"', "body"),
        (b"5", "body"),
        (b"[5]", "[0]"),
        (b"{", ""),
        (json.dumps(GOOD).encode() * 2, ""),
        (b'{"source": {"id": "\xff"}}', ""),
        (b'{"source": {"id": "\\ud800"}}', ""),
        (b'{"source":{"id":"shop"},"properties":{"n":1e99999999999999999999}}', "body"),
        (b'{"source":{"id":"shop"},"properties":{"n":0e-99999999999999999999}}', "body"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "body"),
    ],
)
def test_what_is_no_payload_is_refused(body: bytes, field: str) -> None:
    with pytest.raises(Malformed) as caught:
        take(body)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("source", "said"),
    [("nobody", "`nobody`"), ("", "``"), ("off", "disabled"), ("hook", "webhook"), ("@rayfold", "@rayfold")],
)
def test_a_refused_source_says_why(source: str, said: str) -> None:
    with pytest.raises(SourceRefused, match=said):
        one(but(source={"id": source}))


def test_sizes_are_bounded_and_the_culprit_is_named() -> None:
    body = json.dumps(GOOD).encode()
    with pytest.raises(TooLarge, match=str(len(body))):
        take(body, Limits(body=len(body) - 1))
    assert take(body, Limits(body=len(body)))
    with pytest.raises(TooLarge, match="2 events"):
        take(body, Limits(events=1))
    big = event(properties={"big": "x" * 500})
    with pytest.raises(TooLarge, match=r"\[1\].events\[0\]"):
        take(json.dumps([GOOD, big]).encode(), Limits(event=400))


def test_a_payload_of_small_events_may_be_larger_than_one_event_may() -> None:
    given = but(events=[{"type": "x", "properties": {"a": "x" * 300}}] * 10)
    assert take(json.dumps(given).encode(), Limits(event=400))[0].events == 10


def test_everything_that_was_given_is_in_the_record() -> None:
    accepted, payload = one(GOOD, ip="1.2.3.4", headers={"user-agent": "x", "authorization": "secret"})
    assert (payload.received_ms, payload.revision, payload.source, payload.channel) == (NOW, 7, "shop", "web")
    assert (payload.profile, payload.session, payload.artificial, payload.ids) == ("p-1", "s-1", False, ["other"])
    assert (payload.context, payload.properties) == (GOOD["context"], {"a": 1})
    assert (payload.ip, payload.headers) == ("1.2.3.4", {"user-agent": "x"})
    assert (payload.session_insert_ms, payload.profile_insert_ms) == (1_672_531_200_000, 1_640_995_200_000)
    first, second = payload.events
    assert (first.type, first.message, first.create_ms) == ("page-view", "m-1", 1_672_531_200_000)
    assert (second.properties, second.tags) == ({"value": Decimal("11.77")}, ["t"])
    assert (accepted.partition_key, accepted.events) == ("p-1", 2)
    assert list(accepted.event_ids) == [identity.event_id("shop", one) for one in ("m-1", "m-2")]
    assert list(accepted.message_ids) == ["m-1", "m-2"]
    assert (accepted.profile, accepted.session) == (mint(Kind.PROFILE, "p-1"), "s-1")


def test_what_is_left_out_has_its_default() -> None:
    accepted, payload = one({"source": {"id": "shop"}, "events": [{"type": "x"}]})
    assert (payload.profile, payload.artificial, payload.profile_less, payload.static) == (None, True, False, False)
    assert (payload.save_events, payload.save_session, payload.save_profile, payload.task) == (True, True, True, "")
    (only,) = payload.events
    assert (only.message, only.create_ms, only.properties, only.context, only.tags) == (None, None, {}, {}, [])
    assert accepted.partition_key == payload.session == accepted.session
    assert accepted.profile == mint(Kind.SESSION, payload.session)
    assert list(accepted.message_ids) == list(accepted.event_ids) == [only.id]


def test_options_and_ephemeral_sources_say_what_is_kept() -> None:
    off = {"saveEvents": False, "saveSession": False, "saveProfile": False}
    accepted, payload = one(but(options=off))
    assert (payload.save_events, payload.save_session, payload.save_profile) == (False, False, False)
    assert (accepted.profile, accepted.session) == (None, None)
    _, payload = one(but(source={"id": "short"}))
    assert (payload.save_events, payload.save_session, payload.save_profile) == (False, False, True)
    _, payload = one(but(options={"saveEvents": None, "saveSession": 0, "unknown": 1}))
    assert (payload.save_events, payload.save_session) == (True, True)


def test_a_profile_less_payload_names_no_profile() -> None:
    accepted, payload = one(GOOD, profile_less=True)
    assert (payload.profile_less, payload.profile, accepted.profile) == (True, None, None)
    assert accepted.partition_key == "s-1"
    _, payload = one(but(source={"id": "static"}, profile=None), profile_less=True)
    assert payload.profile is None


def test_a_payload_without_events_has_nothing_to_append_and_answers_null() -> None:
    for given in (but(events=[]), {"source": {"id": "shop"}}):
        (accepted,) = take(json.dumps(given).encode())
        assert (accepted.events, accepted.record, intake.response(accepted)) == (0, b"", None)
    with pytest.raises(SourceRefused):
        one({"source": {"id": "off"}})


def test_the_answer_has_tracardis_shape() -> None:
    accepted, _ = one(GOOD)
    answer = intake.response(accepted, ["m-1"])
    assert answer == {
        "task": accepted.task,
        "ux": [],
        "response": {},
        "events": [{"id": "m-1"}],
        "profile": {"id": mint(Kind.PROFILE, "p-1")},
        "session": {"id": "s-1"},
        "errors": [],
        "warnings": [],
    }


@pytest.mark.parametrize(
    ("given", "kept"), [("Page View", "page-view"), (" PURCHASE \n", "purchase"), ("a \t b", "a-b"), ("Ä", "ä")]
)
def test_event_types_are_written_alike(given: str, kept: str) -> None:
    assert one(event(type=given))[1].events[0].type == kept


def test_ids_are_kept_without_surrounding_spaces() -> None:
    accepted, payload = one(but(profile={"id": " p "}, session={"id": "\ts "}, source={"id": " shop "}))
    assert (payload.profile, payload.session, payload.source, accepted.partition_key) == ("p", "s", "shop", "p")
    assert one(event(id=" m "))[1].events[0].message == "m"
    assert one(but(session={"id": "é" * 256}))[1].session == "é" * 256


def test_a_list_is_taken_one_by_one_with_ids_of_their_own() -> None:
    first, second = take(json.dumps([GOOD, but(profile={"id": "p-2"})]).encode())
    assert (first.partition_key, second.partition_key) == ("p-1", "p-2")
    assert first.task != second.task
    assert list(first.event_ids) == list(second.event_ids)  # the same messages of the same source
    assert take(b"[]") == []


def test_a_payload_that_comes_again_gets_the_same_ids() -> None:
    given = {"source": {"id": "shop"}, "events": [{"type": "x", "id": "m"}]}
    first, again = one(given)[0], one(given, ip="other")[0]
    assert (first.event_ids, first.session, first.profile) == (again.event_ids, again.session, again.profile)
    other = one({"source": {"id": "static"}, "profile": {"id": "p"}, "events": [{"type": "x", "id": "m"}]})[0]
    assert set(other.event_ids).isdisjoint(first.event_ids)


def test_an_idempotency_key_stands_for_message_ids_only_where_no_event_has_one() -> None:
    bare = {"source": {"id": "shop"}, "events": [{"type": "x"}, {"type": "x"}]}
    first, again = one(bare, idempotency_key="k")[0], one(bare, idempotency_key="k")[0]
    assert first.event_ids == again.event_ids
    assert (first.session, first.profile) == (again.session, again.profile)
    assert len(set(first.event_ids)) == 2
    assert set(one(bare, idempotency_key="other")[0].event_ids).isdisjoint(first.event_ids)
    one_of_a_list, other_of_it = take(json.dumps([bare, bare]).encode(), idempotency_key="k")
    assert set(one_of_a_list.event_ids).isdisjoint(other_of_it.event_ids)
    mixed = {"source": {"id": "shop"}, "events": [{"type": "x", "id": "m"}, {"type": "x"}]}
    assert one(mixed, idempotency_key="k")[1].events[1].message is None


def test_what_nests_as_deep_as_allowed_is_taken() -> None:
    given = {**event(properties=nested(17)), "context": nested(19)}
    assert one(given)[1].events[0].properties == nested(17)


def test_nul_becomes_a_replacement_character_and_an_escaped_backslash_stays() -> None:
    body = json.dumps(event(properties={"a": "x\u0000y", "b": "\\u0000", "c\u0000": 1})).encode()
    (payload,) = map(read, take(body))
    assert payload.events[0].properties == {"a": "x\ufffdy", "b": "\\u0000", "c\ufffd": 1}


def mutated(body: bytes, dice: random.Random) -> bytes:
    """A few bytes changed, removed, doubled, or replaced by something nasty."""
    changed = bytearray(body)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(changed))
        kind = dice.randrange(4)
        if kind == 0:
            changed[at] = dice.randrange(256)
        elif kind == 1:
            del changed[at : at + dice.randint(1, 5)]
        elif kind == 2:
            changed[at:at] = changed[at : at + dice.randint(1, 20)]
        else:
            changed[at : at + dice.randint(0, 4)] = dice.choice(
                [
                    b"null",
                    b"[",
                    b"}",
                    b'"',
                    b"-1e400",
                    b"\\u0000",
                    b"\x00",
                    b"\\ud83d",
                    b"9" * 400,
                    b"1e9999999999999999999",
                ]
            )
    return bytes(changed)


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


@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_payload_is_taken_whole_or_rejected_and_nothing_else(seed: int) -> None:
    dice = random.Random(seed)
    taken = 0
    good = json.dumps([GOOD]).encode()
    for number in range(1000):
        body = mutated(good, dice) if number % 2 else json.dumps([replaced(GOOD, dice)]).encode()
        try:
            found = take(body)
        except Reject:
            continue
        for accepted in found:
            taken += 1
            if accepted.events:
                assert len(read(accepted).events) == accepted.events
                assert 0 <= identity.partition(accepted.partition_key, 4) < 4
    assert 100 < taken < 1000
