"""`POST /track`: what is answered when, and what is kept of a payload."""

from pathlib import Path

from pipeline import identity
from pipeline.identity import Kind
from pipeline.log.counter_file import CounterFile
from tests.system import System, payload, running


def _far_session(profile: str) -> str:
    """A session id whose partition is not the profile's."""
    return next(s for n in range(99) if identity.partition(s := f"s{n}", 4) != identity.partition(profile, 4))


async def test_the_answer_has_tracardis_shape(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        answer = await system.track(payload("shop", session={"id": "s"}))
        assert answer.status_code == 200
        body = answer.json()
        assert list(body) == ["task", "ux", "response", "events", "profile", "session", "errors", "warnings"]
        assert (body["ux"], body["response"], body["events"], body["errors"], body["warnings"]) == ([], {}, [], [], [])
        assert body["profile"]["id"] == identity.mint(Kind.SESSION, "s")


async def test_a_list_is_answered_by_a_list_with_null_for_a_payload_without_events(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        answer = await system.track([payload("shop"), {"source": {"id": "shop"}}, payload("shop", session={"id": "x"})])
        first, second, third = answer.json()
        assert second is None
        assert first["profile"]["id"] != third["profile"]["id"]
        assert (await system.track([])).json() == []
        assert (await system.quiet())["accepted"] == 2


async def test_waiting_follows_a_forward_and_names_the_definitive_profile(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        session = _far_session("X")
        await system.track(payload("shop", session={"id": session}), wait="processed")
        events = [{"id": "m", "type": "page-view"}]
        far = payload("shop", session={"id": session}, profile={"id": "X"}, events=events)
        for wait in ("processed", "stored"):
            answer = await system.track(far, wait=wait, timeout="10")
            assert answer.status_code == 200
            assert answer.json()["profile"]["id"] == identity.mint(Kind.SESSION, session)
        account = await system.quiet()
        assert account["forwarded"] == account["taken"] > 0
        assert (account["stored"], account["duplicate"]) == (2, 1)
        assert (await system.profile("X"))["id"] == identity.mint(Kind.SESSION, session)


async def test_a_wait_that_is_over_is_answered_202_and_nothing_is_lost(tmp_path: Path) -> None:
    async with running(tmp_path, ("batcher",)) as system:  # nobody processes
        await system.put("sources", "shop", {})
        answer = await system.track(payload("shop"), wait="processed", timeout="0.3")
        assert answer.status_code == 202
        assert answer.json()["profile"]["id"]
        account = await system.account()
        assert (account["accepted"], account["in_flight"], account["balanced"]) == (1, 1, True)


async def test_queued_payloads_are_answered_201_with_ids(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        answer = await system.track(payload("shop", options={"queue": True}))
        assert answer.status_code == 201
        assert answer.json()["profile"]["id"]


async def test_an_idempotency_key_stands_in_for_message_ids(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        for _ in range(2):
            await system.public.post("/track", json=payload("shop", "a", "b"), headers={"idempotency-key": "k"})
        account = await system.quiet()
        assert (account["stored"], account["duplicate"]) == (2, 2)


async def test_options_and_ephemeral_sources_decide_what_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        await system.put("sources", "brief", {"ephemeral": True})
        events = [{"id": "m", "type": "page-view"}]
        kept_out = payload("shop", session={"id": "a"}, events=events, options={"saveEvents": False})
        for _ in range(2):
            await system.track(kept_out)
        brief = await system.track(payload("brief", session={"id": "b"}))
        assert brief.json()["session"]["id"] is None
        account = await system.quiet()
        assert (account["not_stored"], account["stored"], account["duplicate"]) == (2, 0, 1)
        assert (await system.private.get("/sessions/a")).status_code == 200
        assert (await system.private.get("/sessions/b")).status_code == 404
        less = await system.track(payload("shop", session={"id": "c"}), profile_less="true")
        assert less.json()["profile"]["id"] is None


async def test_event_types_are_normalised_and_contexts_joined(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {"channel": "web"})
        event = {"id": "m", "type": " My  Own Type ", "context": {"b": 2}, "time": {"create": "2024-05-01T12:00:00"}}
        sent = payload("shop", events=[event], context={"a": 1, "b": 1, "utm": {"source": "mail"}})
        await system.public.post("/track", json=sent, params={"wait": "stored"}, headers={"authorization": "secret"})
        stored = (await system.private.get("/events/m", params={"source": "shop"})).json()
        assert stored["type"] == "my-own-type"
        assert stored["context"] == {"a": 1, "b": 2, "utm": {"source": "mail"}}
        assert stored["utm"] == {"source": "mail"}
        assert stored["metadata"]["time"]["create"] == "2024-05-01T12:00:00.000Z"
        assert stored["metadata"]["channel"] == "web"
        assert "secret" not in str(stored)


async def test_a_log_that_takes_nothing_is_answered_503_and_a_repeat_counts_once(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        one = payload("shop", session={"id": "s"}, events=[{"id": "m", "type": "page-view"}])
        held = CounterFile(tmp_path / "log" / "collected.lock")
        with held:  # as a stopped writer would
            answer = await system.track(one)
        held.close()
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "outcome is unknown" in answer.json()["detail"]
        assert (await system.track(one)).status_code == 200
        account = await system.quiet()
        assert account["stored"] == 1


async def test_data_can_be_read_back_in_every_way(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await _read_back(system)


async def _read_back(system: System) -> None:
    await system.put("sources", "shop", {"static_profile_id": True})
    for n in range(5):
        event = {"id": f"m-{n}", "type": "search" if n % 2 else "page-view", "properties": {"q": f"word{n}"}}
        await system.track(payload("shop", profile={"id": "c"}, session={"id": f"s-{n}"}, events=[event]))
    await system.quiet()
    get = system.private.get
    assert (await get("/profiles/c/events")).json()["total"] == 5
    assert (await get("/events", params={"type": "search"})).json()["total"] == 2
    assert (await get("/events", params={"profile": "c", "session": "s-3"})).json()["total"] == 1
    assert (await get("/events", params={"q": "WORD4"})).json()["total"] == 1
    assert (await get("/events", params={"since": "2999-01-01T00:00:00.000Z"})).json()["total"] == 0
    page = (await get("/events", params={"limit": 2})).json()
    assert (len(page["items"]), bool(page["cursor"])) == (2, True)
    assert (await get("/events", params={"cursor": "nonsense"})).status_code == 422
    assert (await get("/events", params={"limit": 0})).status_code == 422
    assert (await get("/sessions/s-3")).json()["profile"]["id"] == identity.mint(Kind.PROFILE, "c")
    for id in ("c", identity.mint(Kind.PROFILE, "c"), "s-1"):
        assert (await get(f"/profiles/{id}")).json()["primary_id"] == "c"
    assert (await get("/profiles/nobody")).status_code == 404
    assert (await get("/events/m-1")).status_code == 404
