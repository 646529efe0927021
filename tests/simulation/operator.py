"""Somebody who changes definitions while everything runs."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from pipeline.errors import NotFound, Retry
from serve.changes import Changes
from tests.simulation.machine import ANSWER_S, Unreachable

#: (kind, id) of what is changed while clients send; each asks for one type of event, or for all.
CHANGING = (
    ("destinations", "crm", "sign-up"),
    ("destinations", "all", None),
    ("rules", "r1", "increase-interest"),
    ("rules", "r2", "sign-up"),
    ("workflows", "w1", None),
)

#: What a workflow counts, in the profile's ``stats``.
WORKFLOWS = ("w1", "w2")


def _destination(id: str, event_type: str | None, enabled: bool, timeout_s: int) -> dict[str, Any]:
    """What is under way by another timeout is begun again: it is another destination."""
    return {"event_type": event_type, "enabled": enabled, "settings": {"url": f"http://{id}/", "timeout": timeout_s}}


def _rule(id: str, event_type: str | None, enabled: bool) -> dict[str, Any]:
    return {"event_type": event_type, "enabled": enabled, "workflow": f"w{id[1:]}"}


def _workflow(id: str) -> dict[str, Any]:
    nodes = [
        {"id": "s", "type": "start"},
        {"id": "n", "type": "increment", "settings": {"field": f"profile@stats.{id}"}},
    ]
    return {"nodes": nodes, "edges": [{"from": "s", "to": "n"}]}


class Operator:
    """Puts and deletes; knows the revision of the newest change that was answered."""

    def __init__(
        self, random: Random, anybody: Callable[[Callable[[Changes], Awaitable[int]], float], Awaitable[int]]
    ) -> None:
        self._random = random
        self._anybody = anybody
        self.revision = 0
        self.begun_s: dict[int, float] = {}  #: revision of what somebody is enabled by → when it was asked for first
        self.done = False

    async def begin(self) -> None:
        """What has to be there before anything is sent."""
        for id, more in (("web", {}), ("static", {"static_profile_id": True}), ("brief", {"ephemeral": True})):
            await self._put("sources", id, more)
        for id in WORKFLOWS:
            await self._put("workflows", id, _workflow(id))
        for kind, id, event_type in CHANGING:
            if self._random.random() < 0.6:
                await self._set(kind, id, event_type, True)

    async def run(self, changes: int) -> None:
        """Change that many things, one after the other."""
        for _ in range(changes):
            await asyncio.sleep(self._random.choice((0.1, 1.0, 3.0)))
            kind, id, event_type = self._random.choice(CHANGING)
            chance = self._random.random()
            if chance < 0.5:
                await self._set(kind, id, event_type, True)
            elif chance < 0.8:
                await self._set(kind, id, event_type, False)
            else:
                await self._insist(lambda changes, kind=kind, id=id: changes.delete(kind, id))

    async def switch(self, times: int) -> None:
        """Switch one destination on and off, put it as it is, and wait for no answer for long."""
        kind, id, event_type = CHANGING[self._random.choice((0, 1))]
        for _ in range(times):
            await asyncio.sleep(self._random.choice((0.1, 1.0, 3.0)))
            await self._set(kind, id, event_type, self._random.random() < 0.6, within_s=1.0)

    async def _set(self, kind: str, id: str, event_type: str | None, enabled: bool, within_s: float = ANSWER_S) -> None:
        body = _workflow(id) | {"enabled": enabled}
        if kind == "destinations":
            body = _destination(id, event_type, enabled, self._random.choice((5, 6)))
        elif kind == "rules":
            body = _rule(id, event_type, enabled)
        await self._put(kind, id, body, within_s)

    async def _put(self, kind: str, id: str, body: dict[str, Any], within_s: float = ANSWER_S) -> None:
        encoded = json.dumps({"id": id, **body}).encode()
        begun_s = asyncio.get_running_loop().time()
        revision = await self._insist(lambda changes: changes.put(kind, id, encoded), within_s)
        if kind != "sources" and body.get("enabled", True):
            self.begun_s[revision] = begun_s

    async def _insist(self, change: Callable[[Changes], Awaitable[int]], within_s: float = ANSWER_S) -> int:
        """Until it is answered; the revision, 0 when there is nothing to delete."""
        while True:
            try:
                revision = await self._anybody(change, within_s)
            except NotFound:
                return 0
            except (Unreachable, Retry):
                await asyncio.sleep(0.3)
            else:
                self.revision = max(self.revision, revision)
                return revision
