"""`rayfold secret`"""

import json
import sys
from pathlib import Path

import click

from cluster.options import client_of, installation


@click.group()
def secret() -> None:
    """Values that definitions refer to as ${NAME}."""


@secret.command()
@click.argument("name")
@installation
def put(name: str, data: Path | None, host: str | None, port: int | None) -> None:
    """Store a value read from standard input."""
    value = sys.stdin.read().rstrip("\n")
    client_of(data, host, port).call("PUT", f"/secrets/{name}", json.dumps({"value": value}).encode())
    click.echo(f"secret {name} is stored")


@secret.command("list")
@installation
def list_secrets(data: Path | None, host: str | None, port: int | None) -> None:
    """Names only."""
    for row in client_of(data, host, port).get("/secrets")["items"]:
        click.echo(row["id"])
