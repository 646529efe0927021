"""`rayfold source|destination|workflow|rule`"""

import json
from pathlib import Path
from typing import BinaryIO

import click

from cluster.client import at
from cluster.options import client_of, installation
from pipeline.errors import Malformed


def _group(name: str) -> click.Group:
    kind = f"{name}s"

    @click.group(name, help=f"List, show, write and delete {kind}.")
    def group() -> None:
        pass

    @group.command("list")
    @installation
    def list_all(data: Path | None, host: str | None, port: int | None) -> None:
        """Ids and names."""
        for row in client_of(data, host, port).pages(at(kind)):
            click.echo(f"{row['id']:<24} {row.get('name', '')}" + ("" if row.get("enabled", True) else "  (disabled)"))

    @group.command()
    @click.argument("id")
    @installation
    def get(id: str, data: Path | None, host: str | None, port: int | None) -> None:
        """One as JSON."""
        click.echo(json.dumps(client_of(data, host, port).get(at(kind, id)), indent=2, default=float))

    @group.command()
    @click.argument("id", required=False)
    @click.argument("file", type=click.File("rb"), default="-")
    @installation
    def put(id: str | None, file: BinaryIO, data: Path | None, host: str | None, port: int | None) -> None:
        """Create or replace from a JSON file or standard input; ID may stand in the JSON instead."""
        if id is not None and Path(id).is_file():
            body, id = Path(id).read_bytes(), None
        else:
            body = file.read()
        try:
            named = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Malformed(f"this is not JSON: {error}") from None
        id = id or (named.get("id") if isinstance(named, dict) else None)
        if not id or not isinstance(id, str):
            raise click.UsageError("name the id, on the command line or in the JSON")
        answer = client_of(data, host, port).call("PUT", at(kind, id), body)
        click.echo(f"{name} {id} is in force (revision {answer['revision']})")

    @group.command()
    @click.argument("id")
    @installation
    def delete(id: str, data: Path | None, host: str | None, port: int | None) -> None:
        """Delete one."""
        client_of(data, host, port).call("DELETE", at(kind, id))
        click.echo(f"{name} {id} is deleted")

    return group


source = _group("source")
destination = _group("destination")
workflow = _group("workflow")
rule = _group("rule")
