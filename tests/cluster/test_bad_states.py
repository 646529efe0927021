"""What a bad state gets: one clear sentence and exit status 1, nothing lost."""

import ctypes
import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.folder import FolderLock, prepare
from cluster.head import Head
from cluster.settings import read_settings
from pipeline.errors import Misconfigured
from tests.installation import Installation, eventually


def _refused(installation: Installation, *arguments: str) -> str:
    done = installation.rayfold(*arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stderr.strip()
    assert said.startswith("rayfold: ")
    assert "Traceback" not in said
    assert "\n" not in said
    return said


def test_a_port_in_use(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    with socket.create_server(("127.0.0.1", installation.port)):
        for more in ((), ("--detach",)):
            assert f"port {installation.port}" in _refused(installation, "up", *more)


def test_a_folder_of_a_newer_format_or_another_partition_count(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    prepare(read_settings(installation.environment))
    installation.environment["RAYFOLD_PARTITIONS"] = "8"
    assert "RAYFOLD_PARTITIONS=4" in _refused(installation, "up")
    (tmp_path / "data" / "format.json").write_text(json.dumps({"format": 99, "partitions": 8}))
    assert "format 99" in _refused(installation, "up")
    (tmp_path / "data" / "format.json").write_text("{")
    assert "damaged" in _refused(installation, "migrate")


def test_a_newer_definitions_database(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    assert installation.rayfold("migrate").returncode == 0
    db = sqlite3.connect(tmp_path / "data" / "definitions.db")
    with db:
        db.execute("update alembic_version set version_num = '9999'")
    db.close()
    assert "9999" in _refused(installation, "migrate")
    assert "9999" in _refused(installation, "up")


def test_a_folder_in_use(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    prepare(read_settings(installation.environment))
    lock = FolderLock(tmp_path / "data")
    lock.take()
    try:
        for more in ((), ("--detach",)):
            assert "in use by process" in _refused(installation, "up", *more)
    finally:
        lock.close()
    assert "not running" in installation.rayfold("down").stdout


def test_down_ends_what_a_killed_up_left_behind(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    settings, _ = prepare(read_settings(installation.environment))
    FolderLock(settings.data).close()
    marked = {**os.environ, "RAYFOLD_HEAD": str(Head(settings).folder)}
    with subprocess.Popen(["sleep", "60"], env=marked) as orphan:
        eventually(lambda: orphan.pid in installation.members(), 10, "the process under its own name")
        assert "was killed before" in installation.rayfold("down").stdout
        assert orphan.wait(10) == -signal.SIGKILL
    assert "not running" in installation.rayfold("down").stdout


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "data" in _refused(Installation(tmp_path / "file" / "data"), "up")
    assert "not a folder" in _refused(Installation(tmp_path / "file"), "up")


@contextmanager
def _unprivileged() -> Iterator[None]:
    """As a user who owns nothing here; root itself is refused nothing."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)


def test_a_missing_permission(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    settings = read_settings({}, data=folder)
    with _unprivileged(), pytest.raises(Misconfigured, match="no permission"):
        prepare(settings)


@pytest.mark.parametrize(
    "name",
    ["definitions.db", "documents.db", "documents.lock", "log/collected.db", "log/collected.lock", "up.lock", "up.log"],
)
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    installation = Installation(tmp_path / "data")
    prepare(read_settings(installation.environment))
    (tmp_path / "data" / name).mkdir(parents=True)
    command = ("up", "--detach") if name.startswith("up.") else ("migrate",)
    assert Path(name).stem in _refused(installation, *command)


@pytest.mark.parametrize("name", ["definitions.db", "documents.db", "log/processed.db"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    installation = Installation(tmp_path / "data")
    prepare(read_settings(installation.environment))
    path = tmp_path / "data" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no database at all" * 500)
    said = _refused(installation, "migrate")
    assert f"{path} is not a readable" in said
    assert "sqlalche.me" not in said


def _give_up_privileges() -> None:
    """From the next program on, root too is refused what a file's mode forbids."""
    if os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def test_a_locked_folder(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    assert installation.rayfold("migrate").returncode == 0
    installation.before = _give_up_privileges
    installation.folder.chmod(0o000)
    try:
        for command in ("migrate", "up", "down", "status"):
            assert str(installation.folder) in _refused(installation, command)
    finally:
        installation.folder.chmod(0o700)
    for name in ("definitions.db", "documents.db", "documents.lock", "log/runs.db"):
        (installation.folder / name).chmod(0o000)
        assert Path(name).stem in _refused(installation, "migrate")
        (installation.folder / name).chmod(0o600)
    assert installation.rayfold("migrate").returncode == 0


def test_an_unforeseen_error_is_one_sentence_and_a_traceback_on_request(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    prepare(read_settings(installation.environment))
    (tmp_path / "data" / "up.lock").write_text("")
    (tmp_path / "data" / "ray.log").mkdir()
    said = _refused(installation, "up")
    assert "IsADirectoryError" in said
    assert "--verbose" in said
    done = installation.rayfold("--verbose", "up")
    assert (done.returncode, "Traceback" in done.stderr) == (1, True)


def test_a_log_on_a_full_disk_does_not_end_the_supervisor() -> None:
    program = "from cluster.commands.up import say; say('the Ray head has ended'); print('going on')"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=False)
    assert done.stdout == b"going on\n"


def test_a_key_that_is_none(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data", secret_key="much-too-short")
    said = _refused(installation, "migrate")
    assert "RAYFOLD_SECRET_KEY" in said
    assert "much-too-short" not in said
    del installation.environment["RAYFOLD_SECRET_KEY"]
    assert installation.rayfold("migrate").returncode == 0
    (tmp_path / "data" / "secrets" / "secret_key").write_text("")
    assert "secret_key is damaged" in _refused(installation, "migrate")


def test_an_existing_folder_becomes_private_unless_it_holds_other_things(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    prepare(read_settings({}, data=folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o750)
    prepare(read_settings({}, data=folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    home = tmp_path / "home"
    (home / "letters").mkdir(parents=True)
    home.chmod(0o755)
    with pytest.raises(Misconfigured, match="letters"):
        prepare(read_settings({}, data=home))
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


@pytest.mark.parametrize("content", ["[]", '{"format": 1}', '{"format": "1", "partitions": 4}'])
def test_a_damaged_format(tmp_path: Path, content: str) -> None:
    (tmp_path / "format.json").write_text(content)
    with pytest.raises(Misconfigured, match="damaged"):
        prepare(read_settings({}, data=tmp_path))


def test_ids_of_any_characters_are_one_sentence(tmp_path: Path) -> None:
    """Before the address is asked: nothing runs here."""
    installation = Installation(tmp_path / "data")
    prepare(read_settings(installation.environment))
    for id in ("a b", "a/b", "é", "a\nb", "?x=1#"):
        assert "rayfold up" in _refused(installation, "source", "get", id)


def test_deploying_to_no_address(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    assert "RAY_ADDRESS is not set" in _refused(installation, "deploy")
    installation.environment["RAY_ADDRESS"] = "auto"
    assert "host:port" in _refused(installation, "deploy")


def test_nobody_at_home(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    assert "admin token" in _refused(installation, "status")
    prepare(read_settings(installation.environment))
    assert "rayfold up" in _refused(installation, "status")
    assert "nothing was ever started" in _refused(installation, "down")
    done = installation.rayfold("doctor")
    assert (done.returncode, "BAD  private API" in done.stdout) == (1, True)


def test_wrong_usage_is_exit_status_2(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    assert installation.rayfold("up", "--layout", "v9").returncode == 2
    assert installation.rayfold("fly").returncode == 2
    assert installation.rayfold("--help").returncode == 0
