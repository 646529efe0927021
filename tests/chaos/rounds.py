"""One round: load, a fault at a moment left to chance, the way back, and the verdict."""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import aiohttp
import httpx

from cluster.servers.server import Server
from tests.chaos import faults
from tests.chaos.faults import Fault
from tests.chaos.probe import Probe
from tests.chaos.processes import by_role
from tests.chaos.proof import Proof
from tests.chaos.verdict import Verdict

#: The fault comes this long after the load has begun to be answered.
_MOMENT_S = (0.5, 4.0)

#: Each of the load's senders waits this long between two events.
LOAD_PAUSE_S = 0.05

#: All is well once nothing was slow for this long and every process is there again; later is a failure.
_CALM_S = 5.0
RECOVERY_S = 300.0

_LOOK_S = 0.2


class Outcome(NamedTuple):
    """What became of one round; times in seconds, None where it never came about."""

    layout: str
    fault: Fault
    recovered_s: float | None  #: from the fault until events went all the way again for good
    woken_s: float | None  #: the same from the end of a stop
    whole_s: float | None  #: until every process was there again
    head_anew: bool  #: whether the head was started anew
    events: int  #: answered in this round
    tries: int  #: requests they took
    verdict: Verdict | None
    problem: str = ""


class _Stuck(Exception):
    """It did not come back in time."""


#: What ends a round and is told, but not the rounds after it: a part that is absent at that moment, a connection that broke.
_UNJUDGED = (_Stuck, TimeoutError, AssertionError, IndexError, aiohttp.ClientError, httpx.HTTPError)


#: What an installation stands on, by the kind of fault that means it.
Servers = Mapping[str, Server]


async def play(
    proof: Proof, layout: str, fault: Fault, chance: random.Random, stop_s: float, servers: Servers
) -> Outcome:
    """Raises nothing for what the installation does wrong: that is in the outcome."""
    return await _Round(proof, layout, fault, chance, stop_s, servers).play()


class _Round:
    def __init__(
        self, proof: Proof, layout: str, fault: Fault, chance: random.Random, stop_s: float, servers: Servers
    ) -> None:
        self._proof = proof
        self._servers = servers
        self._installation = proof.installation
        self._fault = fault
        self._chance = chance
        self._stop_s = stop_s
        self._outcome = Outcome(layout, fault, None, None, None, False, 0, 0, None)
        self._load = proof.load(LOAD_PAUSE_S)
        self._probe = Probe(self._installation.url, proof.received, proof.begin())

    async def play(self) -> Outcome:
        before = by_role(self._installation.members())
        try:
            async with self._probe, self._load:
                await self._load.more(50, RECOVERY_S)
                await asyncio.sleep(self._chance.uniform(*_MOMENT_S))
                await self._suffer(list(before))
            tries = len(self._load.tries) + len(self._probe.trips)
        except _UNJUDGED as error:
            return self._outcome._replace(problem=f"{error or 'nothing was answered'}\n{self._installation.logs()}")
        for client in (self._load, self._probe):
            self._proof.answered(client.answered, client.per_profile)
        answered = len(self._load.answered) + len(self._probe.answered)
        anew = by_role(self._installation.members()).get("head") != before.get("head")
        outcome = self._outcome._replace(events=answered, tries=tries, head_anew=anew)
        try:
            verdict = await self._proof.judge(RECOVERY_S)
        except _UNJUDGED as error:
            return outcome._replace(problem=str(error))
        return outcome._replace(verdict=verdict, problem="; ".join(verdict.problems))

    async def _suffer(self, roles: list[str]) -> None:
        """Do it and wait until all is well again."""
        pids = faults.victims(self._fault, self._installation, self._chance, self._servers)
        meant = [self._servers[role] for role in self._fault.roles if role in self._servers]
        at = woken = time.monotonic()
        if self._fault.how == faults.KILL:
            faults.send(signal.SIGKILL, pids)
            for server in meant:
                server.kill()
            await asyncio.gather(*(server.start() for server in meant))  # as whoever operates it would
        else:
            faults.send(signal.SIGSTOP, pids)
            for server in meant:
                server.pause()
            try:
                await asyncio.sleep(self._stop_s)
            finally:
                woken = time.monotonic()
                faults.send(signal.SIGCONT, pids)
                for server in meant:
                    server.resume()
        if self._fault.how == faults.KILL and self._fault.kind in faults.BY_HAND:
            await asyncio.to_thread(self._installation.up)
        whole = await self._until(lambda: not faults.missing(self._installation, roles), lambda: self._lacks(roles))
        self._outcome = self._outcome._replace(whole_s=whole - at)
        await self._until(lambda: self._calm(at, woken), lambda: "events do not go all the way")
        recovered = self._probe.calm_since(at)
        assert recovered is not None
        stopped = self._fault.how == faults.STOP
        self._outcome = self._outcome._replace(
            recovered_s=recovered - at, woken_s=max(0.0, recovered - woken) if stopped else None
        )

    def _lacks(self, roles: list[str]) -> str:
        return f"there is no {', no '.join(faults.missing(self._installation, roles))}"

    def _calm(self, at: float, woken: float) -> bool:
        """Whether the last outage is over for good."""
        since = self._probe.calm_since(at)
        now = time.monotonic()
        return since is not None and now - since > _CALM_S and now - woken > _CALM_S

    async def _until(self, true: Callable[[], bool], otherwise: Callable[[], str]) -> float:
        """When it became true. Raises `_Stuck` when that takes too long."""
        deadline = time.monotonic() + RECOVERY_S
        while not true():
            if time.monotonic() > deadline:
                raise _Stuck(f"{otherwise()} {RECOVERY_S:g} s after {self._fault}")
            await asyncio.sleep(_LOOK_S)
        return time.monotonic()
