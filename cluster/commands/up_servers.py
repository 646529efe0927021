"""`rayfold up-servers`"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import click

from cluster.options import installation, settings_of
from cluster.servers import trio
from cluster.setting_values import LAYOUTS
from cluster.settings import Settings

_LOOK_S = 0.2

#: What Rayfold gets to end in order before the servers do.
_STOP_S = 60.0


@click.command()
@click.option("--layout", type=click.Choice(LAYOUTS), default="v1.1", show_default=True, help="Deployments.")
@installation
def up_servers(layout: str, data: Path | None, host: str | None, port: int | None) -> None:
    """Start Pulsar, Elasticsearch and MariaDB, and Rayfold on them; stop everything in order on Ctrl-C."""
    settings = settings_of(layout=layout, data=data, host=host, port=port)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    folder = trio.folder_of(settings.data.absolute())
    click.echo(f"Starting Pulsar, Elasticsearch and MariaDB (data in {folder}) …")
    with trio.running(folder, os.environ) as servers:
        click.echo("".join(f"  {name}={value}\n" for name, value in servers.settings.items()), nl=False)
        status = 0 if stopping.is_set() else _rayfold(settings, servers.settings, stopping)
        click.echo("Stopping the servers …")
    if status:
        raise click.exceptions.Exit(status)


def _rayfold(settings: Settings, on_servers: Mapping[str, str], stopping: threading.Event) -> int:
    """Run it until it ends or we are to; its exit status, 0 when it was stopped."""
    where = ["--data", str(settings.data.absolute()), "--host", settings.host, "--port", str(settings.port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster", "up", "--layout", settings.layout, *where],
        env={**os.environ, **on_servers},
        start_new_session=True,  # Ctrl-C is for us: it is stopped first, the servers after it
    )
    while process.poll() is None and not stopping.wait(_LOOK_S):
        pass
    if process.poll() is not None:
        return process.returncode
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return 0
