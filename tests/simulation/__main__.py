"""Runs schedules: `python -m tests.simulation --seeds 0:1000`."""

import argparse
import os
import sys
import time
from collections import Counter

from tests.simulation.guards import GUARDS, Guard, by_name, switched_off
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
    parser.add_argument("--only", help="faults, separated by commas; each schedule draws its own unless given")
    parser.add_argument("--without", help="a mechanism to switch off, or `each`: see tests/simulation/guards.py")
    given = parser.parse_args()
    first, last = (int(part) for part in given.seeds.split(":"))
    only = given.only.split(",") if given.only is not None else None
    if given.without:
        return without(given.without)
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


def without(name: str) -> int:
    """Say which schedule goes wrong first without it; exit status 1 when none does."""
    missing = 0
    for guard in GUARDS if name == "each" else [by_name()[name]]:
        began = time.monotonic()
        seed, wrong = red(guard)
        missing += not wrong
        print(
            f"{guard.name}: {f'seed {seed}: {wrong[0][:150]}' if wrong else 'NOT NEEDED'} ({time.monotonic() - began:.1f} s)"
        )
        sys.stdout.flush()
    return 1 if missing else 0


def red(guard: Guard) -> tuple[int, list[str]]:
    """The first schedule that goes wrong without it, and how."""
    for seed in range(guard.within):
        world = World(seed, guard.only, by_age=guard.by_age)
        if guard.world is not None:
            guard.world(world)
        with switched_off(guard):
            wrong = world.run()
        if wrong:
            return seed, wrong
    return guard.within, []


if __name__ == "__main__":
    sys.exit(main())
