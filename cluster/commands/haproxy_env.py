"""`rayfold haproxy-env`"""

import shlex
from pathlib import Path

import click

from cluster import haproxy
from cluster.ports import free_ports


@click.command("haproxy-env")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def haproxy_env(folder: Path) -> None:
    """Print what a shell must evaluate before `ray start`, so that the ingress has its files in FOLDER and ports of its own."""
    metrics_port, stats_port = free_ports(2)
    for name, value in haproxy.environment(folder.absolute(), metrics_port, stats_port).items():
        click.echo(f"export {name}={shlex.quote(value)}")
