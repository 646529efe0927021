"""Rules that nobody acts on."""

from cluster.checks.finding import Finding
from cluster.client import Client


def rules(client: Client, workflow_enabled: bool) -> Finding:
    """Whether workflows are switched off while there are some."""
    count = client.get("/rules", limit=1)["total"]
    if workflow_enabled:
        return Finding("workflows", True, f"switched on, {count} rules")
    if not count:
        return Finding("workflows", True, "switched off, and there are no rules")
    return Finding(
        "workflows",
        False,
        f"no workflow is triggered: they are switched off while there are {count} rules; what comes meanwhile is not due to them",
        "set RAYFOLD_WORKFLOW_ENABLED=true and start again, or delete the rules",
    )
