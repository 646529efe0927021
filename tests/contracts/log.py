"""What every log adapter must do.

An adapter's test class inherits `LogContract` and `LogAcrossProcesses`, and provides the fixtures `open_log` and
`open_log_elsewhere`.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import pytest

from pipeline.errors import Fenced, NotFound
from pipeline.log.port import BEGINNING, Log, Membership, Position
from tests.contracts.child import child
from tests.contracts.joined import joined
from tests.contracts.ugly import UGLY_BODIES, UGLY_NAMES

#: Opens the same log again: another process's view of it.
OpenLog = Callable[[], Awaitable[Log]]

#: Source of an ``async def open_log()`` that opens the same log in a process of its own.
OpenLogElsewhere = str

#: Appends when told, and says when it began to.
_APPENDER = """
import asyncio, sys, time

async def main():
    log = await open_log()
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(time.monotonic_ns(), flush=True)
        await log.append("collected", 0, b"x", 1)

asyncio.run(main())
"""

#: An adapter may take this long to tell members of each other.
_REASSIGNED_S = 10.0

#: What has happened must be told by then.
_BOUND_S = 5.0

#: A reader learns of an append within this time, most often; and looking for them must not keep a core busy.
_LEARNS_S = 0.05
_IDLE_S = 2.0
_IDLE_CPU_S = 0.05

_ANY = 10_000_000


async def wait_for_ever(membership: Membership) -> None:
    """Until it raises, within five seconds."""
    async with asyncio.timeout(5):
        while True:
            await membership.wait(0.2)


async def held(membership: object, expected: set[int]) -> None:
    """Wait until a member holds exactly these partitions."""
    async with asyncio.timeout(_REASSIGNED_S):
        while set(membership.held) != expected:  # type: ignore[attr-defined]
            await asyncio.sleep(0.02)


def later_ms() -> int:
    """A time that all messages are older than."""
    return time.time_ns() // 1_000_000 + 1_000


class LogContract:
    async def test_a_partition_is_read_in_the_order_of_its_appends(self, open_log: OpenLog) -> None:
        log = await open_log()
        positions = [await log.append("collected", 1, b"%d" % n, 1) for n in range(20)]
        await log.append("collected", 2, b"other", 1)
        messages = await log.read("collected", 1, BEGINNING, _ANY)
        assert [message.data for message in messages] == [b"%d" % n for n in range(20)]
        assert [message.position for message in messages] == positions == sorted(positions)
        assert {message.partition for message in messages} == {1}

    async def test_concurrent_appends_are_all_stored_once(self, open_log: OpenLog) -> None:
        log, other = await open_log(), await open_log()
        sent = [b"%d" % n for n in range(300)]
        await asyncio.gather(*((log, other)[n % 2].append("collected", n % 4, data, 1) for n, data in enumerate(sent)))
        found = [m.data for p in range(4) for m in await other.read("collected", p, BEGINNING, _ANY)]
        assert sorted(found) == sorted(sent)

    @pytest.mark.parametrize("data", [b"", b"\x00\xff" * 50, b"x" * 1_000_000, *UGLY_BODIES.values()])
    async def test_any_bytes_come_back_as_they_were(self, open_log: OpenLog, data: bytes) -> None:
        log = await open_log()
        await log.append("collected", 0, data, 7)
        (message,) = await log.read("collected", 0, BEGINNING, _ANY)
        assert (message.data, message.records) == (data, 7)

    async def test_reading_stops_after_the_message_that_passes_the_limit(self, open_log: OpenLog) -> None:
        log = await open_log()
        for _ in range(30):
            await log.append("collected", 0, b"x" * 100, 1)
        assert len(await log.read("collected", 0, BEGINNING, 1)) == 1
        assert len(await log.read("collected", 0, BEGINNING, 250)) == 3

    async def test_reading_from_a_position_leaves_it_out_unless_told_otherwise(self, open_log: OpenLog) -> None:
        log = await open_log()
        first, second, third = [await log.append("collected", 0, b"%d" % n, 1) for n in range(3)]
        assert [m.position for m in await log.read("collected", 0, first, _ANY)] == [second, third]
        assert [m.position for m in await log.read("collected", 0, second, _ANY, inclusive=True)] == [second, third]
        assert await log.read("collected", 0, third, _ANY) in ([], ())

    async def test_last_is_the_newest_message_or_none(self, open_log: OpenLog) -> None:
        log = await open_log()
        assert await log.last("processed", 3) is None
        await log.append("processed", 3, b"a", 1)
        position = await log.append("processed", 3, b"b", 1)
        last = await log.last("processed", 3)
        assert last is not None
        assert (last.position, last.data) == (position, b"b")

    async def test_a_log_with_room_passes_the_check_and_nothing_is_stored(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.check()
        assert await log.last("collected", 0) is None
        assert await log.last("processed", 0) is None

    async def test_opening_a_writer_fences_every_older_one(self, open_log: OpenLog) -> None:
        log, other = await open_log(), await open_log()
        old = await log.exclusive("processed", 0)
        elsewhere = await log.exclusive("processed", 1)
        await old.append(b"old", 1)
        new = await other.exclusive("processed", 0)
        with pytest.raises(Fenced):
            await old.append(b"too late", 1)
        await new.append(b"new", 1)
        with pytest.raises(Fenced):
            await old.append(b"still too late", 1)
        await elsewhere.append(b"another partition", 1)
        assert [m.data for m in await log.read("processed", 0, BEGINNING, _ANY)] == [b"old", b"new"]

    async def test_a_fenced_append_takes_none_of_its_neighbours_with_it(self, open_log: OpenLog) -> None:
        log = await open_log()
        old = await log.exclusive("processed", 0)
        new = await log.exclusive("processed", 0)
        outcomes = await asyncio.gather(
            new.append(b"1", 1), old.append(b"x", 1), new.append(b"2", 1), return_exceptions=True
        )
        assert [type(one) for one in outcomes] == [Position, Fenced, Position]

    async def test_a_group_goes_on_after_its_committed_position(self, open_log: OpenLog) -> None:
        log = await open_log()
        positions = [await log.append("collected", 0, b"%d" % n, 1) for n in range(4)]
        member = await joined(log, "collected", "g", "w")
        await held(member, {0, 1, 2, 3})
        assert [m.data for m in await member.read(0, 1)] == [b"0"]
        assert [m.data for m in await member.read(0, _ANY)] == [b"1", b"2", b"3"]
        await member.commit(0, positions[1])
        await member.restart(0)
        assert [m.data for m in await member.read(0, _ANY)] == [b"2", b"3"]
        await member.close()
        other = await open_log()
        assert await other.committed("collected", 0, "g") == positions[1]
        again = await joined(other, "collected", "g", "w2")
        await held(again, {0, 1, 2, 3})
        assert [m.data for m in await again.read(0, _ANY)] == [b"2", b"3"]
        await again.close()

    async def test_a_commit_never_moves_back(self, open_log: OpenLog) -> None:
        log = await open_log()
        first, second = [await log.append("collected", 0, b"x", 1) for _ in range(2)]
        member = await joined(log, "collected", "g", "w")
        await member.commit(0, second)
        await member.commit(0, first)
        assert await log.committed("collected", 0, "g") == second
        await member.close()

    async def test_partitions_are_shared_by_the_live_members_in_the_order_of_their_names(
        self, open_log: OpenLog
    ) -> None:
        log, other = await open_log(), await open_log()
        b = await joined(log, "collected", "g", "b")
        await held(b, {0, 1, 2, 3})
        a = await joined(other, "collected", "g", "a")
        await held(a, {0, 2})
        await held(b, {1, 3})
        await a.close()
        await held(b, {0, 1, 2, 3})
        await b.close()

    async def test_groups_do_not_disturb_each_other(self, open_log: OpenLog) -> None:
        log = await open_log()
        position = await log.append("processed", 0, b"x", 1)
        one = await joined(log, "processed", "store", "w")
        await one.commit(0, position)
        await log.create_group("processed", "dest.a-b_c~0-f", "start")
        assert await log.committed("processed", 0, "dest.a-b_c~0-f") == BEGINNING
        assert list(await log.groups("processed")) == ["dest.a-b_c~0-f", "store"]
        assert list(await log.groups("runs")) == []
        await one.close()

    async def test_ugly_names_of_groups_stay_apart(self, open_log: OpenLog) -> None:
        log, other = await open_log(), await open_log()
        positions = [await log.append("processed", 0, b"x", 1) for _ in UGLY_NAMES]
        for name, position in zip(UGLY_NAMES, positions, strict=True):
            member = await joined(log, "processed", name, "w")
            await held(member, {0, 1, 2, 3})
            await member.commit(0, position)
            await member.close()
        assert list(await other.groups("processed")) == sorted(UGLY_NAMES)
        assert [await other.committed("processed", 0, name) for name in UGLY_NAMES] == positions
        await log.drop_group("processed", "a")
        assert list(await other.groups("processed")) == sorted(set(UGLY_NAMES) - {"a"})

    async def test_ugly_names_of_workers_stay_apart(self, open_log: OpenLog) -> None:
        log = await open_log()
        members = {name: await joined(log, "collected", "g", name) for name in UGLY_NAMES}
        for place, name in enumerate(sorted(UGLY_NAMES)):
            await held(members[name], {place} if place < 4 else set())
        for member in members.values():
            await member.close()

    async def test_a_group_created_at_the_end_sees_only_what_comes_after(self, open_log: OpenLog) -> None:
        log, other = await open_log(), await open_log()
        await log.append("processed", 0, b"before", 1)
        await log.create_group("processed", "dest.x", "end")
        await other.append("processed", 0, b"after", 1)
        await log.create_group("processed", "dest.x", "start")  # exists: stays as it is
        member = await joined(other, "processed", "dest.x", "w")
        await held(member, {0, 1, 2, 3})
        assert [m.data for m in await member.read(0, _ANY)] == [b"after"]
        await member.close()
        await log.drop_group("processed", "dest.x")
        await log.drop_group("processed", "dest.x")
        assert list(await other.groups("processed")) == []

    async def test_a_group_created_at_a_time_begins_with_what_was_published_then(self, open_log: OpenLog) -> None:
        log, other = await open_log(), await open_log()
        early = await self.published(log, 0, b"early")
        first = await self.published(log, 0, b"first")
        await log.append("processed", 0, b"second", 1)
        await self.published(log, 1, b"only early ones")
        after_all = time.time_ns() // 1_000_000 + 60_000
        for name, at in (("dest.0", 0), ("dest.1", first), ("dest.2", early + 1), ("dest.3", after_all)):
            await other.create_group("processed", name, at)
        await log.append("processed", 1, b"new", 1)
        whole = [b"early", b"first", b"second"]
        expected = {"dest.0": whole, "dest.1": whole[1:], "dest.2": whole[1:], "dest.3": []}
        for name, found in expected.items():
            member = await log.join("processed", name, "w")
            await held(member, {0, 1, 2, 3})
            assert [m.data for m in await member.read(0, _ANY)] == found
            assert (await member.read(1, _ANY))[-1].data == b"new"
            assert not await member.read(3, _ANY)
            await member.close()
        # it holds what it begins with, whatever the others have done
        for name in ("dest.0", "dest.3"):
            await log.drop_group("processed", name)
        await log.trim("processed", later_ms())
        member = await log.join("processed", "dest.1", "w")
        await held(member, {0, 1, 2, 3})
        assert [m.data for m in await member.read(0, _ANY)] == whole[1:]
        await member.close()

    async def test_a_group_created_at_a_time_before_the_log_begins_with_the_oldest_left(
        self, open_log: OpenLog
    ) -> None:
        log = await open_log()
        for n in range(5):
            await log.append("processed", 0, b"%d" % n, 1)
        await log.trim("processed", later_ms())
        left = [m.data for m in await log.read("processed", 0, BEGINNING, _ANY)]
        await log.create_group("processed", "dest.x", 1)
        member = await log.join("processed", "dest.x", "w")
        await held(member, {0, 1, 2, 3})
        assert [m.data for m in await member.read(0, _ANY)] == left
        await member.close()

    async def published(self, log: Log, partition: int, data: bytes) -> int:
        """Append one message of a millisecond of its own; returns which."""
        position = await log.append("processed", partition, data, 1)
        (message,) = await log.read("processed", partition, position, 1, inclusive=True)
        async with asyncio.timeout(_BOUND_S):
            while time.time_ns() // 1_000_000 <= message.published_ms:
                await asyncio.sleep(0.001)
        return message.published_ms

    async def test_backlog_counts_records_behind_the_cursor(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.create_group("collected", "g", "start")
        first = await log.append("collected", 0, b"x", 10)
        await log.append("collected", 0, b"x", 5)
        await log.append("collected", 3, b"x", 2)
        assert (await log.backlog("collected", "g")).records == 17
        member = await joined(log, "collected", "g", "w")
        await member.commit(0, first)
        backlog = await log.backlog("collected", "g")
        assert backlog.records == 7
        assert 0 <= backlog.seconds < 60
        await member.close()
        with pytest.raises(NotFound):
            await log.backlog("collected", "nobody")

    async def test_a_member_waits_until_something_is_appended(self, open_log: OpenLog) -> None:
        log, other = await open_log(), await open_log()
        member = await joined(log, "collected", "g", "w")
        await held(member, {0, 1, 2, 3})
        await self.waits_for_appends(member.wait, other)
        await member.close()

    async def test_who_is_no_member_waits_until_something_is_appended_too(self, open_log: OpenLog) -> None:
        log, other = await open_log(), await open_log()
        await self.waits_for_appends(lambda timeout_s: log.wait("collected", timeout_s), other)

    async def waits_for_appends(self, wait: Callable[[float], Awaitable[None]], other: Log) -> None:
        async def returns() -> None:
            async with asyncio.timeout(_BOUND_S):
                await wait(30.0)

        await wait(0.1)
        # while it waits
        waiting = asyncio.create_task(returns())
        await asyncio.sleep(0)
        await other.append("collected", 0, b"x", 1)
        await waiting
        # between two waits
        await other.append("collected", 3, b"x", 1)
        await returns()
        # nothing is appended, the time is over
        async with asyncio.timeout(_BOUND_S):
            await wait(0.1)

    async def test_a_member_learns_of_a_change_of_what_it_holds(self, open_log: OpenLog) -> None:
        log, other = await open_log(), await open_log()
        a = await joined(log, "collected", "g", "a")
        await held(a, {0, 1, 2, 3})
        await a.wait(0.1)
        waiting = asyncio.create_task(a.wait(30.0))
        b = await joined(other, "collected", "g", "b")
        async with asyncio.timeout(_REASSIGNED_S):
            await waiting
        assert a.held == {0, 2}
        await b.close()
        await a.close()

    async def test_waiting_burns_no_core(self, open_log: OpenLog) -> None:
        log = await open_log()
        member = await joined(log, "collected", "g", "w")
        await held(member, {0, 1, 2, 3})

        async def wait_on(wait: Callable[[float], Awaitable[None]], seconds: float) -> None:
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                await wait(left)

        async def both(seconds: float) -> None:
            await wait_on(member.wait, seconds)
            await wait_on(lambda timeout_s: log.wait("collected", timeout_s), seconds)

        await both(0.1)
        used = time.process_time()
        await both(_IDLE_S / 2)
        assert time.process_time() - used < _IDLE_CPU_S
        await member.close()

    async def test_retention_keeps_what_a_group_has_not_done_and_the_last_message(self, open_log: OpenLog) -> None:
        log = await open_log()
        positions = [await log.append("processed", 0, b"%d" % n, 1) for n in range(12)]
        new = await log.append("processed", 1, b"nobody has done it", 1)
        done = [await log.append("processed", 2, b"all have done it", 1) for _ in range(3)]
        behind, ahead = [await joined(log, "processed", group, "w") for group in ("store", "workflow")]
        for member, number in ((behind, 5), (ahead, 8)):
            await held(member, {0, 1, 2, 3})
            await member.commit(0, positions[number])
            await member.commit(2, done[-1])

        async def kept(partition: int) -> list[Position]:
            return [message.position for message in await log.read("processed", partition, BEGINNING, _ANY)]

        dropped = await log.trim("processed", later_ms())
        assert (await kept(0))[-7:] == positions[5:]
        assert (await log.read("processed", 0, positions[5], 1, inclusive=True))[0].position == positions[5]
        assert await kept(1) == [new]
        assert (await kept(2))[-1:] == done[-1:]
        assert dropped in (0, 15 - len(await kept(0)) - len(await kept(2)))  # 0 of a broker that does it by itself
        # What a member has read but not committed is read again
        await behind.restart(0)
        assert [m.position for m in await behind.read(0, _ANY)] == positions[6:]
        # A group that was dropped holds nothing back; the last one stays whoever is left
        for member, group in ((behind, "store"), (ahead, "workflow")):
            await member.close()
            await log.drop_group("processed", group)
        await log.trim("processed", later_ms())
        for partition, last in ((0, positions[-1]), (1, new), (2, done[-1])):
            assert (await kept(partition))[-1] == last
            newest = await log.last("processed", partition)
            assert newest is not None
            assert newest.position == last
        assert await log.last("processed", 3) is None

    async def test_retention_keeps_the_message_at_which_a_group_was_created(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append("processed", 0, b"x", 1)
        end = await log.append("processed", 0, b"x", 1)
        await log.create_group("processed", "dest.x", "end")
        after = await log.append("processed", 0, b"x", 1)
        await log.trim("processed", later_ms())
        found = await log.read("processed", 0, end, _ANY, inclusive=True)
        assert [message.position for message in found] == [end, after]

    async def test_positions_never_start_again_after_everything_was_done(self, open_log: OpenLog) -> None:
        log = await open_log()
        first = await log.append("collected", 0, b"x", 1)
        await log.trim("collected", later_ms())
        again = await open_log()
        assert await again.append("collected", 0, b"y", 1) > first

    async def test_nobody_joins_a_group_that_is_not_there(self, open_log: OpenLog) -> None:
        log = await open_log()
        with pytest.raises(NotFound, match="no group"):
            await log.join("processed", "dest.x", "w")
        assert await log.groups("processed") == []

    async def test_members_of_a_dropped_group_are_told_though_another_has_its_name(self, open_log: OpenLog) -> None:
        log, other = await open_log(), await open_log()
        await log.append("processed", 0, b"old", 1)
        member = await joined(log, "processed", "dest.x", "w")
        await held(member, {0, 1, 2, 3})
        await other.drop_group("processed", "dest.x")
        await other.create_group("processed", "dest.x", "end")
        await other.append("processed", 0, b"new", 1)
        with pytest.raises(NotFound, match="dropped"):
            await wait_for_ever(member)
        assert member.held == frozenset()
        with pytest.raises(NotFound):
            await member.commit(0, Position(0, 1))
        await member.close()
        again = await log.join("processed", "dest.x", "w")
        await held(again, {0, 1, 2, 3})
        assert [message.data for message in await again.read(0, _ANY)] == [b"new"]
        await again.close()


class LogAcrossProcesses:
    """For a log that several processes of one machine or more open."""

    @pytest.mark.parametrize("who", ["member", "nobody"])
    async def test_an_append_of_another_process_is_learned_of_within_milliseconds(
        self, open_log: OpenLog, open_log_elsewhere: OpenLogElsewhere, who: str
    ) -> None:
        log = await open_log()
        member = await joined(log, "collected", "g", "w")
        await held(member, {0, 1, 2, 3})
        took_s = []
        with child(open_log_elsewhere + _APPENDER) as appender:
            assert await appender.said() == "ready"
            await (member.wait(0.1) if who == "member" else log.wait("collected", 0.1))
            for _ in range(20):
                waiting = asyncio.create_task(member.wait(1.0) if who == "member" else log.wait("collected", 1.0))
                await asyncio.sleep(0)
                appender.tell("append")
                await waiting
                learned_ns = time.monotonic_ns()
                took_s.append((learned_ns - int(await appender.said())) / 1e9)
                async with asyncio.timeout(_BOUND_S):
                    while not (found := await member.read(0, _ANY)):  # its own way may take a little longer
                        await asyncio.sleep(0.001)
                assert len(found) == 1
        assert statistics.median(took_s) < _LEARNS_S, took_s
        await member.close()
