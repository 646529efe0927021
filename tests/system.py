"""A whole Rayfold in one process, without Ray: what most tests drive."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from cryptography.fernet import Fernet

from actors.build import build
from actors.host import Host
from cluster import topology, wiring
from cluster.settings import read_settings
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.journal import Journal
from pipeline.limits import Limits
from pipeline.ports import Ports
from pipeline.topics import PROCESSED
from serve.private import private_app
from serve.public import public_app
from serve.running import Running, StageFacts
from tests.storage import EMBEDDED

STAGES = ("collector", "batcher", "dispatcher", "executor")
TOKEN = "a-token-for-tests"
RETENTION_MS = 7 * 24 * 3600 * 1000
_KEY = Fernet.generate_key().decode()


#: Nothing under way any more, on the slowest storage and a busy machine.
_QUIET_S = 60.0


async def open_ports(
    folder: Path, key: str = _KEY, on: Mapping[str, str] = EMBEDDED, *, arranged: bool = False
) -> Ports:
    """Ports over a folder, as an installation opens them; several processes may open the same one. `on`: see tests/storage.py.

    `arranged`: what has to stand stands, as on a start while a server is away.
    """
    settings = read_settings(on, data=folder, secret_key=key)
    if not arranged:
        await wiring.migrate(settings)
        await wiring.arrange(settings, alone=False)
    return await wiring.open_ports(settings)


class System:
    """Running stages and both APIs."""

    def __init__(
        self, ports: Ports, watch: DefinitionsWatch, public: httpx.AsyncClient, private: httpx.AsyncClient
    ) -> None:
        self.ports = ports
        self._watch = watch
        self.expected_standing: set[str] = set()  #: stages that are to stand still in the end
        self.public = public
        self.private = private

    async def put(self, kind: str, id: str, body: dict[str, Any]) -> None:
        """Create or replace a definition; every stage acts on it on return."""
        answer = await self.private.put(f"/{kind}/{id}", json=body)
        assert answer.status_code == 200, answer.text
        await self._watch.refresh()

    async def group(self, destination: str) -> str:
        """The group of its present life; empty when it has none."""
        row = await self.ports.definitions.get("destinations", destination)
        return (row.group if row else None) or ""

    async def groups(self, prefix: str) -> list[str]:
        """Those on `processed` that begin so."""
        return [group for group in await self.ports.log.groups(PROCESSED) if group.startswith(prefix)]

    async def track(self, payload: Any, **query: str) -> httpx.Response:
        return await self.public.post("/track", json=payload, params=query)

    async def account(self, *, verify: bool = False) -> dict[str, Any]:
        answer = await self.private.get("/account", params={"verify": str(verify).lower()})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def quiet(self, within_s: float = _QUIET_S) -> dict[str, Any]:
        """The account, once nothing is under way any more."""
        account: dict[str, Any] = {}
        async with asyncio.timeout(within_s):
            while not account.get("quiet"):
                account = await self.account(verify=True)
                await asyncio.sleep(0.02)
        assert account["balanced"], account
        assert account["verified"], account
        return account

    async def status(self) -> dict[str, Any]:
        answer = await self.private.get("/status")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def profile(self, id: str) -> dict[str, Any]:
        answer = await self.private.get(f"/profiles/{id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@asynccontextmanager
async def running(
    folder: Path,
    stages: Sequence[str] = STAGES,
    worker: str = "w",
    change: Callable[[Ports], Ports] = lambda ports: ports,
    key: str = _KEY,
    on: Mapping[str, str] = EMBEDDED,
    arranged: bool = False,
) -> AsyncIterator[System]:
    """A system over a folder; ends cleanly. `change` puts something between the stages and a port."""
    ports = change(await open_ports(folder, key, on, arranged=arranged))
    copy = wiring.definitions_copy(read_settings(on, data=folder))
    watch = DefinitionsWatch(ports.definitions, ports.clock, copy)
    await watch.begin()
    built = [build(stage, ports, watch, worker, RETENTION_MS) for stage in stages]
    host = Host(ports, watch, built, worker, "test", 0, RETENTION_MS, Journal("test", worker, ports.new_id))
    task = asyncio.create_task(host.run())

    async def wanted() -> dict[str, dict[str, int]]:
        return {}

    facts = [StageFacts(row.name, row.reads, row.groups) for row in topology.STAGES]
    run = Running(ports, watch, facts, {"layout": "test"}, wanted)
    public = httpx.AsyncClient(
        transport=httpx.ASGITransport(public_app(ports, watch, Limits(), run.metrics, TOKEN)),
        base_url="http://test",
        timeout=60,
    )
    private = httpx.AsyncClient(
        transport=httpx.ASGITransport(private_app(ports, watch, run, TOKEN)),
        base_url="http://test",
        headers={"authorization": f"Bearer {TOKEN}"},
        timeout=60,
    )
    system = System(ports, watch, public, private)
    try:
        yield system
        host.check()
        assert host.standing.keys() == system.expected_standing, host.standing
    finally:
        await public.aclose()
        await private.aclose()
        await host.stop(5.0)
        try:
            await task
        finally:
            await ports.close()


async def replayed(system: System, asked: dict[str, Any]) -> dict[str, Any]:
    """Ask for a replay, or for what it would come to; the answer."""
    answer = await system.private.post("/replays", json=asked)
    assert answer.status_code == (200 if asked.get("dry_run") else 201), answer.text
    return dict(answer.json())


def payload(source: str = "shop", *types: str, **more: Any) -> dict[str, Any]:
    """A tracker payload; events are page views unless said otherwise."""
    events = more.pop("events", None) or [{"type": type} for type in types or ("page-view",)]
    return {"source": {"id": source}, "events": events, **more}
