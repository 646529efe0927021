"""A process that stood still in the middle of something wakes up in a later life of a destination, and disturbs nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.dispatcher import Dispatcher
from actors.orphans import Orphans
from pipeline.clock import SystemClock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.ports import Ports
from pipeline.topics import PROCESSED, destination_group
from serve.changes import Changes
from tests.actors.test_changes import _send, _with_cuts
from tests.actors.test_destinations import Target, target
from tests.system import System, running


class Asleep:
    """A port of a process that stands still before it calls `method` for the first time, until `wake`."""

    def __init__(self, behind: Any, method: str) -> None:
        self._behind = behind
        self._method = method
        self._woken = asyncio.Event()
        self.sleeps = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        if name != self._method:
            return getattr(self._behind, name)

        async def call(*given: Any, **named: Any) -> Any:
            self.sleeps.set()
            await self._woken.wait()
            return await getattr(self._behind, name)(*given, **named)

        return call

    def wake(self) -> None:
        self._woken.set()


@asynccontextmanager
async def _sleeper(ports: Ports, port: str, method: str) -> AsyncIterator[tuple[Ports, Asleep]]:
    """The ports of another process, which will stand still before that call."""
    asleep = Asleep(getattr(ports, port), method)
    async with asyncio.timeout(20):
        yield ports._replace(**{port: asleep}), asleep


def _body(crm: Target, **more: Any) -> dict[str, Any]:
    return {"mapping": {"number": "event@properties.number"}, "settings": {"url": crm.url}, **more}


async def _gets(system: System, crm: Target, message: str) -> None:
    """The destination, as it lives now, has its group and gets what comes, and nothing else is left."""
    assert await system.groups("dest.") == [await system.group("crm")]
    await _send(system, message)
    await system.quiet()
    assert [one["number"] for one in crm.got] == [message]
    assert (await system.account())["without_group"] == []


_CHANGES = [
    pytest.param("log", "drop_group", id="before the old group is dropped"),
    pytest.param("definitions", "list", id="before the replays are ended"),
    pytest.param("definitions", "put", id="before the definition is written"),
    pytest.param("log", "groups", id="before it has looked for groups"),
]


@pytest.mark.parametrize(("port", "method"), _CHANGES)
async def test_who_wakes_up_while_disabling_drops_no_later_life(tmp_path: Path, port: str, method: str) -> None:
    async with running(tmp_path) as system, target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        await system.put("destinations", "crm", _body(crm))
        async with _sleeper(system.ports, port, method) as (ports, asleep):
            off = b'{"id":"crm","enabled":false,"settings":{"url":"http://x"}}'
            disabling = asyncio.create_task(Changes(ports).put("destinations", "crm", off))
            await asleep.sleeps.wait()
            await system.put("destinations", "crm", _body(crm, enabled=False))
            await system.put("destinations", "crm", _body(crm))
            asleep.wake()
            await disabling
        if method in ("put", "groups"):  # it has not changed the definition before: so it does now
            assert (await system.groups("dest."), await system.group("crm")) == ([], "")
            await system.put("destinations", "crm", _body(crm))
        await _gets(system, crm, "new")


async def test_who_wakes_up_while_putting_names_no_group_that_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        await system.put("destinations", "crm", _body(crm))
        first = await system.group("crm")
        async with _sleeper(system.ports, "definitions", "put") as (ports, asleep):
            same = (await system.private.get("/destinations/crm")).content
            putting = asyncio.create_task(Changes(ports).put("destinations", "crm", same))
            await asleep.sleeps.wait()  # it is to keep its group
            assert (await system.private.delete("/destinations/crm")).status_code == 200
            asleep.wake()
            await putting
        assert await system.group("crm") != first
        await _gets(system, crm, "new")


class Later(SystemClock):
    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


async def _orphans(ports: Ports) -> tuple[Orphans, Later]:
    clock = Later()
    watch = DefinitionsWatch(ports.definitions, clock)
    await watch.refresh()
    looking = Orphans(ports.log, ports.definitions, watch, clock)
    clock.ahead_s = 11.0
    await looking.look()
    clock.ahead_s = 80.0
    return looking, clock


async def test_a_group_that_was_nobodys_is_dropped_though_its_put_is_under_way_which_then_begins_anew(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as system, target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        await system.put("destinations", "crm", _body(crm, enabled=False))
        async with _sleeper(system.ports, "definitions", "put") as (ports, asleep):
            body = (await system.private.get("/destinations/crm")).content.replace(
                b'"enabled":false', b'"enabled":true'
            )
            putting = asyncio.create_task(Changes(ports).put("destinations", "crm", body))
            await asleep.sleeps.wait()
            (made,) = await system.groups("dest.")
            looking, _ = await _orphans(system.ports)
            await looking.look()
            assert await system.groups("dest.") == []
            asleep.wake()
            await putting
        assert await system.group("crm") != made
        await _gets(system, crm, "new")


@pytest.mark.parametrize(("port", "method"), [("definitions", "renew"), ("log", "drop_group")])
async def test_who_wakes_up_while_dropping_orphans_drops_none_that_is_wanted(
    tmp_path: Path, port: str, method: str
) -> None:
    async with running(tmp_path) as system, target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        left = destination_group("crm", "left")
        await system.ports.log.create_group(PROCESSED, left, "end")
        async with _sleeper(system.ports, port, method) as (ports, asleep):
            looking, _ = await _orphans(ports)
            dropping = asyncio.create_task(looking.look())
            await asleep.sleeps.wait()
            if method == "renew":  # whoever has made it names it at last
                await system.ports.definitions.put(
                    "destinations", "crm", b'{"id":"crm","enabled":true,"settings":{"url":"http://x"}}', group=left
                )
            await system.put("destinations", "crm", _body(crm))
            asleep.wake()
            await dropping
        assert (await system.group("crm") == left) is (method == "renew")
        await _gets(system, crm, "new")


async def test_a_deliverer_of_an_earlier_life_delivers_nothing_once_the_later_one_is_known(tmp_path: Path) -> None:
    async with _with_cuts(tmp_path) as (system, definitions), target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        await system.put("destinations", "crm", _body(crm))
        crm.status = 503
        await _send(system, "old")
        async with asyncio.timeout(10):
            while not crm.refused:
                await asyncio.sleep(0.02)
        definitions.cut = "away"  # its worker does not see that it was off in between
        for enabled in (False, True):
            answer = await system.private.put("/destinations/crm", json=_body(crm, enabled=enabled))
            assert answer.status_code == 200
        definitions.cut = ""
        await system.put("sources", "other", {})  # all is known when that is answered
        crm.status = 200
        await _gets(system, crm, "new")
        account = await system.account()
        assert account["destinations"]["crm"] == {"due": 1, "delivered": 1, "dead": 0, "in_flight": 0}


async def test_a_channel_of_an_earlier_life_passes_everything_by_though_nobody_has_ended_it_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as system, target() as crm:
        await system.put("sources", "shop", {"static_profile_id": True})
        await system.put("destinations", "crm", _body(crm))
        old, log = await system.group("crm"), system.ports.log
        crm.status = 503
        await _send(system, "old")
        async with asyncio.timeout(10):
            while not crm.refused:
                await asyncio.sleep(0.02)
        async with (
            _looking_stands_still(monkeypatch),
            _sleeper(system.ports, "log", "drop_group") as (ports, asleep),
        ):
            off = b'{"id":"crm","enabled":false,"settings":{"url":"http://x"}}'
            disabling = asyncio.create_task(Changes(ports).put("destinations", "crm", off))
            await asleep.sleeps.wait()  # so the old group stands
            ports_of_another = system.ports._replace(log=Undropping(log))
            body = (await system.private.get("/destinations/crm")).content.replace(
                b'"enabled":false', b'"enabled":true'
            )
            await Changes(ports_of_another).put("destinations", "crm", body.replace(b"http://x", crm.url.encode()))
            await system.put("sources", "other", {})  # all is known when that is answered
            crm.status = 200
            while not await _is_through(system, old):
                await asyncio.sleep(0.02)
            assert crm.got == []
            asleep.wake()
            await disabling


@asynccontextmanager
async def _looking_stands_still(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The dispatcher begins and ends no channel for the length of the block."""
    look, reached, opened = Dispatcher._look, asyncio.Event(), asyncio.Event()

    async def halted(dispatcher: Dispatcher) -> None:
        reached.set()
        await opened.wait()
        await look(dispatcher)

    monkeypatch.setattr(Dispatcher, "_look", halted)
    await reached.wait()
    try:
        yield
    finally:
        opened.set()


class Undropping:
    """A log whose groups stay."""

    def __init__(self, behind: Any) -> None:
        self._behind = behind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    async def drop_group(self, topic: str, group: str) -> None:
        """They go later."""


async def _is_through(system: System, group: str) -> bool:
    log = system.ports.log
    for partition in range(log.partitions):
        last = await log.last(PROCESSED, partition)
        if last is not None and await log.committed(PROCESSED, partition, group) < last.position:
            return False
    return True
