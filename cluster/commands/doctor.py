"""`rayfold doctor`"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from cluster.client import Client
from cluster.options import installation, settings_of
from cluster.settings import Settings
from pipeline.errors import RayfoldError

#: Less room than this on the data folder's disk is a finding.
_LITTLE_ROOM_BYTES = 1_000_000_000

#: A stage this far behind is a finding.
_MUCH_LAG_S = 60.0


class Finding(NamedTuple):
    """One check; `cure` is empty when all is well."""

    check: str
    ok: bool
    what: str
    cure: str = ""


@click.command()
@installation
@click.option("--json", "as_json", is_flag=True)
def doctor(data: Path | None, host: str | None, port: int | None, as_json: bool) -> None:
    """Check every dependency; says what is wrong and what to do. Exit status 1 when something is."""
    settings = settings_of(data=data, host=host, port=port)
    findings = examine(settings)
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(f"{'ok  ' if finding.ok else 'BAD '} {finding.check}: {finding.what}")
            if finding.cure:
                click.echo(f"     → {finding.cure}")
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(1)


def examine(settings: Settings) -> list[Finding]:
    """All checks, as far as they can be made."""
    findings = [_disk(settings)]
    try:
        client = Client(settings)
        status = client.get("/status")
    except RayfoldError as error:
        return [*findings, Finding("private API", False, str(error), "start it, or name its folder and port")]
    findings.append(Finding("private API", True, f"answers at {settings.url}"))
    for name, row in status["stages"].items():
        findings.append(_stage(name, row, status))
    findings.append(_attempt("account", lambda: _account(client)))
    return findings


def _disk(settings: Settings) -> Finding:
    try:
        free = shutil.disk_usage(settings.data).free
    except OSError as error:
        return Finding("data folder", False, f"{settings.data}: {error.strerror}", "name the right one with --data")
    text = f"{free / 1e9:.1f} GB free at {settings.data}"
    if free < _LITTLE_ROOM_BYTES:
        return Finding("disk", False, text, "free space: with a full disk the public API answers 503")
    return Finding("disk", True, text)


def _stage(name: str, row: dict[str, Any], status: dict[str, Any]) -> Finding:
    if name == "executor" and not status["workflow_enabled"]:
        return Finding(name, True, "switched off: no workflow runs (RAYFOLD_WORKFLOW_ENABLED=true switches it on)")
    if not row["alive"]:
        return Finding(name, False, "no worker is alive", "look into the folder's ray.log and `rayfold status`")
    lag = float(row.get("lag_seconds") or 0)
    if lag > _MUCH_LAG_S:
        error = row.get("last_error") or "no error was reported"
        return Finding(name, False, f"{lag:.0f} s behind, {row['backlog']} records waiting", f"last error: {error}")
    return Finding(name, True, f"{row['alive']} alive, {row['backlog']} records waiting")


def _attempt(check: str, examine_it: Callable[[], Finding]) -> Finding:
    try:
        return examine_it()
    except RayfoldError as error:
        return Finding(check, False, str(error), "see `rayfold status`")


def _account(client: Client) -> Finding:
    account = client.get("/account")
    if not account["balanced"]:
        return Finding("account", False, "does not balance", "keep the data folder as it is and report this")
    if account["dead"]:
        return Finding("account", False, f"{account['dead']} events refused by the store", "read them at /api/events")
    return Finding("account", True, f"balances over {account['accepted']} events")
