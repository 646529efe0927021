"""`rayfold replay`"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cluster.client import Client, at
from cluster.options import client_of, installation
from pipeline.topics import DESTINATION_GROUPS, STORE_GROUP

#: Between two questions how far it is, at first and at most: the answer takes longer in a large log.
_FIRST_LOOK_S = 0.5
_LONGEST_LOOK_S = 5.0

#: Without a terminal, how often a line says how far it is.
_LINE_S = 5.0

#: Counting reads everything once.
_COUNTING_S = 3600.0

_COUNTED = ("deliveries", "events", "receipts", "sessions", "profiles", "runs")


@click.command()
@click.argument("group", required=False)
@installation
@click.option("--from", "from_", metavar="TIME", help="What was processed from then on, such as 2026-01-31T12:00:00Z.")
@click.option("--dry-run", is_flag=True, help="Only count what it would come to.")
@click.option("--detach", is_flag=True, help="Do not wait until it has ended.")
@click.option("--end", "ended", metavar="ID", help="End a replay where it is, or forget one that has ended.")
def replay(
    group: str | None,
    data: Path | None,
    host: str | None,
    port: int | None,
    from_: str | None,
    dry_run: bool,
    detach: bool,
    ended: str | None,
) -> None:
    """Feed a destination (its id) or the document store (`store`) again from the log; without GROUP: list replays."""
    client = client_of(data, host, port)
    if ended:
        client.call("DELETE", at("replays", ended))
        click.echo(f"replay {ended} is ended")
    elif not group:
        for one in client.get("/replays")["items"]:
            click.echo(f"{one['id']}  {one['time']}  {one['group']}  from {one['from']}  {_state(one)}")
    elif not from_:
        raise click.UsageError("say from when on with --from TIME")
    elif dry_run:
        _plan(client.waiting(_COUNTING_S), _asked(group, from_, dry_run=True))
    else:
        _begin(client, _asked(group, from_, dry_run=False), detach)


def _asked(group: str, from_: str, *, dry_run: bool) -> bytes:
    """`group` as it is, or a destination by its id."""
    if group != STORE_GROUP and not group.startswith(DESTINATION_GROUPS):
        group = DESTINATION_GROUPS + group
    return json.dumps({"group": group, "from": from_, "dry_run": dry_run}).encode()


def _plan(client: Client, asked: bytes) -> None:
    plan = client.call("POST", "/replays", asked)
    _warn(plan)
    for part in plan["partitions"]:
        span = f", {part['first']} to {part['last']}" if part["first"] else ""
        click.echo(f"partition {part['partition']}: {_counted(part)}{span}")
    click.echo(f"in all: {_counted(plan)}; nothing was changed")


def _counted(counts: dict[str, Any]) -> str:
    return f"{counts['envelopes']:,} envelopes" + "".join(f", {counts[n]:,} {n}" for n in _COUNTED if n in counts)


def _warn(answer: dict[str, Any]) -> None:
    if answer["log_begins"]:
        click.echo(f"the log no longer holds everything from before {answer['log_begins']}", err=True)


def _begin(client: Client, asked: bytes, detach: bool) -> None:
    one = client.call("POST", "/replays", asked)
    _warn(one)
    click.echo(f"replay {one['id']} of {one['group']} from {one['from']}: {one['records']:,} records")
    if not detach:
        click.echo(_state(_follow(client, one)))


def _follow(client: Client, one: dict[str, Any]) -> dict[str, Any]:
    """Until it has ended, with a progress bar (lines when there is no terminal); ended by Ctrl-C it goes on by itself."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    in_terminal = sys.stdout.isatty()
    said = time.monotonic()
    state = one
    with Progress(*columns, console=Console(), disable=not in_terminal) as progress:
        task = progress.add_task(one["group"], total=one["records"] or 1)
        for state in _states(client, one["id"]):
            progress.update(task, completed=one["records"] - min(state["left"], one["records"]))
            if not in_terminal and time.monotonic() - said > _LINE_S:
                said = time.monotonic()
                click.echo(_state(state))
    return state


def _states(client: Client, id: str) -> Iterator[dict[str, Any]]:
    pause = _FIRST_LOOK_S
    while True:
        state = client.get(at("replays", id))
        yield state
        if state["state"] != "running":
            return
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_LOOK_S)


def _state(one: dict[str, Any]) -> str:
    left = f", {one['left']:,} records left" if one["left"] else ""
    return (
        str(one["state"]) + left + "".join(f", {one[name]:,} {name}" for name in ("delivered", "dead") if name in one)
    )
