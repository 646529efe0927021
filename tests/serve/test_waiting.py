"""What requests meet when the log misbehaves or clients go away: an answer, and no partition that hangs."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.errors import LogUnavailable
from pipeline.log.port import Message, Position
from pipeline.log.sqlite import SqliteLog
from tests.system import payload, running


async def test_an_unforeseen_fault_of_the_log_is_answered_503_and_the_next_request_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = SqliteLog.append
    faults = 2

    async def faulty(self: SqliteLog, topic: str, partition: int, data: bytes, records: int) -> Position:
        nonlocal faults
        if topic == "collected" and faults:
            faults -= 1
            raise ZeroDivisionError("unforeseen")
        return await append(self, topic, partition, data, records)

    monkeypatch.setattr(SqliteLog, "append", faulty)
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        one = payload("shop", session={"id": "s"})
        answers = [(await system.track(one)) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [503, 503, 200]
        assert "ZeroDivisionError" in answers[0].json()["detail"]
        assert answers[0].headers["retry-after"]
        assert (await system.quiet())["stored"] == 1


async def test_whoever_waits_is_answered_202_when_outcomes_cannot_be_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        wait = SqliteLog.wait
        broken = True

        async def faulty(self: SqliteLog, topic: str, timeout_s: float) -> None:
            if broken:
                raise LogUnavailable("away")
            await wait(self, topic, timeout_s)

        monkeypatch.setattr(SqliteLog, "wait", faulty)
        one = payload("shop", session={"id": "s"})
        answer = await system.track(one, wait="processed", timeout="20")
        assert answer.status_code in (200, 202)  # 200 only if it was processed before the log was asked to wait
        broken = False
        assert (await system.track(one, wait="stored")).status_code == 200
        assert (await system.quiet())["stored"] == 2


async def test_a_client_that_goes_away_leaves_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        reads = 0
        read = SqliteLog.read

        async def counted(
            self: SqliteLog, topic: str, partition: int, after: Position, max_bytes: int, *, inclusive: bool = False
        ) -> Sequence[Message]:
            nonlocal reads
            reads += topic == "processed" and max_bytes == 1_000_000  # as whoever follows outcomes reads
            return await read(self, topic, partition, after, max_bytes, inclusive=inclusive)

        monkeypatch.setattr(SqliteLog, "read", counted)
        for steps in range(0, 60, 3):
            task = asyncio.create_task(system.track(payload("shop", session={"id": "s"}), wait="stored"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await system.quiet()
        await asyncio.sleep(0.5)  # longer than the tail's look: it has ended
        before = reads
        await asyncio.sleep(0.5)
        assert reads == before
