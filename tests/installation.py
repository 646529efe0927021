"""A real installation on a Ray cluster of its own, driven as a user does: by `rayfold` and by HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from cluster.client import Client
from cluster.folder import prepare
from cluster.head import Head
from cluster.ports import free_ports
from cluster.settings import read_settings
from cluster.settled import settled
from tests.storage import EMBEDDED


def eventually(found: Callable[[], Any], within_s: float, what: str) -> Any:
    """The first true answer. Fails when there is none within that time."""
    deadline = time.monotonic() + within_s
    while True:
        answer = found()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.1)


class Installation:
    """Started by `up`; `settings` are as the installation sees them."""

    def __init__(self, folder: Path, **environment: str) -> None:
        (self.port,) = free_ports(1)
        self.folder = folder
        self.revision = 0  #: of the newest definition put
        self.before: Callable[[], object] | None = None  #: called in each command's process before it begins
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAYFOLD_", "RAY_"))}
        self.environment = {
            **clean,
            "RAYFOLD_DATA": str(folder),
            "RAYFOLD_PORT": str(self.port),
            **{f"RAYFOLD_{name.upper()}": value for name, value in environment.items()},
        }
        self.url = f"http://127.0.0.1:{self.port}"

    def rayfold(self, *arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        """Run one command; its outcome is the caller's to judge."""
        return subprocess.run(
            [sys.executable, "-m", "cluster", *arguments],
            env=self.environment,
            preexec_fn=self.before,
            input=text,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def up(self) -> None:
        done = self.rayfold("up", "--detach")
        assert done.returncode == 0, done.stderr + self.logs()

    def down(self) -> None:
        done = self.rayfold("down")
        assert done.returncode == 0, done.stderr

    def logs(self) -> str:
        """The ends of its log files, for a failing test."""
        found = []
        for name in ("up.log", "ray.log"):
            path = self.folder / name
            if path.exists():
                found.append(f"--- {name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-30:]))
        return "\n".join(found)

    @property
    def token(self) -> str:
        return (self.folder / "secrets" / "admin_token").read_text()

    def get(self, path: str, **query: str) -> Any:
        answer = httpx.get(
            f"{self.url}/api{path}", params=query, headers={"authorization": f"Bearer {self.token}"}, timeout=30
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def pages(self, path: str, **query: str) -> Iterator[Any]:
        """Every item of a list."""
        cursor = ""
        while True:
            page = self.get(path, limit="1000", cursor=cursor, **query)
            yield from page["items"]
            cursor = page["cursor"]
            if not cursor:
                return

    def put(self, kind: str, id: str, body: dict[str, Any]) -> None:
        done = self.rayfold(kind, "put", id, text=json.dumps(body))
        assert done.returncode == 0, done.stderr
        self.revision = int(done.stdout.rpartition("revision ")[2].rstrip(")\n"))

    def status(self) -> dict[str, Any]:
        return dict(self.get("/status"))

    def settled(self) -> None:
        """Wait until every worker acts on the newest definitions."""
        settled(Client(read_settings(self.environment)), self.revision)

    def pids(self, stage: str) -> list[int]:
        """Processes that run a stage, or an API (`api.public`), as they report themselves."""
        status = self.status()
        if stage.startswith("api."):
            return [worker["pid"] for worker in status["apis"][stage.removeprefix("api.")]]
        return [worker["pid"] for worker in status["stages"][stage]["workers"]]

    def kill(self, stage: str) -> int:
        """kill -9 of one process that runs it, alive until now; one that was just started or held up reports itself soon."""
        pid = int(eventually(lambda: next(filter(_alive, self.pids(stage)), 0), 20, f"a process that runs {stage}"))
        os.kill(pid, signal.SIGKILL)
        return pid

    @property
    def supervisor(self) -> int:
        """The process of `rayfold up` that took the folder last."""
        return int((self.folder / "up.lock").read_text())

    def members(self) -> list[int]:
        """All its processes but the supervisor."""
        settings, _ = prepare(read_settings(self.environment))
        return Head(settings).members()

    def quiet(self, within_s: float = 60.0) -> dict[str, Any]:
        """The account with documents counted, once nothing is under way."""

        def asked() -> dict[str, Any] | None:
            try:
                account = self.get("/account", verify="true")
            except (httpx.HTTPError, AssertionError):
                return None
            return account if account["quiet"] else None

        return dict(eventually(asked, within_s, f"nothing under way\n{self.logs()}"))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def installed(folder: Path, on: Mapping[str, str] = EMBEDDED, **environment: str) -> Iterator[Installation]:
    """Up for the length of the block; `on`: see tests/storage.py."""
    installation = Installation(folder, **environment)
    installation.environment |= on
    installation.up()
    try:
        yield installation
    finally:
        installation.down()
