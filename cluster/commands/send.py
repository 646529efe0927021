"""`rayfold send`"""

import asyncio
import sys
import time
from pathlib import Path

import click

from cluster.inputs.item import Item
from cluster.inputs.open import read_file
from cluster.options import settings_of
from cluster.sender import Sender, Summary

#: Without a terminal, how often a line says how far it is.
_LINE_S = 5.0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--url", help="Where Rayfold is (RAYFOLD_HOST and RAYFOLD_PORT).")
@click.option("--source", default="", help="Source id for payloads that name none.")
@click.option("--batch", type=click.IntRange(1, 1000), default=100, show_default=True, help="Events a request.")
@click.option("--rate", type=float, default=0.0, help="Events a second; 0: as fast as it takes them.")
def send(file: Path, url: str | None, source: str, batch: int, rate: float) -> None:
    """Send a file of tracker payloads (JSON lines) or one of the example files; exit status 1 if any were refused."""
    started = time.monotonic()
    summary = send_file(file, url or settings_of().url, source=source, batch=batch, rate=rate)
    seconds = time.monotonic() - started
    click.echo(
        f"{summary.sent:,} events sent in {seconds:.1f} s, {summary.retried} requests tried again, "
        f"{summary.refused:,} events refused"
    )
    for reason in summary.reasons:
        click.echo(f"  {reason}", err=True)
    if summary.refused:
        raise click.exceptions.Exit(1)


def send_file(file: Path, url: str, *, source: str = "", batch: int = 100, rate: float = 0.0) -> Summary:
    """Send one file with a progress bar (lines when there is no terminal)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    items = list(read_file(file, source))
    total = sum(item.events for item in items)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    in_terminal = sys.stdout.isatty()
    with Progress(*columns, console=Console(), disable=not in_terminal) as progress:
        task = progress.add_task(file.name, total=total)
        sender = Sender(url, batch, rate, lambda count: progress.advance(task, count))
        if in_terminal:
            return asyncio.run(sender.send(items))
        return asyncio.run(_with_lines(sender, items, f"{file.name}: {{:,}} of {total:,} events"))


async def _with_lines(sender: Sender, items: list[Item], line: str) -> Summary:
    sending = asyncio.create_task(sender.send(items))
    while not (await asyncio.wait([sending], timeout=_LINE_S))[0]:
        click.echo(line.format(sender.summary.sent + sender.summary.refused))
    return await sending
