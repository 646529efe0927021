"""Brings one batch of requests to one destination: in order per profile, until each is delivered or dead."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from actors.counters import Counters
from pipeline import envelope, instant
from pipeline.clock import Clock
from pipeline.delivery import (
    ALARM_PAUSE_S,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    MAX_AGE_MS,
    Request,
    Verdict,
    dead_letter,
    judge,
    retry_after_s,
)
from pipeline.envelope import Entry
from pipeline.http.port import Http, HttpFailure
from pipeline.stores.documents import Document, Documents

_log = logging.getLogger(__name__)

#: Requests under way at once to one destination from one partition.
_CONCURRENCY = 16


class Due(NamedTuple):
    """One delivery to make."""

    request: Request
    entry: Entry
    since_ms: int  #: when its event was processed


class Deliverer:
    """`random` gives numbers in [0, 1) for the jitter; `active` says whether to go on trying."""

    def __init__(
        self,
        destination: str,
        http: Http,
        documents: Documents,
        clock: Clock,
        random: Callable[[], float],
        counters: Counters,
        active: Callable[[], bool],
    ) -> None:
        self._destination = destination
        self._http = http
        self._documents = documents
        self._clock = clock
        self._random = random
        self._counters = counters
        self._active = active
        self.dead = 0
        self.alarm = ""  #: why the destination is paused

    async def deliver(self, due: Sequence[Due]) -> bool:
        """Returns True when all are delivered or dead, False when `active` ended it: then some may have been sent."""
        chains: dict[str, list[Due]] = {}
        for one in due:
            chains.setdefault(one.request.profile, []).append(one)
        queue = iter(chains.values())
        workers = [self._work(queue) for _ in range(min(_CONCURRENCY, len(chains)))]
        return all(await asyncio.gather(*workers))

    async def _work(self, queue: Iterator[list[Due]]) -> bool:
        for chain in queue:
            for one in chain:
                if not await self._one(one):
                    return False
        return True

    async def _one(self, due: Due) -> bool:
        pause = FIRST_PAUSE_S
        while self._active():
            self._counters.alive()
            wait = 0.0
            try:
                response = await self._http.send(*due.request[1:6])
            except HttpFailure as failure:
                verdict, reason = Verdict.AGAIN, str(failure)
            else:
                verdict = judge(response)
                if verdict is Verdict.DELIVERED:
                    self._counters.handled += 1
                    self.alarm = ""
                    return True
                reason = f"HTTP {response.status}: {response.body[:200].decode(errors='replace')}"
                wait = retry_after_s(response, self._clock.now_ms())
            self._counters.error(f"destination {self._destination}: {reason}")
            if verdict is Verdict.DEAD or self._clock.now_ms() - due.since_ms > MAX_AGE_MS:
                await self._bury(due, reason)
                return True
            if verdict is Verdict.ALARM:
                if not self.alarm:
                    _log.error(
                        "destination %s paused, check its address and credentials: %s", self._destination, reason
                    )
                self.alarm = reason
                wait = max(wait, ALARM_PAUSE_S)
            await self._pause(max(wait, pause * (0.5 + self._random() / 2)))
            pause = min(pause * 2, LONGEST_PAUSE_S)
        return False

    async def _pause(self, seconds: float) -> None:
        """In steps, so that a stop or a changed definition is noticed."""
        end = self._clock.monotonic() + seconds
        while self._active() and (left := end - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, 0.25))
            self._counters.alive()

    async def _bury(self, due: Due, reason: str) -> None:
        now = instant.to_text(self._clock.now_ms())
        body = dead_letter(due.request, self._destination, due.entry, reason, now)
        await self._documents.save([Document("dead", due.request.id, 1, envelope.encode(body))])
        self.dead += 1
        self._counters.dead += 1
