"""Each cause that the doctor knows, produced, and what is said of it; those of servers: test_doctor_servers.py."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from cluster.checks import clocks, mysql
from cluster.checks.definitions import definitions
from cluster.checks.disk import judged as disk_judged
from cluster.checks.elasticsearch import elasticsearch
from cluster.checks.elasticsearch_disk import room
from cluster.checks.finding import Finding
from cluster.checks.oom import Kills, kills
from cluster.checks.pulsar import pulsar
from cluster.checks.pulsar_policies import Policies, policies
from cluster.checks.stages import stages
from cluster.checks.workers import judged as workers_judged
from cluster.commands import doctor
from cluster.ports import free_ports
from cluster.settings import Settings, read_settings
from pipeline import instant
from tests.installation import Installation, eventually, installed

pytestmark = pytest.mark.timeout(300)

_WORKER = {"worker": "w-1", "node": "n", "pid": 7, "definitions_age_s": 0.4, "clock_ahead_ms": 3}
_ROW = {"alive": 1, "backlog": 9, "lag_seconds": 3.0}
_STATUS = {"workflow_enabled": True, "controlled": True, "refuses": "", "without_group": []}


def bad(findings: list[Finding]) -> dict[str, Finding]:
    assert all(one.ok or one.cure for one in findings)
    return {one.check: one for one in findings if not one.ok}


# ---- an installation


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("doctor") / "data", workflow_enabled="false") as found:
        yield found


def _bad(installation: Installation) -> dict[str, Finding]:
    return bad(doctor.examine(read_settings(installation.environment)))


def _until(installation: Installation, check: str, said: str) -> Finding:
    """That finding, once it is made."""
    what = f"the doctor says {said!r} of {check}"
    return eventually(lambda: (found := _bad(installation).get(check)) and said in found.what and found, 90, what)  # type: ignore[no-any-return]


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_nothing_is_wrong_with_what_is_well(installation: Installation) -> None:
    assert _bad(installation) == {}
    said = installation.rayfold("doctor").stdout
    assert "ok   licence: does not apply" in said
    assert installation.token not in said


def test_workflows_switched_off_while_there_are_rules(installation: Installation) -> None:
    installation.put("workflow", "w", {"nodes": [{"id": "start", "type": "start"}]})
    installation.put("rule", "r", {"event_type": "never", "workflow": "w"})
    found = _bad(installation)["workflows"]
    assert "switched off while there are 1 rules" in found.what
    assert "RAYFOLD_WORKFLOW_ENABLED=true" in found.cure
    assert installation.rayfold("rule", "delete", "r").returncode == 0
    assert "workflows" not in _bad(installation)


def test_the_private_api_fails_while_the_public_one_works(installation: Installation) -> None:
    (pid,) = installation.pids("api.private")
    with _stopped(pid):
        found = _until(installation, "private API", "fails while the public API works")
    assert "events are taken all the while" in found.what
    eventually(lambda: _bad(installation) == {}, 90, "both are well again")


def test_the_public_api_fails_while_the_private_one_works(installation: Installation) -> None:
    (pid,) = installation.pids("api.public")
    with _stopped(pid):
        found = _until(installation, "public API", "fails while the private API works")
    assert "Ray Serve starts it again by itself" in found.cure
    eventually(lambda: "public API" not in _bad(installation), 90, "it is well again")


def test_a_worker_that_was_killed_is_named(installation: Installation) -> None:
    pid = installation.kill("collector")
    found = _until(installation, "workers", f"(process {pid} on {os.uname().nodename}")
    assert "RAYFOLD_MAX_EVENTS" in found.cure


def test_another_installation_s_token(installation: Installation) -> None:
    """The last one here: nothing is asked of the private API any more."""
    (installation.folder / "secrets" / "admin_token").write_text("another")
    found = _bad(installation)
    assert list(found) == ["private API"]
    assert "another installation's data folder" in found["private API"].what


def test_nothing_runs(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    found = bad(doctor.examine(read_settings({"RAYFOLD_PORT": str(port)}, data=tmp_path)))
    assert list(found) == ["public API", "private API"]
    assert "rayfold up" in found["public API"].cure
    assert "data folder" in bad(doctor.examine(read_settings({"RAYFOLD_PORT": str(port)}, data=tmp_path / "none")))


# ---- data missing despite 200


def test_the_stage_that_is_behind_is_named_with_its_backlog_and_last_error() -> None:
    failing = {**_ROW, "last_error": "Elasticsearch does not answer", "last_error_time": instant.to_text(_ms())}
    found = bad(stages({**_STATUS, "stages": {"batcher": failing}}))["batcher"]
    for part in ("9 records waiting", "answered 200", "Elasticsearch does not answer"):
        assert part in found.what
    long_ago = {**failing, "last_error_time": instant.to_text(_ms() - 3_600_000)}
    assert bad(stages({**_STATUS, "stages": {"batcher": long_ago}})) == {}
    slow = {**_ROW, "lag_seconds": 99.0, "last_error": ""}
    assert "reported no error" in bad(stages({**_STATUS, "stages": {"batcher": slow}}))["batcher"].what


def _ms() -> int:
    return int(time.time() * 1000)


# ---- memory


_LOST = {"worker": "w-0", "node": "here", "pid": 6, "time": "2026-01-01T00:00:00.000Z"}


def test_what_the_kernel_says_of_a_lost_worker_is_believed() -> None:
    assert workers_judged([], Kills({6: "python"}, 0, True), "here").ok
    out = workers_judged([_LOST], Kills({6: "ray::ServeRepli"}, 0, True), "here")
    assert "process 6 on here" in out.what
    assert "killed by the kernel: out of memory" in out.what
    assert "more memory" in out.cure
    assert "killed by the kernel" not in workers_judged([_LOST], Kills({6: "x"}, 0, True), "elsewhere").what
    assert "limit of memory" in workers_judged([_LOST], Kills({}, 1, True), "here").cure
    assert "killed none of them" in workers_judged([_LOST], Kills({}, 0, True), "here").cure
    assert "journalctl -k" in workers_judged([_LOST], Kills({}, 0, False), "here").cure


def test_the_kernel_s_log_and_control_groups_are_read(tmp_path: Path) -> None:
    uptime_s, now_us = 100_000, 100_000_000_000
    kernel = tmp_path / "kmsg"
    kernel.write_text(
        f"4,1,{now_us},-;Memory cgroup out of memory: Killed process 41 (ray::ServeRepli) total-vm:1kB, anon-rss:1kB\n"
        f"4,2,{now_us},-;Out of memory: Killed process 42 (python) total-vm:1kB\n"
        f"6,3,{now_us - 90_000_000_000},-;Out of memory: Killed process 43 (long ago)\n6,4,x,-;something else\n"
    )
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    for pid, group in ((1, "0::/new\n"), (2, "9:cpu:/\n4:memory:/old\n")):
        (tmp_path / "proc" / str(pid)).mkdir(parents=True)
        (tmp_path / "proc" / str(pid) / "cgroup").write_text(group)
    for path, text in (
        ("new/memory.events", "low 0\noom 7\noom_kill 2\n"),
        ("memory/old/memory.oom_control", "oom_kill 1\n"),
    ):
        (tmp_path / "sys/fs/cgroup" / path).parent.mkdir(parents=True)
        (tmp_path / "sys/fs/cgroup" / path).write_text(text)
    assert kills([1, 2, 3], uptime_s, kernel, tmp_path) == Kills({41: "ray::ServeRepli", 42: "python"}, 3, True)
    assert kills([], uptime_s, tmp_path / "none", tmp_path) == Kills({}, 0, False)
    (tmp_path / "proc/self/ns/pid").unlink()
    (tmp_path / "proc/self/ns/pid").symlink_to("pid:[4026532000]")
    assert kills([], uptime_s, kernel, tmp_path) == Kills({}, 0, False)  # a container has ids of its own


def test_a_process_that_the_kernel_kills_for_want_of_memory_is_known() -> None:
    """In a control group of its own with little memory; where that may not be made the test above has to do."""
    old, new = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    group, limit = (old, "memory.limit_in_bytes") if old.exists() else (new, "memory.max")
    own = group / f"rayfold-test-{os.getpid()}"
    try:
        own.mkdir()
        (own / limit).write_text("50000000")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        command = "import time; time.sleep(0.5); bytearray(1_000_000_000); time.sleep(60)"
        with subprocess.Popen([sys.executable, "-c", command]) as process:
            (own / "cgroup.procs").write_text(str(process.pid))
            assert process.wait(60) == -signal.SIGKILL
        found = kills([], time.monotonic())
        assert process.pid in found.processes or not found.is_told
    finally:
        own.rmdir()


# ---- clocks, definitions, disk


@pytest.mark.parametrize("ahead_s", [-60, 60])
def test_clocks_that_differ_are_named(ahead_s: int) -> None:
    found = bad([clocks.of_workers({"w-1": {**_WORKER, "clock_ahead_ms": 1000 * ahead_s}})])["clocks"]
    assert f"n (process 7) by {ahead_s:+.1f} s" in found.what
    assert (
        f"of Pulsar differs from this machine's by {ahead_s:+.1f} s" in next(clocks.of_server("Pulsar", ahead_s)).what
    )
    assert clocks.of_workers({"w-1": _WORKER}).ok
    assert not list(clocks.of_server("Pulsar", 0.9))
    assert not list(clocks.of_server("Pulsar", None))


def test_old_definitions_are_named() -> None:
    found = definitions({"definitions": {"age_s": 99.0, "error": "it does not answer"}}, {"w-1": _WORKER})
    assert "99 s old: it does not answer" in found.what
    old = definitions({"definitions": {"age_s": 0.4, "error": ""}}, {"w-1": {**_WORKER, "definitions_age_s": 40.0}})
    assert "w-1 asked last more than 30 s ago" in old.what
    assert definitions({"definitions": {"age_s": 0.4, "error": ""}}, {"w-1": _WORKER}).ok


@pytest.mark.parametrize(
    ("total", "free", "ok"),
    [(252e9, 77e9, True), (252e9, 9e9, False), (8e12, 11e9, True), (10e9, 0.9e9, False), (10e9, 1.1e9, True)],
)
def test_a_disk_that_is_nearly_full(total: float, free: float, ok: bool) -> None:
    found = disk_judged(Path("/data"), int(total), int(free))
    assert found.ok is ok
    assert ok or "503" in found.cure


# ---- versions and policies


@pytest.mark.parametrize(
    ("version", "ok"),
    [
        ("8.0.36", True),
        ("8.4.0-log", True),
        ("8.0.mysql_aurora.3.04.0", True),
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
        "/_nodes/_all": {"nodes": {"a": {"version": "8.17.0"}}},
        "/rayfold-": {"rayfold-profiles": {}},
        "/admin/v2/brokers/version": "3.3.1",
        "/admin/v2/brokers/health": "ok",
        "/admin/v2/persistent/rayfold/system/collected-partition-0": ["collector"],
        "/admin/v2/persistent/rayfold/system/processed-partition-0": ["store"],
        "/admin/v2/persistent": {"partitions": 4},
    }
    async with _answering(answers) as url:
        found = bad(await elasticsearch(Settings(documents=url)))
        assert list(found) == ["Elasticsearch version"]
        assert "8.17.0 is out of range" in found["Elasticsearch version"].what
        found = bad(await pulsar(Settings(log="pulsar://x:1", pulsar_admin=url)))
        assert "3.3.1 is out of range" in found["Pulsar version"].what


async def test_what_is_no_such_server_at_all() -> None:
    async with _answering({"/": "hello"}) as url:
        found = bad(await elasticsearch(Settings(documents=url)))
        assert "none that it should give" in found["Elasticsearch"].what
        found = bad(await pulsar(Settings(log="pulsar://x:1", pulsar_admin=url)))
        assert "Pulsar version" in found or "Pulsar" in found


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"retention": None}, "retention is 0"),
        (
            {"retention": {"retentionTimeInMinutes": 10, "retentionSizeInMB": -1}},
            "10 minutes, RAYFOLD_RETENTION asks for 60",
        ),
        ({"retention": {"retentionTimeInMinutes": 60, "retentionSizeInMB": 512}}, "512 MB"),
        ({"ttl_s": 60}, "60 s only"),
        ({"expiry_minutes": 5}, "expire after 5 minutes"),
        ({"quotas": {"destination_storage": {"policy": "consumer_backlog_eviction"}}}, "drops what is not read"),
        ({"auto_subscription": None}, "may create subscriptions"),
    ],
)
def test_policies_under_which_a_broker_drops_what_is_needed(policy: dict[str, Any], said: str) -> None:
    names = {field.name: field.encode_name for field in msgspec.structs.fields(Policies)}
    well = {
        "retention": {"retentionTimeInMinutes": 60, "retentionSizeInMB": -1},
        "auto_subscription": {"allowAutoSubscriptionCreation": False},
    }

    def judged(told: Mapping[str, Any]) -> list[Finding]:
        found = msgspec.convert({names[name]: value for name, value in told.items()}, Policies)
        return list(policies("namespace", found, 3_600_000))

    assert all(one.ok for one in judged(well))
    (wrong,) = judged({**well, **policy})
    assert said in wrong.what


@pytest.mark.parametrize(
    ("mark", "headroom", "size", "kept"),
    [
        ("90%", "150GB", 1000, 100),
        ("0.9", "", 1000, 100),
        ("90%", "1kb", 10**6, 1024),
        ("2kb", "", 10**6, 2048),
        ("?", "", 1, 0),
    ],
)
def test_what_a_watermark_wants_free(mark: str, headroom: str, size: int, kept: float) -> None:
    assert room(mark, headroom, size) == pytest.approx(kept)


async def test_servers_that_are_away_are_named() -> None:
    (port,) = free_ports(1)
    nobody = f"127.0.0.1:{port}"
    settings = read_settings(
        {
            "RAYFOLD_PORT": str(port),
            "RAYFOLD_LOG": f"pulsar://{nobody}",
            "RAYFOLD_PULSAR_ADMIN": f"http://{nobody}",
            "RAYFOLD_PULSAR_TOKEN": "hush-hush",
            "RAYFOLD_DOCUMENTS": f"http://{nobody}",
            "RAYFOLD_DOCUMENTS_PASSWORD": "hush-hush",
            "RAYFOLD_DEFINITIONS": f"mysql://u:hush-hush@{nobody}/d",
        },
        data=Path("/tmp"),
    )
    found = bad(await asyncio.to_thread(doctor.examine, settings))
    for check, server in (
        ("Pulsar", "Pulsar"),
        ("Elasticsearch", "Elasticsearch"),
        ("definitions database server", "MySQL"),
    ):
        assert f"lost connection to {server}" in found[check].what
    assert "hush" not in str(found)


async def test_settings_that_cannot_be_used_are_one_finding() -> None:
    settings = Settings(documents="https://127.0.0.1:1", documents_ca_file="/none", definitions="mysql://u@127.0.0.1:1")
    found = bad(await asyncio.to_thread(doctor.examine, settings))
    assert "CA file /none" in found["Elasticsearch"].what
    assert "names no database" in found["definitions database server"].what
