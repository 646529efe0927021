"""One installation of a comparison, run by its own checkout's Python: loaded for so long as each line of input says.

`python side.py DATA PORT LOAD`, from the checkout's folder, with that folder in PYTHONPATH. Starts it, says `ready`, answers each
line with figures as JSON, stops it at the end of input.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from cluster import folder, measured
from cluster.bench_load import Answers, Bodies, closed_loop
from cluster.client import Client
from cluster.head import Head
from cluster.settings import read_settings
from cluster.settled import settled

_BATCH = 100
_LOOK_S = 0.05


def main(data: str, port: str, load: str) -> None:
    """Until the end of input."""
    run = [sys.executable, "-m", "cluster"]
    wanted = {"RAYFOLD_DATA": data, "RAYFOLD_PORT": port}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAYFOLD_")} | wanted
    subprocess.run([*run, "up", "--detach"], env=environment, check=True, stdout=subprocess.DEVNULL)
    try:
        settings, _ = folder.prepare(read_settings(wanted))
        client, head = Client(settings), Head(settings)
        settled(client, client.call("PUT", "/sources/bench", b"{}")["revision"])
        drive = _driver(settings.port, load)
        print("ready", flush=True)
        for line in sys.stdin:
            before, began = measured.cpu_seconds(head.members()), time.perf_counter()
            answers = asyncio.run(drive(float(line)))
            while not client.get("/account")["quiet"]:
                time.sleep(_LOOK_S)
            seconds = time.perf_counter() - began
            after = measured.cpu_seconds(head.members())
            spent = {role: spent_s - before.get(role, 0.0) for role, spent_s in after.items()}
            print(json.dumps({"events": answers.events, "seconds": seconds, "cpu_s": spent}), flush=True)
    finally:
        subprocess.run([*run, "down"], env=environment, check=False, capture_output=True)


def _driver(port: int, load: str) -> Callable[[float], Coroutine[Any, Any, Answers]]:
    """Seconds → a closed loop for so long, as `rayfold bench` has it."""
    bodies = Bodies(f"b{os.getpid()}")
    if load == "single":
        return lambda seconds: closed_loop(port, 64, seconds, lambda: bodies.one()[1], 1)
    return lambda seconds: closed_loop(port, 8, seconds, lambda: bodies.batch(_BATCH), _BATCH)


if __name__ == "__main__":
    main(*sys.argv[1:])
