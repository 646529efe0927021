"""One owner after another: what the last one left is carried on, nothing is counted again."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from actors.owned import Owned
from pipeline import envelope, identity
from pipeline.errors import Disordered, Fenced
from pipeline.hot import Limits
from pipeline.identity import Kind
from pipeline.log.port import BEGINNING
from pipeline.record import Alias, EventIn, Origin, Payload
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


async def test_an_outbox_that_was_never_sent_is_sent_by_the_next_owner(tmp_path: Path) -> None:
    # Given an owner that died between its append and its outbox
    ports = await open_ports(tmp_path)
    session = _far("X")
    alias = Alias(id=identity.mint(Kind.SESSION, session), to=identity.mint(Kind.PROFILE, "X"), received_ms=1)
    partition = identity.partition("X", 4)
    writer = await ports.log.exclusive("processed", partition)
    out = [envelope.Outgoing(alias.id, 0, msgspec.Raw(envelope.encode(alias)))]
    processed = envelope.Processed(
        v=1, sequence=1, through=envelope.Through(), totals=envelope.Totals(), time_ms=1, revision=0, out=out
    )
    await writer.append(envelope.encode(processed), 1)
    target = identity.partition(session, 4)
    assert await ports.log.last("collected", target) is None
    # When the next one opens the partition
    await Owned.open(ports.log, partition, "collected", "collector", Limits())
    # Then the record is on its way, under its old number
    last = await ports.log.last("collected", target)
    assert last is not None
    assert envelope.decode_collected(last.data).origins == [Origin(f"collector:{partition}", 1, 0)]
    await ports.close()


async def test_input_whose_commit_was_lost_is_not_counted_again(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        for n in range(5):
            await system.track(payload("shop", session={"id": f"s-{n}"}))
        before = await system.quiet()
    (tmp_path / "log" / "collected@collector.cursor").unlink()
    async with running(tmp_path) as system:
        assert await system.quiet() == before
        await system.track(payload("shop", session={"id": "s-0"}))
        assert (await system.quiet())["accepted"] == 6


async def test_an_envelope_stored_twice_is_delivered_and_run_once(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        nodes = [
            {"id": "s", "type": "start"},
            {"id": "n", "type": "increment", "settings": {"field": "profile@stats.n"}},
        ]
        await system.put("workflows", "w", {"nodes": nodes, "edges": [{"from": "s", "to": "n"}]})
        await system.put("rules", "r", {"event_type": "page-view", "workflow": "w"})
        first = (await system.track(payload("shop", session={"id": "s"}), wait="processed")).json()["profile"]["id"]
        await system.quiet()
        # as a broker's client does after an outage
        partition = identity.partition("s", 4)
        messages = await system.ports.log.read("processed", partition, BEGINNING, 1 << 20)
        copied = next(m for m in messages if envelope.decode_processed_header(m.data).pairs)
        await system.ports.log.append("processed", partition, messages[-1].data, 1)
        await system.ports.log.append("processed", partition, copied.data, 1)
        await system.ports.log.append("processed", partition, messages[-1].data, 1)
        await system.track(payload("shop", session={"id": "s"}), wait="stored")
        async with asyncio.timeout(10):
            while (await system.profile(first))["stats"].get("n") != 2:
                await asyncio.sleep(0.05)
        runs = (await system.private.get("/runs")).json()["total"]
        assert runs == 2
        assert (await system.account())["workflows"]["run"] == 2


async def test_a_record_that_cannot_be_digested_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        # Given a record that no intake would let through, between good ones of its partition
        partition = identity.partition("s", 4)
        bad = Payload(
            received_ms=1_700_000_000_000,
            revision=0,
            source="shop",
            session="s",
            events=[EventIn(identity.event_id("shop", "bad"), "page-view", "bad", 10**18, {}, {}, [])],
        )
        await system.track(payload("shop", session={"id": "s"}))
        data = envelope.collected([envelope.encode(bad)], [1])
        await system.ports.log.append("collected", partition, data, 1)
        await system.track(payload("shop", session={"id": "s"}))
        # Then the others are stored, and this one is accounted for
        account = await system.quiet()
        assert (account["accepted"], account["stored"], account["rejected"]) == (3, 2, 1)
        (receipt,) = (await system.ports.documents.load("receipt", [bad.events[0].id])).values()
        assert b"OverflowError" in receipt.body
        # And a repeat of it is a duplicate
        await system.ports.log.append("collected", partition, data, 1)
        assert (await system.quiet())["duplicate"] == 1
