"""Definitions that change under way: each destination has what came after its PUT, by what it is now."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.orphans import Orphans
from cluster import wiring
from cluster.settings import Settings
from pipeline.clock import SystemClock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.errors import DefinitionsUnavailable, NotFound
from pipeline.ports import Ports
from pipeline.topics import PROCESSED, destination_group, destination_of
from tests.actors.away import Away
from tests.actors.test_destinations import target
from tests.system import System, open_ports, payload, running


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
        group = await system.group("crm")
        for _ in range(2):
            status = (await system.private.delete("/destinations/crm")).status_code
            assert not await _has_group(system, "crm")
        assert status == 404
        with pytest.raises(NotFound):
            await system.ports.log.join(PROCESSED, group, "late")


async def _has_group(system: System, id: str) -> bool:
    return id in map(destination_of, await system.ports.log.groups(PROCESSED))


async def test_a_disabled_destination_holds_nothing_back_and_begins_anew(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        body = {"mapping": {"number": "event@properties.number"}, "settings": {"url": crm.url}}
        await system.put("destinations", "crm", body)
        await _send(system, "1")
        await system.quiet()
        crm.status = 503
        await _send(system, "due, but not delivered any more")
        async with asyncio.timeout(10):
            while not crm.refused:
                await asyncio.sleep(0.02)
        await system.put("destinations", "crm", {**body, "enabled": False})
        assert not await _has_group(system, "crm")
        async with asyncio.timeout(10):  # what is under way may still arrive until the workers act on the change
            while (await system.private.get("/status")).json()["stages"]["dispatcher"]["partitions"]:
                await asyncio.sleep(0.1)
        await _send(system, "not due")
        account = await system.quiet()
        assert account["destinations"]["crm"] == {"due": 1, "delivered": 1, "dead": 0, "in_flight": 0}
        # the log lets go of all that the other groups are through with
        for partition in range(4):
            ends = [await system.ports.log.committed(PROCESSED, partition, g) for g in ("store", "workflow")]
            last = await system.ports.log.last(PROCESSED, partition)
            assert last is None or set(ends) == {last.position}
        await system.ports.log.trim(PROCESSED, system.ports.clock.now_ms() + 1000)
        status = (await system.private.get("/status")).json()["stages"]["dispatcher"]
        assert (status["backlog"], status["alive"]) == (0, 1)
        crm.status = 200
        await system.put("destinations", "crm", body)
        await _send(system, "2")
        account = await system.quiet()
        assert [one["number"] for one in crm.got] == ["1", "2"]
        assert account["destinations"]["crm"] == {"due": 2, "delivered": 2, "dead": 0, "in_flight": 0}


async def test_what_was_folded_before_a_change_goes_by_what_was_asked_then(tmp_path: Path) -> None:
    async with running(tmp_path, ("collector", "batcher")) as system:  # nobody delivers, nobody runs
        await system.put("sources", "shop", {"static_profile_id": True})
        address = {"url": "${WHERE}"}
        mapping = {"number": "event@properties.number"}
        await system.put("destinations", "views", {"mapping": mapping, "settings": address, "event_type": "page-view"})
        await system.put("destinations", "late", {"mapping": mapping, "settings": address, "enabled": False})
        nodes = [{"id": "s", "type": "start"}]
        await system.put("workflows", "w", {"nodes": nodes, "enabled": False})
        await system.put("workflows", "v", {"nodes": nodes})
        await system.put("rules", "r-w", {"workflow": "w"})
        await system.put("rules", "r-v", {"workflow": "v", "enabled": False})
        await _send(system, "1")
        await system.put("destinations", "views", {"mapping": mapping, "settings": address, "event_type": "other"})
        await system.put("destinations", "late", {"mapping": mapping, "settings": address})
        await system.put("workflows", "w", {"nodes": nodes})
        await system.put("rules", "r-v", {"workflow": "v"})
        await _send(system, "2")
        account = await system.account()
        async with asyncio.timeout(10):
            while account["stored"] < 2:
                account = await system.account()
        assert account["destinations"]["views"]["due"] == 1
        assert account["destinations"]["late"]["due"] == 1
        assert account["workflows"]["due"] == 2
    async with target() as crm, running(tmp_path) as system:
        await system.put("secrets", "WHERE", {"value": crm.url})
        account = await system.quiet()
        assert {id: one["delivered"] for id, one in account["destinations"].items()} == {"views": 1, "late": 1}
        assert sorted(one["number"] for one in crm.got) == ["1", "2"]
        runs = (await system.private.get("/runs")).json()["items"]
        assert sorted(run["rule"] for run in runs) == ["r-v", "r-w"]
        assert len({run["event"] for run in runs}) == 1  # both of the second event


async def test_a_change_waits_for_the_collectors_so_that_what_came_before_it_is_not_due(tmp_path: Path) -> None:
    away: list[Away] = []

    def change(ports: Ports) -> Ports:
        away.append(Away(ports.documents))
        return ports._replace(documents=away[0])

    async with running(tmp_path, change=change) as system, target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        away[0].fails = {"known": 2}  # so the collector is a second behind
        for number in range(10):
            await _send(system, f"before {number}")
        body = {"mapping": {"number": "event@properties.number"}, "settings": {"url": crm.url}}
        await system.put("destinations", "crm", body)
        await _send(system, "after")
        await system.quiet()
        assert [one["number"] for one in crm.got] == ["after"]


class _CutOff:
    """Definitions whose database goes away: before or after a change is made, or for every question (`away`)."""

    def __init__(self, behind: Any) -> None:
        self._behind = behind
        self.cut = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    async def revision(self) -> int:
        if self.cut == "away":
            raise DefinitionsUnavailable("it is away")
        revision: int = await self._behind.revision()
        return revision

    async def put(self, kind: str, id: str, body: bytes, **more: Any) -> int:
        if self.cut == "before":
            raise DefinitionsUnavailable("it is away")
        revision: int = await self._behind.put(kind, id, body, **more)
        if self.cut == "after":
            raise DefinitionsUnavailable("it was away when it answered")
        return revision


@asynccontextmanager
async def _with_cuts(folder: Path) -> AsyncIterator[tuple[System, _CutOff]]:
    """A system, and the way to its definitions, to be cut."""
    cutting: list[_CutOff] = []

    def change(ports: Ports) -> Ports:
        cutting.append(_CutOff(ports.definitions))
        return ports._replace(definitions=cutting[0])  # type: ignore[arg-type]

    async with running(folder, change=change) as system:
        yield system, cutting[0]


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("enabled", [True, False])
async def test_a_change_that_was_cut_off_is_mended_by_the_same_again(tmp_path: Path, cut: str, enabled: bool) -> None:
    async with _with_cuts(tmp_path) as (system, definitions), target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        body = {"mapping": {"number": "event@properties.number"}, "settings": {"url": crm.url}}
        await system.put("destinations", "crm", {**body, "enabled": not enabled})
        definitions.cut = cut
        answer = await system.private.put("/destinations/crm", json={**body, "enabled": enabled})
        assert answer.status_code == 503
        await _send(system, "between")
        definitions.cut = ""
        await system.put("destinations", "crm", {**body, "enabled": enabled})
        assert await _has_group(system, "crm") is enabled
        await _send(system, "after")
        await system.quiet()
        assert [one["number"] for one in crm.got if one["number"] == "after"] == ["after"] * enabled


async def _has_let_go(system: System) -> bool:
    """Whether the dispatcher has said, knowing the newest definitions, that it reads for nobody. Its last beat may be older."""
    revision = await system.ports.definitions.revision()
    row = (await system.status())["stages"]["dispatcher"]
    return not row["partitions"] and all(worker["revision"] >= revision for worker in row["workers"])


async def test_a_destination_begins_anew_though_its_old_group_was_left_behind(tmp_path: Path) -> None:
    async with _with_cuts(tmp_path) as (system, definitions), target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        body = {"mapping": {"number": "event@properties.number"}, "settings": {"url": crm.url}}
        await system.put("destinations", "crm", body)
        crm.status = 503
        await _send(system, "old")
        async with asyncio.timeout(10):
            while not crm.refused:
                await asyncio.sleep(0.02)
        definitions.cut = "after"
        answer = await system.private.put("/destinations/crm", json={**body, "enabled": False})
        assert answer.status_code == 503
        async with asyncio.timeout(10):
            while not await _has_let_go(system):
                await asyncio.sleep(0.1)
        assert await _has_group(system, "crm")
        definitions.cut, crm.status = "", 200
        await system.put("destinations", "crm", body)
        await _send(system, "new")
        await system.quiet()
        assert [one["number"] for one in crm.got] == ["new"]


async def test_without_the_definitions_database_processing_goes_on_by_what_is_known(tmp_path: Path) -> None:
    async with _with_cuts(tmp_path) as (system, definitions), target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        mapping = {"number": "event@properties.number"}
        await system.put("destinations", "crm", {"mapping": mapping, "settings": {"url": crm.url}})
        definitions.cut = "away"
        await _send(system, "1")
        await system.quiet(30)
        for number in range(2, 8):  # from then on nobody waits for it
            await _send(system, str(number))
            await system.quiet(5)
        assert [one["number"] for one in crm.got] == [str(number) for number in range(1, 8)]


async def test_a_start_mends_groups_that_changes_left_behind(tmp_path: Path) -> None:
    async with running(tmp_path, ()) as system:
        for id, enabled in (("on", True), ("off", False)):
            await system.put("destinations", id, {"settings": {"url": "http://x"}, "enabled": enabled})
        log = system.ports.log
        await log.drop_group(PROCESSED, await system.group("on"))
        for id in ("off", "gone"):
            await log.create_group(PROCESSED, destination_group(id, "1"), "end")
    await wiring.arrange(Settings(data=tmp_path), alone=True)
    async with running(tmp_path, ()) as system:
        assert [await _has_group(system, id) for id in ("on", "off", "gone")] == [True, False, False]


@pytest.mark.parametrize("by", ["start", "put"])
async def test_a_destination_whose_group_is_lost_is_named_and_mended(tmp_path: Path, by: str) -> None:
    async with target() as crm:
        async with running(tmp_path) as system:
            await system.put("sources", "shop", {"static_profile_id": True})
            body = {"mapping": {"number": "event@properties.number"}, "settings": {"url": crm.url}}
            await system.put("destinations", "crm", body)
            await system.put("destinations", "off", {**body, "enabled": False})
            lost = await system.group("crm")
            assert ((await system.account())["without_group"], (await system.status())["without_group"]) == ([], [])
            await system.ports.log.drop_group(PROCESSED, lost)
            for found in (await system.account(), await system.status()):
                assert found["without_group"] == ["crm"]
            if by == "put":
                await system.put("destinations", "crm", body)
                assert await system.group("crm") != lost  # its name is not used again
                await _send(system, "new")
                await system.quiet()
        if by == "start":
            async with running(tmp_path) as system:
                assert await system.group("crm") == lost
                await _send(system, "new")
                await system.quiet()
                assert (await system.account())["without_group"] == []
        assert [one["number"] for one in crm.got] == ["new"]


async def test_what_an_older_rayfold_changed_after_the_tables_were_upgraded_is_taken_over(tmp_path: Path) -> None:
    async with running(tmp_path, ()) as system:
        on, off = (
            b'{"id":"on","settings":{"url":"http://x"}}',
            b'{"id":"off","enabled":false,"settings":{"url":"http://x"}}',
        )
        await system.ports.definitions.put("destinations", "on", on)  # it knows nothing of the column
        await system.ports.definitions.put("destinations", "off", off, group="dest.off")
        await system.ports.log.create_group(PROCESSED, "dest.on", "end")
    await wiring.arrange(Settings(data=tmp_path), alone=True)
    async with running(tmp_path, ()) as system:
        assert await system.groups("dest.") == ["dest.on"] == [await system.group("on")]
        assert (await system.account())["without_group"] == []


async def test_a_group_without_a_destination_is_dropped_while_everything_runs(tmp_path: Path) -> None:
    class Hours(SystemClock):
        ahead_s = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.ahead_s

    ports = await open_ports(tmp_path)
    clock = Hours()
    try:
        groups = {id: destination_group(id, "1") for id in ("on", "gone", "new")}

        async def put(id: str) -> None:
            body = b'{"id":"%s","settings":{"url":"http://x"}}' % id.encode()
            await ports.definitions.put("destinations", id, body, group=groups[id])

        await put("on")
        watch = DefinitionsWatch(ports.definitions, clock)
        await watch.refresh()
        orphans = Orphans(ports.log, ports.definitions, watch, clock)
        for group in groups.values():
            await ports.log.create_group(PROCESSED, group, "end")

        async def after(seconds: float) -> list[str]:
            clock.ahead_s += seconds
            await orphans.look()
            return [group for group in await ports.log.groups(PROCESSED) if group.startswith("dest.")]

        assert len(await after(11)) == len(await after(50)) == 3
        # its definition comes just now, and this worker has not seen it yet
        await put("new")
        assert await after(20) == [groups["new"], groups["on"]]
    finally:
        await ports.close()
