"""`rayfold down`"""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import click

from cluster.folder import FolderLock
from cluster.head import Head
from cluster.options import installation, settings_of
from pipeline.errors import Misconfigured, Retry

_DEADLINE_S = 60.0


@click.command()
@installation
def down(data: Path | None, host: str | None, port: int | None) -> None:
    """Drain and stop what `up` started on this data folder, nothing else."""
    settings = settings_of(data=data, host=host, port=port)
    lock = FolderLock(settings.data, create=False)
    try:
        pid = lock.holder()
        if not lock.is_taken() or pid is None:
            lock.take()  # nobody starts anything meanwhile
            left = Head(replace(settings, data=settings.data.absolute())).end_orphans()
            click.echo("Rayfold has stopped: its `up` was killed before" if left else "Rayfold is not running")
            return
        try:
            os.kill(pid, signal.SIGTERM)
        except PermissionError:
            raise Misconfigured(f"process {pid} belongs to another user: run `rayfold down` as that one") from None
        deadline = time.monotonic() + _DEADLINE_S
        while lock.is_taken():
            if time.monotonic() > deadline:
                raise Retry(
                    f"process {pid} has not ended after {_DEADLINE_S:g} s: look into {settings.data / 'up.log'}"
                )
            time.sleep(0.1)
        click.echo("Rayfold has stopped")
    finally:
        lock.close()
