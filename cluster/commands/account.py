"""`rayfold account`"""

import json
from pathlib import Path
from typing import Any

import click

from cluster.commands.status import without_group
from cluster.options import client_of, installation

_TERMS = ("stored", "duplicate", "rejected", "not_stored", "dead", "in_flight")


@click.command()
@installation
@click.option("--json", "as_json", is_flag=True)
@click.option("--verify", is_flag=True, help="Count the documents too.")
def account(data: Path | None, host: str | None, port: int | None, as_json: bool, verify: bool) -> None:
    """What became of every event; exit status 1 when it does not balance."""
    found = client_of(data, host, port).get("/account", verify=str(verify).lower())
    click.echo(json.dumps(found, indent=2, default=float) if as_json else as_text(found))
    agrees = found["balanced"] and found["verified"] is not False
    if not agrees:
        click.echo(_disagreement(found), err=True)
        raise click.exceptions.Exit(1)


def as_text(found: dict[str, Any]) -> str:
    """The account as it is printed."""
    width = max(len(f"{found['accepted']:,}"), 7)
    lines = [f"  accepted    {found['accepted']:>{width},}"]
    for index, name in enumerate(_TERMS):
        lines.append(f"{'=' if index == 0 else '+'} {name:<11} {found[name]:>{width},}")
    lines.append(f"  internal    {found['internal']:>{width},}   (made by Rayfold itself)")
    for id, row in found["destinations"].items():
        lines.append(f"  destination {id}: " + ", ".join(f"{key} {value:,}" for key, value in row.items()))
    lines += [f"  {line}" for line in without_group(found["without_group"])]
    for id, row in found["replays"].items():
        lines.append(f"  replay {id}: " + ", ".join(f"{key} {value:,}" for key, value in row.items()))
    lines.append("  workflows: " + ", ".join(f"{key} {value:,}" for key, value in found["workflows"].items()))
    if found["verified"] is not None:
        counted = ", ".join(f"{key} {value:,}" for key, value in found["documents"].items())
        lines.append(f"  documents counted: {counted}")
    if found["balanced"] and found["verified"] is not False:
        lines.append("  it balances" + (", and the documents agree" if found["verified"] else ""))
    return "\n".join(lines)


def _disagreement(found: dict[str, Any]) -> str:
    if not found["balanced"]:
        return "rayfold: the account does not balance: run `rayfold doctor`, and keep the data folder as it is"
    return (
        f"rayfold: the documents do not agree with the account: {', '.join(found['differences'])}; "
        "something else has written to the store, or it lost what it had confirmed"
    )
