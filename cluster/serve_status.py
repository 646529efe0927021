"""What Ray Serve says of the deployments that stages run in."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from cluster.topology import Plan

PUBLIC = "public"
PRIVATE = "private"


def _ask_serve() -> Any:
    from ray import serve as ray_serve  # loaded where it is asked: in a replica, never by a command

    return ray_serve.status()


async def wanted_workers(plan: Plan, ask: Callable[[], Any] = _ask_serve) -> Mapping[str, Mapping[str, int]]:
    """Per stage: how many workers Serve wants and runs."""
    status = await asyncio.to_thread(ask)
    places = [(PRIVATE, name, stages) for name, stages in plan.workers.items()] + [(PUBLIC, PUBLIC, plan.in_api)]
    found: dict[str, Mapping[str, int]] = {}
    for application, name, stages in places:
        if application in status.applications and name in status.applications[application].deployments:
            states = status.applications[application].deployments[name].replica_states
            wanted = sum(count for state, count in states.items() if state not in ("STOPPING", "DRAINING"))
            for stage in stages:
                found[stage] = {"wanted": wanted, "running": states.get("RUNNING", 0)}
    return found
