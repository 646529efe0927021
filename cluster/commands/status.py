"""`rayfold status`"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cluster.options import client_of, installation


@click.command()
@installation
@click.option("--json", "as_json", is_flag=True)
def status(data: Path | None, host: str | None, port: int | None, as_json: bool) -> None:
    """Per stage: workers, partitions, counters, backlog, lag, last error."""
    found = client_of(data, host, port).get("/status")
    if as_json:
        click.echo(json.dumps(found, indent=2, default=float))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title(found))
    columns = (
        "wanted",
        "alive",
        "partitions",
        "received",
        "handled",
        "failed",
        "dead",
        "backlog",
        "lag_seconds",
        "restarts",
    )
    for name in ("stage", *columns, "last error"):
        table.add_column(name.replace("_", " "), overflow="fold")
    for name, row in found["stages"].items():
        table.add_row(name, *(_text(row.get(column)) for column in columns), _error(row))
    Console().print(table)


def title(found: Mapping[str, Any]) -> str:
    """What holds for all stages, and which are not where one looks for them."""
    said = f"layout {found['layout']}, {found['partitions']} partitions, revision {found['revision']}"
    if not found["collector_enabled"]:
        said += "\nthe collector has no workers of its own: it runs inside the public API"
    if not found["workflow_enabled"]:
        said += "\nworkflows are switched off: RAYFOLD_WORKFLOW_ENABLED=true switches them on"
    return said


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _error(row: dict[str, Any]) -> str:
    return f"{row['last_error_time']} {row['last_error']}" if row.get("last_error") else ""
