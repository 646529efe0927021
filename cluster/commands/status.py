"""`rayfold status`"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from cluster.options import client_of, installation

#: What is shown of each stage, under which heading: it has to fit 80 characters.
_COLUMNS = {
    "workers": "workers",
    "partitions": "held",
    "received": "received",
    "handled": "handled",
    "failed": "failed",
    "dead": "dead",
    "backlog": "backlog",
    "lag_seconds": "lag s",
    "restarts": "restarts",
}


@click.command()
@installation
@click.option("--json", "as_json", is_flag=True)
def status(data: Path | None, host: str | None, port: int | None, as_json: bool) -> None:
    """Per stage: workers alive of those wanted, partitions held, counters, backlog, lag, restarts, last error."""
    found = client_of(data, host, port).get("/status")
    if as_json:
        click.echo(json.dumps(found, indent=2, default=float))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("stage", *_COLUMNS.values()):
        table.add_column(name, no_wrap=True)
    for name, row in found["stages"].items():
        shown = {**row, "workers": f"{row['alive']}/{row['wanted']}"}
        table.add_row(name, *(_text(shown.get(column)) for column in _COLUMNS))
    click.echo(title(found))
    Console().print(table)
    for line in troubles(found["stages"]):
        click.echo(line)


def troubles(stages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each stage's last error, and for each stage and destination that waits for somebody."""
    lines = [
        f"{name}: {row['last_error_time']} {row['last_error']}" for name, row in stages.items() if row.get("last_error")
    ]
    lines += [f"{name} waits: {row['waiting']}" for name, row in stages.items() if row.get("waiting")]
    for row in stages.values():
        lines += [f"destination {id} is paused: {why}" for id, why in row.get("paused", {}).items()]
    return lines


def without_group(destinations: Iterable[str]) -> list[str]:
    """A line for each that nobody reads for."""
    return [
        f"destination {id} has no group on the log: what comes is not delivered to it; see `rayfold doctor`"
        for id in destinations
    ]


def title(found: Mapping[str, Any]) -> str:
    """What holds for all stages, and which are not where one looks for them."""
    said = f"layout {found['layout']}, {found['partitions']} partitions, revision {found['revision']}"
    if found["refuses"]:
        said += f"\nno event can be taken, and heartbeats may be missing: {found['refuses']}"
    said += "".join(f"\n{line}" for line in without_group(found["without_group"]))
    if not found["controlled"]:
        said += "\nRay Serve's controller does not answer: no worker is replaced"
    if not found["collector_enabled"]:
        said += "\nthe collector has no workers of its own: it runs inside the public API"
    if not found["workflow_enabled"]:
        said += "\nworkflows are switched off: RAYFOLD_WORKFLOW_ENABLED=true switches them on"
    return said


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
