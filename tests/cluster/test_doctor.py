"""Each cause that the doctor knows, produced, and what is said of it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from aiohttp import web

from cluster import wiring
from cluster.checks import mysql
from cluster.checks.elasticsearch import elasticsearch
from cluster.checks.finding import Finding
from cluster.checks.pulsar import pulsar as check_pulsar
from cluster.checks.workers import workers
from cluster.commands import doctor
from cluster.ports import free_ports
from cluster.servers.elasticsearch import Elasticsearch
from cluster.servers.mariadb import MariaDB
from cluster.servers.pulsar import Pulsar
from cluster.settings import Settings, read_settings
from tests.installation import installed

_WORKER = {"worker": "w-1", "node": "n", "pid": 7, "definitions_age_s": 0.4, "clock_ahead_ms": 3}


def _status(**more: Any) -> dict[str, Any]:
    rows = {"workers": [_WORKER], "lost": []}
    return {"stages": {"collector": rows}, "apis": {}, "definitions": {"age_s": 0.4, "error": ""}, **more}


def _bad(findings: list[Finding]) -> dict[str, Finding]:
    return {one.check: one for one in findings if not one.ok}


def test_workers_that_are_well() -> None:
    assert _bad(workers(_status())) == {}


def test_a_worker_that_was_killed_or_out_of_memory_is_named() -> None:
    lost = {"worker": "w-0", "node": "n", "pid": 6, "time": "2026-01-01T00:00:00.000Z"}
    found = _bad(workers(_status(stages={"collector": {"workers": [_WORKER], "lost": [lost]}})))["workers"]
    assert "w-0 (process 6 on n" in found.what
    assert "Out of memory" in found.cure


@pytest.mark.parametrize("ahead_ms", [-60_000, 60_000])
def test_clocks_that_differ_are_named(ahead_ms: int) -> None:
    skewed = {**_WORKER, "clock_ahead_ms": ahead_ms}
    found = _bad(workers(_status(apis={"public": [{**skewed, "worker": "public-1"}]})))["clocks"]
    assert f"{ahead_ms / 1000:+.1f} s" in found.what


def test_old_definitions_are_named() -> None:
    found = _bad(workers(_status(definitions={"age_s": 99.0, "error": "it does not answer"})))["definitions"]
    assert "99 s old: it does not answer" in found.what


@pytest.mark.parametrize(
    ("version", "ok"),
    [
        ("8.0.36", True),
        ("8.4.0-log", True),
        ("5.7.44", False),
        ("10.11.6-MariaDB", True),
        ("10.5.2-MariaDB-log", False),
    ],
)
def test_versions_of_the_definitions_database(version: str, ok: bool) -> None:
    assert mysql.judged(version).ok is ok


@asynccontextmanager
async def _answering(answers: Mapping[str, Any]) -> AsyncIterator[str]:
    """A server that says what no server here can be made to say: that it is of another version."""

    async def answer(request: web.Request) -> web.Response:
        found = next((value for path, value in answers.items() if request.path.startswith(path)), None)
        return web.Response(status=404) if found is None else web.json_response(found)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def test_versions_of_servers_out_of_range() -> None:
    answers = {
        "/_cluster/health": {"status": "green"},
        "/_nodes": {"nodes": {"a": {"version": "8.17.0"}}},
        "/rayfold-": {},
        "/admin/v2/brokers/version": "3.3.1",
        "/admin/v2/persistent": {"partitions": 4},
    }
    async with _answering(answers) as url:
        found = await asyncio.to_thread(elasticsearch, Settings(documents=url))
        assert "out of range" in _bad(found)["Elasticsearch version"].what
        found = await asyncio.to_thread(check_pulsar, Settings(log="pulsar://x:1", pulsar_admin=url))
        assert "out of range" in _bad(found)["Pulsar"].what


async def test_servers_that_are_away_are_named() -> None:
    (port,) = free_ports(1)
    nobody = f"127.0.0.1:{port}"
    settings = read_settings(
        {
            "RAYFOLD_LOG": f"pulsar://{nobody}",
            "RAYFOLD_PULSAR_ADMIN": f"http://{nobody}",
            "RAYFOLD_DOCUMENTS": f"http://{nobody}",
            "RAYFOLD_DEFINITIONS": f"mysql://u:hush-hush@{nobody}/d",
        },
        data=Path("/tmp"),
    )
    found = _bad(await asyncio.to_thread(doctor.examine, settings))
    for check, server in (
        ("Pulsar", "Pulsar"),
        ("Elasticsearch", "Elasticsearch"),
        ("definitions database server", "MySQL"),
    ):
        assert f"lost connection to {server}" in found[check].what
    assert "hush" not in str(found)


async def test_the_flood_stage_is_named_with_the_settings_to_change(own_elastic: Elasticsearch, tmp_path: Path) -> None:
    settings = read_settings(
        {"RAYFOLD_DOCUMENTS": own_elastic.url, "RAYFOLD_DOCUMENTS_REPLICAS": "0", "RAYFOLD_INSTANCE": "a"},
        data=tmp_path,
    )
    await wiring.migrate(settings)
    assert _bad(await asyncio.to_thread(elasticsearch, settings)) == {}
    async with httpx.AsyncClient(base_url=own_elastic.url) as client:
        for name, check, said in (
            ("read_only_allow_delete", "Elasticsearch disk", "watermark"),
            ("write", "Elasticsearch blocks", "null"),
        ):
            for value in (True, None):
                answer = await client.put("/a_*/_settings", json={f"index.blocks.{name}": value}, timeout=30)
                assert answer.status_code == 200, answer.text
                found = _bad(await asyncio.to_thread(elasticsearch, settings))
                assert (said in found[check].cure) if value else found == {}


async def test_topics_that_are_missing_or_others_are_named(pulsar: Pulsar, prefix: str, tmp_path: Path) -> None:
    on = {"RAYFOLD_LOG": pulsar.url, "RAYFOLD_PULSAR_ADMIN": pulsar.admin_url, "RAYFOLD_INSTANCE": prefix}
    settings = read_settings({**on, "RAYFOLD_PARTITIONS": "4"}, data=tmp_path)
    found = _bad(await asyncio.to_thread(check_pulsar, settings))
    assert all("rayfold migrate" in one.cure for one in found.values())
    assert len(found) == 3
    await wiring.migrate(settings)
    assert _bad(await asyncio.to_thread(check_pulsar, settings)) == {}
    found = _bad(await asyncio.to_thread(check_pulsar, read_settings({**on, "RAYFOLD_PARTITIONS": "8"}, data=tmp_path)))
    assert all("RAYFOLD_PARTITIONS=4" in one.cure for one in found.values())
    assert len(found) == 3


async def test_the_definitions_database_is_asked(mariadb: MariaDB) -> None:
    found = await asyncio.to_thread(mysql.mysql, Settings(definitions=mariadb.url))
    assert found.ok
    assert "MariaDB" in found.what
    refused = await asyncio.to_thread(
        mysql.mysql, Settings(definitions=mariadb.url.replace("root@", "root:hush-hush@"))
    )
    assert "refuses user" in refused.what
    assert "hush" not in refused.what


def test_rules_without_workflows_a_full_disk_and_the_licence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status = {
        **_status(),
        "workflow_enabled": False,
        "controlled": True,
        "refuses": "",
        "without_group": [],
        "stages": {},
    }
    answers = {"/status": status, "/account": {"balanced": True, "dead": 0, "accepted": 0}, "/rules": {"total": 2}}
    client = SimpleNamespace(get=lambda path, **query: answers.get(path, {"total": 0}))
    monkeypatch.setattr(doctor, "Client", lambda settings: client)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000))
    found = {one.check: one for one in doctor.examine(read_settings({}, data=tmp_path))}
    assert "while there are 2 rules" in found["workflows"].what
    assert not found["workflows"].ok
    assert "503" in found["disk"].cure
    assert found["licence"].ok
    assert not found["public API"].ok  # nobody listens there
    assert found["private API"].ok


def test_the_doctor_tells_one_api_from_the_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reverse of the test above, on a real installation whose private API is asked with a token that is not its own."""
    with installed(tmp_path / "data") as installation:
        (tmp_path / "data" / "secrets" / "admin_token").write_text("another")
        found = _bad(doctor.examine(read_settings(installation.environment)))
        assert list(found) == ["private API"]
        assert "events are taken all the while" in found["private API"].cure
