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
        click.echo(
            f"format {before} became {folder.FORMAT}: what is stored stays and is read on; "
            "an older Rayfold refuses this folder from now on"
        )
    click.echo(f"{settings.data} is up to date")
