"""Dead letters: each is counted once, whoever decides over it, and whatever is repeated."""

import asyncio
from pathlib import Path
from typing import Any

from pipeline.clock import SystemClock
from pipeline.letter import CLAIM_MS
from tests.actors.away import Away
from tests.actors.test_destinations import Target, _destination, _send, target
from tests.system import System, payload, running


async def _given_up(system: System, to: Target, count: int) -> list[str]:
    """Ids of that many letters of destination ``crm``, which takes everything from now on."""
    await system.put("sources", "shop", {"static_profile_id": True})
    await _destination(system, "crm", to)
    to.status = 422
    await _send(system, range(count))
    assert await _account(system) == {"due": count, "delivered": 0, "dead": count, "in_flight": 0}
    to.status = 200
    return [letter["id"] for letter in await _letters(system, "waiting")]


async def _letters(system: System, state: str) -> list[dict[str, Any]]:
    found = await system.private.get("/dead-letters", params={"state": state})
    return list(found.json()["items"])


async def _account(system: System) -> dict[str, int]:
    return dict((await system.quiet())["destinations"]["crm"])


async def test_a_letter_sent_counts_as_delivered_and_one_dropped_as_dead(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        sent, dropped, _ = await _given_up(system, crm, 3)
        assert (await system.private.post(f"/dead-letters/{sent}/send")).json() == {"id": sent, "state": "sent"}
        assert (await system.private.post(f"/dead-letters/{dropped}/drop")).json() == {
            "id": dropped,
            "state": "dropped",
        }
        assert await _account(system) == {"due": 3, "delivered": 1, "dead": 2, "in_flight": 0}
        assert [one["key"] for one in crm.got] == [sent]
        for id, state in ((sent, "sent"), (dropped, "dropped")):
            for action in ("send", "drop"):
                answer = await system.private.post(f"/dead-letters/{id}/{action}")
                assert (answer.status_code, state in answer.json()["detail"]) == (409, True)
        assert await _account(system) == {"due": 3, "delivered": 1, "dead": 2, "in_flight": 0}
        assert (await system.private.post("/dead-letters/nobody/drop")).status_code == 404


async def test_of_two_who_decide_at_once_one_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        letters = await _given_up(system, crm, 4)
        for first, second, id in zip(
            ("send", "send", "drop", "drop"), ("send", "drop", "send", "drop"), letters, strict=True
        ):
            answers = await asyncio.gather(
                *(system.private.post(f"/dead-letters/{id}/{action}") for action in (first, second))
            )
            assert sorted(answer.status_code for answer in answers) == [200, 409], [one.text for one in answers]
        account = await _account(system)
        assert account["delivered"] == len(crm.got) == len({one["key"] for one in crm.got})
        assert account["delivered"] + account["dead"] == account["due"] == 4


async def test_a_letter_that_cannot_be_sent_waits_again_and_says_why(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        (id,) = await _given_up(system, crm, 1)
        crm.status = 503
        for _ in range(2):
            answer = await system.private.post(f"/dead-letters/{id}/send")
            assert (answer.status_code, "HTTP 503" in answer.json()["detail"]) == (409, True)
        (letter,) = await _letters(system, "waiting")
        assert letter["reason"] == "HTTP 503"
        crm.status = 200
        assert (await system.private.post(f"/dead-letters/{id}/send")).status_code == 200
        assert await _account(system) == {"due": 1, "delivered": 1, "dead": 0, "in_flight": 0}


async def test_a_letter_whose_sender_went_away_can_be_sent_again_later(tmp_path: Path) -> None:
    class Later(SystemClock):
        ahead_ms = 0

        def now_ms(self) -> int:
            return super().now_ms() + self.ahead_ms

    later = Later()
    stores: list[Away] = []

    def change(ports: Any) -> Any:
        stores.append(Away(ports.documents))
        return ports._replace(documents=stores[-1], clock=later)

    async with running(tmp_path, change=change) as system, target() as crm:
        (id,) = await _given_up(system, crm, 1)
        # Given one who has sent it, and cannot say so any more
        stores[-1].after = {"save_dead": 1}
        assert (await system.private.post(f"/dead-letters/{id}/send")).status_code == 503
        assert len(crm.got) == 1
        # Then it is nobody's for a while
        refused = await system.private.post(f"/dead-letters/{id}/send")
        assert (refused.status_code, "just now" in refused.json()["detail"]) == (409, True)
        stores[-1].after = {}
        later.ahead_ms = CLAIM_MS + 1000
        assert (await system.private.post(f"/dead-letters/{id}/send")).status_code == 200
        # And then sent again, under the same key, and counted once
        assert [one["key"] for one in crm.got] == [id, id]
        assert await _account(system) == {"due": 1, "delivered": 1, "dead": 0, "in_flight": 0}


async def test_a_batch_that_is_not_counted_leaves_no_letters(tmp_path: Path) -> None:
    async with target() as crm:
        # Given a worker that gives up deliveries and goes before it has counted them
        away = {"save_progress": 1_000_000}
        async with running(tmp_path, change=lambda p: p._replace(documents=Away(p.documents, **away))) as system:
            await system.put("sources", "shop", {"static_profile_id": True})
            await _destination(system, "crm", crm)
            crm.status = 422
            await _send(system, range(5))
            async with asyncio.timeout(10):
                while crm.refused < 5:
                    await asyncio.sleep(0.02)
            assert await _letters(system, "waiting") == []
        # When the next one makes them, but for one that is refused again
        crm.status, crm.refuses = 200, {4}
        async with running(tmp_path) as system:
            assert await _account(system) == {"due": 5, "delivered": 4, "dead": 1, "in_flight": 0}
            (dead,) = await _letters(system, "waiting")
            assert dead["id"] not in {one["key"] for one in crm.got}


async def test_letters_that_were_counted_are_written_by_the_next_owner(tmp_path: Path) -> None:
    async with target() as crm:
        # Given a worker that counts what it has given up, and goes before it has written the letters
        away = {"save_dead": 1_000_000}
        async with running(tmp_path, change=lambda p: p._replace(documents=Away(p.documents, **away))) as system:
            await system.put("sources", "shop", {"static_profile_id": True})
            await _destination(system, "crm", crm)
            crm.status = 422
            await _send(system, range(1))
            async with asyncio.timeout(10):
                while (counted := (await system.account())["destinations"]["crm"])["dead"] < 1:
                    await asyncio.sleep(0.02)
            assert counted == {"due": 1, "delivered": 0, "dead": 1, "in_flight": 0}
            assert await _letters(system, "waiting") == []
        # Then there is one of each, and nothing is tried again
        tried = crm.refused
        async with running(tmp_path) as system:
            assert await _account(system) == counted
            assert len(await _letters(system, "waiting")) == 1
            assert crm.refused == tried


async def test_a_batch_that_a_disabled_destination_cut_off_leaves_no_letters(tmp_path: Path) -> None:
    async with running(tmp_path) as system, target() as crm:
        # Given one delivery given up, and the other one of its batch still tried
        await system.put("sources", "shop", {"static_profile_id": True})
        await _destination(system, "crm", crm)
        crm.refuses, crm.stumbles = {0}, {1: 1000}
        events = [{"id": f"m-{n}", "type": "page-view", "properties": {"number": n}} for n in range(2)]
        assert (await system.track(payload("shop", profile={"id": "p"}, events=events))).status_code == 200
        async with asyncio.timeout(10):
            while crm.stumbles[1] == 1000:
                await asyncio.sleep(0.02)
        assert crm.refused == 1
        # When the destination is disabled, enabled, and refuses what comes then
        await _destination(system, "crm", crm, enabled=False)
        await _destination(system, "crm", crm)
        crm.refuses = {2}
        await _send(system, range(2, 3))
        # Then there is a letter of that one only, and sending it counts it
        assert await _account(system) == {"due": 1, "delivered": 0, "dead": 1, "in_flight": 0}
        (letter,) = await _letters(system, "waiting")
        crm.refuses = set()
        assert (await system.private.post(f"/dead-letters/{letter['id']}/send")).status_code == 200
        assert await _account(system) == {"due": 1, "delivered": 1, "dead": 0, "in_flight": 0}
