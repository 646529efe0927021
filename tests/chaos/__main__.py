"""`make chaos`: real kills and stops of every process of an installation under load, with a verdict after each."""

import random
import shlex
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from cluster.setting_values import LAYOUTS
from tests.chaos import faults
from tests.chaos.campaign import SERVERS, campaign, fillings
from tests.chaos.conditions import conditions
from tests.chaos.disk import NoSmallDisk
from tests.chaos.faults import Fault
from tests.chaos.report import Found, written
from tests.chaos.rounds import Outcome

#: A kind of another sort: nothing is killed.
_DISK = "disk"

_HOWS = (faults.KILL, faults.STOP)


def _list(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


@click.command()
@click.option("--rounds", default=20, show_default=True, help="Of each kind.")
@click.option("--kinds", default="", callback=_list, help="With commas between them; all that a layout has.")
@click.option("--hows", default="kill,stop", show_default=True, callback=_list, help="What is done to them.")
@click.option("--layouts", default="compact,v1.1", show_default=True, callback=_list)
@click.option("--seed", default=1, show_default=True, help="Of all that is left to chance.")
@click.option("--stop-seconds", default=30.0, show_default=True, help="How long a stop lasts.")
@click.option("--together", is_flag=True, help="All layouts at once: sooner done, slower to recover.")
@click.option(
    "--servers", "on_servers", is_flag=True, help="On Pulsar, Elasticsearch and MariaDB, which suffer too; v1.1."
)
@click.option("--report", type=click.Path(path_type=Path), help="Write the figures here.")
def chaos(
    rounds: int,
    kinds: list[str],
    hows: list[str],
    layouts: list[str],
    seed: int,
    stop_seconds: float,
    together: bool,
    on_servers: bool,
    report: Path | None,
) -> None:
    """Kill and stop every process of a real installation under load; exit status 1 when anything went wrong."""
    if on_servers:
        layouts = ["v1.1"]
    servers = SERVERS if on_servers else ()
    plan = {layout: _plan(layout, rounds, kinds, hows, seed, servers) for layout in layouts}
    under = conditions(f'make chaos ARGS="{shlex.join(sys.argv[1:])}"', stop_seconds)
    count = sum(map(len, plan.values()))
    found = Found(count)

    def tell(line: str) -> None:
        click.echo(line)
        if report is not None:
            report.write_text(written(under, found))

    def run(layout: str) -> None:
        try:
            rounds_of(layout)
        except AssertionError as error:  # an installation that does not start, or lets a second one start
            found.broken[layout] = str(error).partition("\n")[0]
            tell(f"{layout}: GIVEN UP: {error}")

    def rounds_of(layout: str) -> None:
        if not on_servers and (not kinds or _DISK in kinds):
            _fill(layout, rounds, found, tell)
        chance = random.Random(f"{seed} {layout} moments")
        for outcome in campaign(layout, plan[layout], chance, stop_seconds, found.seconds, click.echo, on_servers):
            found.outcomes.append(outcome)
            tell(f"{len(found.outcomes)}/{count} {_line(outcome)}")

    with ThreadPoolExecutor(len(layouts) if together else 1) as threads:
        list(threads.map(run, layouts))
    if any(one.problem for one in found.outcomes) or any(one.problems for one in found.filled):
        raise click.exceptions.Exit(1)
    if found.untried or found.broken:
        raise click.exceptions.Exit(1)


def _fill(layout: str, rounds: int, found: Found, tell: Callable[[str], None]) -> None:
    try:
        for filled in fillings(layout, rounds, click.echo):
            found.filled.append(filled)
            tell(f"{layout}: full disk: recovered {filled.recovered_s:.1f} s{' WRONG' if filled.problems else ''}")
    except NoSmallDisk as reason:
        found.untried[layout] = str(reason)
        tell(f"{layout}: FULL DISK NOT TRIED: {reason}")


def _plan(
    layout: str, rounds: int, kinds: Sequence[str], hows: Sequence[str], seed: int, servers: Sequence[str]
) -> list[Fault]:
    """Each round has every fault once, in an order left to chance."""
    if layout not in LAYOUTS:
        raise click.BadParameter(f"{layout} is no layout; use {', '.join(LAYOUTS)}")
    if not set(hows) <= set(_HOWS):
        raise click.BadParameter(f"--hows takes {', '.join(_HOWS)}")
    try:
        wanted = dict.fromkeys(
            faults.kind(name, layout, servers) for name in kinds or faults.kinds(layout, servers) if name != _DISK
        )
    except KeyError as error:
        raise click.BadParameter(
            f"{error} is no kind; use {', '.join((*faults.kinds(layout, servers), _DISK))}"
        ) from None
    chance = random.Random(f"{seed} {layout}")
    plan = []
    for _ in range(rounds):
        every = [faults.fault(kind, how, layout, chance, servers) for kind in wanted for how in hows]
        chance.shuffle(every)
        plan += every
    return plan


def _line(outcome: Outcome) -> str:
    verdict = outcome.verdict
    found = f"{outcome.events} events"
    if verdict is not None:
        found += f", {verdict.lost} lost, {verdict.doubled} doubled, {verdict.disordered} out of order"
    times = ", ".join(
        f"{name} {value:.1f} s"
        for name, value in (
            ("recovered", outcome.recovered_s), ("after waking", outcome.woken_s), ("whole", outcome.whole_s),
        )
        if value is not None
    )  # fmt: skip
    anew = ", head started anew" if outcome.head_anew else ""
    return f"{outcome.layout}: {outcome.fault}: {found}; {times}{anew}{' WRONG' if outcome.problem else ''}"


if __name__ == "__main__":
    chaos()
