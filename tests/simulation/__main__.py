"""`python -m tests.simulation`: runs schedules, or shows what goes wrong without each mechanism.

A failing schedule is run again, the same to the last step, by its seed: `--seeds 123:124`.
"""

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count

from tests.simulation.guards import GUARDS, by_name, needed
from tests.simulation.world import World

#: Schedules a process runs before it says how they went.
_CHUNK = 25

#: Of a failing schedule, this many faults are shown.
_SHOWN = 6


def main() -> int:
    """Exit status 1 when a schedule failed, or when none did without some mechanism."""
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets of strings is part of a schedule
        again = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", metavar="FIRST:LAST", help="0:1000 unless given")
    parser.add_argument("--hours", type=float, help="go on for that long, from seeds nobody has tried unless given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    parser.add_argument("--only", help="faults, separated by commas; each schedule draws its own unless given")
    parser.add_argument("--without", help="a mechanism of tests/simulation/guards.py, or `each`")
    parser.add_argument("--verbose", action="store_true", help="what the program says")
    given = parser.parse_args()
    if given.verbose:
        logging.basicConfig(format="%(name)s %(message)s")
    with ProcessPoolExecutor(given.jobs) as pool:
        if given.without:
            return _guards(pool, given.without)
        only = given.only.split(",") if given.only is not None else None
        fresh = f"{int(time.time()) * 1000}:0" if given.hours else "0:1000"
        first, last = (int(part) for part in (given.seeds or fresh).split(":"))
        return _schedules(pool, partial(_run, only, given.verbose), first, last, given.hours)


def _run(only: Sequence[str] | None, verbose: bool, seeds: range) -> tuple[list[str], Counter[str]]:
    """What to say of the schedules that failed, and what happened in all."""
    said: list[str] = []
    happened: Counter[str] = Counter()
    for seed in seeds:
        world = World(seed, only, verbose=verbose)
        wrong = world.run()
        happened.update(world.happened)
        happened.update(world.broker.seen)
        happened.update(world.shards.seen)
        happened["payloads answered 200"] += sum(sent.answered for client in world.clients for sent in client.sent)
        if wrong:
            shown = "\n".join(f"    {one[:300]}" for one in wrong[:_SHOWN])
            said.append(f"seed {seed} fails under {', '.join(sorted(world.on))}\n{shown}")
    return said, happened


def _schedules(
    pool: ProcessPoolExecutor,
    run: "partial[tuple[list[str], Counter[str]]]",
    first: int,
    last: int,
    hours: float | None,
) -> int:
    began = time.monotonic()
    failed = ran = 0
    happened: Counter[str] = Counter()
    end = None if hours is None else began + hours * 3600
    for said, more in _ahead(pool, run, _chunks(first, None if hours else last), end):
        ran += _CHUNK if hours else min(_CHUNK, last - first - ran)
        failed += len(said)
        happened.update(more)
        for one in said:
            print(one, flush=True)
    for what, times in sorted(happened.items()):
        print(f"{times:>10,}  {what}")
    print(f"{failed} of {ran:,} schedules failed, from seed {first:,} on, in {time.monotonic() - began:,.0f} s")
    return 1 if failed else 0


def _chunks(first: int, last: int | None) -> Iterator[range]:
    for start in count(first, _CHUNK):
        if last is not None and start >= last:
            return
        yield range(start, start + _CHUNK if last is None else min(last, start + _CHUNK))


def _ahead(
    pool: ProcessPoolExecutor,
    run: "partial[tuple[list[str], Counter[str]]]",
    chunks: Iterable[range],
    end: float | None,
) -> Iterator[tuple[list[str], Counter[str]]]:
    """The outcomes in order, a few chunks being under way; none is begun after `end`."""
    under_way = []
    for chunk in chunks:
        if end is not None and time.monotonic() > end:
            break
        under_way.append(pool.submit(run, chunk))
        if len(under_way) > 8:
            yield under_way.pop(0).result()
    for one in under_way:
        yield one.result()


def _guards(pool: ProcessPoolExecutor, name: str) -> int:
    names = [guard.name for guard in GUARDS] if name == "each" else [by_name()[name].name]
    useless = 0
    for found, (seed, wrong, restored) in zip(names, pool.map(needed, names), strict=True):
        if not wrong:
            said = f"no schedule of {seed} fails without it"
        elif restored:
            said = f"seed {seed} fails with it too: {restored[0][:100]}"
        else:
            said = f"needed; seed {seed} without it: {wrong[0][:100]}"
        useless += not wrong or bool(restored)
        print(f"{found:<34}{said}", flush=True)
    return 1 if useless else 0


if __name__ == "__main__":
    sys.exit(main())
