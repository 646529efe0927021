"""`rayfold doctor`"""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from cluster.checks import account, apis
from cluster.checks.disk import disk
from cluster.checks.finding import Finding, attempt
from cluster.checks.stages import stages
from cluster.checks.workers import workers
from cluster.client import Client
from cluster.options import installation, settings_of
from cluster.setting_values import EMBEDDED
from cluster.settings import Settings
from pipeline.errors import RayfoldError


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
    public = apis.public(settings)
    findings = [disk(settings.data), public, *_servers(settings)]
    try:
        client = Client(settings)
        status = client.get("/status")
    except RayfoldError as error:
        return [*findings, apis.private(error, public.ok), _licence()]
    findings.append(Finding("private API", True, f"answers at {settings.url}"))
    findings += [*stages(status), *workers(status)]
    findings.append(attempt("definitions database", lambda: account.definitions(client)))
    findings.append(attempt("workflows", lambda: account.idle_rules(client, status["workflow_enabled"])))
    findings.append(attempt("dead letters", lambda: account.dead_letters(client)))
    findings.append(attempt("account", lambda: account.account(client)))
    return [*findings, _licence()]


def _servers(settings: Settings) -> Iterator[Finding]:
    """Those that the settings name, asked from here."""
    if settings.log != EMBEDDED:
        from cluster.checks.pulsar import pulsar

        yield from pulsar(settings)
    if settings.documents != EMBEDDED:
        from cluster.checks.elasticsearch import elasticsearch

        yield from elasticsearch(settings)
    if settings.definitions != EMBEDDED:
        from cluster.checks.mysql import mysql

        yield mysql(settings)


def _licence() -> Finding:
    return Finding("licence", True, "does not apply: Rayfold is free software, and nothing in it expires")
