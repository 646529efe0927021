"""Documents that were lost are rebuilt from the log: equal to before, and nothing is folded without them meanwhile."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pipeline import envelope, identity
from pipeline.envelope import decode_processed_header
from pipeline.record import Erase
from pipeline.topics import PROCESSED, RUNS
from tests.actors.away import Away
from tests.actors.test_destinations import target
from tests.system import System, payload, replayed, running

#: What the log can rebuild.
KINDS = ("profile", "session", "event", "receipt", "run")

#: The store will never take it.
REFUSED = identity.event_id("shop", "m-3")


def _documents(folder: Path) -> dict[str, list[Any]]:
    db = sqlite3.connect(folder / "documents.db")
    try:
        return {kind: db.execute(f"select * from {kind} order by id").fetchall() for kind in KINDS}
    finally:
        db.close()


def _lose(folder: Path) -> None:
    for file in folder.glob("documents.*"):
        file.unlink()


async def _define(system: System) -> None:
    await system.put("sources", "shop", {"static_profile_id": True})
    await system.put("sources", "app", {})
    nodes = [{"id": "s", "type": "start"}, {"id": "n", "type": "increment", "settings": {"field": "profile@stats.n"}}]
    await system.put("workflows", "w", {"nodes": nodes, "edges": [{"from": "s", "to": "n"}]})
    await system.put("rules", "r", {"event_type": "increase-interest", "workflow": "w"})


def _event(number: int) -> dict[str, Any]:
    return {"id": f"m-{number}", "type": "increase-interest", "properties": {"interest": "n"}}


async def _send(system: System, numbers: range) -> None:
    for n in numbers:
        session = {"id": f"s-{n % 7}"}
        shop = payload("shop", profile={"id": f"p-{n % 5}"}, session=session, events=[_event(n)])
        app = payload("app", profile={"id": f"x-{n % 3}"} if n % 2 else None, session=session, events=[_event(n)])
        kept_out = payload("shop", "page-view", profile={"id": "p-0"}, options={"saveEvents": False})
        for one in (shop, app, kept_out):
            assert (await system.track(one)).status_code == 200


async def test_documents_lost_are_rebuilt_byte_for_byte_and_nothing_is_folded_without_them(tmp_path: Path) -> None:
    async with running(tmp_path, change=lambda p: p._replace(documents=Away(p.documents, [REFUSED]))) as system:
        await _define(system)
        await _send(system, range(40))
        before = await system.quiet(40)
        assert before["dead"] == 1
        assert before["forwarded"]
        profile = await system.profile("p-1")
    kept = _documents(tmp_path)
    assert all(kept.values()), {kind: len(rows) for kind, rows in kept.items()}
    # When they are lost
    _lose(tmp_path)
    async with running(tmp_path, change=lambda p: p._replace(documents=Away(p.documents, [REFUSED]))) as system:
        # Then input is taken and waits, and the status says why and what to do
        for number in (1, 1_000):
            one = payload("shop", profile={"id": "p-1"}, session={"id": "s-1"}, events=[_event(number)])
            assert (await system.track(one)).status_code == 200
        async with asyncio.timeout(10):
            while "rayfold replay store" not in (await system.status())["stages"]["collector"]["last_error"]:
                await asyncio.sleep(0.1)
        account = await system.account(verify=True)
        assert (account["in_flight"], account["balanced"], account["verified"]) == (2, True, False)
        lost = _documents(tmp_path)
        assert not any(lost[kind] for kind in KINDS if kind != "run")  # the executor saves its last ones again itself
        # When the log is asked for them
        asked = {"group": "store", "from": "1970-01-01"}
        plan = await replayed(system, {**asked, "dry_run": True})
        assert plan["log_begins"] is None
        assert (plan["events"], plan["runs"]) == (len(kept["event"]), len(kept["run"]))
        assert sum(part["envelopes"] for part in plan["partitions"]) == plan["envelopes"]
        assert _documents(tmp_path) == lost
        begun = await replayed(system, asked)
        account = await system.quiet(40)
        state = (await system.private.get(f"/replays/{begun['id']}")).json()
        assert (state["state"], state["left"]) == ("done", 0)
        assert [
            group for topic in (PROCESSED, RUNS) for group in await system.ports.log.groups(topic) if "replay" in group
        ] == []
        # Then they are as they were, and what came meanwhile was folded into them
        assert account["duplicate"] == before["duplicate"] + 1
        assert account["accepted"] == before["accepted"] + 2
        async with asyncio.timeout(10):
            while (await system.profile("p-1"))["stats"]["n"] != profile["stats"]["n"] + 1:
                await asyncio.sleep(0.05)
        assert (await system.profile("p-1"))["interests"]["n"] == profile["interests"]["n"] + 1
        await system.quiet()
    now = _documents(tmp_path)
    for kind in ("event", "receipt", "run"):
        assert set(kept[kind]) <= set(now[kind])
    changed = {row[0] for row in now["profile"]} & {row[0] for row in set(kept["profile"]) - set(now["profile"])}
    assert changed == {identity.mint(identity.Kind.PROFILE, "p-1")}


async def test_while_the_store_is_restored_nothing_is_folded(tmp_path: Path) -> None:
    async with running(tmp_path, ("collector",)) as system:
        await system.put("sources", "shop", {})
        one = payload("shop", session={"id": "s"})
        assert (await system.track(one, wait="processed")).status_code == 200
        begun = await replayed(system, {"group": "store", "from": "1970-01-01"})  # nobody is there to carry it out
        answer = await system.track(one, wait="processed", timeout="2")
        assert answer.status_code == 202
        account = await system.account()
        assert (account["in_flight"], account["accepted"], account["balanced"]) == (2, 2, True)
        assert (await system.private.delete(f"/replays/{begun['id']}")).status_code == 200
        assert (await system.track(one, wait="processed", timeout="20")).status_code == 200
        newest = [await system.ports.log.last(PROCESSED, partition) for partition in range(4)]
        totals = [decode_processed_header(message.data).totals.accepted for message in newest if message]
        assert sum(totals) == 3


async def test_a_rebuilt_store_is_equal_to_the_lost_one(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        await _define(system)
        await system.put("destinations", "crm", {"settings": {"url": crm.url}})
        await _send(system, range(30))
        await system.quiet(40)
        gone = identity.mint(identity.Kind.PROFILE, "p-4")
        erase = envelope.encode(Erase(id=identity.event_id("@erase", gone), profile=gone, received_ms=1))
        partition = identity.partition(gone, 4)
        await system.ports.log.append("collected", partition, envelope.collected([erase], [0]), 1)
        async with asyncio.timeout(10):
            while b"deleted" not in (await system.ports.documents.load("profile", [gone]))[gone].body:
                await asyncio.sleep(0.02)
        await system.quiet(40)
        delivered = len(crm.got)
        kept = _documents(tmp_path)
    _lose(tmp_path)
    async with running(tmp_path) as system:
        await replayed(system, {"group": "store", "from": "1970-01-01"})
        account = await system.quiet(40)
        assert _documents(tmp_path) == kept
        assert account["destinations"]["crm"] == {
            "due": 0,
            "delivered": 0,
            "dead": 0,
            "in_flight": 0,
        }  # counts were lost
        assert len(crm.got) == delivered  # but not how far it was


async def test_a_replay_goes_on_where_it_was_when_its_worker_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.restorer._READ_BYTES", 1)
    async with running(tmp_path) as system:
        await _define(system)
        await _send(system, range(20))
        await system.quiet(40)
        kept = _documents(tmp_path)
    _lose(tmp_path)
    async with running(tmp_path, ("collector",)) as system:
        await replayed(system, {"group": "store", "from": "1970-01-01"})
        second = await system.private.post("/replays", json={"group": "store", "from": "1970-01-01"})
        assert second.status_code == 409, second.text
    async with running(tmp_path) as system:  # killed somewhere in it
        async with asyncio.timeout(10):
            while not any(_documents(tmp_path).values()):
                await asyncio.sleep(0.01)
    async with running(tmp_path) as system:
        await system.quiet(40)
        assert _documents(tmp_path) == kept
