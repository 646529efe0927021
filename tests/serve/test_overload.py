"""More arrives than the log takes: 429, nothing of it stored, and all is well once the log goes on."""

import asyncio
from pathlib import Path

import httpx
import pytest

from pipeline.log.counter_file import CounterFile
from serve import coalescer
from tests.system import payload, running

_BOUND_S = 5.0


async def test_what_memory_cannot_hold_is_answered_429_and_taken_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a log that takes nothing, and room for one request
    monkeypatch.setattr(coalescer, "MAX_PENDING_BYTES", 10)
    async with running(tmp_path, ("collector", "batcher")) as system:
        await system.put("sources", "shop", {})
        bodies = [
            [
                payload("shop", session={"id": f"s{n}-{half}"}, events=[{"id": f"m{n}-{half}", "type": "t"}])
                for half in "ab"
            ]
            for n in range(5)
        ]
        held = CounterFile(tmp_path / "log" / "collected.lock")
        with held:
            # When five come at once
            requests = {asyncio.create_task(system.track(body)): body for body in bodies}
            waiting = set(requests)
            refused: list[asyncio.Task[httpx.Response]] = []
            async with asyncio.timeout(_BOUND_S):
                while len(waiting) > 1:
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    refused += done
            # Then one waits for the log, the others are told to come again
            for request in refused:
                answer = request.result()
                assert answer.status_code == 429
                assert int(answer.headers["retry-after"]) >= 1
                assert answer.json()["detail"]
        held.close()
        (taken,) = waiting
        assert (await taken).status_code == 200
        account = await system.quiet()
        assert (account["accepted"], account["stored"]) == (2, 2)
        # And when they come again, one after the other, each is taken
        for request in refused:
            assert (await system.track(requests[request])).status_code == 200
        account = await system.quiet()
        assert (account["accepted"], account["stored"], account["duplicate"]) == (10, 10, 0)


async def test_a_request_larger_than_the_room_is_taken_when_nothing_else_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coalescer, "MAX_PENDING_BYTES", 10)
    async with running(tmp_path, ()) as system:
        await system.put("sources", "shop", {})
        for _ in range(2):
            assert (await system.track(payload("shop"))).status_code == 200


async def test_room_is_given_back_when_the_log_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalescer, "MAX_PENDING_BYTES", 10)
    async with running(tmp_path, ()) as system:
        await system.put("sources", "shop", {})
        monkeypatch.setattr("pipeline.log.group_commit.APPEND_DEADLINE_S", 0.2)
        held = CounterFile(tmp_path / "log" / "collected.lock")
        with held:
            for _ in range(2):
                assert (await system.track(payload("shop"))).status_code == 503
        held.close()
        monkeypatch.undo()
        monkeypatch.setattr(coalescer, "MAX_PENDING_BYTES", 10)
        assert (await system.track(payload("shop"))).status_code == 200


async def test_who_asks_is_told_that_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, ()) as system:
        await system.put("sources", "shop", {})
        assert (await system.public.get("/ready")).status_code == 200
        assert (await system.private.get("/status")).json()["refuses"] == ""
        monkeypatch.setattr("pipeline.log.sqlite._ROOM_BYTES", 1 << 60)
        answer = await system.public.get("/ready")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "free space" in answer.json()["detail"]
        assert "free space" in (await system.private.get("/status")).json()["refuses"]
