"""Each stage: whether it has workers, how far it is behind and why, and what it waits for."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cluster.checks.finding import Finding

#: A stage this far behind is a finding; so is one that has work waiting and failed so short a time ago.
_MUCH_LAG_S = 60.0
_JUST_NOW_S = 30.0

Row = Mapping[str, Any]

_MEND = "mend what it names; nothing is lost: the log keeps what no stage has finished, and it goes on where it was"
_SLOW = (
    "it works and is slower than what comes in, or an outbound call hangs: look at the load of the machine and of the servers; "
    "RAYFOLD_SCALE_RECORDS says when one more worker is started. Nothing is lost"
)


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
    lag, last = float(row.get("lag_seconds") or 0), row.get("last_error")
    if lag > _MUCH_LAG_S or (row["backlog"] and last and _age_s(row) < _JUST_NOW_S):
        what = f"{lag:.0f} s behind, {row['backlog']} records waiting: events answered 200 are not where they are to be yet"
        if last:
            return Finding(name, False, f"{what}. Its last error ({row.get('last_error_time')}): {last}", _MEND)
        return Finding(name, False, f"{what}. It has reported no error", _SLOW)
    return Finding(name, True, f"{row['alive']} alive, {row['backlog']} records waiting")


def _age_s(row: Row) -> float:
    """Of the last error; by this machine's clock, which `clocks` judges."""
    told = row.get("last_error_time")
    return time.time() - datetime.fromisoformat(told).timestamp() if told else float("inf")


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
