"""What folding does besides finding the profile: repeats, options, effects, views; and no client can stop it."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import envelope, identity
from pipeline.catalog import Catalog
from pipeline.definition import Rule
from pipeline.envelope import Pair
from pipeline.errors import Reject
from pipeline.identity import Kind, mint
from pipeline.record import Effect
from tests.pipeline.tracker import GOOD, new_ids, read, replaced, take
from tests.pipeline.world import NOW, PARTITIONS, TABLE, World, agrees, elsewhere, payload


def test_repeats_within_one_payload_and_partly_repeated_payloads() -> None:
    world = World()
    one = payload(1, profile="X")
    one.events.append(one.events[0])
    world.send(one)
    both = payload(1, profile="X")
    both.events.append(payload(2).events[0])
    world.send(both)
    assert world.profile(mint(Kind.PROFILE, "X"))["interests"]["n"] == 2
    assert world.totals["duplicate"] == 2
    agrees(world, 2)


def test_a_profile_less_event_is_stored_without_profile_or_session_document() -> None:
    world = World()
    world.send(payload(1, session="S", profile_less=True))
    assert world.saved == {}
    (event,) = world.events.values()
    assert event["profile"] == {"id": None}
    agrees(world, 1)


def test_what_must_not_be_saved_is_not() -> None:
    world = World()
    world.send(payload(1, profile="X", session="S", save_profile=False, save_session=False))
    # who the id is, is decided all the same: a repeat must take the path of its original
    assert world.living() == []
    world.send(payload(2, profile="X", session="S"))
    assert world.profile(mint(Kind.PROFILE, "X"))["interests"]["n"] == 1


def _effect(profile: str, depth: int = 1, **more: Any) -> Effect:
    return Effect(
        id=identity.event_id("@workflow", f"run-{depth}"),
        profile=profile,
        received_ms=NOW,
        revision=1,
        workflow="w",
        run="r",
        cause="c",
        depth=depth,
        source="s",
        **more,
    )


def test_an_effect_follows_aliases_and_is_stored_as_an_internal_event() -> None:
    world = World()
    session = elsewhere("X", "S")
    world.send(payload(1, profile="X", session=session))
    effect = _effect(
        mint(Kind.PROFILE, "X"),
        operations=[["[]", "segments", "vip"]],
        emitted=[("increase-interest", {"interest": "n"})],
    )
    world.deliver(identity.partition("X", PARTITIONS), effect)
    body = world.profile(mint(Kind.PROFILE, "X"))
    assert (body["segments"], body["interests"]["n"]) == (["vip"], 2)
    assert world.totals["internal"] == 2
    assert [one["type"] for one in world.events.values() if not one["metadata"]["client"]] == [
        "profile-changed",
        "increase-interest",
    ]


def test_causes_do_not_chain_for_ever() -> None:
    world = World()
    world.send(payload(1, profile="X"))
    id = mint(Kind.PROFILE, "X")
    for depth in (8, 9):
        world.deliver(
            identity.partition("X", PARTITIONS), _effect(id, depth, operations=[["++", "stats.counters.n", None]])
        )
    assert world.profile(id)["stats"]["counters"]["n"] == 1
    assert world.totals["refused"] == 1


def test_watched_events_carry_the_profile_as_it_stood_after_their_payload() -> None:
    rule = Rule(id="r", event_type="increase-interest", workflow="w")
    asking = {(None, "increase-interest"): ("rule:r",), ("s", None): ("destination:d",), (None, "other"): ("rule:o",)}
    world = World(Catalog(rules={"r": rule}, asking=asking))
    both = payload(1, profile="X")
    both.events.append(payload(2).events[0])
    processed = world.apply(identity.partition("X", PARTITIONS), both, True)
    assert [entry.view for entry in processed.events] == [0, 0]
    assert envelope.decode_object(processed.views[0].profile)["interests"]["n"] == 2
    assert processed.pairs == [Pair("s", "increase-interest", ("rule:r", "destination:d"))]


def test_a_profile_that_has_grown_too_large_takes_up_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.hot.MAX_PROFILE_BYTES", 2_000)
    world = World(remembers=True)
    id = mint(Kind.PROFILE, "X")
    for number in range(1, 40):
        one = payload(number, profile="X")
        one.events[0].properties = {"interest": f"interest {number} {'x' * 90}"}
        world.send(one)
    world.deliver(identity.partition("X", PARTITIONS), _effect(id, operations=[["[]", "segments", "vip"]]))
    body = world.profile(id)
    assert 1_900 < len(envelope.encode(body)) < 2_300
    assert body["segments"] == []
    agrees(world, 39)
    refused = [one for one in world.events.values() if "errors" in one]
    assert len(refused) == 40 - len(body["interests"])
    assert {error["field"] for one in refused for error in one["errors"]} == {"profile"}


@pytest.mark.parametrize("seed", range(3))
def test_nothing_the_intake_takes_can_stop_a_partition(seed: int) -> None:
    dice = random.Random(seed)
    world = World(Catalog(asking={(None, None): ("destination:d",)}))
    accepted, new_id = 0, new_ids()
    for _ in range(300):
        given = replaced(GOOD, dice)
        for _ in range(dice.randint(1, 2)):
            try:
                (found,) = take(json.dumps([given]).encode(), new_id=new_id)
            except Reject:
                continue
            if found.events:
                accepted += found.events
                world.deliver(identity.partition(found.partition_key, PARTITIONS), read(found), True)
    totals = world.totals
    assert totals["accepted"] == accepted > 100
    assert accepted == totals["stored"] + totals["duplicate"] + totals["not_stored"]
    assert totals["forwarded"] == totals["taken"]


PATHS = st.sampled_from(
    [
        "stats",
        "stats.visits",
        "stats.counters",
        "data",
        "data.metrics",
        "data.metrics.ltcocc",
        "data.pii",
        "interests",
        "interests.n",
        "segments",
        "ids",
        "metadata",
        "metadata.time",
        "traits",
        "consents",
        "active",
        "id",
    ]
)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.just([]), st.just({}), st.just(["x"])
)
OPERATIONS = st.tuples(st.sampled_from(["=", "?=", "[]", "-[]", "+", "-", "++", "x", "?"]), PATHS, VALUES)


@given(st.lists(OPERATIONS.map(list), max_size=6))
def test_whatever_a_workflow_does_to_a_profile_its_next_event_is_folded(operations: list[list[Any]]) -> None:
    world = World()
    id = mint(Kind.PROFILE, "X")
    world.send(payload(1, profile="X"))
    world.deliver(identity.partition("X", PARTITIONS), _effect(id, operations=operations))
    next = payload(2, profile="X", session="T")
    for number, type in enumerate(TABLE, 3):
        event = payload(number).events[0]
        event.type = type
        event.properties = {"interest": "n", "value": 5, "pii": {"firstname": "A"}}
        next.events.append(event)
    world.send(next)
    agrees(world, 2 + len(TABLE))
    body = world.profile(id)
    assert (body["id"], body["metadata"]["time"]["visit"]["count"]) == (id, 2)
