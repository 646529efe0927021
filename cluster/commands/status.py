"""`rayfold status`"""

import json
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

    table = Table(title=f"layout {found['layout']}, {found['partitions']} partitions, revision {found['revision']}")
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


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _error(row: dict[str, Any]) -> str:
    return f"{row['last_error_time']} {row['last_error']}" if row.get("last_error") else ""
