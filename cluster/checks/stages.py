"""Each stage: whether it has workers, how far it is behind and why, and what it waits for."""

from collections.abc import Mapping
from typing import Any

from cluster.checks.finding import Finding

#: A stage this far behind is a finding.
_MUCH_LAG_S = 60.0

Row = Mapping[str, Any]


def stages(status: Row) -> list[Finding]:
    """By the status of the private API."""
    findings = []
    if not status["controlled"]:
        cure = "`rayfold up` starts the head again when this lasts; on a cluster of yours look at its head"
        findings.append(Finding("Ray Serve", False, "its controller does not answer: no worker is replaced", cure))
    for name, row in status["stages"].items():
        findings.append(_stage(name, row, status))
        findings += [_paused(id, why) for id, why in row.get("paused", {}).items()]
    return findings + [_without_group(id) for id in status["without_group"]]


def _stage(name: str, row: Row, status: Row) -> Finding:
    if name == "executor" and not status["workflow_enabled"]:
        return Finding(name, True, "switched off: no workflow runs (RAYFOLD_WORKFLOW_ENABLED=true switches it on)")
    if row["backlog"] is None:
        return Finding(name, False, "nobody knows what waits", f"the log does not answer: {row.get('last_error')}")
    if not row["alive"] and status["refuses"]:
        return Finding(name, False, "nobody knows: no heartbeat can be written", "free the disk first")
    if not row["alive"]:
        return Finding(name, False, "no worker is alive", "look into the folder's ray.log and `rayfold status`")
    if row.get("standing"):
        return Finding(name, False, f"stands still: {row['standing']}", "mend that, then start Rayfold again")
    if row.get("waiting"):
        return Finding(name, False, f"waits: {row['waiting']}", "nothing is lost meanwhile; docs/replay.md says more")
    lag = float(row.get("lag_seconds") or 0)
    if lag > _MUCH_LAG_S:
        error = row.get("last_error") or "no error was reported"
        what = f"{lag:.0f} s behind, {row['backlog']} records waiting: events answered 200 are not where they are to be yet"
        return Finding(name, False, what, f"last error: {error}")
    return Finding(name, True, f"{row['alive']} alive, {row['backlog']} records waiting")


def _paused(id: str, why: str) -> Finding:
    return Finding(
        f"destination {id}",
        False,
        f"pauses: {why}",
        "mend it with `rayfold destination put`; nothing is lost meanwhile",
    )


def _without_group(id: str) -> Finding:
    return Finding(
        f"destination {id}",
        False,
        "has no group on the log, which has lost it or was put back from a copy: nothing is delivered to it",
        f"start Rayfold again, or put it again with `rayfold destination put`; then `rayfold replay {id} --from TIME` "
        "brings what came meanwhile",
    )
