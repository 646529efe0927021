"""Deliveries: in order per profile, retried, set aside; one destination never holds up another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp.web as web

from tests.system import System, payload, running


class Target:
    """A system to deliver to: remembers (profile, number) in the order they came; answers as told."""

    def __init__(self) -> None:
        self.status = 200
        self.stumbles: dict[int, int] = {}  #: number → how often it is refused before it is taken
        self.refuses: set[int] = set()  #: numbers it will never take
        self.got: list[dict[str, Any]] = []
        self.refused = 0
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        if self.status != 200:
            self.refused += 1
            return web.Response(status=self.status)
        number = (await request.json()).get("number")
        if number in self.refuses:
            self.refused += 1
            return web.Response(status=422)
        if self.stumbles.get(number, 0):
            self.stumbles[number] -= 1
            return web.Response(status=500)
        self.got.append(await request.json() | {"key": request.headers["idempotency-key"]})
        return web.Response()


@asynccontextmanager
async def target() -> AsyncIterator[Target]:
    found = Target()
    app = web.Application()
    app.router.add_post("/{any:.*}", found.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield found
    finally:
        await runner.cleanup()


async def _destination(system: System, id: str, to: Target, **more: Any) -> None:
    mapping = {"profile": "profile@primary_id", "number": "event@properties.number"}
    await system.put("destinations", id, {"mapping": mapping, "settings": {"url": to.url}, **more})


async def _send(system: System, numbers: range) -> None:
    for number in numbers:
        event = {"id": f"m-{number}", "type": "page-view", "properties": {"number": number}}
        one = payload("shop", profile={"id": f"p-{number % 3}"}, events=[event])
        assert (await system.track(one)).status_code == 200


def _in_order(got: list[dict[str, Any]]) -> bool:
    for who in ("p-0", "p-1", "p-2"):
        numbers = [one["number"] for one in got if one["profile"] == who]
        if numbers != sorted(set(numbers)):
            return False
    return True


async def test_a_dead_destination_holds_up_only_itself_and_catches_up_in_order(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as good, target() as bad:
        await system.put("sources", "shop", {"static_profile_id": True})
        await _destination(system, "good", good)
        await _destination(system, "bad", bad)
        bad.status = 503
        await _send(system, range(60))
        async with asyncio.timeout(20):
            while len(good.got) < 60 or not bad.refused:
                await asyncio.sleep(0.02)
        assert bad.got == []
        account = await system.account()
        assert account["destinations"]["bad"]["in_flight"] == 60
        assert account["balanced"], account
        bad.status = 200
        account = await system.quiet(40)
        assert account["destinations"]["bad"] == {"due": 60, "delivered": 60, "dead": 0, "in_flight": 0}
        assert len({one["key"] for one in bad.got}) == 60
        assert _in_order(good.got)
        assert _in_order(bad.got)


async def test_a_delivery_that_stumbles_is_not_overtaken_by_a_later_one_of_its_profile(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as stumbling:
        await system.put("sources", "shop", {"static_profile_id": True})
        await _destination(system, "d", stumbling)
        stumbling.stumbles = {0: 2, 4: 1}
        events = [{"id": f"m-{n}", "type": "page-view", "properties": {"number": n}} for n in range(12)]
        batch = [payload("shop", profile={"id": f"p-{n % 3}"}, events=[event]) for n, event in enumerate(events)]
        assert (await system.track(batch)).status_code == 200
        account = await system.quiet(30)
        assert account["destinations"]["d"]["delivered"] == 12
        assert _in_order(stumbling.got)
        assert stumbling.got[0]["number"] != 0  # others went on meanwhile


async def test_a_refused_delivery_becomes_a_dead_letter_that_can_be_sent_or_dropped(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as strict:
        await system.put("sources", "shop", {"static_profile_id": True})
        await _destination(system, "strict", strict)
        strict.status = 422
        await _send(system, range(2))
        account = await system.quiet()
        assert account["destinations"]["strict"] == {"due": 2, "delivered": 0, "dead": 2, "in_flight": 0}
        letters = (await system.private.get("/dead-letters", params={"state": "waiting"})).json()["items"]
        assert len(letters) == 2
        strict.status = 200
        first, second = letters[0]["id"], letters[1]["id"]
        assert (await system.private.post(f"/dead-letters/{first}/send")).status_code == 200
        assert (await system.private.post(f"/dead-letters/{second}/drop")).status_code == 200
        assert (await system.private.post(f"/dead-letters/{second}/send")).status_code == 409
        assert [one["key"] for one in strict.got] == [first]


async def test_deliveries_whose_commit_was_lost_are_not_made_again(tmp_path: Path) -> None:
    async with target() as crm:
        async with running(tmp_path) as system:
            await system.put("sources", "shop", {"static_profile_id": True})
            await _destination(system, "crm", crm)
            await _send(system, range(12))
            before = await system.quiet()
            group = await system.group("crm")
            await system.ports.log.drop_group("processed", group)
            await system.ports.log.create_group("processed", group, "start")
        async with running(tmp_path) as system:
            await _send(system, range(12, 15))
            account = await system.quiet()
        assert before["destinations"]["crm"]["delivered"] == 12
        assert account["destinations"]["crm"] == {"due": 15, "delivered": 15, "dead": 0, "in_flight": 0}
        assert sorted(one["number"] for one in crm.got) == list(range(15))


async def test_conditions_and_event_types_choose_what_is_delivered(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as chosen:
        await system.put("sources", "shop", {"static_profile_id": True})
        await _destination(system, "chosen", chosen, event_type="page-view", condition="event@properties.number > 3")
        await _send(system, range(6))
        await system.track(payload("shop", "search", profile={"id": "p-0"}))
        await system.quiet()
        assert sorted(one["number"] for one in chosen.got) == [4, 5]


async def test_events_before_a_destination_existed_are_not_due(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as late:
        await system.put("sources", "shop", {"static_profile_id": True})
        await _send(system, range(5))
        await system.quiet()
        await _destination(system, "late", late)
        await _send(system, range(5, 8))
        account = await system.quiet()
        assert account["destinations"]["late"]["due"] == 3
        assert sorted(one["number"] for one in late.got) == [5, 6, 7]


async def test_a_secret_is_filled_in_and_never_shown(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as hidden:
        await system.put("sources", "shop", {"static_profile_id": True})
        answer = await system.private.put("/secrets/where", json={"value": hidden.url})
        assert answer.status_code == 200
        await system.put("destinations", "d", {"settings": {"url": "${where}"}})
        await _send(system, range(1))
        await system.quiet()
        assert len(hidden.got) == 1
        assert hidden.url not in (await system.private.get("/destinations/d")).text
        assert hidden.url not in (await system.private.get("/secrets")).text


async def test_a_destination_without_its_secret_waits_for_it_and_loses_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as late:
        await system.put("sources", "shop", {"static_profile_id": True})
        await system.put("destinations", "d", {"settings": {"url": "${where}"}})
        await _send(system, range(3))
        async with asyncio.timeout(10):
            while "secret" not in (await system.private.get("/status")).json()["stages"]["dispatcher"]["last_error"]:
                await asyncio.sleep(0.1)
        await system.private.put("/secrets/where", json={"value": late.url})
        account = await system.quiet(30)
        assert account["destinations"]["d"] == {"due": 3, "delivered": 3, "dead": 0, "in_flight": 0}
