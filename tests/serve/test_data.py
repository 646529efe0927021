"""Data over HTTP: ids of any characters, times as they are written."""

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.system import payload, running


async def test_ids_with_slashes_are_readable(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        person, visit, message = "tenant/7/a b", "s/1/é", "m/1"
        events = [{"id": message, "type": "page-view"}]
        sent = payload("shop", profile={"id": person}, session={"id": visit}, events=events)
        assert (await system.track(sent, wait="stored")).status_code == 200

        async def found(path: str, id: str, more: str = "", **query: str) -> dict[str, object]:
            answer = await system.private.get(f"{path}/{quote(id, safe='')}{more}", params=query)
            assert answer.status_code == 200, answer.text
            return dict(answer.json())

        assert (await found("/profiles", person))["primary_id"] == person
        assert (await found("/profiles", person, "/events"))["total"] == 1
        assert (await found("/sessions", visit))["id"] == visit
        assert (await found("/events", message, source="shop"))["message_id"] == message
        for path in ("/profiles/none/such", "/profiles/none/such/events", "/sessions/a/b", "/events/a/b"):
            assert "there is no" in (await system.private.get(path)).json()["detail"]


async def test_times_of_a_search_are_normalised(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        at = "2024-05-01T12:00:00Z"
        sent = payload("shop", session={"id": "s"}, events=[{"type": "page-view", "time": {"create": at}}])
        assert (await system.track(sent, wait="stored")).status_code == 200
        stored = (await system.private.get("/events")).json()["items"][0]["metadata"]["time"]["insert"]

        async def total(**query: str) -> int:
            answer = await system.private.get("/events", params=query)
            assert answer.status_code == 200, answer.text
            return int(answer.json()["total"])

        assert await total(since="2020-01-01", until="2999-01-01T00:00:00+02:00") == 1
        assert await total(since=stored) == 1
        assert await total(until=stored) == 0
        shifted = stored.replace("Z", "-01:00")  # an hour later
        assert (await total(since=shifted), await total(until=shifted)) == (0, 1)


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("text", ["yesterday", "2024-13-01", "0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59-12:00"])
async def test_what_is_no_time_is_answered_422(tmp_path: Path, name: str, text: str) -> None:
    async with running(tmp_path, ()) as system:
        answer = await system.private.get("/events", params={name: text})
        assert (answer.status_code, answer.json()["field"]) == (422, name)
        assert (await system.private.get("/logs", params={"since": text})).status_code == 422


async def test_metrics_ask_for_the_token(tmp_path: Path) -> None:
    async with running(tmp_path, ()) as system:
        assert (await system.public.get("/metrics")).status_code == 401
        bearer = {"authorization": system.private.headers["authorization"]}
        assert "rayfold_workers" in (await system.public.get("/metrics", headers=bearer)).text
        assert "rayfold_workers" in (await system.private.get("/metrics")).text
