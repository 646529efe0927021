"""A client under load that keeps its own count: every event has an id of its own and is sent until it is answered 200."""

import asyncio
import time
from collections import Counter
from typing import NamedTuple

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=8)

#: After a failure what was begun gets this long: whatever goes on with the installation knows then what it holds.
_ENDING_S = 30.0


class Try(NamedTuple):
    """One request."""

    status: int  #: 0: no answer
    retry_after: bool
    seconds: float


class Load:
    """Senders that run until `stop`; afterwards everything that was begun is answered."""

    def __init__(
        self, url: str, source: str, senders: int = 8, profiles: int = 16, start: int = 0, pause_s: float = 0.0
    ) -> None:
        self._url = f"{url}/track"
        self._source = source
        self._senders = senders
        self._profiles = profiles
        self._pause_s = pause_s  #: of each sender between an answer and its next event
        self._next = start
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.answered: list[str] = []  #: message ids
        self.per_profile: Counter[str] = Counter()
        self.tries: list[Try] = []

    async def __aenter__(self) -> "Load":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *failure: object) -> None:
        if failure[0] is None:
            await self.stop()
            return
        try:
            async with asyncio.timeout(_ENDING_S):  # what was begun may never be answered
                await self.stop()
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Begin nothing new; return when all that was begun is answered 200."""
        self._stopping = True
        if self._task is not None:
            await self._task

    async def more(self, count: int, within_s: float) -> None:
        """Wait until that many further events are answered."""
        wanted = len(self.answered) + count
        async with asyncio.timeout(within_s):
            while len(self.answered) < wanted:
                await asyncio.sleep(0.02)

    async def _run(self) -> None:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            await asyncio.gather(*(self._send(session) for _ in range(self._senders)))

    async def _send(self, session: aiohttp.ClientSession) -> None:
        while not self._stopping:
            self._next += 1
            message, profile = f"m-{self._next}", f"p-{self._next % self._profiles}"
            event = {"id": message, "type": "increase-interest", "properties": {"interest": "load"}}
            payload = {
                "source": {"id": self._source},
                "profile": {"id": profile},
                "session": {"id": f"s-{profile}"},
                "events": [event],
            }
            while not await self._post(session, payload):
                await asyncio.sleep(0.1)
            self.answered.append(message)
            self.per_profile[profile] += 1
            await asyncio.sleep(self._pause_s)

    async def _post(self, session: aiohttp.ClientSession, payload: object) -> bool:
        began, status, retry_after = time.monotonic(), 0, False
        try:
            async with session.post(self._url, json=payload) as answer:
                await answer.read()
                status, retry_after = answer.status, "retry-after" in answer.headers
        except (aiohttp.ClientError, TimeoutError):
            pass  # it is sent again
        self.tries.append(Try(status, retry_after, time.monotonic() - began))
        return status == 200
