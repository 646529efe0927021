"""What a bad state gets: one clear sentence and exit status 1, nothing lost."""

import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.folder import FolderLock, prepare
from cluster.settings import read_settings
from pipeline.errors import Misconfigured
from tests.installation import Installation


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
