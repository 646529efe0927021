"""The systems that destinations deliver to: slow, flapping, refusing, dead; and one process' way to them."""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from pipeline.http.port import HttpFailure, Response
from tests.simulation.process import Process

MODES = ("good", "slow", "flapping", "refusing", "locked", "dead")


class Received(NamedTuple):
    """One request that arrived, whatever it was answered."""

    key: str
    event: str
    profile: str | None
    taken: bool  #: answered 2xx, though the answer may have been lost
    refused: bool  #: for good: whoever sent it goes on with the next


class _Id(msgspec.Struct):
    id: str | None = None


class _Event(msgspec.Struct):
    id: str
    profile: _Id | None = None


class _Body(msgspec.Struct):
    event: _Event


_decode = msgspec.json.Decoder(_Body).decode


def event_of(body: bytes) -> str:
    """Which event a request brings."""
    return _decode(body).event.id


class Receivers:
    """By host name."""

    def __init__(self, random: Random, seed: object) -> None:
        self.modes: dict[str, str] = {}
        self.received: dict[str, list[Received]] = {}
        self.failed: set[tuple[str, str]] = set()  #: (host, event) of which some request failed, for whoever sent it
        self._random = random
        self._seed = seed

    def receive(self, host: str, key: str, body: bytes) -> Response:
        """Answer one request. Raises `HttpFailure` before or after it took effect."""
        mode = self.modes.get(host, "good")
        chance = self._random.random()
        event = _decode(body).event
        status = 200
        if mode == "dead" or (mode == "flapping" and chance < 0.3):
            raise HttpFailure("connection refused")
        if mode == "flapping" and chance < 0.6:
            status = self._random.choice((429, 500, 503))
        elif mode == "locked":
            status = self._random.choice((401, 403, 404))
        elif mode == "refusing" and Random(f"{self._seed}/{key}").random() < 0.3:
            status = self._random.choice((400, 422))
        profile = event.profile.id if event.profile else None
        self.received.setdefault(host, []).append(Received(key, event.id, profile, status == 200, status in (400, 422)))
        if mode == "flapping" and chance > 0.9:
            raise HttpFailure("the answer did not come")
        headers = {"retry-after": "1"} if status == 429 else {}
        return Response(status, headers, b"")

    def slowness_s(self, host: str) -> float:
        return self._random.choice((0.0, 0.5, 3.0, 30.0)) if self.modes.get(host) == "slow" else 0.0


class SimulatedHttp:
    """See `pipeline.http.port.Http`."""

    def __init__(self, receivers: Receivers, process: Process) -> None:
        self._receivers = receivers
        self._process = process

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> Response:
        host = urlsplit(url).hostname or ""
        assert body is not None
        try:
            response = await self._sent(host, headers["idempotency-key"], body, timeout_s)
        except HttpFailure:
            self._receivers.failed.add((host, event_of(body)))
            raise
        if response.status != 200:
            self._receivers.failed.add((host, event_of(body)))
        return response

    async def _sent(self, host: str, key: str, body: bytes, timeout_s: float) -> Response:
        wait = self._receivers.slowness_s(host)
        response = await self._process.call(lambda: self._receivers.receive(host, key, body))
        await asyncio.sleep(min(wait, timeout_s))
        await self._process.gate()
        if wait >= timeout_s:
            raise HttpFailure("no answer in time")
        return response

    async def close(self) -> None:
        """Nothing is kept open."""
