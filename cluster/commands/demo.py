"""`rayfold demo`: real events all the way through, with figures that must come out."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from cluster import receiver
from cluster.client import Client, at
from cluster.commands.account import as_text
from cluster.commands.send import send_file
from cluster.options import settings_of
from cluster.servers import trio
from cluster.settings import Settings
from cluster.settled import settled
from pipeline.errors import Misconfigured, Retry

_EXAMPLES = Path(__file__).parents[2] / "examples"
_FILES = (_EXAMPLES / "cdnow" / "cdnow.txt.gz", _EXAMPLES / "shop" / "ecom.csv.gz")

#: What the two files come to.
_EVENTS = 100_765
_EXPECTED: dict[str, Any] = {
    "client events stored": _EVENTS,
    "profiles": 24_170,
    "sessions": 67_591 + 3_605,
    "lifetime value of all profiles": Decimal("2500315.63"),
    "orders from cdnow": 69_659,
    "profiles in cart-open": 372,
    "deliveries received": 69_659 + 470,
    "workflow runs": 1_346 + 470,
}

#: Everything has gone through by then, or something is wrong.
_QUIET_DEADLINE_S = 600.0
_BEST = 5


@click.command()
@click.option("--exit", "exits", is_flag=True, help="Stop when done; exit status 0 only if every figure is right.")
@click.option("--layout", default=None, help="Deployments (RAYFOLD_LAYOUT, compact; v1.1 on servers).")
@click.option("--servers", "on_servers", is_flag=True, help="On Pulsar, Elasticsearch and MariaDB of its own.")
def demo(exits: bool, layout: str | None, on_servers: bool) -> None:
    """Send 69,659 real purchases and a shop's clickstream through Rayfold on this machine."""
    if not all(file.exists() for file in _FILES):
        raise Misconfigured(f"the example data is not at {_EXAMPLES}: run the demo from a checkout of the project")
    if not on_servers:
        _run(exits, layout, {})
        return
    click.echo("Starting Pulsar, Elasticsearch and MariaDB …")
    with trio.fresh_folder() as folder, trio.running(folder, os.environ) as servers:
        _run(exits, layout or "v1.1", servers.settings)


def _run(exits: bool, layout: str | None, on_servers: Mapping[str, str]) -> None:
    settings = settings_of(layout=layout)
    settings = settings_of(data=settings.data / ("demo-servers" if on_servers else "demo"), layout=layout)
    run = [sys.executable, "-m", "cluster"]
    environment = {**os.environ, **on_servers}
    where = ["--data", str(settings.data), "--port", str(settings.port), "--host", settings.host]
    if settings.data.exists():
        subprocess.run([*run, "down", *where], check=False, capture_output=True)
        shutil.rmtree(settings.data)
    click.echo("Starting Rayfold on this machine …")
    started = subprocess.run(
        [*run, "up", "--detach", "--layout", settings.layout, *where], check=False, env=environment
    )
    if started.returncode:
        raise click.exceptions.Exit(started.returncode)
    process, address = receiver.start()
    try:
        right = _show(settings, address)
        if not exits:
            click.echo(
                f"\nLook around at {settings.url}/api/docs, or with `rayfold status --data {settings.data}`. Ctrl-C stops."
            )
            _stay()
    finally:
        process.terminate()
        process.wait()
        click.echo("Stopping …")
        subprocess.run([*run, "down", *where], check=False)
    if not right:
        raise click.exceptions.Exit(1)


def _stay() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return


def _show(settings: Settings, address: str) -> bool:
    client = Client(settings)
    _define(client, address)
    started = time.monotonic()
    for file in _FILES:
        send_file(file, settings.url)
    sent = time.monotonic() - started
    account = _quiet(client)
    done = time.monotonic() - started
    click.echo(f"\n{_EVENTS:,} events sent in {sent:.1f} s, all stages done after {done:.1f} s\n")
    click.echo(as_text(account))
    found = _learnt(client, account, address)
    right = _compare(found, account)
    before = _digests(client)
    click.echo("\nSending the same files again: nothing may change but the duplicates …")
    for file in _FILES:
        send_file(file, settings.url)
    again = _quiet(client)
    same = _learnt(client, again, address, show=False) == found and _digests(client) == before
    doubled = again["duplicate"] - account["duplicate"] == _EVENTS and again["stored"] == account["stored"]
    click.echo(
        f"  {'OK      ' if same and doubled else 'DIFFERS '} {again['duplicate']:,} duplicates; "
        "every profile and every session is byte for byte what it was"
    )
    click.echo(f"\n  public API   {settings.url}/track\n  private API  {settings.url}/api/docs")
    return right and same and doubled


def _define(client: Client, address: str) -> None:
    revision = client.call("PUT", "/secrets/receiver", json.dumps({"value": address}).encode())["revision"]
    for kind in ("sources", "workflows", "rules", "destinations"):
        for one in json.loads((_EXAMPLES / "definitions" / f"{kind}.json").read_text()):
            revision = client.call("PUT", at(kind, one["id"]), json.dumps(one).encode())["revision"]
    settled(client, revision)


def _quiet(client: Client) -> dict[str, Any]:
    """The account, documents counted, once nothing is under way any more."""
    deadline = time.monotonic() + _QUIET_DEADLINE_S
    while True:
        account = client.get("/account")
        if account["quiet"]:
            return dict(client.get("/account", verify="true"))
        if time.monotonic() > deadline:
            raise Retry(f"not everything has gone through after {_QUIET_DEADLINE_S:g} s: {as_text(account)}")
        time.sleep(0.25)


def _digests(client: Client) -> dict[str, str]:
    """One for all profiles and one for all sessions, bodies whole, in whatever order they are listed."""
    found = {}
    for kind in ("profiles", "sessions"):
        bodies = sorted(json.dumps(one, sort_keys=True, default=str) for one in client.pages(f"/{kind}"))
        found[kind] = hashlib.sha256("\n".join(bodies).encode()).hexdigest()
    return found


def _learnt(client: Client, account: dict[str, Any], address: str, *, show: bool = True) -> dict[str, Any]:
    value, orders, open_carts = Decimal(0), 0, 0
    customers: Counter[str] = Counter()
    profiles = 0
    for profile in client.pages("/profiles"):
        profiles += 1
        metrics = profile["data"].get("metrics", {})
        spent = Decimal(metrics.get("ltcocv", 0))
        value += spent
        if spent:
            customers[profile["primary_id"]] = spent  # type: ignore[assignment]
        if not profile["primary_id"].startswith("user_"):
            orders += metrics.get("ltcocc", 0)
        open_carts += "cart-open" in profile["segments"]
    if show:
        click.echo("\nBest customers: " + ", ".join(f"{who} ${spent:,}" for who, spent in customers.most_common(_BEST)))
    with urllib.request.urlopen(f"{address}/counts") as answer:  # noqa: S310
        received = json.loads(answer.read())
    return {
        "client events stored": account["stored"],
        "profiles": profiles,
        "sessions": client.get("/sessions", limit=1)["total"],
        "lifetime value of all profiles": value,
        "orders from cdnow": orders,
        "profiles in cart-open": open_carts,
        "deliveries received": received["delivered"],
        "workflow runs": account["workflows"]["run"],
    }


def _compare(found: dict[str, Any], account: dict[str, Any]) -> bool:
    click.echo("")
    right = bool(account["balanced"] and account["verified"])
    for name, expected in _EXPECTED.items():
        agrees = found[name] == expected
        right = right and agrees
        click.echo(
            f"  {'OK      ' if agrees else 'DIFFERS '} {name}: {found[name]:,}"
            + ("" if agrees else f", not {expected:,}")
        )
    return right
