"""What every definitions database must do. An adapter's test class inherits this and provides `open_definitions`."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pipeline.errors import NotFound, Overtaken
from pipeline.stores.definitions import Changes, Definition, Definitions, Heartbeat
from tests.contracts.ugly import UGLY_BODIES, UGLY_NAMES

#: Opens the same database again: another process's view of it.
OpenDefinitions = Callable[[], Awaitable[Definitions]]


class DefinitionsContract:
    async def test_a_definition_is_created_replaced_and_read(self, open_definitions: OpenDefinitions) -> None:
        one, other = await open_definitions(), await open_definitions()
        assert await one.get("sources", "shop") is None
        first = await one.put("sources", "shop", b'{"n":1}')
        second = await other.put("sources", "shop", b'{"n":2}')
        assert second > first
        assert await one.get("sources", "shop") == Definition("sources", "shop", second, False, b'{"n":2}')
        assert await one.get("destinations", "shop") is None

    async def test_a_deleted_one_stays_as_a_flagged_row(self, open_definitions: OpenDefinitions) -> None:
        definitions = await open_definitions()
        put = await definitions.put("rules", "r", b"{}")
        gone = await definitions.delete("rules", "r")
        assert gone > put
        assert (await definitions.changed(put)) == Changes(gone, [Definition("rules", "r", gone, True, b"{}")])
        assert await definitions.list("rules") == []
        with pytest.raises(NotFound):
            await definitions.delete("rules", "r")
        with pytest.raises(NotFound):
            await definitions.delete("rules", "never")
        again = await definitions.put("rules", "r", b'{"a":1}')
        assert again > gone
        assert [row.id for row in await definitions.list("rules")] == ["r"]

    async def test_a_failed_delete_uses_no_revision(self, open_definitions: OpenDefinitions) -> None:
        definitions = await open_definitions()
        first = await definitions.put("rules", "r", b"{}")
        with pytest.raises(NotFound):
            await definitions.delete("rules", "never")
        assert await definitions.put("rules", "r", b"{}") == first + 1

    async def test_a_definition_changes_only_if_it_is_still_as_read(self, open_definitions: OpenDefinitions) -> None:
        one, other = await open_definitions(), await open_definitions()
        first = await one.put("sources", "a", b'{"n":1}', expected=0)
        second = await other.put("sources", "a", b'{"n":2}', expected=first)
        for expected in (0, first, second + 1):
            with pytest.raises(Overtaken):
                await one.put("sources", "a", b'{"n":3}', expected=expected)
            with pytest.raises(Overtaken):
                await one.delete("sources", "a", expected=expected)
        assert await other.revision() == second  # what failed used up none
        assert await one.get("sources", "a") == Definition("sources", "a", second, False, b'{"n":2}')
        gone = await one.delete("sources", "a", expected=second)
        with pytest.raises(Overtaken):
            await one.put("sources", "a", b"{}", expected=0)  # a deleted one is a row too
        with pytest.raises(NotFound):
            await one.delete("sources", "a", expected=second)
        assert await one.put("sources", "a", b"{}", expected=gone) == gone + 1

    async def test_of_many_who_have_read_the_same_exactly_one_changes_it(
        self, open_definitions: OpenDefinitions
    ) -> None:
        writers = [await open_definitions() for _ in range(8)]
        expected = await writers[0].put("sources", "a", b"{}")
        changes = [writer.put("sources", "a", b"%d" % n, expected=expected) for n, writer in enumerate(writers)]
        done = await asyncio.gather(*changes, return_exceptions=True)
        assert [type(one) for one in done if one != expected + 1] == [Overtaken] * 7
        row = await writers[0].get("sources", "a")
        assert row is not None
        assert done[int(row.body)] == expected + 1

    async def test_a_definition_names_its_group(self, open_definitions: OpenDefinitions) -> None:
        one, other = await open_definitions(), await open_definitions()
        first = await one.put("destinations", "a", b"{}", group="dest.a~1")
        row = Definition("destinations", "a", first, False, b"{}", "dest.a~1")
        assert await other.get("destinations", "a") == row
        assert (await other.changed(0)).rows == await other.list("destinations") == [row]
        second = await one.put("destinations", "a", b"{}")
        assert await other.get("destinations", "a") == row._replace(revision=second, group=None)
        await one.put("destinations", "a", b"{}", group="dest.a~2")
        gone = await one.delete("destinations", "a")
        assert await other.get("destinations", "a") == row._replace(revision=gone, deleted=True, group=None)

    async def test_a_renewed_definition_is_no_longer_as_read(self, open_definitions: OpenDefinitions) -> None:
        one, other = await open_definitions(), await open_definitions()
        assert await one.renew("destinations", "a", "dest.a~0")  # there was none: whoever read that is too late too
        with pytest.raises(Overtaken):
            await other.put("destinations", "a", b"{}", expected=0)
        none = await other.get("destinations", "a")
        assert none == Definition("destinations", "a", 1, True, b"{}")
        assert await other.list("destinations") == []
        put = await other.put("destinations", "a", b'{"n":1}', group="dest.a~1", expected=1)
        assert not await one.renew("destinations", "a", "dest.a~1")  # it names it
        assert await one.revision() == put
        assert await one.renew("destinations", "a", "dest.a~2")
        row = Definition("destinations", "a", put + 1, False, b'{"n":1}', "dest.a~1")
        assert (await other.changed(put)).rows == [row]
        for change in (
            other.put("destinations", "a", b"{}", expected=put),
            other.delete("destinations", "a", expected=put),
        ):
            with pytest.raises(Overtaken):
                await change

    async def test_the_revision_is_that_of_the_newest_change_of_anybody(
        self, open_definitions: OpenDefinitions
    ) -> None:
        one, other = await open_definitions(), await open_definitions()
        assert (await one.revision(), (await one.changed(0)).revision) == (0, 0)
        for _ in range(3):
            changed = await other.put("rules", "r", b"{}")
            assert await one.revision() == await other.revision() == changed
        gone = await one.delete("rules", "r")
        assert await other.revision() == gone == (await other.changed(0)).revision
        with pytest.raises(NotFound):
            await one.delete("rules", "never")
        await one.beat(Heartbeat("w", "s", 1, b"{}"))
        assert await other.revision() == gone

    async def test_lists_are_by_id_and_page(self, open_definitions: OpenDefinitions) -> None:
        definitions = await open_definitions()
        for id in ("b", "a", "B", "c"):
            await definitions.put("sources", id, b"{}")
        assert [row.id for row in await definitions.list("sources")] == ["B", "a", "b", "c"]
        assert [row.id for row in await definitions.list("sources", after="a", limit=1)] == ["b"]

    async def test_live_rows_of_a_kind_are_counted(self, open_definitions: OpenDefinitions) -> None:
        definitions = await open_definitions()
        assert await definitions.count("sources") == 0
        for id in ("a", "b", "c"):
            await definitions.put("sources", id, b"{}")
        await definitions.put("rules", "a", b"{}")
        await definitions.delete("sources", "b")
        assert (await definitions.count("sources"), await definitions.count("rules")) == (2, 1)

    async def test_a_poller_misses_no_change_of_concurrent_writers(self, open_definitions: OpenDefinitions) -> None:
        writers = [await open_definitions() for _ in range(4)]
        reader = await open_definitions()
        seen: dict[str, int] = {}
        done = False

        async def poll() -> None:
            since = 0
            while True:
                last = done
                changes = await reader.changed(since)
                assert all(row.revision > since for row in changes.rows)
                seen.update((row.id, row.revision) for row in changes.rows)
                since = changes.revision
                if last:
                    return
                await asyncio.sleep(0)

        async def write(writer: Definitions, name: int) -> dict[str, int]:
            return {f"{name}-{n}": await writer.put("sources", f"{name}-{n}", b"{}") for n in range(25)}

        polling = asyncio.create_task(poll())
        written = await asyncio.gather(*(write(writer, name) for name, writer in enumerate(writers)))
        done = True
        await polling
        assert seen == {id: revision for part in written for id, revision in part.items()}

    async def test_nothing_changed_keeps_the_revision(self, open_definitions: OpenDefinitions) -> None:
        definitions = await open_definitions()
        assert await definitions.changed(0) == Changes(0, [])
        revision = await definitions.put("sources", "a", b"{}")
        assert await definitions.changed(revision) == Changes(revision, [])

    async def test_heartbeats_replace_each_other_and_bear_the_time_of_the_database(
        self, open_definitions: OpenDefinitions
    ) -> None:
        definitions = await open_definitions()
        before = await definitions.now_ms()
        for number in (b'{"n":1}', b'{"n":2}'):
            await definitions.beat(Heartbeat("w", "collector", 1, number))
        (beat,) = await definitions.heartbeats()
        assert (beat.worker, beat.stage, beat.body) == ("w", "collector", b'{"n":2}')
        assert before <= beat.time_ms <= await definitions.now_ms()

    @pytest.mark.parametrize("name", UGLY_BODIES)
    async def test_ugly_bodies_come_back_as_they_were(self, open_definitions: OpenDefinitions, name: str) -> None:
        definitions = await open_definitions()
        await definitions.put("sources", "a", UGLY_BODIES[name])
        row = await definitions.get("sources", "a")
        assert row is not None
        assert row.body == UGLY_BODIES[name]

    async def test_whoever_goes_away_half_way_locks_nobody_out(self, open_definitions: OpenDefinitions) -> None:
        one, other = await open_definitions(), await open_definitions()
        async with asyncio.timeout(9):
            for number in range(60):
                task = asyncio.create_task(one.put("sources", f"s-{number}", b"{}"))
                await asyncio.wait([task], timeout=number % 20 / 4_000)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            last = await other.put("sources", "after", b"{}")
            assert await one.put("sources", "again", b"{}") > last

    @pytest.mark.parametrize("kind", ["sources", "secrets"])
    async def test_ugly_names_stay_apart(self, open_definitions: OpenDefinitions, kind: str) -> None:
        definitions = await open_definitions()
        for name in UGLY_NAMES:
            await definitions.put(kind, name, b'{"name":"%s"}' % name.encode())
        for name in UGLY_NAMES:
            row = await definitions.get(kind, name)
            assert row is not None
            assert (row.id, row.body) == (name, b'{"name":"%s"}' % name.encode())
        listed, after = [], ""
        while page := await definitions.list(kind, after=after, limit=3):
            listed += [row.id for row in page]
            after = listed[-1]
        assert listed == sorted(UGLY_NAMES)
        assert [row.id for row in (await definitions.changed(0)).rows] == UGLY_NAMES
        gone = await definitions.delete(kind, "a")
        assert [row.id for row in (await definitions.changed(gone - 1)).rows] == ["a"]
        assert [row.id for row in await definitions.list(kind)] == sorted(set(UGLY_NAMES) - {"a"})

    async def test_heartbeats_of_ugly_names_stay_apart(self, open_definitions: OpenDefinitions) -> None:
        definitions = await open_definitions()
        for n, name in enumerate(UGLY_NAMES):
            await definitions.beat(Heartbeat(name, "collector", 0, b"%d" % n))
        found = {one.worker: one.body for one in await definitions.heartbeats()}
        assert found == {name: b"%d" % n for n, name in enumerate(UGLY_NAMES)}
