"""The deployment classes: plain, opening ports in their own process. cluster.deploy makes deployments of them."""

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from actors.build import build
from actors.host import Host
from cluster import topology
from cluster.settings import Settings
from cluster.wiring import definitions_copy, open_ports
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.errors import DefinitionsUnavailable, Malformed, UnknownFormat
from pipeline.journal import Journal
from pipeline.ports import Ports
from serve.private import private_app
from serve.public import public_app
from serve.running import Running, StageFacts

#: Seconds a replica takes at most to finish what is under way.
_STOP_S = 4.0

#: Packages whose warnings are kept.
_OWN = ("pipeline", "actors", "serve", "cluster")


def _worker_name(role: str) -> str:
    """Unique among all workers of an installation."""
    return f"{role}-{os.getpid()}-{os.urandom(3).hex()}"


class _Process:
    """What every replica has: ports, definitions, perhaps stages."""

    def __init__(self, settings: Settings, role: str, stages: tuple[str, ...]) -> None:
        self._settings = settings
        self._role = role
        self._stages = stages
        self._ports: Ports | None = None
        self._host: Host | None = None
        self._task: asyncio.Task[None] | None = None
        self._api = ""  #: which API this process serves

    async def _open(self) -> tuple[Ports, DefinitionsWatch]:
        settings = self._settings
        ports = self._ports = await open_ports(settings)
        watch = DefinitionsWatch(ports.definitions, ports.clock, definitions_copy(settings))
        worker = _worker_name(self._role)
        journal = Journal(self._role, worker, ports.new_id)
        for name in _OWN:
            logging.getLogger(name).addHandler(journal)
        stages = [build(stage, ports, watch, worker, settings.retention_ms) for stage in self._stages]
        node, pid = os.uname().nodename, os.getpid()
        expires = settings.documents_retention_ms if self._api == "private" else 0  # one process is enough
        self._host = Host(ports, watch, stages, worker, node, pid, settings.retention_ms, journal, self._api, expires)
        try:
            await watch.begin()
        except (DefinitionsUnavailable, Malformed, UnknownFormat) as error:  # the host goes on asking
            watch.last_error = str(error)
        self._task = asyncio.get_running_loop().create_task(self._host.run(), name=f"host {worker}")
        return ports, watch

    async def check_health(self) -> None:
        """Called by Serve every second; raising three times replaces this replica."""
        if self._host is not None:
            self._host.check()
        if self._task is not None and self._task.done():
            raise RuntimeError(f"the loops of {self._role} have ended")

    async def __del__(self) -> None:
        """Called by Serve when the replica is to end: finish what is under way, then close."""
        host, task, ports = self._host, self._task, self._ports
        self._host = self._task = self._ports = None
        if host is not None and task is not None:
            await host.stop(_STOP_S)
            await asyncio.wait([task], timeout=_STOP_S)
            task.cancel()
        if ports is not None:
            await ports.close()


class StageWorker(_Process):
    """A worker that runs some stages."""

    async def __init__(self, settings: Settings, name: str, stages: tuple[str, ...]) -> None:  # type: ignore[misc]  # Serve awaits it
        _Process.__init__(self, settings, name, stages)
        await self._open()


class PublicApi(_Process):
    """The public API; with the collector inside where the layout says so."""

    async def __init__(self, settings: Settings, stages: tuple[str, ...]) -> None:  # type: ignore[misc]  # Serve awaits it
        _Process.__init__(self, settings, "public", stages)
        self._api = "public"
        self._opened = await self._open()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        ports, watch = self._opened
        metrics = _running(self._settings, ports, watch).metrics
        return public_app(ports, watch, self._settings.limits, metrics, self._settings.admin_token)


class PrivateApi(_Process):
    """The private API; the stage workers are its children, so that they end quickly and one application shows them."""

    async def __init__(self, settings: Settings, workers: Mapping[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it
        _Process.__init__(self, settings, "private", ())
        self._api = "private"
        self._workers = workers
        self._opened = await self._open()

    def __serve_build_asgi_app__(self) -> FastAPI:
        ports, watch = self._opened
        return private_app(ports, watch, _running(self._settings, ports, watch), self._settings.admin_token)


def _running(settings: Settings, ports: Ports, watch: DefinitionsWatch) -> Running:
    from cluster.serve_status import ServeStatus  # Ray is loaded in a replica anyway

    planned = topology.plan(settings)
    facts: Mapping[str, Any] = {
        "layout": settings.layout,
        "collector_enabled": settings.collector_enabled,
        "workflow_enabled": settings.workflow_enabled,
        "partitions": settings.partitions,
        "documents_expire": bool(settings.documents_retention_ms),
        "deployments": {
            "public": list(planned.in_api),
            "private": [],
            **{k: list(v) for k, v in planned.workers.items()},
        },
    }
    rows = [StageFacts(row.name, row.reads, row.groups) for row in topology.STAGES]
    return Running(ports, watch, rows, facts, ServeStatus(planned).wanted)
