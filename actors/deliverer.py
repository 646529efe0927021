"""Brings one batch of requests to one destination: in order per profile, until each is delivered or dead."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from actors.chains import in_chains
from actors.counters import Counters
from pipeline.clock import Clock
from pipeline.delivery import (
    ALARM_PAUSE_S,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    MAX_AGE_MS,
    Outlet,
    Request,
    Verdict,
    judge,
    retry_after_s,
    send,
)
from pipeline.envelope import Entry
from pipeline.http.port import Http, HttpFailure
from pipeline.letter import new_letter
from pipeline.scope import Scope
from pipeline.stores.documents import Document

_log = logging.getLogger(__name__)

#: How often a pause looks whether it is still wanted.
_LOOK_S = 0.25

#: Requests under way at once to one destination from one partition.
_CONCURRENCY = 16


class Due(NamedTuple):
    """One delivery to make; its request is rendered when its turn has come."""

    outlet: Outlet
    entry: Entry
    scope: Scope
    since_ms: int  #: when its event was processed


class Deliverer:
    """`random` gives numbers in [0, 1) for the jitter; `active` says whether to go on with requests of this outlet.

    `replay`: the id of the replay it delivers for, empty when for the destination itself.
    """

    def __init__(
        self,
        destination: str,
        replay: str,
        http: Http,
        clock: Clock,
        random: Callable[[], float],
        counters: Counters,
        active: Callable[[Outlet], bool],
        alive: Callable[[], None],
    ) -> None:
        self._destination = destination
        self._replay = replay
        self._http = http
        self._clock = clock
        self._random = random
        self._counters = counters
        self._active = active
        self._alive = alive
        self.letters: list[Document] = []  #: of the deliveries given up; for the caller to keep

    async def deliver(self, due: Sequence[Due]) -> bool:
        """Returns True when all are delivered or dead, False when `active` ended it: then some may have been sent."""
        return await in_chains(due, _profile_of, self._one, _CONCURRENCY)

    async def _one(self, due: Due) -> bool:
        request = due.outlet.request(due.entry, due.scope)
        pause = FIRST_PAUSE_S
        while self._active(due.outlet):
            self._alive()
            wait = 0.0
            try:
                response = await send(self._http, request)
            except HttpFailure as failure:
                verdict, reason = Verdict.AGAIN, str(failure)
            else:
                verdict = judge(response)
                if verdict is Verdict.DELIVERED:
                    self._counters.handled += 1
                    self._counters.paused.pop(self._destination, None)
                    return True
                reason = f"HTTP {response.status}: {response.body[:200].decode(errors='replace')}"
                wait = retry_after_s(response, self._clock.now_ms())
            self._counters.error(f"destination {self._destination}: {reason}")
            if verdict is Verdict.DEAD or self._clock.now_ms() - due.since_ms > MAX_AGE_MS:
                self._bury(request, due.entry, reason)
                return True
            if verdict is Verdict.ALARM:
                if self._destination not in self._counters.paused:
                    _log.error(
                        "destination %s paused, check its address and credentials: %s", self._destination, reason
                    )
                self._counters.paused[self._destination] = reason
                wait = max(wait, ALARM_PAUSE_S)
            await self._pause(due.outlet, max(wait, pause * (0.5 + self._random() / 2)))
            pause = min(pause * 2, LONGEST_PAUSE_S)
        return False

    async def _pause(self, outlet: Outlet, seconds: float) -> None:
        """In steps, so that a stop or a changed definition is noticed."""
        end = self._clock.monotonic() + seconds
        while self._active(outlet) and (left := end - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, _LOOK_S))
            self._alive()

    def _bury(self, request: Request, entry: Entry, reason: str) -> None:
        now_ms = self._clock.now_ms()
        self.letters.append(new_letter(request, self._destination, self._replay, entry, reason, now_ms))
        self._counters.dead += 1


def _profile_of(due: Due) -> str:
    return due.entry.profile or due.entry.id
