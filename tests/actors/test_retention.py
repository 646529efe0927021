"""Retention while partitions are quiet or destinations are gone: nothing needed is dropped, nothing else is kept."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import envelope
from pipeline.clock import SystemClock
from pipeline.log.port import BEGINNING
from pipeline.ports import Ports
from pipeline.topics import COLLECTED, PROCESSED, RUNS, TOPICS
from tests.actors.test_destinations import _destination, _in_order, _send, target
from tests.system import STAGES, System, payload, running

DAY_MS = 86_400_000


class Later(SystemClock):
    """The machine's clock, set forward by hand. The log's own clock stays behind, so all in it grows old at once."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


@pytest.fixture(autouse=True)
def _trimmed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.host._TRIM_S", 0.1)


def _with(clock: Later) -> Callable[[Ports], Ports]:
    return lambda ports: ports._replace(clock=clock)


async def _left(system: System, topic: str) -> list[int]:
    """Messages of each partition."""
    log = system.ports.log
    return [len(await log.read(topic, partition, BEGINNING, 1 << 30)) for partition in range(log.partitions)]


async def _until(done: Callable[[], Any], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not await done():
            await asyncio.sleep(0.05)


async def test_quiet_partitions_outlive_the_retention_and_go_on_exactly(tmp_path: Path) -> None:
    clock = Later()

    async def is_trimmed() -> bool:
        """Only checkpoints are left of what was folded, and one message of input."""
        for partition in range(system.ports.log.partitions):
            for message in await system.ports.log.read(PROCESSED, partition, BEGINNING, 1 << 30):
                if envelope.decode_processed(message.data).events:
                    return False
        return max(await _left(system, COLLECTED)) <= 1 and max(await _left(system, RUNS)) <= 1

    def interests(number: int) -> dict[str, Any]:
        event = {"id": f"m-{number}", "type": "increase-interest", "properties": {"interest": "n"}}
        return payload("shop", profile={"id": f"p-{number % 8}"}, session={"id": f"s-{number % 8}"}, events=[event])

    async with running(tmp_path, change=_with(clock)) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        nodes = [
            {"id": "s", "type": "start"},
            {"id": "n", "type": "increment", "settings": {"field": "profile@stats.n"}},
        ]
        await system.put("workflows", "w", {"nodes": nodes, "edges": [{"from": "s", "to": "n"}]})
        await system.put("rules", "r", {"event_type": "increase-interest", "workflow": "w"})
        for number in range(32):
            assert (await system.track(interests(number))).status_code == 200
        before = await system.quiet(40)
        # When nothing comes for longer than the retention, twice
        for days in (8, 16):
            clock.ahead_ms = days * DAY_MS
            await _until(is_trimmed)
            assert await system.account(verify=True) == before
    # Then a new owner begins with what is left, and everything is counted on
    async with running(tmp_path, change=_with(clock)) as system:
        for number in (*range(8), *range(32, 64)):  # the first ones are repeats
            assert (await system.track(interests(number))).status_code == 200
        account = await system.quiet(40)
        assert (account["accepted"], account["stored"], account["duplicate"]) == (72, 64, 8)
        assert account["workflows"]["run"] == 64
        for number in range(8):
            profile = await system.profile(f"p-{number}")
            assert (profile["interests"]["n"], profile["stats"]["n"]) == (8, 8)


async def test_what_an_absent_batcher_has_not_saved_is_kept_for_it(tmp_path: Path) -> None:
    clock = Later()
    async with running(tmp_path, ("collector",), change=_with(clock)) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        await _send(system, range(12))
        await _until(lambda: _is_folded(system, 12))
        clock.ahead_ms = 8 * DAY_MS
        await _until(lambda: _is_dropped(system, COLLECTED))
    async with running(tmp_path, change=_with(clock)) as system:
        await _send(system, range(6, 18))  # half of them repeats
        account = await system.quiet(40)
        assert (account["stored"], account["duplicate"]) == (18, 6)
        await _until(lambda: _is_dropped(system, PROCESSED))


async def _is_folded(system: System, count: int) -> bool:
    return (await system.account())["in_flight"] == count and max(await _left(system, PROCESSED)) > 0


async def test_what_an_absent_dispatcher_has_not_done_is_kept_for_it_alone(tmp_path: Path) -> None:
    clock = Later()
    async with target() as crm, target() as other:
        async with running(tmp_path, change=_with(clock)) as system:
            await system.put("sources", "shop", {"static_profile_id": True})
            await _destination(system, "crm", crm)
            await _send(system, range(10))
            await system.quiet()
        # Given no dispatcher for longer than the retention
        crm.got = []
        stages = [stage for stage in STAGES if stage != "dispatcher"]
        async with running(tmp_path, stages, change=_with(clock)) as system:
            await _send(system, range(10, 40))
            await _until(lambda: _is_stored(system, 40))
            kept = await _left(system, PROCESSED)
            clock.ahead_ms = 8 * DAY_MS
            # Then its events stay, those it had and the input of all go
            await _until(lambda: _is_dropped(system, COLLECTED))
            assert await _due(system) == 30
            assert sum(await _left(system, PROCESSED)) < sum(kept) + 4 * 3  # of checkpoints
            assert (await system.account())["destinations"]["crm"]["in_flight"] == 30
        # When it comes back, all is delivered, in order, though it is older than a day
        async with running(tmp_path, change=_with(clock)) as system:
            account = await system.quiet(40)
            assert account["destinations"]["crm"] == {"due": 40, "delivered": 40, "dead": 0, "in_flight": 0}
            assert sorted(one["number"] for one in crm.got) == list(range(10, 40))
            assert _in_order(crm.got)
            assert other.got == []
            await _until(lambda: _is_dropped(system, PROCESSED))


async def _is_stored(system: System, count: int) -> bool:
    account = await system.account()
    return account["stored"] == count and not account["unsaved_envelopes"]


async def _is_dropped(system: System, topic: str) -> bool:
    return max(await _left(system, topic)) <= 2  # the last one, and a checkpoint


async def _due(system: System) -> int:
    """Events behind the destination's cursor that the log still has."""
    log, group = system.ports.log, await system.group("crm")
    found = 0
    for partition in range(log.partitions):
        after = await log.committed(PROCESSED, partition, group)
        for message in await log.read(PROCESSED, partition, after, 1 << 30):
            found += len(envelope.decode_processed(message.data).events)
    return found


async def test_a_destination_dead_for_longer_than_a_day_holds_no_log_back_and_loses_nothing(tmp_path: Path) -> None:
    clock = Later()
    async with running(tmp_path, change=_with(clock)) as system, target() as crm, target() as good:
        await system.put("sources", "shop", {"static_profile_id": True})
        await _destination(system, "crm", crm)
        await _destination(system, "good", good)
        crm.status = 503
        await _send(system, range(12))
        await _until(lambda: _has(good.got, 12))
        assert (await system.account())["destinations"]["crm"]["in_flight"] == 12
        # When it stays away, what is a day old is given up, and the log is let go
        clock.ahead_ms = 8 * DAY_MS
        await _until(lambda: _is_dropped(system, PROCESSED), 60)
        account = await system.quiet()
        assert account["destinations"]["crm"] == {"due": 12, "delivered": 0, "dead": 12, "in_flight": 0}
        # When it is back, what was given up can be sent, and what is new comes by itself
        crm.status = 200
        await _send(system, range(12, 15))
        letters = (await system.private.get("/dead-letters", params={"state": "waiting", "limit": 100})).json()["items"]
        for letter in letters:
            assert (await system.private.post(f"/dead-letters/{letter['id']}/send")).status_code == 200
        account = await system.quiet()
        assert account["destinations"]["crm"] == {"due": 15, "delivered": 15, "dead": 0, "in_flight": 0}
        assert sorted(one["number"] for one in crm.got) == list(range(15))
        assert account["destinations"]["good"]["delivered"] == 15


async def _has(found: list[Any], count: int) -> bool:
    return len(found) >= count


async def test_retention_drops_nothing_that_a_replay_has_still_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.channel._READ_BYTES", 1)
    clock = Later()
    async with running(tmp_path, change=_with(clock)) as system, target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        await _destination(system, "crm", crm)
        await _send(system, range(20))
        await system.quiet()
        crm.got, crm.status = [], 503
        clock.ahead_ms = 2 * DAY_MS  # as deliveries the events would be too old
        asked = {"group": "dest.crm", "from": "1970-01-01"}
        assert (await system.private.post("/replays", json=asked)).status_code == 201
        await _until(lambda: _is_refused(crm))
        clock.ahead_ms += DAY_MS // 2  # within a day of its beginning, though the log keeps but a minute
        for topic in TOPICS:
            await system.ports.log.trim(topic, clock.now_ms() - 60_000)
        crm.status = 200
        await system.quiet(40)
        assert sorted(one["number"] for one in crm.got) == list(range(20))
        # Once it has ended, what it held goes
        await system.ports.log.trim(PROCESSED, clock.now_ms() - 60_000)
        assert max(await _left(system, PROCESSED)) <= 1
        # And a replay of what is no longer there says from when the log has it
        for number in range(20, 24):
            await _send(system, range(number, number + 1))
        await system.quiet()
        plan = (await system.private.post("/replays", json={**asked, "dry_run": True})).json()
        assert plan["log_begins"] is not None
        assert plan["deliveries"] < 24


async def _is_refused(crm: Any) -> bool:
    return bool(crm.refused)
