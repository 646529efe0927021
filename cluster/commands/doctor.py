"""`rayfold doctor`"""

import json
import shutil
import urllib.error
import urllib.request
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

_TIMEOUT_S = 5.0


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
    findings = [_disk(settings), _public(settings)]
    try:
        client = Client(settings)
        status = client.get("/status")
    except RayfoldError as error:
        return [*findings, Finding("private API", False, str(error), "start it, or name its folder and port")]
    findings.append(Finding("private API", True, f"answers at {settings.url}"))
    if not status["controlled"]:
        cure = "`rayfold up` starts the head again when this lasts; on a cluster of yours look at its head"
        findings.append(Finding("Ray Serve", False, "its controller does not answer: no worker is replaced", cure))
    findings.append(_attempt("definitions database", lambda: _definitions(client)))
    for name, row in status["stages"].items():
        findings.append(_stage(name, row, status))
        findings += [_paused(id, why) for id, why in row.get("paused", {}).items()]
    findings += [_without_group(id) for id in status["without_group"]]
    findings.append(_attempt("dead letters", lambda: _dead_letters(client)))
    findings.append(_attempt("account", lambda: _account(client)))
    return findings


def _public(settings: Settings) -> Finding:
    cure = "do what it says, or look into the folder's ray.log"
    try:
        with urllib.request.urlopen(f"{settings.url}/ready", timeout=_TIMEOUT_S) as answer:  # noqa: S310
            return Finding("public API", True, f"takes events at {settings.url}/track ({answer.status})")
    except urllib.error.HTTPError as error:
        said = error.read(1_000).decode(errors="replace")
        return Finding("public API", False, f"is not ready: HTTP {error.code} {said}", cure)
    except OSError as error:
        reason = getattr(error, "reason", error)
        return Finding(
            "public API", False, f"does not answer at {settings.url} ({reason})", "start it with `rayfold up`"
        )


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
    if row["backlog"] is None:
        return Finding(name, False, "nobody knows what waits", f"the log does not answer: {row.get('last_error')}")
    if not row["alive"] and status["refuses"]:
        return Finding(name, False, "nobody knows: no heartbeat can be written", "free the disk first")
    if not row["alive"]:
        return Finding(name, False, "no worker is alive", "look into the folder's ray.log and `rayfold status`")
    if row.get("standing"):
        return Finding(name, False, f"stands still: {row['standing']}", "mend that, then start Rayfold again")
    if row.get("waiting"):
        return Finding(name, False, f"waits: {row['waiting']}", "nothing is lost meanwhile; docs/replay.md says more")
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


def _definitions(client: Client) -> Finding:
    total = sum(client.get(f"/{kind}", limit=1)["total"] for kind in ("sources", "destinations", "workflows", "rules"))
    return Finding("definitions database", True, f"answers with {total} definitions")


def _paused(id: str, why: str) -> Finding:
    return Finding(
        f"destination {id}",
        False,
        f"pauses: {why}",
        "mend it with `rayfold destination put`; nothing is lost meanwhile",
    )


def _without_group(id: str) -> Finding:
    return Finding(
        f"destination {id}",
        False,
        "has no group on the log, which has lost it or was put back from a copy: nothing is delivered to it",
        f"start Rayfold again, or put it again with `rayfold destination put`; then `rayfold replay {id} --from TIME` "
        "brings what came meanwhile",
    )


def _dead_letters(client: Client) -> Finding:
    waiting = client.get("/dead-letters", state="waiting", limit=1)["total"]
    if waiting:
        cure = "read the reasons with `rayfold dead list`, then `rayfold dead send` or `rayfold dead drop`"
        return Finding("dead letters", False, f"{waiting} deliveries were given up and wait for a decision", cure)
    return Finding("dead letters", True, "none waiting")


def _account(client: Client) -> Finding:
    account = client.get("/account")
    if not account["balanced"]:
        return Finding("account", False, "does not balance", "keep the data folder as it is and report this")
    if account["dead"]:
        return Finding("account", False, f"{account['dead']} events refused by the store", "read them at /api/events")
    return Finding("account", True, f"balances over {account['accepted']} events")
