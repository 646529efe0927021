"""Every refusal of the intake with its field, and a thousand mutations that are refused or taken, never worse."""

import json
import random
from typing import Any

import pytest

from pipeline import identity
from pipeline.errors import Malformed, Reject, SourceRefused, TooLarge
from pipeline.limits import Limits
from tests.pipeline.tracker import GOOD, but, event, nested, one, read, replaced, take


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
