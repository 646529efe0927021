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

from cluster import folder, measured
from cluster.bench_load import Bodies, closed_loop
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
        bodies = Bodies(f"b{os.getpid()}")
        print("ready", flush=True)
        for line in sys.stdin:
            before, began = measured.cpu_seconds(head.members()), time.perf_counter()
            if load == "single":
                answers = asyncio.run(closed_loop(settings.port, 64, float(line), lambda: bodies.one()[1], 1))
            else:
                batch = lambda: bodies.batch(_BATCH)  # noqa: E731  (one line, like the other)
                answers = asyncio.run(closed_loop(settings.port, 8, float(line), batch, _BATCH))
            while not client.get("/account")["quiet"]:
                time.sleep(_LOOK_S)
            seconds = time.perf_counter() - began
            after = measured.cpu_seconds(head.members())
            spent = {role: spent_s - before.get(role, 0.0) for role, spent_s in after.items()}
            print(json.dumps({"events": answers.events, "seconds": seconds, "cpu_s": spent}), flush=True)
    finally:
        subprocess.run([*run, "down"], env=environment, check=False, capture_output=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
