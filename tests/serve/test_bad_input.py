"""Bad input: always a 4xx whose JSON detail names the field; nothing half stored."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from pipeline import identity
from pipeline.stores.documents import Query
from tests.system import payload, running

GOOD: dict[str, Any] = {
    "source": {"id": "shop"},
    "session": {"id": "s-1", "metadata": {"time": {"insert": "2024-01-01T00:00:00Z"}}},
    "profile": {"id": "p-1", "ids": ["other"]},
    "context": {"page": {"url": "https://example.com/"}, "time": {"tz": "Europe/Berlin"}},
    "properties": {"a": 1},
    "options": {"saveSession": True},
    "events": [
        {"id": "m-1", "type": "page-view", "time": {"create": "2024-01-01T00:00:00Z"}, "properties": {"id": "x"}},
        {"id": "m-2", "type": "checkout-completed", "properties": {"value": 11.77}, "tags": ["t"]},
    ],
}


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"x": value}
    return value


def _with(**more: Any) -> bytes:
    return json.dumps({**GOOD, **more}).encode()


def _event(**more: Any) -> bytes:
    return _with(events=[{"type": "page-view", **more}])


CASES: list[tuple[bytes, int, str]] = [
    (b"", 422, "body"),
    (b"{", 400, ""),
    (b"not json", 400, ""),
    (b'{"source": {"id": "\xff"}}', 400, ""),
    (b'{"source": {"id": "\\ud800"}}', 400, ""),
    (b"null", 422, "body"),
    (b"5", 422, "body"),
    (b'{"events": []}', 422, "source"),
    (_with(source="shop"), 422, "source"),
    (_with(source={"id": 5}), 422, "source.id"),
    (_with(source={"id": "unknown"}), 406, ""),
    (_with(source={"id": "@internal"}), 406, ""),
    (_with(session={"id": ""}), 422, "session.id"),
    (_with(session={"id": "x" * 513}), 422, "session.id"),
    (_with(profile={"id": "a\u0007b"}), 422, "profile.id"),
    (_with(profile={"id": "p", "ids": [""]}), 422, "profile.ids[0]"),
    (_with(events={}), 422, "events"),
    (_with(events=[5]), 422, "events[0]"),
    (_with(events=[{"type": " "}]), 422, "events[0].type"),
    (_with(events=[{}]), 422, "events[0].type"),
    (_event(properties=[]), 422, "events[0].properties"),
    (_event(properties=_nested(30)), 422, "events[0].properties" + ".x" * 17),
    (_event(id="\n\u0001"), 422, "events[0].id"),
    (_event(time={"create": "yesterday"}), 422, "events[0].time.create"),
    (_event(time={"create": "2999-01-01T00:00:00Z"}), 422, "events[0].time.create"),
    (_event(tags="x"), 422, "events[0].tags"),
    (_event(properties={"n": 0}).replace(b'"n": 0', b'"n": 1e999'), 422, "events[0].properties.n"),
    (b"[" + _with(source={"id": "unknown"}) + b"]", 406, ""),
    (b"[" + _with() + b"," + _event(properties=5) + b"]", 422, "[1].events[0].properties"),
    (b"[" + _with() + b"," + _event(id="\n\u0001") + b"]", 422, "[1].events[0].id"),
    (b"[" + _with() + b"," + _with(source={"id": "unknown"}) + b"]", 406, ""),
    (b"[" + _with() + b"," + _event(properties={"big": "x" * 300_000}) + b"]", 413, ""),
    (b"[" * 5000 + b"]" * 5000, 422, "[0]"),
    (b'{"a":' * 5000 + b"1" + b"}" * 5000, 422, "body"),
    (_with(events=[{"type": "x"}] * 1001), 413, ""),
    (_event(properties={"big": "x" * 300_000}), 413, ""),
    (b'{"x": "' + b"y" * 10_000_001 + b'"}', 413, ""),
]


def test_every_unprocessable_body_names_its_field() -> None:
    assert all(bool(field) is (status == 422) for _, status, field in CASES)


@pytest.mark.parametrize(("body", "status", "field"), CASES, ids=[f"{n}-{case[2]}" for n, case in enumerate(CASES)])
async def test_each_refusal_has_its_status_and_names_its_field(
    tmp_path: Path, body: bytes, status: int, field: str
) -> None:
    async with running(tmp_path, ()) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        answer = await system.public.post("/track", content=body)
        assert answer.status_code == status, (answer.status_code, answer.text[:300])
        said = answer.json()
        assert said["detail"].startswith(f"{field}: " if field else "")
        assert said.get("field", "") == field
        assert [await system.ports.log.last("collected", n) for n in range(4)] == [None] * 4


async def test_other_requests_are_refused_with_json(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "hook", {"type": "webhook"})
        await system.put("sources", "off", {"enabled": False})
        await system.put("sources", "shop", {"static_profile_id": True})
        for path, method, status in (("/track", "GET", 405), ("/nowhere", "GET", 404), ("/track", "PUT", 405)):
            answer = await system.public.request(method, path)
            assert (answer.status_code, "detail" in answer.json()) == (status, True)
        for source in ("hook", "off"):
            answer = await system.track(payload(source))
            assert (answer.status_code, source in answer.json()["detail"]) == (406, True)
        answer = await system.track(payload("shop"))
        assert (answer.status_code, answer.json()["field"]) == (422, "profile.id")
        answer = await system.public.post("/track", content=b"x", headers={"content-encoding": "gzip"})
        assert answer.status_code == 415
        for query, field in (("forever", "wait"), ("stored&timeout=31", "timeout"), ("stored&timeout=x", "timeout")):
            answer = await system.public.post(f"/track?wait={query}", json=payload("shop", profile={"id": "p"}))
            assert (answer.status_code, answer.json()["field"]) == (422, field)
        answer = await system.public.post("/track", json=payload("shop"), headers={"idempotency-key": "x" * 513})
        assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")
        assert (await system.track({"source": {"id": "shop"}})).json() is None
        assert (await system.private.get("/status", headers={"authorization": "Bearer x"})).status_code == 401


def _mutated(body: bytes, dice: random.Random) -> bytes:
    """A few bytes changed, removed, doubled, or a value replaced."""
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
            changed[at:at] = dice.choice(
                [b"null", b"[", b"}", b'"', b"-1e400", b"\\u0000", b"\x00", b"\\ud83d", b"9" * 400]
            )
    return bytes(changed)


def _body(number: int) -> bytes:
    """Two payloads whose ids no other body has."""
    payloads = []
    for half in "ab":
        text = json.dumps(GOOD)
        for name in ("s-1", "p-1", "m-1", "m-2"):
            text = text.replace(f'"{name}"', f'"{name}-{number:04d}-{half}"')
        payloads.append(text)
    return f"[{', '.join(payloads)}]".encode()


async def test_a_thousand_mutations_never_make_a_server_error_nor_a_stored_half(tmp_path: Path) -> None:
    dice = random.Random(20261124)
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        taken, answered = 0, []
        for start in range(0, 1000, 50):
            bodies = [_mutated(_body(n), dice) for n in range(start, start + 50)]
            answers = await asyncio.gather(
                *(system.public.post("/track?wait=stored&timeout=30", content=one) for one in bodies)
            )
            for one, answer in zip(bodies, answers, strict=True):
                assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
                said = answer.json()
                if answer.status_code == 200:
                    taken += _events_in(one)
                    answered += [event["id"] for part in said if part for event in part["events"]]
                else:
                    assert said["detail"]
                    assert bool(said.get("field")) is (answer.status_code == 422)
        account = await system.quiet()
        assert account["accepted"] == taken > 0
        # What was answered 200 is stored, each event once, and nothing else is
        documents = system.ports.documents
        stored = await documents.known([*answered, *(identity.event_id("shop", id) for id in answered)])
        assert len(stored) == len(answered) == len(set(answered))
        assert await documents.count("event", Query({"client": True})) == account["stored"] == len(answered)
        assert account["duplicate"] == taken - len(answered)


def _events_in(body: bytes) -> int:
    """Events of a body that was taken; bytes that are no UTF-8 can only stand in keys that nobody reads."""
    payloads = json.loads(body.decode(errors="replace"))
    return sum(len(one.get("events", [])) for one in payloads)


@pytest.mark.parametrize("text", ["NUL \u0000 here", "emoji 🦊", "\u202eright to left", "a\\u0000b", "%_'\"\\"])
async def test_ugly_text_comes_back_the_same_but_for_nul(tmp_path: Path, text: str) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        event = {"id": "m", "type": "page-view", "properties": {"text": text, "n": 10**40}}
        answer = await system.track(payload("shop", profile={"id": "p"}, events=[event]), wait="stored")
        assert answer.status_code == 200
        stored = (await system.private.get("/events/m", params={"source": "shop"})).json()
        assert stored["properties"] == {"text": text.replace("\u0000", "\ufffd"), "n": 10**40}
