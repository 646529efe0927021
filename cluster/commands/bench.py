"""`rayfold bench`: measures an installation of its own on this machine, and prints what came out, good or bad.

Method. A fresh data folder and `rayfold up` (compact layout unless said otherwise). One separate process (this one) drives
it over HTTP on the same cores, with a client of few instructions. Events are page views of about 570 bytes with message ids
(so every one is looked up as a possible repeat), spread over 5,000 sessions; a batch is a list of 10 payloads with 10 events
each. Closed loop: 8 connections for batches, 64 for single events. End to end: from the first request until the account says
that all are stored. Half load: requests begun on time at half the end-to-end rate; latency counts from when each was due.
Answer → stored: the answer to ?wait=stored minus the median plain answer at the same rate. Answer → delivered: the clock of
the receiver (in this process) minus the clock at the answer. CPU: user and system time of every process of the installation,
from before the first request until all is stored (and delivered), the servers' too, this process not counted. Memory:
proportional set size. Per 1,000 events batches change 100 profiles and 100 sessions at most, single events up to 1,000 of each:
what comes together in one batch of a stage is written once.
"""

import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp.web as web
import click

from cluster import folder, measured
from cluster.bench_load import Answers, Bodies, closed_loop, paced
from cluster.client import Client
from cluster.head import Head
from cluster.ports import free_ports
from cluster.servers import trio
from cluster.settings import Settings, read_settings
from cluster.settled import settled

_BATCH = 100
_QUIET_DEADLINE_S = 300.0
_LOOK_S = 0.25

#: Rate of the latency phases, in events a second.
_STEADY_RATE = 300


@click.command()
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Length of each phase.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write the figures here.")
@click.option("--layout", help="Deployments (compact; v1.1 on servers).")
@click.option("--servers", "on_servers", is_flag=True, help="On Pulsar, Elasticsearch and MariaDB of its own.")
def bench(seconds: float, path: Path | None, layout: str | None, on_servers: bool) -> None:
    """Measure this machine; prints a table and writes JSON."""
    if on_servers:
        with trio.fresh_folder() as servers_folder, trio.running(servers_folder, os.environ) as servers:
            figures = _measured(seconds, layout or "v1.1", servers.settings, servers.members)
    else:
        figures = _measured(seconds, layout or "compact", {}, list)
    target = path or Path("bench-results") / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=2) + "\n")
    _print(figures)
    click.echo(f"written to {target}")


def _measured(
    seconds: float, layout: str, on_servers: Mapping[str, str], servers: Callable[[], list[int]]
) -> dict[str, Any]:
    """All figures of an installation of its own, on the servers of those settings and processes."""
    data = Path(tempfile.mkdtemp(prefix="rayfold-bench-"))
    (port,) = free_ports(1)
    environment = {
        **on_servers, "RAYFOLD_DATA": str(data / "data"), "RAYFOLD_PORT": str(port), "RAYFOLD_LAYOUT": layout
    }  # fmt: skip
    run = [sys.executable, "-m", "cluster"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAYFOLD_")} | environment
    try:
        started = time.monotonic()
        up = subprocess.run([*run, "up", "--detach"], env=clean, check=False, stdout=subprocess.DEVNULL)
        if up.returncode:
            raise click.exceptions.Exit(up.returncode)
        figures: dict[str, Any] = {"startup_s": round(time.monotonic() - started, 1), "layout": layout}
        settings, _ = folder.prepare(read_settings(environment))
        return figures | asyncio.run(_Bench(settings, seconds, servers).run())
    finally:
        subprocess.run([*run, "down"], env=clean, check=False, capture_output=True)
        shutil.rmtree(data, ignore_errors=True)


class _Bench:
    def __init__(self, settings: Settings, seconds: float, servers: Callable[[], list[int]]) -> None:
        self._settings = settings
        self._seconds = seconds
        self._client = Client(settings)
        self._head = Head(settings)
        self._servers = servers
        self._delivered: dict[str, float] = {}

    async def run(self) -> dict[str, Any]:
        """All phases, one after the other."""
        await self._put("/sources/bench", b"{}")
        figures: dict[str, Any] = {"machine": _machine(), "idle_pss_mb": _megabytes(measured.pss_bytes(self._pids()))}
        bodies = Bodies(f"b{os.getpid()}")
        await closed_loop(self._settings.port, 4, 2.0, lambda: bodies.batch(_BATCH), _BATCH)  # warm
        await self._quiet()
        figures["batches"] = await self._closed(8, lambda: bodies.batch(_BATCH), _BATCH)
        figures["single"] = await self._closed(64, lambda: bodies.one()[1], 1)
        rate = figures["batches"]["end_to_end_per_s"] / _BATCH / 2
        figures["batches_half_load"] = _latency(await self._paced(16, rate, lambda: ("", bodies.batch(_BATCH))))
        rate = figures["single"]["end_to_end_per_s"] / 2
        figures["single_half_load"] = _latency(await self._paced(64, rate, bodies.one))
        plain = await self._paced(32, _STEADY_RATE, bodies.one)
        stored = await self._paced(128, _STEADY_RATE, bodies.one, "/track?wait=stored&timeout=30")
        figures["answer_to_stored_ms"] = {
            name: round(stored.percentile_ms(share) - plain.percentile_ms(0.5), 1)
            for name, share in (("p50", 0.5), ("p99", 0.99))
        }
        figures["loaded_pss_mb"] = _megabytes(measured.pss_bytes(self._pids()))
        figures |= await self._deliveries(bodies)
        account = self._client.get("/account", verify="true")
        figures["account"] = {
            "balanced": account["balanced"],
            "verified": account["verified"],
            "accepted": account["accepted"],
        }
        return figures

    async def _put(self, path: str, body: bytes) -> None:
        """Returns when every worker acts on it."""
        revision = (await asyncio.to_thread(self._client.call, "PUT", path, body))["revision"]
        await asyncio.to_thread(settled, self._client, revision)

    def _pids(self) -> list[int]:
        return self._head.members() + self._servers()

    async def _closed(self, connections: int, body: Any, events: int) -> dict[str, Any]:
        await self._quiet()
        before = measured.cpu_seconds(self._pids())
        started = time.perf_counter()
        answers = await closed_loop(self._settings.port, connections, self._seconds, body, events)
        await self._quiet()
        total = time.perf_counter() - started
        return {
            "accepted_per_s": round(answers.events / answers.seconds),
            "end_to_end_per_s": round(answers.events / total),
            **_latency(answers),
            "cpu_s_per_1000": self._cpu(before, answers.events),
        }

    async def _paced(self, connections: int, rate: float, body: Any, path: str = "/track") -> Answers:
        answers = await paced(self._settings.port, connections, self._seconds, rate, body, path)
        await self._quiet()
        return answers

    async def _deliveries(self, bodies: Bodies) -> dict[str, Any]:
        """With one destination that takes every event."""
        app = web.Application()
        app.router.add_post("/", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        destination = {"mapping": {"message": "event@message_id"}, "settings": {"url": url}}
        await self._put("/destinations/all", json.dumps(destination).encode())
        steady = await self._paced(32, _STEADY_RATE, bodies.one)
        delays = sorted(self._delivered[id] - at for id, at in steady.answered_at.items() if id in self._delivered)
        found: dict[str, Any] = {
            "answer_to_delivered_ms": {
                "p50": round(delays[len(delays) // 2] * 1000, 1),
                "p99": round(delays[int(len(delays) * 0.99)] * 1000, 1),
                "undelivered": len(steady.answered_at) - len(delays),
            }
        }
        before = measured.cpu_seconds(self._pids())
        started = time.perf_counter()
        answers = await closed_loop(self._settings.port, 8, self._seconds / 2, lambda: bodies.batch(_BATCH), _BATCH)
        await self._quiet()
        total = time.perf_counter() - started
        found["batches_delivered"] = {
            "accepted_per_s": round(answers.events / answers.seconds),
            "delivered_per_s": round(answers.events / total),
            "cpu_s_per_1000": self._cpu(before, answers.events),
        }
        await runner.cleanup()
        return found

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._delivered.setdefault(body["message"], time.time())
        return web.Response()

    def _cpu(self, before: Mapping[str, float], events: int) -> dict[str, float]:
        after = measured.cpu_seconds(self._pids())
        used = {role: (after[role] - before.get(role, 0.0)) * 1000 / events for role in after}
        return {"all": round(sum(used.values()), 4), **{role: round(value, 4) for role, value in sorted(used.items())}}

    async def _quiet(self) -> None:
        """Until everything is through. The account counts what is under way, so it is asked only when nothing waits."""
        deadline = time.monotonic() + _QUIET_DEADLINE_S
        while not (await self._nothing_waits() and (await self._get("/account"))["quiet"]):
            if time.monotonic() > deadline:
                raise click.ClickException(f"not all events were through after {_QUIET_DEADLINE_S:g} s")
            await asyncio.sleep(_LOOK_S)

    async def _nothing_waits(self) -> bool:
        return not any(stage["backlog"] for stage in (await self._get("/status"))["stages"].values())

    async def _get(self, path: str) -> Any:
        return await asyncio.to_thread(self._client.get, path)


def _latency(answers: Answers) -> dict[str, Any]:
    found = {"p50_ms": round(answers.percentile_ms(0.5), 1), "p99_ms": round(answers.percentile_ms(0.99), 1)}
    return {**found, "not_ok": answers.not_ok}


def _megabytes(found: Mapping[str, int]) -> dict[str, int]:
    return {
        "all": round(sum(found.values()) / 1e6),
        **{role: round(size / 1e6) for role, size in sorted(found.items())},
    }


def _machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


def _print(figures: Mapping[str, Any], prefix: str = "") -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            _print(value, f"{prefix}{name}.")
        else:
            click.echo(f"{prefix + name:<48} {value}")
