"""What Ray Serve says of the deployments that stages run in."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from cluster.topology import Plan

_log = logging.getLogger(__name__)

PUBLIC = "public"
PRIVATE = "private"

#: Serve's controller answers in some milliseconds, or hangs.
_ANSWER_S = 3.0


def _ask_serve() -> Any:
    from ray import serve as ray_serve  # loaded where it is asked: in a replica, never by a command

    return ray_serve.status()


class ServeStatus:
    """Asks Serve's controller. Nothing can end a question that it does not answer, so one is asked at a time."""

    def __init__(self, plan: Plan, ask: Callable[[], Any] = _ask_serve) -> None:
        self._plan = plan
        self._ask = ask
        self._asking: asyncio.Task[Any] | None = None

    async def wanted(self) -> Mapping[str, Mapping[str, int]] | None:
        """Per stage: how many workers Serve wants and runs. None when the controller does not answer in time."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(asyncio.to_thread(self._ask), name="ask Serve")
        await asyncio.wait([self._asking], timeout=_ANSWER_S)
        if not self._asking.done():
            return None
        failure = self._asking.exception()
        if failure is not None:  # of Ray's many kinds: the controller is not there, whatever they say
            _log.warning("Ray Serve's controller does not answer: %s %s", type(failure).__name__, failure)
            return None
        return self._per_stage(self._asking.result())

    def _per_stage(self, status: Any) -> Mapping[str, Mapping[str, int]]:
        plan = self._plan
        places = [(PRIVATE, name, stages) for name, stages in plan.workers.items()] + [(PUBLIC, PUBLIC, plan.in_api)]
        found: dict[str, Mapping[str, int]] = {}
        for application, name, stages in places:
            if application in status.applications and name in status.applications[application].deployments:
                states = status.applications[application].deployments[name].replica_states
                wanted = sum(count for state, count in states.items() if state not in ("STOPPING", "DRAINING"))
                for stage in stages:
                    found[stage] = {"wanted": wanted, "running": states.get("RUNNING", 0)}
        return found
