"""Deliveries against the clock: when they are tried again, when somebody is called, when they are given up."""

import asyncio
import heapq
from collections.abc import Callable, Mapping

import msgspec

from actors.counters import Counters
from actors.deliverer import Deliverer, Due
from pipeline import instant
from pipeline.definition import Destination, HttpSettings
from pipeline.delivery import Outlet, delivery_id
from pipeline.envelope import Entry
from pipeline.http.port import HttpFailure, Response

START_MS = 1_700_000_000_000
MINUTES_S = 300.0


class Hours:
    """A clock that passes as fast as everybody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._count = 0

    def now_ms(self) -> int:
        return START_MS + int(self.now_s * 1000)

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now_s + seconds, self._count, woken))
        for _ in range(20):  # whoever is not asleep yet goes first
            await asyncio.sleep(0)
        if self._sleepers and not woken.is_set():
            self.now_s, _, first = heapq.heappop(self._sleepers)
            first.set()
        await woken.wait()


class Crm:
    """Answers by a script of its own; remembers when each event came."""

    def __init__(self, clock: Hours, answer: Callable[[str, int], Response | HttpFailure]) -> None:
        self._clock = clock
        self._answer = answer
        self.came: dict[str, list[float]] = {}

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> Response:
        id = msgspec.json.decode(body or b"")["id"]
        times = self.came.setdefault(id, [])
        times.append(self._clock.now_s)
        answer = self._answer(id, len(times))
        if isinstance(answer, HttpFailure):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing to close."""


def status(number: int, **headers: str) -> Response:
    return Response(number, {name.replace("_", "-"): text for name, text in headers.items()}, b"")


def due(id: str, profile: str = "p", since_ms: int = START_MS) -> Due:
    destination = Destination(id="crm", mapping={"id": "event@id"}, settings=HttpSettings(url="http://x"))
    outlet = Outlet(destination, lambda: instant.to_datetime(START_MS), str)
    entry = Entry(id, "t", "s", profile, 0, 0, msgspec.Raw(b"{}"))
    return Due(outlet, entry, {"event": {"id": id}, "profile": {"id": profile}}, since_ms)


async def deliver(answer: Callable[[str, int], Response | HttpFailure], *events: Due) -> tuple[Crm, Counters, set[str]]:
    """Everything delivered or given up; the ids of the dead letters."""
    clock = Hours()
    crm, counters = Crm(clock, answer), Counters(clock)
    deliverer = Deliverer("crm", "", crm, clock, lambda: 0.5, counters, lambda outlet: True, lambda: None)
    assert await deliverer.deliver(events)
    assert len(deliverer.letters) == counters.dead
    return crm, counters, {letter.id for letter in deliverer.letters}


async def test_pauses_grow_and_the_other_side_may_ask_for_longer_ones() -> None:
    def answer(id: str, attempt: int) -> Response | HttpFailure:
        if attempt == 4:
            return status(503, retry_after="100")
        return status(200) if attempt == 6 else HttpFailure("no answer")

    crm, counters, dead = await deliver(answer, due("a"))
    gaps = [later - earlier for earlier, later in zip(crm.came["a"], crm.came["a"][1:], strict=False)]
    assert [round(gap, 3) for gap in gaps] == [0.188, 0.375, 0.75, 100.0, 3.0]  # three quarters of 0.25, 0.5, 1, …
    assert (counters.failed, counters.handled, dead) == (5, 1, set())


async def test_what_is_a_day_old_is_given_up_and_the_next_one_of_its_profile_follows() -> None:
    nearly_a_day_ago = START_MS - 86_400_000 + int(MINUTES_S * 1000)
    crm, counters, dead = await deliver(
        lambda id, attempt: status(500 if id == "a" else 200), due("a", since_ms=nearly_a_day_ago), due("b")
    )
    assert crm.came["a"][-1] > MINUTES_S
    assert crm.came["a"][-2] <= MINUTES_S
    assert crm.came["b"] == [crm.came["a"][-1]]
    assert (counters.dead, dead) == (1, {delivery_id("crm", "a")})


async def test_refused_credentials_pause_the_destination_until_they_are_mended() -> None:
    crm, counters, dead = await deliver(
        lambda id, attempt: status(401 if attempt < 3 else 200), due("a")
    )  # fmt: skip
    gaps = [later - earlier for earlier, later in zip(crm.came["a"], crm.came["a"][1:], strict=False)]
    assert gaps == [30.0, 30.0]
    assert (counters.paused, dead) == ({}, set())
    assert "HTTP 401" in counters.last_error


async def test_what_can_never_be_taken_is_set_aside_at_once() -> None:
    crm, _, dead = await deliver(
        lambda id, attempt: status(422 if id == "a" else 200), due("a"), due("b"), due("c", "other")
    )
    assert [len(times) for times in crm.came.values()] == [1, 1, 1]
    assert dead == {delivery_id("crm", "a")}


async def test_one_profile_that_waits_holds_up_no_other() -> None:
    order: list[str] = []

    def answer(id: str, attempt: int) -> Response:
        order.append(id)
        return status(500 if id == "a1" and attempt < 3 else 200)

    await deliver(answer, due("a1", "a"), due("a2", "a"), due("b1", "b"), due("b2", "b"))
    assert order.index("b2") < order.index("a2")
    assert [id for id in order if id in ("a1", "a2")] == ["a1", "a1", "a1", "a2"]
