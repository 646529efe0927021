"""What every log adapter must do. An adapter's test class inherits `LogContract` and provides the fixture `open_log`."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pipeline.errors import Fenced, NotFound
from pipeline.log.port import BEGINNING, Log, Position
from tests.contracts.ugly import UGLY_BODIES

#: Opens the same log again: another process's view of it.
OpenLog = Callable[[], Awaitable[Log]]

#: An adapter may take this long to tell members of each other.
_REASSIGNED_S = 10.0

_ANY = 10_000_000


async def held(membership: object, expected: set[int]) -> None:
    """Wait until a member holds exactly these partitions."""
    async with asyncio.timeout(_REASSIGNED_S):
        while set(membership.held) != expected:  # type: ignore[attr-defined]
            await asyncio.sleep(0.02)


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
        member = await log.join("collected", "g", "w")
        await held(member, {0, 1, 2, 3})
        assert [m.data for m in await member.read(0, 1)] == [b"0"]
        assert [m.data for m in await member.read(0, _ANY)] == [b"1", b"2", b"3"]
        await member.commit(0, positions[1])
        await member.restart(0)
        assert [m.data for m in await member.read(0, _ANY)] == [b"2", b"3"]
        await member.close()
        other = await open_log()
        assert await other.committed("collected", 0, "g") == positions[1]
        again = await other.join("collected", "g", "w2")
        await held(again, {0, 1, 2, 3})
        assert [m.data for m in await again.read(0, _ANY)] == [b"2", b"3"]
        await again.close()

    async def test_a_commit_never_moves_back(self, open_log: OpenLog) -> None:
        log = await open_log()
        first, second = [await log.append("collected", 0, b"x", 1) for _ in range(2)]
        member = await log.join("collected", "g", "w")
        await member.commit(0, second)
        await member.commit(0, first)
        assert await log.committed("collected", 0, "g") == second
        await member.close()

    async def test_partitions_are_shared_by_the_live_members_in_the_order_of_their_names(
        self, open_log: OpenLog
    ) -> None:
        log, other = await open_log(), await open_log()
        b = await log.join("collected", "g", "b")
        await held(b, {0, 1, 2, 3})
        a = await other.join("collected", "g", "a")
        await held(a, {0, 2})
        await held(b, {1, 3})
        await a.close()
        await held(b, {0, 1, 2, 3})
        await b.close()

    async def test_groups_do_not_disturb_each_other(self, open_log: OpenLog) -> None:
        log = await open_log()
        position = await log.append("processed", 0, b"x", 1)
        one = await log.join("processed", "store", "w")
        await one.commit(0, position)
        await log.create_group("processed", "dest.a-b_c", "start")
        assert await log.committed("processed", 0, "dest.a-b_c") == BEGINNING
        assert list(await log.groups("processed")) == ["dest.a-b_c", "store"]
        assert list(await log.groups("runs")) == []
        await one.close()

    async def test_a_group_created_at_the_end_sees_only_what_comes_after(self, open_log: OpenLog) -> None:
        log, other = await open_log(), await open_log()
        await log.append("processed", 0, b"before", 1)
        await log.create_group("processed", "dest.x", "end")
        await other.append("processed", 0, b"after", 1)
        await log.create_group("processed", "dest.x", "start")  # exists: stays as it is
        member = await other.join("processed", "dest.x", "w")
        await held(member, {0, 1, 2, 3})
        assert [m.data for m in await member.read(0, _ANY)] == [b"after"]
        await member.close()
        await log.drop_group("processed", "dest.x")
        await log.drop_group("processed", "dest.x")
        assert list(await other.groups("processed")) == []

    async def test_backlog_counts_records_behind_the_cursor(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.create_group("collected", "g", "start")
        first = await log.append("collected", 0, b"x", 10)
        await log.append("collected", 0, b"x", 5)
        await log.append("collected", 3, b"x", 2)
        assert (await log.backlog("collected", "g")).records == 17
        member = await log.join("collected", "g", "w")
        await member.commit(0, first)
        backlog = await log.backlog("collected", "g")
        assert backlog.records == 7
        assert 0 <= backlog.seconds < 60
        await member.close()
        with pytest.raises(NotFound):
            await log.backlog("collected", "nobody")

    async def test_an_append_wakes_readers_of_other_processes(self, open_log: OpenLog) -> None:
        log, other = await open_log(), await open_log()
        member = await log.join("collected", "g", "w")
        await held(member, {0, 1, 2, 3})
        await member.wait(1.0)
        loop = asyncio.get_running_loop()
        started = loop.time()
        waiting = asyncio.create_task(member.wait(30.0))
        await asyncio.sleep(0)
        await other.append("collected", 0, b"x", 1)
        await waiting
        assert loop.time() - started < 5
        await member.close()

    async def test_an_append_between_a_read_and_a_wait_is_not_slept_over(self, open_log: OpenLog) -> None:
        log = await open_log()
        member = await log.join("collected", "g", "w")
        await held(member, {0, 1, 2, 3})
        await member.wait(1.0)
        assert await member.read(0, _ANY) in ([], ())
        await log.append("collected", 0, b"x", 1)
        async with asyncio.timeout(5):
            await member.wait(30.0)
        await member.close()
