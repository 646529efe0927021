"""One owner after another: what the last one left is carried on, nothing is counted again."""

import asyncio
from pathlib import Path

import pytest

from actors.owned import Owned
from pipeline import envelope, identity
from pipeline.errors import Disordered, Fenced
from pipeline.hot import Limits
from pipeline.log.port import BEGINNING
from tests.system import open_ports, payload, running


def _far(profile: str) -> str:
    return next(s for n in range(99) if identity.partition(s := f"s{n}", 4) != identity.partition(profile, 4))


async def test_an_outbox_sent_again_by_the_next_owner_counts_once(tmp_path: Path) -> None:
    # Given a forward that is the last thing its partition did
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        session = _far("X")
        for n, profile in enumerate((None, {"id": "X"})):
            event = {"id": f"m-{n}", "type": "increase-interest", "properties": {"interest": "n"}}
            await system.track(payload("shop", session={"id": session}, profile=profile, events=[event]))
        before = await system.quiet()
        assert (before["forwarded"], before["taken"]) == (1, 1)
    # When new owners open the partitions, twice, and send the last outboxes again
    for _ in range(2):
        async with running(tmp_path) as system:
            end = await system.ports.log.last("collected", identity.partition(session, 4))
            assert end is not None
            header = envelope.decode_collected_header(end.data)
            assert header.origins
            # Then the copies are heard and counted nowhere
            after = await system.quiet()
            assert after == before
            assert (await system.profile("X"))["interests"]["n"] == 2


async def test_a_new_owner_recognises_repeats_of_what_is_not_stored_yet(tmp_path: Path) -> None:
    one = payload(
        "shop", profile={"id": "c"}, events=[{"id": "m", "type": "increase-interest", "properties": {"interest": "n"}}]
    )
    async with running(tmp_path, ("collector",)) as system:  # nobody stores
        await system.put("sources", "shop", {"static_profile_id": True})
        await system.track(one, wait="processed")
    async with running(tmp_path, ("collector",)) as system:
        answer = await system.track(one, wait="processed")
        assert (answer.status_code, answer.json()["events"]) == (200, [])
    async with running(tmp_path) as system:
        account = await system.quiet()
        assert (account["stored"], account["duplicate"]) == (1, 1)
        assert (await system.profile("c"))["interests"]["n"] == 1


async def test_workers_share_the_partitions_and_take_over_from_each_other(tmp_path: Path) -> None:
    async with running(tmp_path, worker="a") as first:
        await first.put("sources", "shop", {"static_profile_id": True})

        async def send(start: int) -> None:
            for n in range(start, start + 40):
                event = {"id": f"m-{n}", "type": "increase-interest", "properties": {"interest": "n"}}
                answer = await first.track(payload("shop", profile={"id": f"c-{n % 5}"}, events=[event]))
                assert answer.status_code == 200

        await send(0)
        async with running(tmp_path, worker="b"):
            await send(40)
            await send(80)
        await send(120)
        account = await first.quiet()
        assert (account["accepted"], account["stored"], account["duplicate"]) == (160, 160, 0)
        for n in range(5):
            assert (await first.profile(f"c-{n}"))["interests"]["n"] == 32


async def test_an_owner_is_fenced_by_the_next_one(tmp_path: Path) -> None:
    ports = await open_ports(tmp_path)
    old = await Owned.open(ports.log, 0, "collected", "collector", Limits())
    new = await Owned.open(ports.log, 0, "collected", "collector", Limits())
    processed = envelope.Processed(
        v=1, sequence=1, through=envelope.Through(), totals=envelope.Totals(), time_ms=1, revision=0
    )
    await new.publish(processed)
    with pytest.raises(Fenced):
        await old.publish(processed)
    assert len(await ports.log.read("processed", 0, BEGINNING, 1 << 20)) == 1
    await ports.close()


async def test_an_empty_output_with_committed_input_is_refused(tmp_path: Path) -> None:
    ports = await open_ports(tmp_path)
    position = await ports.log.append("collected", 0, b"x", 1)
    member = await ports.log.join("collected", "collector", "w")
    await member.commit(0, position)
    with pytest.raises(Disordered, match="empty"):
        await Owned.open(ports.log, 0, "collected", "collector", Limits())
    await member.close()
    await ports.close()


async def test_retention_runs_while_events_flow(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        for n in range(30):
            await system.track(payload("shop", session={"id": f"s-{n}"}))
        before = await system.quiet()
        later = system.ports.clock.now_ms() + 1000
        dropped = [await system.ports.log.trim(topic, later) for topic in ("collected", "processed")]
        assert all(count > 0 for count in dropped)
        assert await system.account(verify=True) == before
        await asyncio.gather(*(system.track(payload("shop", session={"id": f"s-{n}"})) for n in range(30)))
        assert (await system.quiet())["stored"] == 60
