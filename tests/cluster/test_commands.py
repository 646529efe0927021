"""The command line, walked through over a real installation, and what its tables and lines say."""

import asyncio
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from cluster import receiver, serve_status
from cluster.checks.stages import stages
from cluster.commands import send
from cluster.commands.status import title
from cluster.folder import prepare
from cluster.head import Head
from cluster.inputs.item import Item
from cluster.serve_status import ServeStatus
from cluster.settings import read_settings
from cluster.topology import plan
from tests.installation import Installation, eventually, installed

pytestmark = pytest.mark.timeout(300)

_WORKFLOW = {"nodes": [{"id": "start", "type": "start"}]}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("commands") / "data") as found:
        yield found


def _said(installation: Installation, *arguments: str, text: str = "") -> str:
    done = installation.rayfold(*arguments, text=text)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _refused(installation: Installation, *arguments: str, text: str = "") -> str:
    done = installation.rayfold(*arguments, text=text)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("rayfold: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("source", {"name": "My shop"}),
        ("destination", {"name": "My CRM", "event_type": "never", "settings": {"url": "http://127.0.0.1:9/"}}),
        ("workflow", {"name": "My workflow", **_WORKFLOW}),
        ("rule", {"name": "My rule", "event_type": "never", "workflow": "kept"}),
    ],
)
def test_definitions_are_put_listed_read_and_deleted(
    installation: Installation, tmp_path: Path, kind: str, body: dict[str, Any]
) -> None:
    if kind == "rule":
        installation.put("workflow", "kept", _WORKFLOW)
    file = tmp_path / "one.json"
    file.write_text(json.dumps({"id": "mine", **body}))
    assert f"{kind} mine is in force" in _said(installation, kind, "put", str(file))
    assert body["name"] in _said(installation, kind, "list")
    assert json.loads(_said(installation, kind, "get", "mine"))["name"] == body["name"]
    assert f"{kind} mine is deleted" in _said(installation, kind, "delete", "mine")
    assert "there is no" in _refused(installation, kind, "get", "mine")
    assert "there is no" in _refused(installation, kind, "delete", "mine")
    for id in ("a b", "a/b", "é"):
        assert f"there is no {kind}" in _refused(installation, kind, "get", id)
        assert "letters" in _refused(installation, kind, "put", id, text=json.dumps(body))
    assert "colour" in _refused(installation, kind, "put", "mine", text=json.dumps({**body, "colour": "red"}))
    assert "not JSON" in _refused(installation, kind, "put", "mine", text="{")


def test_secrets_are_put_and_listed_by_name_only(installation: Installation) -> None:
    assert "secret key-1 is stored" in _said(installation, "secret", "put", "key-1", text="hush\n")
    assert _said(installation, "secret", "list").splitlines() == ["key-1"]
    assert "${NAME}" in _refused(installation, "secret", "put", "a b", text="hush")


def test_dead_letters_are_listed_sent_and_dropped_and_the_doctor_sees_them(
    installation: Installation, tmp_path: Path
) -> None:
    process, address = receiver.start()
    try:
        httpx.put(f"{address}/behave/422")
        installation.put("source", "shop", {})
        settings = {"url": f"{address}/in"}
        installation.put("destination", "crm", {"mapping": {"m": "event@message_id"}, "settings": settings})
        installation.settled()
        lines = [{"session": {"id": f"s-{n}"}, "events": [{"type": "page-view", "id": f"m-{n}"}]} for n in range(2)]
        file = tmp_path / "some.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert "2 events sent" in _said(installation, "send", str(file), "--source", "shop")
        eventually(lambda: len(_dead(installation)) == 2, 30, "two dead letters")
        first, second = _dead(installation)
        checked = installation.rayfold("doctor")
        assert checked.returncode == 1
        assert "BAD  dead letters: 2" in checked.stdout
        assert installation.rayfold("dead", "send", first).returncode == 1
        httpx.put(f"{address}/behave/200")
        assert f"{first}  sent" in _said(installation, "dead", "send", first)
        assert f"{second}  dropped" in _said(installation, "dead", "drop", "--destination", "crm")
        assert _dead(installation) == []
        assert httpx.get(f"{address}/counts").json()["delivered"] == 1
        assert installation.rayfold("dead", "drop").returncode == 2
        assert installation.rayfold("dead", "drop", "a/b").returncode == 1
    finally:
        process.terminate()
        process.wait()


def _dead(installation: Installation) -> list[str]:
    return [line.split()[0] for line in _said(installation, "dead", "list").splitlines()]


def test_status_doctor_and_account_agree_that_all_is_well(installation: Installation) -> None:
    installation.quiet()
    shown = _said(installation, "status")
    assert "layout compact, 4 partitions" in shown
    assert re.search(r"(?m)^collector +1/1 +0,1,2,3 ", shown), shown
    assert max(len(line) for line in shown.splitlines() if not re.match(r"\w+: |destination ", line)) <= 80
    status = json.loads(_said(installation, "status", "--json"))
    assert set(status["stages"]) == {"collector", "batcher", "dispatcher", "executor"}
    findings = {one["check"]: one for one in json.loads(_said(installation, "doctor", "--json"))}
    assert all(one["ok"] for one in findings.values())
    assert {"disk", "public API", "private API", "definitions database", "dead letters", "account"} < set(findings)
    assert "BAD" not in _said(installation, "doctor")
    account = json.loads(_said(installation, "account", "--json", "--verify"))
    assert (account["balanced"], account["verified"]) == (True, True)
    assert "it balances" in _said(installation, "account")


def test_its_processes_are_known_by_their_environment_alone(installation: Installation) -> None:
    settings, _ = prepare(read_settings(installation.environment))
    head = Head(settings)
    log = next(head.folder.glob("r/session_*/logs/*.log"))
    reader = subprocess.Popen(["tail", "-f", str(log)], stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: Path(f"/proc/{reader.pid}/cmdline").read_bytes().startswith(b"tail"), 10, "a reader")
        members = set(head.members())
        assert reader.pid not in members
        names = {Path(f"/proc/{pid}/comm").read_text().strip()[:10] for pid in members}
        assert {"gcs_server", "raylet", "haproxy"} <= names
        children = {pid for member in members for pid in _children(member)}
        assert children <= members
    finally:
        reader.kill()
        reader.wait()


def _children(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(one) for one in (task / "children").read_text().split()}
    return found


def test_down_leaves_nothing_and_the_token_is_printed_once(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    try:
        assert installation.rayfold("migrate").returncode == 0  # which is no start
        assert f"admin token  {installation.token}" in _said(installation, "up", "--detach")
        settings, _ = prepare(read_settings(installation.environment))
        members = Head(settings).members()
        assert members
        assert "stopped" in _said(installation, "down")
        assert Head(settings).members() == []
        assert not any(Path(f"/proc/{pid}").exists() for pid in members)
        assert "not running" in _said(installation, "down")
        log = (tmp_path / "data" / "up.log").read_text()
        assert installation.token not in log
        installation.environment["RAYFOLD_ADMIN_TOKEN"] = "from-the-environment"
        (tmp_path / "data" / "secrets" / "admin_token.shown").unlink()
        again = _said(installation, "up", "--detach")
        assert "admin token" not in again
        assert "from-the-environment" not in again
    finally:
        installation.down()


def _status(**deployments: dict[str, int]) -> Any:
    def application(*names: str) -> Any:
        found = {name: SimpleNamespace(replica_states=deployments[name]) for name in names if name in deployments}
        return SimpleNamespace(deployments=found)

    return SimpleNamespace(
        applications={"public": application("public"), "private": application("private", "background")}
    )


def test_a_collector_inside_the_public_api_is_wanted_as_often_as_that() -> None:
    status = _status(public={"RUNNING": 2, "STARTING": 1, "STOPPING": 1}, background={"RUNNING": 1})
    found = asyncio.run(ServeStatus(plan(read_settings({}, layout="v1.0")), lambda: status).wanted())
    assert found is not None
    assert found["collector"] == {"wanted": 3, "running": 2}
    assert found["batcher"] == found["executor"] == {"wanted": 1, "running": 1}


async def test_a_controller_that_hangs_is_asked_once_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_status, "_ANSWER_S", 0.05)
    asked: list[threading.Event] = []

    def ask() -> Any:
        asked.append(threading.Event())
        asked[0].wait(30)
        return _status(background={"RUNNING": 1})

    status = ServeStatus(plan(read_settings({}, layout="v1.0")), ask)
    for _ in range(3):
        assert await status.wanted() is None
    assert len(asked) == 1
    asked[0].set()
    while not (found := await status.wanted()):
        continue
    assert found["batcher"] == {"wanted": 1, "running": 1}


async def test_a_controller_that_is_gone_is_said() -> None:
    def ask() -> Any:
        raise RuntimeError("the actor died")

    assert await ServeStatus(plan(read_settings({}, layout="v1.0")), ask).wanted() is None


def test_the_status_says_what_is_switched_off() -> None:
    on = {"collector_enabled": True, "workflow_enabled": True, "controlled": True, "refuses": "", "without_group": []}
    facts = {"layout": "v1.0", "partitions": 4, "revision": 7, **on}
    assert title(facts) == "layout v1.0, 4 partitions, revision 7"
    assert "inside the public API" in title({**facts, "collector_enabled": False})
    assert "switched off" in title({**facts, "workflow_enabled": False})
    assert "the disk is full" in title({**facts, "refuses": "the disk is full"})
    assert "no worker is replaced" in title({**facts, "controlled": False})
    assert "crm has no group" in title({**facts, "without_group": ["crm"]})


_ROW = {"alive": 1, "backlog": 0, "lag_seconds": 0.0, "last_error": ""}
_STATUS = {"workflow_enabled": True, "controlled": True, "refuses": "", "without_group": []}


@pytest.mark.parametrize(
    ("row", "lost", "ok", "said"),
    [
        ({}, False, True, "1 alive"),
        ({"alive": 0}, False, False, "no worker"),
        ({"lag_seconds": 100.0, "backlog": 9, "last_error": "because"}, False, False, "because"),
        ({"backlog": None, "lag_seconds": None, "last_error": "no log"}, False, False, "no log"),
        ({"paused": {"crm": "HTTP 401"}}, False, False, "HTTP 401"),
        ({}, True, False, "rayfold replay lost"),
    ],
)
def test_the_doctor_names_what_is_wrong_with_a_stage(row: dict[str, Any], lost: bool, ok: bool, said: str) -> None:
    findings = stages({**_STATUS, "without_group": ["lost"] * lost, "stages": {"dispatcher": {**_ROW, **row}}})
    assert all(one.ok for one in findings) is ok
    assert any(said in f"{one.what} {one.cure}" for one in findings)


def test_without_a_terminal_lines_say_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Slow:
        """Takes half, waits until that was said, and takes the rest."""

        def __init__(self, *arguments: object) -> None:
            self.summary = send.Summary()

        async def send(self, items: list[Item]) -> send.Summary:
            self.summary.sent = 5
            async with asyncio.timeout(10):
                while "5 of 10" not in (said := capsys.readouterr().out):
                    await asyncio.sleep(0.01)
            assert said.startswith("some.jsonl: 5 of 10 events\n")
            self.summary.sent = 10
            return self.summary

    monkeypatch.setattr(send, "Sender", Slow)
    monkeypatch.setattr(send, "_LINE_S", 0.01)
    file = tmp_path / "some.jsonl"
    file.write_text('{"events": [{"type": "a"}]}\n' * 10)
    assert send.send_file(file, "http://127.0.0.1:1").sent == 10


def test_the_doctor_blames_a_full_disk_not_the_workers_and_a_controller_that_hangs() -> None:
    status = {**_STATUS, "controlled": False, "refuses": "full", "stages": {"batcher": {**_ROW, "alive": 0}}}
    found = {one.check: one for one in stages(status)}
    assert "no heartbeat can be written" in found["batcher"].what
    assert "does not answer" in found["Ray Serve"].what
