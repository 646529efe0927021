"""A broker's client stores an API's envelope again, much later: its events, though without ids, count once all the same."""

from pathlib import Path

from pipeline import envelope, identity
from pipeline.envelope import Sender
from pipeline.log.port import BEGINNING, Message
from tests.system import System, payload, running

PARTITION = identity.partition("s", 4)


async def _send(system: System, count: int) -> None:
    for _ in range(count):  # one envelope each, without message ids
        interest = {"type": "increase-interest", "properties": {"interest": "n"}}
        answer = await system.track(payload("shop", session={"id": "s"}, events=[interest, interest]))
        assert answer.status_code == 200


async def _stored(system: System) -> list[Message]:
    return list(await system.ports.log.read("collected", PARTITION, BEGINNING, 1 << 30))


async def _again(system: System, message: Message) -> None:
    await system.ports.log.append("collected", PARTITION, message.data, message.records)


async def test_a_copy_counts_nowhere_whoever_owns_the_partition(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        await _send(system, 3)
        first, second, third = await _stored(system)
        before = await system.quiet()
        assert (before["accepted"], before["stored"]) == (6, 6)
        for message in (second, first, third):
            await _again(system, message)
        assert await system.quiet() == before
    async with running(tmp_path) as system:  # a new owner, with an empty memory; and an API of another name
        await _again(system, second)
        await _send(system, 1)
        await _again(system, third)
        account = await system.quiet()
        assert (account["accepted"], account["stored"], account["duplicate"]) == (8, 8, 0)
        profile = await system.profile(identity.mint(identity.Kind.SESSION, "s"))
        assert profile["interests"]["n"] == 8


async def test_the_account_balances_over_copies_that_wait_beside_their_originals(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        await _send(system, 1)
        await system.quiet()
    async with running(tmp_path, ()) as system:  # nobody collects
        await _send(system, 3)
        old, *waiting = await _stored(system)
        for message in (old, waiting[2], waiting[0]):
            await _again(system, message)
        account = await system.account()
        assert (account["accepted"], account["in_flight"], account["balanced"]) == (8, 6, True)
    async with running(tmp_path) as system:
        assert (await system.quiet())["accepted"] == 8


async def test_what_comes_after_a_copy_is_taken_and_what_failed_and_comes_late_is_not(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        await _send(system, 1)
        (sent,) = await _stored(system)
        record = envelope.encode(envelope.decode_collected(sent.data).records[0])
        for sequence in (1, 3, 2, 3, 1, 4):  # the second was answered 503; it lands behind the third
            data = envelope.collected([record], [2], sender=Sender("api", sequence))
            await system.ports.log.append("collected", PARTITION, data, 2)
        account = await system.quiet()
        assert account["accepted"] == 2 + 3 * 2
