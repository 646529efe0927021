"""Waits until every worker acts on the newest definitions."""

import time

from cluster.client import Client
from pipeline.errors import Retry

#: Two seconds are promised; a busy machine gets more.
_DEADLINE_S = 30.0


def settled(client: Client, revision: int) -> None:
    """Until every worker has this revision or a newer one. Raises `Retry` when that takes too long."""
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        status = client.get("/status")
        rows = [row for stage in status["stages"].values() for row in stage["workers"]] + status["apis"]["public"]
        if rows and all(row["revision"] >= revision for row in rows):
            return
        if time.monotonic() > deadline:
            raise Retry(
                f"not every worker has definitions {revision} after {_DEADLINE_S:g} s: see `rayfold status --json`"
            )
        time.sleep(0.1)
