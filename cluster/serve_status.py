"""What Ray Serve says of the worker deployments."""

import asyncio
from collections.abc import Mapping

from ray import serve as ray_serve

from cluster.topology import Plan

PRIVATE = "private"


async def wanted_workers(plan: Plan) -> Mapping[str, Mapping[str, int]]:
    """Per stage: how many workers Serve wants and runs."""
    status = await asyncio.to_thread(ray_serve.status)
    application = status.applications.get(PRIVATE)
    if application is None:
        return {}
    found: dict[str, Mapping[str, int]] = {}
    for name, stages in plan.workers.items():
        deployment = application.deployments.get(name)
        if deployment is not None:
            states = deployment.replica_states
            wanted = sum(count for state, count in states.items() if state not in ("STOPPING", "DRAINING"))
            for stage in stages:
                found[stage] = {"wanted": wanted, "running": states.get("RUNNING", 0)}
    return found
