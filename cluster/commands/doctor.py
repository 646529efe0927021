"""`rayfold doctor`"""

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from cluster.checks import account, apis, clocks
from cluster.checks.definitions import definitions
from cluster.checks.disk import disk
from cluster.checks.finding import Finding, attempt
from cluster.checks.licence import licence
from cluster.checks.rules import rules
from cluster.checks.servers import servers
from cluster.checks.stages import stages
from cluster.checks.workers import every, workers
from cluster.client import Client
from cluster.options import installation, settings_of
from cluster.settings import Settings
from pipeline.errors import RayfoldError

#: What the private API gets for its status, and for anything else: the account of a large log takes a while.
_STATUS_S = 15.0
_CALL_S = 30.0


@click.command()
@installation
@click.option("--json", "as_json", is_flag=True)
def doctor(data: Path | None, host: str | None, port: int | None, as_json: bool) -> None:
    """Check every dependency; says what is wrong and what to do. Exit status 1 when something is."""
    findings = examine(settings_of(data=data, host=host, port=port))
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
    """All checks, as far as they can be made; servers are asked directly, whether or not Rayfold runs."""
    findings = [disk(settings.data), *asyncio.run(servers(settings))]
    client, status, fault = _status(settings)
    findings += apis.apis(settings, apis.public(settings), fault)
    if client is not None and status is not None:
        findings += _running(client.waiting(_CALL_S), status)
    return [*findings, licence()]


def _status(settings: Settings) -> tuple[Client | None, Any, RayfoldError | None]:
    try:
        client = Client(settings)
        return client, client.waiting(_STATUS_S).get("/status"), None
    except RayfoldError as error:
        return None, None, error


def _running(client: Client, status: Any) -> list[Finding]:
    """What the private API knows."""
    processes = every(status)
    return [
        *stages(status),
        workers(status),
        clocks.of_workers(processes),
        definitions(status, processes),
        attempt("definitions database", lambda: account.definitions(client)),
        attempt("workflows", lambda: rules(client, status["workflow_enabled"])),
        attempt("dead letters", lambda: account.dead_letters(client)),
        attempt("account", lambda: account.account(client)),
    ]
