"""Each layout and both switches, really deployed (v1.1 with both on is deployed by the proofs)."""

import asyncio
from pathlib import Path

import httpx
import pytest

from cluster.folder import prepare
from cluster.settings import read_settings
from cluster.wiring import migrate, open_ports
from pipeline import envelope, identity
from pipeline.record import EventIn, Payload
from tests.installation import Installation, eventually, installed

pytestmark = pytest.mark.timeout(300)

_WORKFLOW = {
    "nodes": [{"id": "start", "type": "start"}, {"id": "n", "type": "add-segment", "settings": {"segment": "seen"}}],
    "edges": [{"from": "start", "to": "n"}],
}


def _send_one(installation: Installation) -> str:
    """One event all the way; returns the profile."""
    installation.put("source", "s", {})
    installation.put("workflow", "w", _WORKFLOW)
    installation.put("rule", "r", {"workflow": "w"})
    installation.settled()
    payload = {"source": {"id": "s"}, "session": {"id": "x"}, "events": [{"type": "page-view"}]}
    answer = httpx.post(f"{installation.url}/track", json=payload, params={"wait": "stored"}, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["profile"]["id"])


def test_v1_0_runs_the_collector_inside_the_public_api(tmp_path: Path) -> None:
    with installed(tmp_path / "data", layout="v1.0") as installation:
        profile = _send_one(installation)
        account = installation.quiet()
        assert (account["stored"], account["workflows"]["run"]) == (1, 1)
        assert installation.get(f"/profiles/{profile}")["segments"] == ["seen"]
        assert installation.pids("collector") == installation.pids("api.public")
        assert set(installation.pids("executor")) == set(installation.pids("batcher"))
        openapi = httpx.get(f"{installation.url}/api/openapi.json").json()
        assert "/account" in openapi["paths"]
        assert httpx.get(f"{installation.url}/api/account").status_code == 401
        assert httpx.get(f"{installation.url}/metrics").status_code == 401
        bearer = {"authorization": f"Bearer {installation.token}"}
        assert "rayfold_backlog_records" in httpx.get(f"{installation.url}/metrics", headers=bearer).text


def test_explicit_switches_win_over_the_layout(tmp_path: Path) -> None:
    switches = {"collector_enabled": "false", "workflow_enabled": "false"}
    with installed(tmp_path / "data", layout="compact", **switches) as installation:
        profile = _send_one(installation)
        account = installation.quiet()
        assert (account["stored"], account["workflows"]["due"]) == (1, 0)
        assert installation.get(f"/profiles/{profile}")["segments"] == []
        assert installation.pids("collector") == installation.pids("api.public")
        assert installation.pids("executor") == []
        assert "switched off" in installation.rayfold("doctor").stdout


async def _append_backlog(installation: Installation, payloads: int, events: int) -> None:
    """Fill `collected` of an installation that is not running yet."""
    settings, _ = prepare(read_settings(installation.environment))
    await migrate(settings)
    ports = await open_ports(settings)
    try:
        for number in range(payloads):
            session = f"s-{number}"
            payload = Payload(
                received_ms=ports.clock.now_ms(),
                revision=0,
                source="s",
                session=session,
                events=[EventIn(ports.new_id(), "page-view", None, None, {}, {}, []) for _ in range(events)],
            )
            data = envelope.collected([envelope.encode(payload)], [events])
            await ports.log.append("collected", identity.partition(session, ports.log.partitions), data, events)
    finally:
        await ports.close()


def test_a_backlog_brings_a_second_collector(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data", layout="v1.1", scale_records="2000")
    asyncio.run(_append_backlog(installation, payloads=1000, events=150))
    installation.up()
    try:
        eventually(lambda: len(set(installation.pids("collector"))) >= 2, 60, "two collectors")
        account = installation.quiet(90)
        assert account["accepted"] == account["stored"] == 150_000
        assert account["verified"]
        shares = [w["partitions"] for w in installation.status()["stages"]["collector"]["workers"]]
        assert sorted(p for share in shares for p in share) == [0, 1, 2, 3]
    finally:
        installation.down()
