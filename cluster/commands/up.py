"""`rayfold up`"""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import click

from cluster import folder
from cluster.folder import FolderLock
from cluster.options import installation, settings_of
from cluster.setting_values import LAYOUTS
from cluster.settings import Settings
from cluster.supervisor import READY, Supervisor
from pipeline.errors import Misconfigured

_DETACHED_DEADLINE_S = 270.0


@click.command()
@click.option("--layout", type=click.Choice(LAYOUTS), help="Deployments (RAYFOLD_LAYOUT, compact).")
@installation
@click.option("--detach", is_flag=True, help="Return when it is ready; stop it with `rayfold down`.")
@click.option("--without-token", is_flag=True, hidden=True, help="Print it nowhere: whoever started this process will.")
def up(
    layout: str | None, data: Path | None, host: str | None, port: int | None, detach: bool, without_token: bool
) -> None:
    """Start Rayfold on this machine and stay until Ctrl-C."""
    asked = settings_of(layout=layout, data=data, host=host, port=port)
    settings, _ = folder.prepare(asked)
    made_here = not asked.admin_token and not without_token
    if detach:
        _detached(settings)
        announce(settings, made_here)
        return
    supervisor = Supervisor(settings, say)
    supervisor.run(lambda: announce(settings, made_here))


def say(text: str) -> None:
    """To whoever reads the log. Its disk may be full: that must not end the one who keeps everything up."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def announce(settings: Settings, made_here: bool) -> None:
    """Where it is, and, once in its life, the token that was made here."""
    click.echo(f"Rayfold is ready (layout {settings.layout}, data in {settings.data})")
    click.echo(f"  public API   {settings.url}/track")
    click.echo(f"  private API  {settings.url}/api/docs")
    if made_here and folder.first_showing(settings):
        click.echo(f"  admin token  {settings.admin_token}")
        click.echo(f"               (shown once; kept in {settings.data / 'secrets' / 'admin_token'})")


def _detached(settings: Settings) -> None:
    lock = FolderLock(settings.data)
    try:
        if lock.is_taken():
            raise Misconfigured(
                f"{settings.data} is in use by process {lock.holder()}: stop it with `rayfold down`, "
                "or choose another folder with --data"
            )
    finally:
        lock.close()
    (settings.data / READY).unlink(missing_ok=True)
    arguments = ["up", "--without-token", "--layout", settings.layout, "--data", str(settings.data)]
    arguments += ["--host", settings.host, "--port", str(settings.port)]
    log = settings.data / "up.log"
    with log.open("ab") as out:
        start = out.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "cluster", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    deadline = time.monotonic() + _DETACHED_DEADLINE_S
    while not (settings.data / READY).exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            said = log.read_bytes()[start:].decode(errors="replace").strip().splitlines()
            reason = said[-1].removeprefix("rayfold: ") if said else "it said nothing"
            raise Misconfigured(f"it did not start: {reason} (log: {log})")
        time.sleep(0.1)
