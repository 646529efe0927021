"""`make beside OTHER=folder`: this checkout and another one, both up at once and loaded in turn, a second each.

A machine whose speed changes from minute to minute says nothing of two runs one after the other. Here both sides meet the same
minutes: what is told is the median over the pairs of slices, and the quartiles around it.
"""

import json
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import click

from cluster.ports import free_ports

_WARM_S = 2.0

#: Seconds → the figures of a slice of that length.
Ask = Callable[[float], Mapping[str, Any]]


@click.command()
@click.argument("other", type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path))
@click.option("--load", type=click.Choice(["single", "batch"]), default="single", show_default=True)
@click.option("--slices", default=40, show_default=True, help="Of each side.")
@click.option("--seconds", default=1.0, show_default=True, help="Length of a slice.")
def beside(other: Path, load: str, slices: int, seconds: float) -> None:
    """Compare this checkout with OTHER, whose .venv is ready; prints events a second and CPU time of both."""
    trees = (other, Path.cwd())
    with ExitStack() as stack:
        asks = [stack.enter_context(_side(tree, load)) for tree in trees]
        for ask in asks:
            ask(_WARM_S)
        pairs = []
        for number in range(slices):
            found = {}
            for place in (0, 1) if number % 2 else (1, 0):
                found[place] = asks[place](seconds)
            pairs.append((found[0], found[1]))
    for name, figures in zip(("other", "this"), zip(*pairs, strict=True), strict=True):
        click.echo(f"{name:<6} {_summed(figures)}")
    for what, of in (("CPU time per event", _cpu_s), ("events a second", _rate)):
        low, middle, high = quantiles([of(this) / of(that) for that, this in pairs], n=4)
        click.echo(f"{what}, this / other: {middle:.2f} (quartiles {low:.2f} to {high:.2f})")


@contextmanager
def _side(tree: Path, load: str) -> Iterator[Ask]:
    (port,) = free_ports(1)
    program = [tree / ".venv/bin/python", Path(__file__).with_name("side.py")]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    with tempfile.TemporaryDirectory(prefix="rayfold-beside-") as data:
        process = subprocess.Popen(
            [*program, f"{data}/data", str(port), load],
            cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline().strip() != "ready":
                raise click.ClickException(f"the installation of {tree} did not start")
            yield lambda seconds: _asked(process, seconds)
        finally:
            process.stdin.close()
            process.wait()


def _asked(process: "subprocess.Popen[str]", seconds: float) -> Mapping[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    answer: Mapping[str, Any] = json.loads(process.stdout.readline())
    return answer


def _cpu_s(figures: Mapping[str, Any]) -> float:
    return float(sum(figures["cpu_s"].values()) / figures["events"])


def _rate(figures: Mapping[str, Any]) -> float:
    return float(figures["events"] / figures["seconds"])


def _summed(figures: Sequence[Mapping[str, Any]]) -> str:
    events = sum(one["events"] for one in figures)
    rate = events / sum(one["seconds"] for one in figures)
    cpu_s: Counter[str] = Counter()
    for one in figures:
        cpu_s.update(one["cpu_s"])
    parts = ", ".join(f"{part} {spent / events * 1000:.3f}" for part, spent in sorted(cpu_s.items()))
    total = sum(cpu_s.values()) / events * 1000
    return f"{events:,} events, {rate:,.0f} a second end to end, {total:.3f} CPU-s per 1,000 ({parts})"


if __name__ == "__main__":
    beside()
