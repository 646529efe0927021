"""What the intake takes: defaults, lists, ids, options and times."""

import json
from decimal import Decimal

import pytest

from pipeline import identity, intake
from pipeline.errors import Malformed, SourceRefused, TooLarge
from pipeline.identity import Kind, mint
from pipeline.limits import Limits
from tests.pipeline.tracker import GOOD, NOW, but, event, nested, one, read, take


def test_a_payload_of_small_events_may_be_larger_than_one_event_may() -> None:
    given = but(events=[{"type": "x", "properties": {"a": "x" * 300}}] * 10)
    assert take(json.dumps(given).encode(), Limits(event=500))[0].events == 10


def test_a_large_context_is_not_multiplied_by_the_events_it_goes_with() -> None:
    given = but(context={"page": {"title": "x" * 5_000}}, events=[{"type": "x"}] * 100)
    assert take(json.dumps(given).encode(), Limits(body=1_000_000))[0].events == 100
    with pytest.raises(TooLarge, match="context is part of each of 100 events"):
        take(json.dumps(given).encode(), Limits(body=400_000))
    with pytest.raises(TooLarge, match="with its payload's context"):
        take(json.dumps(given).encode(), Limits(event=5_000))


def test_an_empty_message_id_is_refused_and_not_taken_for_none() -> None:
    with pytest.raises(Malformed, match="must not be empty") as caught:
        take(json.dumps(but(events=[{"type": "x", "id": ""}])).encode())
    assert caught.value.field == "events[0].id"


def test_a_profile_has_a_bounded_number_of_ids() -> None:
    given = but(profile={"id": "p", "ids": [f"i-{n}" for n in range(1_001)]})
    with pytest.raises(Malformed, match="1001 ids") as caught:
        take(json.dumps(given).encode())
    assert caught.value.field == "profile.ids"


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
