"""Records that no fold can digest are set aside with their reason; their neighbours go on and the account balances."""

from pathlib import Path

from pipeline import envelope, identity
from pipeline.identity import Kind, mint
from pipeline.ports import Ports
from pipeline.record import Alias, Origin
from pipeline.stores.documents import Query
from tests.actors.narrow import Narrow
from tests.system import payload, running


async def test_records_that_cannot_be_folded_are_rejected_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        # Given aliases in a circle, as only a fault of this program could make them
        one = "X"
        other = next(y for n in range(99) if identity.partition(y := f"Y{n}", 4) == identity.partition(one, 4))
        x, y = mint(Kind.PROFILE, one), mint(Kind.PROFILE, other)
        records = [Alias(id=id, to=to, received_ms=0) for id, to in ((x, y), (y, x))]
        data = envelope.collected(
            [envelope.encode(record) for record in records], [0, 0], [Origin("test", 1, n) for n in range(2)]
        )
        await system.ports.log.append("collected", identity.partition(one, 4), data, 2)
        # When events for them come between others, all in one batch
        events = [{"id": f"m-{n}", "type": "page-view"} for n in range(9)]
        sent = [
            payload("shop", profile={"id": one if n % 3 == 0 else f"p-{n}"}, events=[event])
            for n, event in enumerate(events)
        ]
        for _ in range(2):
            assert (await system.track(sent)).status_code == 200
            account = await system.quiet(within_s=60)
        # Then the others are stored, these are rejected once, with their reason, and repeats are known
        assert (account["accepted"], account["stored"], account["rejected"], account["duplicate"]) == (18, 6, 3, 9)
        page = await system.ports.documents.search("receipt", Query(equals={"outcome": "rejected"}))
        reasons = {envelope.decode_object(one.body)["reason"] for one in page.items}
        assert (page.total, len(reasons)) == (3, 1)
        assert "circle" in reasons.pop()


async def test_a_record_whose_envelope_no_message_can_hold_is_rejected_and_the_rest_goes_on(tmp_path: Path) -> None:
    def change(ports: Ports) -> Ports:
        return ports._replace(log=Narrow(ports.log, 1_800_000))

    async with running(tmp_path, change=change) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        event = {"type": "page-view", "properties": {"text": "x" * 199_000}}
        large = payload("shop", profile={"id": "p"}, events=[{**event, "id": f"l-{n}"} for n in range(9)])
        small = [payload("shop", profile={"id": "p"}, events=[{"id": f"s-{n}", "type": "page-view"}]) for n in range(4)]
        assert (await system.track([*small[:2], large, *small[2:]])).status_code == 200
        account = await system.quiet()
        assert (account["accepted"], account["stored"], account["rejected"]) == (13, 4, 9)
        page = await system.ports.documents.search("receipt", Query(equals={"outcome": "rejected"}))
        assert all("more than a message may hold" in envelope.decode_object(one.body)["reason"] for one in page.items)
