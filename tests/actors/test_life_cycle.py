"""Destinations, rules and workflows that come, change and go under load: exactly what was sent while they were on is due."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.actors.test_destinations import Target, target
from tests.system import System, payload, running

SENDERS = 6
TYPES = ("page-view", "sign-up")


class Sent(NamedTuple):
    """One event: when its request began, and when it was answered 200."""

    type: str
    began: float
    answered: float


class Traffic:
    """Events of both types, each with a number of its own, sent as fast as they are answered."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.sent: dict[int, Sent] = {}
        self._next = 0
        self._stopping = False

    async def send(self) -> None:
        while not self._stopping:
            self._next += 1
            number, type = self._next, TYPES[self._next % 2]
            event = {"id": f"m-{number}", "type": type, "properties": {"number": number}}
            began = time.monotonic()
            answer = await self._system.track(payload("shop", profile={"id": f"p-{number % 16}"}, events=[event]))
            assert answer.status_code == 200, answer.text
            self.sent[number] = Sent(type, began, time.monotonic())

    async def more(self, count: int) -> None:
        """Wait until that many further events are answered."""
        wanted = len(self.sent) + count
        async with asyncio.timeout(30):
            while len(self.sent) < wanted:
                await asyncio.sleep(0.005)

    def stop(self) -> None:
        self._stopping = True


@asynccontextmanager
async def traffic(system: System) -> AsyncIterator[Traffic]:
    made = Traffic(system)
    tasks = [asyncio.create_task(made.send()) for _ in range(SENDERS)]
    try:
        yield made
    finally:
        made.stop()
        await asyncio.gather(*tasks)


class Span(NamedTuple):
    """From one change to the next: what was asked for, and whether it was still asked for after that."""

    types: tuple[str, ...]
    began: float  #: the change, when it was asked for …
    answered: float  #: … and when it was answered


class Life:
    """The changes of one definition, and what follows from them."""

    def __init__(self) -> None:
        self._spans: list[Span] = []

    async def change(self, types: tuple[str, ...], ask: Callable[[], Awaitable[None]]) -> None:
        began = time.monotonic()
        await ask()
        self._spans.append(Span(types, began, time.monotonic()))

    def judge(self, sent: dict[int, Sent], got: set[int]) -> tuple[set[int], set[int]]:
        """What is missing and what is too much. Of events that were under way at a change both is right.

        While it is switched off, what was due before and is not done yet is given up.
        """
        missing, wrong = set(), set()
        ends = [*self._spans[1:], Span((), float("inf"), float("inf"))]
        for number, one in sent.items():
            certain = maybe = False
            for span, end in zip(self._spans, ends, strict=True):
                if one.type not in span.types or one.answered < span.began or one.began > end.answered:
                    continue
                maybe = True
                goes_on = bool(end.types) or end.began == float("inf")
                certain = certain or (goes_on and one.began > span.answered and one.answered < end.began)
            if certain and number not in got:
                missing.add(number)
            if number in got and not maybe:
                wrong.add(number)
        return missing, wrong


def _put(system: System, kind: str, id: str, body: dict[str, Any]) -> Callable[[], Awaitable[None]]:
    """As a client does it: whoever acts on the change has to find it out by itself."""

    async def put() -> None:
        answer = await system.private.put(f"/{kind}/{id}", json=body)
        assert answer.status_code == 200, answer.text

    return put


def _destination(system: System, id: str, to: Target, **more: Any) -> Callable[[], Awaitable[None]]:
    mapping = {"number": "event@properties.number"}
    return _put(system, "destinations", id, {"mapping": mapping, "settings": {"url": to.url}, **more})


def _gone(system: System, kind: str, id: str) -> Callable[[], Awaitable[None]]:
    async def delete() -> None:
        answer = await system.private.delete(f"/{kind}/{id}")
        assert answer.status_code == 200, answer.text

    return delete


async def test_destinations_come_change_and_go_under_load(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as first, target() as steady:
        await system.put("sources", "shop", {"static_profile_id": True})
        await _destination(system, "steady", steady)()
        life = Life()
        async with traffic(system) as load:
            for _ in range(2):
                await load.more(30)
                await life.change(TYPES, _destination(system, "crm", first))
                await load.more(30)
                await life.change(("sign-up",), _destination(system, "crm", first, event_type="sign-up"))
                await load.more(30)
                await life.change((), _destination(system, "crm", first, enabled=False))
                await load.more(30)
                await life.change(("page-view",), _destination(system, "crm", first, event_type="page-view"))
                await load.more(30)
                await life.change((), _gone(system, "destinations", "crm"))
            await load.more(30)
            await life.change(TYPES, _destination(system, "crm", first))
            await load.more(30)
        account = await system.quiet(60)
        assert life.judge(load.sent, {one["number"] for one in first.got}) == (set(), set())
        assert {one["number"] for one in steady.got} == load.sent.keys()
        assert account["destinations"]["steady"]["delivered"] == account["stored"] == len(load.sent)


async def test_rules_and_workflows_are_switched_off_and_on_under_load(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        nodes = [
            {"id": "s", "type": "start"},
            {"id": "n", "type": "increment", "settings": {"field": "profile@traits.n"}},
        ]
        flow = {"nodes": nodes, "edges": [{"from": "s", "to": "n"}]}
        life = Life()

        await system.put("workflows", "w", flow)
        rule = {"workflow": "w"}
        async with traffic(system) as load:
            for _ in range(2):
                await load.more(30)
                await life.change(TYPES, _put(system, "rules", "r", rule))
                await load.more(30)
                await life.change(("sign-up",), _put(system, "rules", "r", {**rule, "event_type": "sign-up"}))
                await load.more(30)
                await life.change((), _put(system, "rules", "r", {**rule, "enabled": False}))
                await load.more(30)
                await life.change(("page-view",), _put(system, "rules", "r", {**rule, "event_type": "page-view"}))
                await load.more(30)
                await life.change((), _put(system, "workflows", "w", {**flow, "enabled": False}))
                await load.more(30)
                await life.change(("page-view",), _put(system, "workflows", "w", flow))
                await load.more(30)
                await life.change((), _gone(system, "rules", "r"))
            await load.more(30)
        account = await system.quiet(60)
        ran = await _ran(system)
        assert life.judge(load.sent, ran) == (set(), set())
        assert account["workflows"]["run"] == len(ran)
        profiles = [await system.profile(f"p-{n}") for n in range(16)]
        assert sum(one["traits"].get("n", 0) for one in profiles) == len(ran)


async def _ran(system: System) -> set[int]:
    """Numbers of the events that the workflow ran for."""
    found: set[int] = set()
    cursor = ""
    while True:
        page = (await system.private.get("/runs", params={"limit": 1000, "cursor": cursor})).json()
        for run in page["items"]:
            event = (await system.private.get(f"/events/{run['event']}")).json()
            found.add(event["properties"]["number"])
        cursor = page["cursor"]
        if not cursor:
            assert len(found) == page["total"]
            return found
