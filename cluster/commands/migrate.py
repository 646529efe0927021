"""`rayfold migrate`"""

import asyncio

import click

from cluster import folder, wiring
from cluster.options import installation, settings_of


@click.command()
@installation
def migrate(**given: object) -> None:
    """Create or upgrade topics, groups and tables; safe to repeat."""
    settings, _ = folder.prepare(settings_of(**given))
    before = asyncio.run(wiring.migrate(settings))
    if before is not None:
        click.echo(folder.said_of_rise(before))
    click.echo(f"{settings.data} is up to date")
