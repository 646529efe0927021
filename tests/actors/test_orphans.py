"""Groups that a change cut off half-way has left behind go; those somebody reads for stay."""

from pathlib import Path

from actors.orphans import Orphans
from pipeline.clock import SystemClock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.topics import PROCESSED, RUNS, destination_group, replay_group
from tests.system import replayed, running


class Later(SystemClock):
    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


async def test_groups_without_their_destination_or_replay_are_dropped_after_a_while(tmp_path: Path) -> None:
    clock = Later()
    async with running(tmp_path, ("collector",)) as system:
        await system.put("destinations", "crm", {"settings": {"url": "http://127.0.0.1:9/"}})
        one = await replayed(system, {"group": "store", "from": "1970-01-01"})
        log, gone = system.ports.log, destination_group("gone", "1")
        kept = [await log.groups(topic) for topic in (PROCESSED, RUNS)]
        for topic in (PROCESSED, RUNS):
            await log.create_group(topic, replay_group("cut-off"), 0)
        await log.create_group(PROCESSED, gone, "end")
        watch = DefinitionsWatch(system.ports.definitions, clock)
        await watch.refresh()
        orphans = Orphans(log, system.ports.definitions, watch, clock)
        for ahead_s in (20.0, 40.0):
            clock.ahead_s = ahead_s
            await orphans.look()
            assert gone in await log.groups(PROCESSED)
        clock.ahead_s = 90.0
        await orphans.look()
        assert [await log.groups(topic) for topic in (PROCESSED, RUNS)] == kept
        assert replay_group(one["id"]) in await log.groups(RUNS)
