"""Events all the way through, in one process, on both sets of storage."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from tests.system import payload, running


async def test_an_event_answered_200_is_stored_and_accounted_for(tmp_path: Path, storage: Mapping[str, str]) -> None:
    async with running(tmp_path, on=storage) as system:
        await system.put("sources", "shop", {"name": "Shop"})
        answer = await system.track(payload("shop", "page-view", session={"id": "s-1"}), wait="stored")
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["session"]["id"] == "s-1"
        profile = await system.profile(body["profile"]["id"])
        assert profile["metadata"]["time"]["visit"]["count"] == 1
        account = await system.quiet()
        assert (account["accepted"], account["stored"]) == (1, 1)


async def test_fifty_concurrent_increments_of_one_profile_give_exactly_fifty(
    tmp_path: Path, storage: Mapping[str, str]
) -> None:
    async with running(tmp_path, on=storage) as system:
        await system.put("sources", "shop", {})
        first = (await system.track(payload(session={"id": "s"}), wait="processed")).json()
        event = {"type": "increase-interest", "properties": {"interest": "jazz"}}
        one = payload(session={"id": "s"}, profile={"id": first["profile"]["id"]}, events=[event])
        answers = await asyncio.gather(*(system.track(one) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        await system.quiet()
        profile = await system.profile(first["profile"]["id"])
        assert profile["interests"]["jazz"] == 50


async def test_eight_concurrent_first_hits_of_a_session_make_one_profile(
    tmp_path: Path, storage: Mapping[str, str]
) -> None:
    async with running(tmp_path, on=storage) as system:
        await system.put("sources", "shop", {})
        answers = await asyncio.gather(*(system.track(payload(session={"id": "new"})) for _ in range(8)))
        assert len({answer.json()["profile"]["id"] for answer in answers}) == 1
        await system.quiet()
        page = (await system.private.get("/profiles")).json()
        assert page["total"] == 1
        assert page["items"][0]["metadata"]["time"]["visit"]["count"] == 1


async def test_a_repeat_counts_as_duplicate_and_changes_nothing(tmp_path: Path, storage: Mapping[str, str]) -> None:
    async with running(tmp_path, on=storage) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        event = {"id": "m-1", "type": "checkout-completed", "properties": {"value": 11.77}}
        one = payload("shop", profile={"id": "c-1"}, events=[event])
        for _ in range(3):
            assert (await system.track(one)).status_code == 200
            await system.quiet()
        account = await system.quiet()
        assert (account["accepted"], account["stored"], account["duplicate"]) == (3, 1, 2)
        profile = await system.profile("c-1")
        assert profile["data"]["metrics"]["ltcocv"] == 11.77
        assert profile["primary_id"] == "c-1"
        assert profile["metadata"]["time"]["visit"]["count"] == 1


async def test_a_workflow_adds_and_removes_a_segment(tmp_path: Path, storage: Mapping[str, str]) -> None:
    async with running(tmp_path, on=storage) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        for name, node in (("open", "add-segment"), ("closed", "remove-segment")):
            nodes = [{"id": "start", "type": "start"}, {"id": "n", "type": node, "settings": {"segment": "cart-open"}}]
            await system.put("workflows", name, {"nodes": nodes, "edges": [{"from": "start", "to": "n"}]})
        await system.put("rules", "r1", {"event_type": "product-added-to-basket", "workflow": "open"})
        await system.put("rules", "r2", {"event_type": "checkout-completed", "workflow": "closed"})
        for who, types in (
            ("a", ["product-added-to-basket"]),
            ("b", ["product-added-to-basket", "checkout-completed"]),
        ):
            await system.track(payload("shop", *types, profile={"id": who}, session={"id": f"s-{who}"}))
        account = await system.quiet()
        assert account["workflows"] == {"due": 3, "run": 3, "dead": 0, "in_flight": 0}
        assert (await system.profile("a"))["segments"] == ["cart-open"]
        assert (await system.profile("b"))["segments"] == []
