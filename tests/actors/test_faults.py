"""Stages whose store is away wait, lose nothing and say why; what a store refuses for good is counted and known."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from actors import collector as collector_module
from actors.counters import Counters
from actors.host import Host
from actors.saver import Saver
from actors.stage import Stage
from pipeline import envelope, identity
from pipeline.clock import SystemClock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.errors import StoreUnavailable
from pipeline.hot import Limits
from pipeline.journal import Journal
from pipeline.log.port import BEGINNING
from pipeline.ports import Ports
from pipeline.stores.documents import Document
from tests.actors.away import Away
from tests.actors.test_destinations import target
from tests.system import open_ports, payload, running


async def test_a_store_that_is_away_holds_everything_up_and_loses_nothing(tmp_path: Path) -> None:
    away = dict.fromkeys(("load_profile", "load_session", "known", "save_event", "save_run", "save_progress"), 2)

    def change(ports: Ports) -> Ports:
        return ports._replace(documents=Away(ports.documents, **away))

    async with running(tmp_path, change=change) as system, target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        nodes = [{"id": "s", "type": "start"}, {"id": "n", "type": "add-segment", "settings": {"segment": "seen"}}]
        await system.put("workflows", "w", {"nodes": nodes, "edges": [{"from": "s", "to": "n"}]})
        await system.put("rules", "r", {"workflow": "w", "event_type": "page-view"})
        await system.put("destinations", "crm", {"settings": {"url": crm.url}, "event_type": "page-view"})
        for n in range(5):
            one = payload("shop", profile={"id": "p"}, events=[{"id": f"m-{n}", "type": "page-view"}])
            assert (await system.track(one)).status_code == 200
        account = await system.quiet(within_s=40)
        assert (account["stored"], account["workflows"]["run"], account["destinations"]["crm"]["delivered"]) == (
            5,
            5,
            5,
        )
        assert len({one["key"] for one in crm.got}) == 5
        store = system.ports.documents
        assert isinstance(store, Away)
        assert set(store.fails.values()) == {0}
        assert (await system.profile("p"))["segments"] == ["seen"]


async def test_a_store_that_goes_away_over_a_refusal_loses_nothing(tmp_path: Path) -> None:
    refused = identity.event_id("shop", "m-0")
    away = {"save_refused": 3}
    async with running(tmp_path, change=lambda p: p._replace(documents=Away(p.documents, [refused], **away))) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        for part in range(3):
            events = [{"id": f"m-{n}", "type": "page-view"} for n in range(part * 900, part * 900 + 900)]
            assert (await system.track(payload("shop", profile={"id": "p"}, events=events))).status_code == 200
        account = await system.quiet(within_s=40)
        assert (account["stored"], account["dead"]) == (2_699, 1)


async def test_a_batcher_that_begins_again_saves_what_it_had_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Saver._save
    faults = 2

    async def faulty(self: Saver, documents: Sequence[Document]) -> None:
        nonlocal faults
        if faults:
            faults -= 1
            raise StoreUnavailable("away")
        await store(self, documents)

    monkeypatch.setattr(Saver, "_save", faulty)
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        assert (await system.track(payload("shop", session={"id": "s"}))).status_code == 200
        assert (await system.quiet())["stored"] == 1
        assert faults == 0


async def test_what_the_store_refuses_is_counted_dead_and_recognised_again(tmp_path: Path) -> None:
    refused = identity.event_id("shop", "m-1")
    async with running(tmp_path, change=lambda p: p._replace(documents=Away(p.documents, [refused]))) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        for _ in range(2):
            events = [{"id": f"m-{n}", "type": "page-view"} for n in range(3)]
            assert (await system.track(payload("shop", profile={"id": "p"}, events=events))).status_code == 200
            account = await system.quiet()
        assert (account["stored"], account["dead"], account["duplicate"]) == (2, 1, 3)


async def test_while_nothing_is_saved_the_collector_stops_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.build.Limits", lambda: Limits(unsaved_bytes=20_000))
    monkeypatch.setattr(collector_module, "_READ_BYTES", 10_000)
    async with running(tmp_path, ("collector",)) as system:  # nobody saves
        await system.put("sources", "shop", {})
        for _ in range(60):
            one = payload("shop", "page-view", session={"id": "s"}, properties={"a": "x" * 3_000})
            assert (await system.track(one)).status_code == 200
        partition = identity.partition("s", 4)
        log = system.ports.log
        async with asyncio.timeout(10):
            while not (last := await log.last("processed", partition)):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # several of its looks
        last = await log.last("processed", partition)
        assert last is not None
        assert envelope.decode_processed(last.data).totals.accepted < 60
    async with running(tmp_path) as system:
        assert (await system.quiet())["stored"] == 60


async def test_large_batches_are_cut_into_envelopes_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "_CUT_BYTES", 30_000)
    async with running(tmp_path, ("batcher",)) as system:
        await system.put("sources", "shop", {})
        sent = [payload("shop", session={"id": f"s-{n}"}, properties={"a": "x" * 2_000}) for n in range(100)]
        assert (await system.track(sent)).status_code == 200
    async with running(tmp_path) as system:
        assert (await system.quiet())["stored"] == 100
        sizes = [len(m.data) for p in range(4) for m in await system.ports.log.read("processed", p, BEGINNING, 1 << 30)]
        assert max(sizes) < 40_000
        assert sum(sizes) > 200_000


async def test_the_owner_of_a_quiet_partition_writes_before_retention_could_take_all(tmp_path: Path) -> None:
    clock = SystemClock()

    class Later(SystemClock):
        ahead_ms = 0

        def now_ms(self) -> int:
            return clock.now_ms() + self.ahead_ms

    later = Later()
    async with running(tmp_path, change=lambda ports: ports._replace(clock=later)) as system:
        await system.put("sources", "shop", {})
        await system.track(payload("shop", session={"id": "s"}))
        before = await system.quiet()
        partition = identity.partition("s", 4)
        last = await system.ports.log.last("processed", partition)
        assert last is not None
        later.ahead_ms = 4 * 86_400_000  # more than half of the retention of seven days
        async with asyncio.timeout(10):
            while True:
                newest = await system.ports.log.last("processed", partition)
                assert newest is not None
                if newest.position > last.position:
                    break
                await asyncio.sleep(0.02)
        checkpoint = envelope.decode_processed(newest.data)
        assert (checkpoint.events, checkpoint.totals.stored) == ([], 1)
        assert (await system.quiet())["stored"] == before["stored"]


class _Stage:
    """A stage whose loop does what it is told."""

    name = "collector"
    held = frozenset((0,))

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.failure: Exception | None = None
        self._ended = asyncio.Event()

    async def run(self) -> None:
        self.counters.alive("partition 0")
        await self._ended.wait()
        if self.failure is not None:
            raise self.failure

    async def stop(self, within_s: float) -> None:
        self._ended.set()

    def fail(self) -> None:
        self.failure = ZeroDivisionError("unforeseen")
        self._ended.set()


async def test_a_dead_or_stuck_loop_makes_its_worker_unhealthy(tmp_path: Path) -> None:
    class Hours(SystemClock):
        ahead_s = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.ahead_s

    clock = Hours()
    ports = (await open_ports(tmp_path))._replace(clock=clock)
    try:
        for fault in ("dead", "stuck"):
            made = _Stage(Counters(clock))
            stage: Stage = made
            watch = DefinitionsWatch(ports.definitions, clock)
            host = Host(ports, watch, [stage], "w", "n", 0, 1, Journal("test", "w", ports.new_id))
            task = asyncio.create_task(host.run())
            await asyncio.sleep(0.1)
            host.check()
            if fault == "dead":
                made.fail()
                with pytest.raises(ZeroDivisionError):
                    await task
                with pytest.raises(RuntimeError, match="unforeseen"):
                    host.check()
                continue
            clock.ahead_s = 60.0  # as long as one outbound call may take
            host.check()
            clock.ahead_s = 120.0
            with pytest.raises(RuntimeError, match="has not moved for 1"):
                host.check()
            await host.stop(1.0)
            await task
    finally:
        await ports.close()
