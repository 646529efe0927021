"""`rayfold dead`"""

from pathlib import Path
from typing import Any

import click

from cluster.client import Client, at
from cluster.options import client_of, installation
from pipeline.errors import RayfoldError


@click.group()
def dead() -> None:
    """Deliveries that were given up."""


@dead.command("list")
@installation
@click.option("--destination", default="")
def list_dead(data: Path | None, host: str | None, port: int | None, destination: str) -> None:
    """What waits for a decision; ``sending`` is what somebody tries just now, or went away over."""
    for letter in _open(client_of(data, host, port), destination):
        state = "" if letter["state"] == "waiting" else f"  ({letter['state']})"
        said = (letter["id"], letter["time"], letter["destination"], letter["type"], letter["reason"])
        click.echo("  ".join(said) + state)


def _open(client: Client, destination: str) -> list[dict[str, Any]]:
    return [
        letter
        for state in ("waiting", "sending")
        for letter in client.pages("/dead-letters", state=state, destination=destination)
    ]


def _each(client: Client, ids: tuple[str, ...], destination: str, is_all: bool, action: str) -> None:
    if not ids and not destination and not is_all:
        raise click.UsageError("name dead letters by id, all of a destination with --destination, or --all")
    chosen = ids or tuple(letter["id"] for letter in _open(client, destination))
    failed = 0
    for id in chosen:
        try:
            click.echo(f"{id}  {client.call('POST', at('dead-letters', id, action))['state']}")
        except RayfoldError as error:
            failed += 1
            click.echo(f"{id}  {error}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


@dead.command()
@click.argument("ids", nargs=-1)
@installation
@click.option("--destination", default="", help="All of this destination.")
@click.option("--all", "is_all", is_flag=True, help="All there are.")
def send(
    ids: tuple[str, ...], data: Path | None, host: str | None, port: int | None, destination: str, is_all: bool
) -> None:
    """Try them once more, now."""
    _each(client_of(data, host, port), ids, destination, is_all, "send")


@dead.command()
@click.argument("ids", nargs=-1)
@installation
@click.option("--destination", default="", help="All of this destination.")
@click.option("--all", "is_all", is_flag=True, help="All there are.")
def drop(
    ids: tuple[str, ...], data: Path | None, host: str | None, port: int | None, destination: str, is_all: bool
) -> None:
    """Give them up for good."""
    _each(client_of(data, host, port), ids, destination, is_all, "drop")
