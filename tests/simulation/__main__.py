"""Runs schedules: `python -m tests.simulation --seeds 0:1000`."""

import argparse
import os
import sys
import time
from collections import Counter

from tests.simulation.world import World


def main() -> int:
    """Exit status 1 when a schedule failed."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="0:100")
    parser.add_argument("--only", help="faults, separated by commas")
    given = parser.parse_args()
    first, last = (int(part) for part in given.seeds.split(":"))
    only = given.only.split(",") if given.only is not None else None
    failed = 0
    began = time.monotonic()
    coverage: Counter[str] = Counter()
    for seed in range(first, last):
        world = World(seed, only)
        wrong = world.run()
        coverage.update({**world.happened, **world.broker.seen, **world.shards.seen})
        if wrong:
            failed += 1
            print(f"seed {seed}: {sorted(world.on)}")
            for one in wrong[:6]:
                print(f"    {one[:400]}")
            sys.stdout.flush()
    print(f"{failed} of {last - first} schedules fail ({time.monotonic() - began:.1f} s)")
    print(dict(sorted(coverage.items())))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
