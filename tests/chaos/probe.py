"""Asks all the time whether the whole way works: an event for each partition, answered, stored and delivered."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import aiohttp

from pipeline import identity
from tests.chaos.proof import EVENT_TYPE, SOURCE

_PARTITIONS = 4
_PAUSE_S = 0.1

#: An attempt whose answer does not come is given up and made again under the same ids.
_ATTEMPT = aiohttp.ClientTimeout(total=2.0)
_WAIT_S = 1

#: A round trip that takes longer is an outage.
SLOW_S = 1.5


class Trip(NamedTuple):
    """From before an event was sent until it was delivered; times of `time.monotonic`."""

    began: float
    ended: float


class Probe:
    """Runs from `async with` to its end; then everything it began is answered."""

    def __init__(self, url: str, received: str, start: int) -> None:
        self._url = f"{url}/track"
        self._received = f"{received}/kept"
        self._next = start
        self._seen = 0  #: bodies at the receiver
        self._delivered: set[str] = set()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.trips: list[Trip] = []
        self.began: float | None = None  #: of the trip under way
        self.answered: list[str] = []
        self.per_profile: Counter[str] = Counter()
        self._profiles = _profiles()

    async def __aenter__(self) -> "Probe":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._stopping = True
        assert self._task is not None
        if failure[0] is not None:
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=failure[0] is not None)

    def calm_since(self, moment: float) -> float | None:
        """When the last outage after that moment ended; None while one goes on or nothing was tried since."""
        if self.began is not None and time.monotonic() - self.began > SLOW_S:
            return None
        after = [trip for trip in self.trips if trip.ended > moment]
        slow = [trip.ended for trip in after if trip.ended - max(trip.began, moment) > SLOW_S]
        if slow:
            return slow[-1]
        begun = [trip.ended for trip in after if trip.began >= moment]
        return begun[0] if begun else None

    async def _run(self) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            while not self._stopping:
                self.began = time.monotonic()
                await self._once(session)
                self.trips.append(Trip(self.began, time.monotonic()))
                self.began = None
                await asyncio.sleep(_PAUSE_S)

    async def _once(self, session: aiohttp.ClientSession) -> None:
        payloads: list[dict[str, Any]] = []
        for profile in self._profiles:
            self._next += 1
            event = {"id": f"m-{self._next}", "type": EVENT_TYPE, "properties": {"interest": "load"}}
            whose = {"profile": {"id": profile}, "session": {"id": f"s-{profile}"}}
            payloads.append({"source": {"id": SOURCE}, **whose, "events": [event]})
        messages = [payload["events"][0]["id"] for payload in payloads]
        while not await self._stored(session, payloads):
            await asyncio.sleep(_PAUSE_S)
        self.answered += messages
        self.per_profile.update(self._profiles)
        while not self._delivered.issuperset(messages):
            await self._look(session)

    async def _stored(self, session: aiohttp.ClientSession, payloads: Sequence[Any]) -> bool:
        query = {"wait": "stored", "timeout": str(_WAIT_S)}
        try:
            async with session.post(self._url, json=payloads, params=query, timeout=_ATTEMPT) as answer:
                await answer.read()
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _look(self, session: aiohttp.ClientSession) -> None:
        """What was delivered since the last look."""
        async with session.get(self._received, params={"since": self._seen}) as answer:
            bodies = await answer.json()
        self._seen += len(bodies)
        self._delivered.update(body["message"] for body in bodies)
        await asyncio.sleep(_PAUSE_S)


def _profiles() -> list[str]:
    """One for each partition."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < _PARTITIONS:
        found.setdefault(identity.partition(f"probe-{number}", _PARTITIONS), f"probe-{number}")
        number += 1
    return list(found.values())
