"""`rayfold dead`"""

from pathlib import Path

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
    """What waits for a decision."""
    for letter in client_of(data, host, port).pages("/dead-letters", state="waiting", destination=destination):
        click.echo(f"{letter['id']}  {letter['time']}  {letter['destination']}  {letter['type']}  {letter['reason']}")


def _each(client: Client, ids: tuple[str, ...], destination: str, action: str) -> None:
    if not ids and not destination:
        raise click.UsageError("name dead letters by id, or all of a destination with --destination")
    chosen = ids or tuple(
        letter["id"] for letter in list(client.pages("/dead-letters", state="waiting", destination=destination))
    )
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
def send(ids: tuple[str, ...], data: Path | None, host: str | None, port: int | None, destination: str) -> None:
    """Try them once more, now."""
    _each(client_of(data, host, port), ids, destination, "send")


@dead.command()
@click.argument("ids", nargs=-1)
@installation
@click.option("--destination", default="", help="All of this destination.")
def drop(ids: tuple[str, ...], data: Path | None, host: str | None, port: int | None, destination: str) -> None:
    """Give them up for good."""
    _each(client_of(data, host, port), ids, destination, "drop")
