"""Definitions that change under way: each destination has what came after its PUT, by what it is now."""

import asyncio
from pathlib import Path

import pytest

from pipeline.errors import NotFound
from pipeline.topics import PROCESSED, destination_group
from tests.actors.test_destinations import target
from tests.system import System, payload, running


async def _send(system: System, *messages: str) -> None:
    for message in messages:
        event = {"id": message, "type": "page-view", "properties": {"number": message}}
        answer = await system.track(payload("shop", profile={"id": "p"}, events=[event]))
        assert answer.status_code == 200


async def test_a_destination_put_again_under_its_name_gets_only_what_comes_after(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as old, target() as new:
        await system.put("sources", "shop", {"static_profile_id": True})
        body = {"mapping": {"number": "event@properties.number"}, "settings": {"url": old.url}}
        await system.put("destinations", "crm", body)
        await _send(system, "1")
        await system.quiet()
        old.status = 503
        await _send(system, "2")  # is due to the old one, which is away
        assert (await system.private.delete("/destinations/crm")).status_code == 200
        await _send(system, "3")  # is due to nobody
        await system.put("destinations", "crm", {**body, "settings": {"url": new.url}})
        await _send(system, "4")
        await system.quiet()
        assert [one["number"] for one in old.got] == ["1"]
        assert [one["number"] for one in new.got] == ["4"]


async def test_a_rotated_secret_reaches_a_batch_under_way(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        crm.status = 401
        await system.put("sources", "shop", {"static_profile_id": True})
        await system.put("secrets", "where", {"value": f"{crm.url}?key=old"})
        mapping = {"number": "event@properties.number"}
        await system.put("destinations", "crm", {"mapping": mapping, "settings": {"url": "${where}"}})
        await _send(system, "1", "2")
        paused: dict[str, str] = {}
        async with asyncio.timeout(10):  # workers say how they are every two seconds
            while not paused:
                await asyncio.sleep(0.05)
                paused = (await system.private.get("/status")).json()["stages"]["dispatcher"]["paused"]
        assert "HTTP 401" in paused["crm"]
        async with target() as moved:
            await system.put("secrets", "where", {"value": f"{moved.url}?key=new"})
            await system.quiet()
            assert [one["number"] for one in moved.got] == ["1", "2"]


async def test_a_dropped_group_ends_its_members_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        await system.put("destinations", "crm", {"settings": {"url": crm.url}})
        await _send(system, "1")
        await system.quiet()
        for _ in range(2):
            status = (await system.private.delete("/destinations/crm")).status_code
            assert destination_group("crm") not in await system.ports.log.groups(PROCESSED)
        assert status == 404
        with pytest.raises(NotFound):
            await system.ports.log.join(PROCESSED, destination_group("crm"), "late")
