"""The processes of the stages: those that vanished, clocks that differ, definitions that are old."""

from collections.abc import Mapping
from typing import Any

from cluster.checks.finding import Finding

#: Clocks of machines in step differ by milliseconds; a heartbeat may take a while to be written.
_SKEW_MS = 5_000

#: Workers ask twice a second.
_OLD_S = 30.0


def workers(status: Mapping[str, Any]) -> list[Finding]:
    """By the status of the private API."""
    return [_restarts(status), _clocks(status), _definitions(status)]


def _all(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Every process by its name, those of the APIs too."""
    rows = [row for stage in status["stages"].values() for row in stage.get("workers", ())]
    rows += [row for api in status.get("apis", {}).values() for row in api]
    return {row["worker"]: row for row in rows}


def _restarts(status: Mapping[str, Any]) -> Finding:
    lost = [one for stage in status["stages"].values() for one in stage.get("lost", ())]
    if not lost:
        return Finding("workers", True, "none has ended without saying so in the last day")
    names = "; ".join(
        f"{one['worker']} (process {one['pid']} on {one['node']}, last heard {one['time']})" for one in lost
    )
    return Finding(
        "workers",
        False,
        f"{len(lost)} ended without saying so in the last day and were replaced, as a process does that is killed or out of "
        f"memory: {names}",
        "look for `Out of memory: Killed process` in the system's journal (journalctl -k) and for OOM in the folder's ray.log; "
        "give the machine more memory, or take smaller batches (RAYFOLD_MAX_EVENTS, RAYFOLD_MAX_BODY). Nothing is lost",
    )


def _clocks(status: Mapping[str, Any]) -> Finding:
    ahead = {
        f"{row['node']} (process {row['pid']})": row["clock_ahead_ms"]
        for row in _all(status).values()
        if abs(row.get("clock_ahead_ms") or 0) > _SKEW_MS
    }
    if not ahead:
        return Finding("clocks", True, "all workers go by the time of the definitions database, within 5 s")
    told = ", ".join(f"{who} by {ms / 1000:+.1f} s" for who, ms in ahead.items())
    return Finding(
        "clocks",
        False,
        f"these differ from the definitions database's: {told}",
        "let NTP or chrony set the clocks of all machines, the database's too: times of events, retention and waits go by them",
    )


def _definitions(status: Mapping[str, Any]) -> Finding:
    found = status.get("definitions", {})
    old = [row["worker"] for row in _all(status).values() if (row.get("definitions_age_s") or 0) > _OLD_S]
    if not found.get("error") and not old:
        return Finding("definitions", True, f"every worker has asked within {_OLD_S:g} s")
    who = f"; {', '.join(old)} asked last more than {_OLD_S:g} s ago" if old else ""
    age = f"{found['age_s']:g} s old" if found.get("age_s") is not None else "never read"
    return Finding(
        "definitions",
        False,
        f"those of the private API are {age}: {found.get('error') or 'workers do not hear of changes'}{who}",
        "bring the definitions database back; workers go on meanwhile, changes act once it answers",
    )
