"""Brings one batch of requests to one destination: in order per profile, until each is delivered or dead."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from actors.chains import in_chains
from actors.counters import Counters
from actors.letters import Letters
from pipeline.clock import Clock
from pipeline.delivery import (
    ALARM_PAUSE_S,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    MAX_AGE_MS,
    Outlet,
    Request,
    Verdict,
    delivery_id,
    judge,
    retry_after_s,
    send,
)
from pipeline.envelope import Entry
from pipeline.http.port import Http, HttpFailure
from pipeline.letter import letter_id, new_letter
from pipeline.scope import Scope

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
        letters: Letters,
        clock: Clock,
        random: Callable[[], float],
        counters: Counters,
        active: Callable[[Outlet], bool],
        alive: Callable[[], None],
    ) -> None:
        self._destination = destination
        self._replay = replay
        self._http = http
        self._letters = letters
        self._clock = clock
        self._random = random
        self._counters = counters
        self._active = active
        self._alive = alive
        self.dead: set[str] = set()  #: deliveries given up

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
                await self._bury(request, due.entry, reason)
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

    async def _bury(self, request: Request, entry: Entry, reason: str) -> None:
        letter = new_letter(request, self._destination, self._replay, entry, reason, self._clock.now_ms())
        await self._letters.bury(letter)
        self.dead.add(request.id)
        self._counters.dead += 1

    async def withdraw(self, due: Sequence[Due]) -> None:
        """Take back what letters there are of deliveries now made: an owner before us wrote them and counted nothing."""
        made = {delivery_id(self._destination, one.entry.id) for one in due} - self.dead
        await self._letters.withdraw([letter_id(id, self._replay) for id in made])


def _profile_of(due: Due) -> str:
    return due.entry.profile or due.entry.id
