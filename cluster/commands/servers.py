"""`rayfold servers`"""

import os

import click

from cluster.servers import fetch, place


@click.command()
def servers() -> None:
    """Fetch Pulsar, Elasticsearch and MariaDB for tests and trials; says what is missing and how to get it."""
    fetch.fetch(os.environ, click.echo)
    click.echo(f"the servers are in {place.cache(os.environ)}; `make up-servers` starts them with Rayfold on them")
