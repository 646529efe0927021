"""Sends payloads to the public API: at least once, in order per key, repeating the identical body."""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from zlib import crc32

import aiohttp

from cluster.inputs.item import Item

#: Requests under way at once; a key always uses the same lane.
_LANES = 6

#: Payload batches waiting in a lane before reading goes on.
_AHEAD = 4

_TIMEOUT = aiohttp.ClientTimeout(total=60)
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0

#: Reasons of refusals that are kept.
_KEPT_REASONS = 5

_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))


@dataclass
class Summary:
    """What became of a file, in events."""

    sent: int = 0
    retried: int = 0  #: requests made again
    refused: int = 0
    reasons: list[str] = field(default_factory=list)


class Sender:
    """`progress` is called with the number of events just answered."""

    def __init__(self, url: str, batch: int, rate: float, progress: Callable[[int], None]) -> None:
        self._url = f"{url.rstrip('/')}/track"
        self._batch = batch
        self._rate = rate
        self._progress = progress
        self.summary = Summary()

    async def send(self, items: Iterable[Item]) -> Summary:
        """Until every item is answered 2xx or refused for good; waits for as long as the server is away."""
        queues: list[asyncio.Queue[list[Item] | None]] = [asyncio.Queue(_AHEAD) for _ in range(_LANES)]
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, asyncio.TaskGroup() as group:
            for queue in queues:
                group.create_task(self._lane(session, queue))
            await self._fill(items, queues)
        return self.summary

    async def _fill(self, items: Iterable[Item], queues: list["asyncio.Queue[list[Item] | None]"]) -> None:
        loop = asyncio.get_running_loop()
        started, given = loop.time(), 0
        parts: list[list[Item]] = [[] for _ in queues]
        for item in items:
            lane = crc32(item.key.encode()) % len(queues)
            parts[lane].append(item)
            given += item.events
            if sum(one.events for one in parts[lane]) >= self._batch:
                await queues[lane].put(parts[lane])
                parts[lane] = []
            if self._rate and (ahead := given / self._rate - (loop.time() - started)) > 0:
                await asyncio.sleep(ahead)
        for queue, part in zip(queues, parts, strict=True):
            if part:
                await queue.put(part)
            await queue.put(None)

    async def _lane(self, session: aiohttp.ClientSession, queue: "asyncio.Queue[list[Item] | None]") -> None:
        while (items := await queue.get()) is not None:
            reason = await self._post(session, b"[" + b",".join(item.body for item in items) + b"]")
            if reason is None:
                self._done(items)
            elif len(items) == 1:
                self._refuse(items[0], reason)
            else:  # one bad payload refuses its whole list: find it
                for item in items:
                    single = await self._post(session, item.body)
                    if single is None:
                        self._done([item])
                    else:
                        self._refuse(item, single)

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> str | None:
        """None when taken, else why it was refused for good."""
        pause = _FIRST_PAUSE_S
        while True:
            wait = pause * (0.5 + random.random() / 2)  # noqa: S311  (jitter)
            try:
                async with session.post(self._url, data=body, headers={"content-type": "application/json"}) as answer:
                    if answer.status < 300:
                        await answer.read()
                        return None
                    if answer.status not in _AGAIN:
                        return f"HTTP {answer.status}: {(await answer.text())[:300]}"
                    asked = answer.headers.get("retry-after", "")
                    wait = max(wait, float(asked)) if asked.isdigit() else wait
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass  # counted below, and tried again with the same body
            self.summary.retried += 1
            await asyncio.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _done(self, items: list[Item]) -> None:
        count = sum(item.events for item in items)
        self.summary.sent += count
        self._progress(count)

    def _refuse(self, item: Item, reason: str) -> None:
        self.summary.refused += item.events
        if len(self.summary.reasons) < _KEPT_REASONS:
            self.summary.reasons.append(f"{item.key}: {reason}")
        self._progress(item.events)
