"""A document store that was put back from an older copy, or emptied, is noticed before anything is concluded from it or saved
over it; a replay of the store makes it whole, and everybody goes on by himself with exact figures.
"""

import asyncio
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline import envelope, identity, instant
from pipeline.record import Erase
from pipeline.topics import COLLECTED, PROCESSED, STORE_GROUP
from tests.actors.away import Away
from tests.system import System, payload, replayed, running

REMEDY = "rayfold replay store --from"


def _event(number: int) -> dict[str, Any]:
    return {"id": f"m-{number}", "type": "increase-interest", "properties": {"interest": "n"}}


async def _send(system: System, numbers: range, who: str = "p") -> None:
    """One event each, to one profile; in an envelope of its own."""
    for number in numbers:
        one = payload("shop", profile={"id": who}, session={"id": f"s-{who}"}, events=[_event(number)])
        assert (await system.track(one, wait="processed")).status_code == 200


def _folders(within: Path) -> tuple[Path, Path]:
    for name in ("data", "copy"):
        (within / name).mkdir()
    return within / "data", within / "copy"


def _now() -> str:
    return instant.to_text(time.time_ns() // 1_000_000)


async def _more(data: Path, numbers: range) -> None:
    """An installation comes up, gets these, and is stopped once they are saved."""
    async with running(data) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        await _send(system, numbers)
        await system.quiet()


def _copy(data: Path, to: Path) -> str:
    """The documents as they are, nobody being at work; returns the time."""
    for file in data.glob("documents.*"):
        shutil.copy(file, to)
    return _now()


def _put_back(data: Path, copy: Path | None) -> None:
    for file in data.glob("documents.*"):
        file.unlink()
    if copy is not None:
        for file in copy.glob("documents.*"):
            shutil.copy(file, data)


async def _noticed(system: System, *stages: str) -> list[str]:
    """What they say, once each has noticed."""
    async with asyncio.timeout(15):
        while True:
            found = (await system.status())["stages"]
            said = [found[stage]["last_error"] for stage in stages]
            if all(REMEDY in one for one in said):
                return said
            await asyncio.sleep(0.05)


async def _interest(system: System, who: str = "p") -> int:
    return int((await system.profile(who))["interests"]["n"])


async def test_an_older_copy_is_noticed_and_nothing_counts_twice(tmp_path: Path) -> None:
    data, copy = _folders(tmp_path)
    await _more(data, range(5))
    copied = _copy(data, copy)
    await _more(data, range(5, 9))
    async with running(data, ("collector",)) as system:
        await _send(system, range(9, 12))  # what the batcher would save over the loss
    _put_back(data, copy)
    async with running(data) as system:
        await _send_waiting(system, range(15))  # repeats of all there were, and three more
        await _noticed(system, "collector", "batcher")
        assert await _interest(system) == 5  # neither folded on nor saved over
        account = await system.account()
        assert (account["accepted"], account["balanced"]) == (27, True)
        await replayed(system, {"group": "store", "from": copied})
        account = await system.quiet(40)
        assert (account["accepted"], account["stored"], account["duplicate"]) == (27, 15, 12)
        assert await _interest(system) == 15
        await _send(system, range(15, 17))
        assert (await system.quiet())["stored"] == 17


async def test_a_replay_that_begins_too_late_is_refused_for_it_would_hide_what_is_missing(tmp_path: Path) -> None:
    data, copy = _folders(tmp_path)
    await _more(data, range(2))
    copied = _copy(data, copy)
    await _more(data, range(2, 6))
    late = _now()
    await _more(data, range(6, 7))
    _put_back(data, copy)
    async with running(data) as system:
        await _noticed(system, "collector", "batcher")
        stages = (await system.status())["stages"]
        assert all(REMEDY in stages[stage]["waiting"] for stage in ("collector", "batcher"))
        refused = await system.private.post("/replays", json={"group": "store", "from": late})
        assert (refused.status_code, "begins too late" in refused.text) == (409, True)
        await replayed(system, {"group": "store", "from": copied})
        await _send_waiting(system, range(7))
        account = await system.quiet(40)
        assert (account["stored"], account["duplicate"], await _interest(system)) == (7, 7, 7)
        async with asyncio.timeout(15):
            while any(row["waiting"] for row in (await system.status())["stages"].values()):
                await asyncio.sleep(0.05)


async def test_an_emptied_store_is_noticed_before_a_tail_is_saved_into_it(tmp_path: Path) -> None:
    await _more(tmp_path, range(4))
    async with running(tmp_path, ("collector",)) as system:
        await _send(system, range(4, 6))
    _put_back(tmp_path, None)
    async with running(tmp_path, ("batcher",)) as system:
        await _noticed(system, "batcher")
        assert not await system.ports.documents.known([identity.event_id("shop", f"m-{n}") for n in range(6)])
    async with running(tmp_path) as system:
        await _send_waiting(system, range(6))
        await _noticed(system, "collector", "batcher")
        await replayed(system, {"group": "store", "from": "1970-01-01"})
        account = await system.quiet(40)
        assert (account["accepted"], account["stored"], account["duplicate"]) == (12, 6, 6)
        assert await _interest(system) == 6


async def _send_waiting(system: System, numbers: range) -> None:
    for number in numbers:
        one = payload("shop", profile={"id": "p"}, session={"id": "s-p"}, events=[_event(number)])
        assert (await system.track(one)).status_code == 200


async def test_a_partition_whose_newest_envelope_holds_no_document_tells_as_well(tmp_path: Path) -> None:
    data, copy = _folders(tmp_path)
    await _more(data, range(1))
    copied = _copy(data, copy)
    await _more(data, range(1, 2))
    async with running(data) as system:  # opened anew: it knows of the last documents by the last envelope
        await _repeat_without_a_trace(system)
        await _repeat_without_a_trace(system)
        await system.quiet()
    _put_back(data, copy)
    async with running(data) as system:
        await _send_waiting(system, range(1, 2))
        await _noticed(system, "collector", "batcher")
        await replayed(system, {"group": "store", "from": copied})
        assert (await system.quiet(40))["stored"] == 2
        assert await _interest(system) == 2


async def _repeat_without_a_trace(system: System) -> None:
    one = payload("shop", profile={"id": "p"}, session={"id": "s-p"}, events=[_event(1)])
    assert (await system.track(one, wait="processed")).status_code == 200
    await system.quiet()
    last = await system.ports.log.last(PROCESSED, _partition("p"))
    assert last is not None
    newest = envelope.decode_processed(last.data)
    assert not any((newest.events, newest.profiles, newest.sessions, newest.receipts))


async def test_a_partition_that_lost_nothing_is_saved_on_and_waits_with_its_input(tmp_path: Path) -> None:
    data, copy = _folders(tmp_path)
    other = next(f"q-{n}" for n in range(100) if _partition(f"q-{n}") != _partition("p"))
    async with running(data) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        await _send(system, range(1))
        await _send(system, range(100, 101), other)
        await system.quiet()
    copied = _copy(data, copy)
    await _more(data, range(1, 2))
    async with running(data, ("collector",)) as system:
        await _send(system, range(101, 102), other)
    _put_back(data, copy)
    async with running(data) as system:
        answer = await system.track(
            payload("shop", profile={"id": other}, events=[_event(102)]), wait="processed", timeout="2"
        )
        assert answer.status_code == 202  # what it would ask for may be another partition's
        await _noticed(system, "collector", "batcher")
        async with asyncio.timeout(10):
            while await _interest(system, other) != 2:
                await asyncio.sleep(0.05)
        await replayed(system, {"group": "store", "from": copied})
        assert (await system.quiet(40))["stored"] == 5
        assert (await _interest(system), await _interest(system, other)) == (2, 3)


def _partition(who: str) -> int:
    return identity.partition(identity.mint(identity.Kind.PROFILE, who), 4)


async def test_what_is_not_there_for_a_good_reason_is_no_loss(tmp_path: Path) -> None:
    refused = identity.event_id("shop", "m-1")
    gone = identity.mint(identity.Kind.PROFILE, "p")

    async def begun_anew(erase: bool) -> None:
        async with running(tmp_path, change=lambda p: p._replace(documents=Away(p.documents, [refused]))) as system:
            await system.put("sources", "shop", {"static_profile_id": True})
            await system.put("sources", "app", {})
            if erase:
                command = envelope.encode(Erase(id=identity.event_id("@erase", gone), profile=gone, received_ms=1))
                await system.ports.log.append(COLLECTED, _partition("p"), envelope.collected([command], [0]), 1)
            else:
                kept_out = payload("shop", profile={"id": "p"}, events=[_event(0)], options={"saveEvents": False})
                assert (await system.track(kept_out)).status_code == 200
                await _send_waiting(system, range(1, 3))
                alias = payload("app", profile={"id": "somebody"}, session={"id": "s"}, events=[_event(3)])
                assert (await system.track(alias)).status_code == 200
            await system.quiet()
            for topic in (COLLECTED, PROCESSED):
                await system.ports.log.trim(topic, 1 << 60)
            assert (await system.track(payload("shop", profile={"id": "more"}), wait="stored")).status_code == 200
            stages = (await system.status())["stages"]
            assert not stages["collector"]["last_error"]
            assert "lacks" not in stages["batcher"]["last_error"]

    await begun_anew(erase=False)
    await begun_anew(erase=True)
    await begun_anew(erase=False)


async def test_a_store_that_is_away_when_a_partition_is_taken_up_is_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        await _send(system, range(3))
        await system.quiet()
        assert await system.ports.log.committed(PROCESSED, _partition("p"), STORE_GROUP)
    away = {"load_profile": 3, "load_event": 2}
    async with running(tmp_path, change=lambda p: p._replace(documents=Away(p.documents, **away))) as system:
        await _send_waiting(system, range(5))
        account = await system.quiet(40)
        assert (account["stored"], account["duplicate"]) == (5, 3)
        assert isinstance(system.ports.documents, Away)
        assert not any(system.ports.documents.fails.values())


@pytest.mark.parametrize(
    ("loss", "id", "words"),
    [
        ("delete from event where id = ?", identity.event_id("shop", "m-1"), ""),
        (
            "update profile set version = 0 where id = ?",
            identity.mint(identity.Kind.PROFILE, "p"),
            ", there in version 0 instead of 1",
        ),
    ],
    ids=("missing", "older"),
)
async def test_one_document_of_those_saved_last_is_noticed(tmp_path: Path, loss: str, id: str, words: str) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        one = payload("shop", profile={"id": "p"}, session={"id": "s"}, events=[_event(n) for n in range(3)])
        assert (await system.track(one)).status_code == 200
        await system.quiet()
    db = sqlite3.connect(tmp_path / "documents.db", isolation_level=None)
    db.execute(loss, [id])
    db.close()
    async with running(tmp_path) as system:
        for said in await _noticed(system, "collector", "batcher"):
            assert "lacks 1 of the 5 documents" in said
            assert f"{id}{words}: it was emptied" in said
        await replayed(system, {"group": "store", "from": "1970-01-01"})
        await _send(system, range(3, 4))
        assert (await system.quiet(40))["stored"] == 4
