"""Workers that vanished: killed, or out of memory."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.checks.finding import Finding
from cluster.checks.oom import Kills, kills

_CHECK = "workers"

_MEMORY = (
    "give the machine (or the container) more memory, or take smaller batches (RAYFOLD_MAX_EVENTS, RAYFOLD_MAX_BODY); nothing "
    "is lost: what the worker had not finished was done by the one after it"
)


def every(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Each process that lives by its name, those of the APIs too."""
    rows = [row for stage in status["stages"].values() for row in stage.get("workers", ())]
    rows += [row for api in status.get("apis", {}).values() for row in api]
    return {row["worker"]: row for row in rows}


def workers(status: Mapping[str, Any]) -> Finding:
    """By the status of the private API, and what this machine tells of processes that it killed."""
    lost = {one["worker"]: one for stage in status["stages"].values() for one in stage.get("lost", ())}
    here = os.uname().nodename
    pids = [row["pid"] for row in every(status).values() if row["node"] == here]
    return judged(list(lost.values()), kills(pids, time.monotonic()), here)


def judged(lost: Sequence[Mapping[str, Any]], killed: Kills, here: str) -> Finding:
    """`here`: the machine that `killed` is of."""
    out = {one["worker"] for one in lost if one["node"] == here and one["pid"] in killed.processes}
    if not lost:
        return Finding(_CHECK, True, "none has ended without saying so in the last day")
    names = "; ".join(
        f"{one['worker']} (process {one['pid']} on {one['node']}, last heard of {one['time']}"
        + (", killed by the kernel: out of memory)" if one["worker"] in out else ")")
        for one in lost
    )
    what = f"{len(lost)} ended without saying so in the last day and were replaced (SIGKILL, out of memory, or a fault): {names}"
    if out:
        return Finding(_CHECK, False, what, _MEMORY)
    if killed.in_groups:
        what += f". In their control group {killed.in_groups} processes were killed because its memory ran out"
        return Finding(_CHECK, False, what, f"raise the limit of memory: {_MEMORY}")
    look = (
        "this machine's kernel killed none of them for want of memory. Look into ray.log and GET /api/logs for a fault"
        if killed.is_told and all(one["node"] == here for one in lost)
        else "look for `Out of memory: Killed process` in their machine's journal (journalctl -k), and for OOM in ray.log"
    )
    return Finding(_CHECK, False, what, f"{look}. Where it is memory: {_MEMORY}")
