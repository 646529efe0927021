"""A destination fed again from the log: what it had, under the same keys, in order, beside its own deliveries."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cluster import wiring
from cluster.settings import Settings
from pipeline import instant
from pipeline.topics import PROCESSED, RUNS, destination_group, replay_group
from tests.actors.test_destinations import Target, _destination, _in_order, _send, target
from tests.system import System, replayed, running


async def _had(system: System, to: Target, count: int) -> None:
    await system.put("sources", "shop", {"static_profile_id": True})
    await _destination(system, "crm", to)
    await _send(system, range(count))
    await system.quiet()


async def _groups(system: System) -> list[str]:
    return [group for group in await system.ports.log.groups(PROCESSED) if group.startswith("replay.")]


def _folders(tmp_path: Path) -> list[str]:
    return [file.name for file in (tmp_path / "log").iterdir() if "replay" in file.name]


async def test_a_destination_gets_again_what_it_had_under_the_same_keys_in_order(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        await _had(system, crm, 30)
        first, crm.got = crm.got, []
        before = await system.account()
        plan = await replayed(system, {"group": "dest.crm", "from": "1970-01-01", "dry_run": True})
        assert (plan["deliveries"], plan["log_begins"]) == (30, None)
        assert sum(part["deliveries"] for part in plan["partitions"] if part["envelopes"]) == 30
        assert (await _groups(system), (await system.private.get("/replays")).json()["total"]) == ([], 0)
        assert crm.got == []
        one = await replayed(system, {"group": "dest.crm", "from": "1970-01-01"})
        await _send(system, range(30, 36))  # its own go on beside it
        account = await system.quiet()
        again = [got for got in crm.got if got["number"] < 30]
        assert {got["key"] for got in again} == {got["key"] for got in first}
        assert len(again) == 30
        assert _in_order(again)
        assert account["replays"] == {one["id"]: {"due": 30, "delivered": 30, "dead": 0, "in_flight": 0}}
        assert account["destinations"]["crm"]["delivered"] == before["destinations"]["crm"]["delivered"] + 6
        state = (await system.private.get(f"/replays/{one['id']}")).json()
        assert (state["state"], state["delivered"], state["dead"], state["left"]) == ("done", 30, 0, 0)
        assert await _groups(system) == []
        assert (await system.private.delete(f"/replays/{one['id']}")).status_code == 200
        assert (await system.private.get(f"/replays/{one['id']}")).status_code == 404
        async with asyncio.timeout(10):
            while _folders(tmp_path):
                await asyncio.sleep(0.05)


async def test_one_that_has_ended_is_forgotten_when_the_next_of_its_group_begins(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm, target() as other:
        await _had(system, crm, 3)
        await _destination(system, "other", other)
        ids = []
        for group in ("dest.other", "dest.crm", "dest.crm"):
            ids.append((await replayed(system, {"group": group, "from": "1970-01-01"}))["id"])
            account = await system.quiet()
        assert set(account["replays"]) == {ids[0], ids[2]}
        assert {one["id"] for one in (await system.private.get("/replays")).json()["items"]} == {ids[0], ids[2]}
        assert len(crm.got) == 9


async def test_a_replay_from_a_time_sends_what_was_processed_from_then_on(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        await _had(system, crm, 6)
        await asyncio.sleep(0.005)  # into another millisecond
        since = instant.to_text(system.ports.clock.now_ms())
        await _send(system, range(6, 10))
        await system.quiet()
        crm.got = []
        await replayed(system, {"group": "dest.crm", "from": since})
        await system.quiet()
        assert sorted(got["number"] for got in crm.got) == [6, 7, 8, 9]


async def test_a_dead_destination_holds_up_only_the_replay_and_ends_with_it(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm, target() as other:
        await _had(system, crm, 9)
        await _destination(system, "other", other)
        crm.status = 503
        one = await replayed(system, {"group": "dest.crm", "from": "1970-01-01"})
        async with asyncio.timeout(10):
            while not crm.refused:
                await asyncio.sleep(0.02)
        account = await system.account()
        assert account["replays"][one["id"]] == {"due": 9, "delivered": 0, "dead": 0, "in_flight": 9}
        assert account["destinations"]["crm"] == {"due": 9, "delivered": 9, "dead": 0, "in_flight": 0}
        assert (account["balanced"], account["quiet"]) == (True, False)
        await _send(system, range(20, 23))
        async with asyncio.timeout(10):
            while len(other.got) < 3:
                await asyncio.sleep(0.02)
        refused = await system.private.post("/replays", json={"group": "dest.crm", "from": "1970-01-01"})
        assert refused.status_code == 409
        assert one["id"] in refused.json()["detail"]
        # With its destination a replay is gone, and holds back no log
        assert (await system.private.delete("/destinations/crm")).status_code == 200
        assert await _groups(system) == []
        assert (await system.private.get("/replays")).json()["total"] == 0
        await system.quiet()


async def test_a_replay_is_ended_by_hand_or_by_disabling_its_destination(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        await _had(system, crm, 3)
        crm.status = 503
        asked = {"group": "dest.crm", "from": "1970-01-01"}
        one = await replayed(system, asked)
        assert (await system.private.delete(f"/replays/{one['id']}")).status_code == 200
        assert await _groups(system) == []
        assert (await system.private.delete(f"/replays/{one['id']}")).status_code == 404
        await replayed(system, asked)
        await _destination(system, "crm", crm, enabled=False)
        assert await _groups(system) == []
        refused = await system.private.post("/replays", json=asked)
        assert (refused.status_code, "disabled" in refused.json()["detail"]) == (409, True)
        crm.got, crm.status = [], 200
        await _destination(system, "crm", crm)
        await _send(system, range(3, 5))
        assert (await system.quiet())["replays"] == {}
        assert sorted(got["number"] for got in crm.got) == [3, 4]


async def test_a_replay_of_an_earlier_life_is_ended_whoever_left_it_and_is_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        await _had(system, crm, 3)
        crm.got, crm.status = [], 503
        asked = {"group": "dest.crm", "from": "1970-01-01"}
        one = await replayed(system, asked)
        assert one["group"] == "dest.crm"  # as users know it
        row = await system.ports.definitions.get("destinations", "crm")
        assert row is not None
        # another life, by somebody who died before it ended the replays
        group = destination_group("crm", "next")
        await system.ports.log.create_group(PROCESSED, group, "end")
        await system.ports.definitions.put("destinations", "crm", row.body, group=group)
        async with asyncio.timeout(10):
            while await _groups(system):
                await asyncio.sleep(0.05)
        crm.status = 200
        assert (await system.private.get(f"/replays/{one['id']}")).json()["state"] == "done"
        assert crm.got == []
        again = await replayed(system, asked)  # one of an earlier life is in nobody's way
        account = await system.quiet()
        assert account["replays"] == {again["id"]: {"due": 3, "delivered": 3, "dead": 0, "in_flight": 0}}


async def test_counting_ends_after_a_while_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as system, target() as crm:
        await _had(system, crm, 3)
        monkeypatch.setattr("serve.replays._COUNTING_S", 0.0)
        asked = {"group": "dest.crm", "from": "1970-01-01", "dry_run": True}
        answer = await system.private.post("/replays", json=asked)
        assert (answer.status_code, "minutes" in answer.json()["detail"]) == (413, True)
        assert await _groups(system) == []


async def test_a_replay_goes_on_where_it_was_and_counts_once(tmp_path: Path) -> None:
    async with target() as crm:
        async with running(tmp_path) as system:
            await _had(system, crm, 30)
            crm.status = 503
            one = await replayed(system, {"group": "dest.crm", "from": "1970-01-01"})
        crm.got, crm.status = [], 200
        async with running(tmp_path) as system:
            account = await system.quiet()
            assert account["replays"][one["id"]] == {"due": 30, "delivered": 30, "dead": 0, "in_flight": 0}
            assert len({got["key"] for got in crm.got}) == 30
            assert _in_order(crm.got)


async def test_what_a_replay_gives_up_is_a_letter_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        crm.refuses = {1}
        await _had(system, crm, 2)
        own = {"due": 2, "delivered": 1, "dead": 1, "in_flight": 0}
        crm.status = 422
        one = await replayed(system, {"group": "dest.crm", "from": "1970-01-01"})
        account = await system.quiet()
        assert account["replays"][one["id"]] == {"due": 2, "delivered": 0, "dead": 2, "in_flight": 0}
        assert account["destinations"]["crm"] == own
        letters = (await system.private.get("/dead-letters", params={"state": "waiting"})).json()["items"]
        of_replay = [letter for letter in letters if letter.get("replay") == one["id"]]
        assert (len(letters), len(of_replay)) == (3, 2)
        keys, crm.got, crm.status, crm.refuses = {got["key"] for got in crm.got}, [], 200, set()
        for letter in of_replay:
            answer = await system.private.post(f"/dead-letters/{letter['id']}/send")
            assert (answer.status_code, answer.json()["state"]) == (200, "resent")
        (waiting,) = (await system.private.get("/dead-letters", params={"state": "waiting"})).json()["items"]
        assert {got["key"] for got in crm.got} == {*keys, waiting["id"]}  # as they were, or would have been, delivered
        assert (await system.quiet())["destinations"]["crm"] == own


async def test_a_start_drops_the_groups_of_replays_that_were_never_begun(tmp_path: Path) -> None:
    async with running(tmp_path, ("collector",)) as system:
        one = await replayed(system, {"group": "store", "from": "1970-01-01"})
        for topic in (PROCESSED, RUNS):
            await system.ports.log.create_group(topic, replay_group("cut-off"), 0)
    settings = Settings(data=tmp_path)
    for alone, found in ((False, {"cut-off", one["id"]}), (True, {one["id"]})):
        await wiring.arrange(settings, alone=alone)
        log = await wiring.open_log(settings)
        for topic in (PROCESSED, RUNS):
            groups = {group for group in await log.groups(topic) if group.startswith("replay.")}
            assert groups == {replay_group(id) for id in found}
        await log.close()


async def test_a_mistake_is_answered_and_leaves_nothing_behind(tmp_path: Path) -> None:
    bad: list[tuple[Any, int, str]] = [
        ({"group": "dest.nobody", "from": "1970-01-01"}, 422, "group"),
        ({"group": "dest.crm~1", "from": "1970-01-01"}, 422, "group"),
        ({"group": "workflow", "from": "1970-01-01"}, 422, "group"),
        ({"group": "store", "from": "yesterday"}, 422, "from"),
        ({"group": "store"}, 422, "from"),
        ({"group": "store", "from": "1970-01-01", "to": "2000-01-01"}, 422, "to"),
        ([], 422, "body"),
    ]
    async with running(tmp_path, ()) as system:
        for asked, status, field in bad:
            answer = await system.private.post("/replays", json=asked)
            assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text
        assert (await system.private.post("/replays", content=b"{")).status_code == 400
        assert await _groups(system) == []
        assert (await system.private.put("/replays/x", json={})).status_code == 404
        assert (await system.private.get("/replays/x")).status_code == 404
        assert replay_group("x") not in await system.ports.log.groups(PROCESSED)
