"""`rayfold secret`"""

import json
import sys
from pathlib import Path

import click

from cluster.client import at
from cluster.options import client_of, installation
from pipeline.errors import Malformed


@click.group()
def secret() -> None:
    """Values that definitions refer to as ${NAME}."""


@secret.command()
@click.argument("name")
@installation
def put(name: str, data: Path | None, host: str | None, port: int | None) -> None:
    """Store a value read from standard input."""
    try:
        value = sys.stdin.read().rstrip("\n")
    except UnicodeDecodeError:
        raise Malformed("the value is not UTF-8: encode it as text, in base64 for instance") from None
    client_of(data, host, port).call("PUT", at("secrets", name), json.dumps({"value": value}).encode())
    click.echo(f"secret {name} is stored")


@secret.command("list")
@installation
def list_secrets(data: Path | None, host: str | None, port: int | None) -> None:
    """Names only."""
    for row in client_of(data, host, port).get("/secrets")["items"]:
        click.echo(row["id"])
