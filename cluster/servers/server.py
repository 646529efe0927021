"""One server process with a folder of its own, on loopback."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.ports import free_ports
from cluster.servers import place
from pipeline.errors import Misconfigured

#: A busy machine takes minutes to start a JVM that takes ten seconds on an idle one.
READY_DEADLINE_S = 240.0

_STOP_DEADLINE_S = 60.0
_LOOK_S = 0.1
_LINES = 30


class Server:
    """Started, stopped, killed and started again on the same folder; a subclass says how.

    Where this process is root the server runs as nobody, who must be able to enter `folder`.
    """

    name = ""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Leader of the group that the server's processes are; None while it does not run."""
        return None if self._process is None else self._process.pid

    def members(self) -> list[int]:
        """All its processes."""
        leader, found = self.pid, []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(path.read_text().rpartition(") ")[2].split()[2]) == leader:
                    found.append(int(path.parent.name))
        return found

    async def start(self) -> None:
        """Returns when it is ready. Raises `Misconfigured`, with the end of its log, when it ends or takes too long."""
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._prepare()
        self._give(self.folder)
        process = self._begin()
        deadline = time.monotonic() + READY_DEADLINE_S
        while not await self._ready():
            if process.poll() is not None or time.monotonic() > deadline:
                text = self.log_tail()
                self.kill()
                raise Misconfigured(f"{self.name} did not start, see {self.folder}:\n{text}")
            await asyncio.sleep(_LOOK_S)

    def _begin(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "out.log").open("ab") as out:
            self._process = subprocess.Popen(
                [*dropped_rights(), *self._command()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={"PATH": os.defpath, "HOME": str(self.folder), "LANG": "C.UTF-8", **self._variables()},
                start_new_session=True,
            )
        return self._process

    async def stop(self) -> None:
        """In order; killed when it takes too long. None running is no error."""
        process = self._process
        if process is None:
            return
        self.resume()
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, _STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._signal(signal.SIGKILL)  # what the leader left
        self._process = None

    def kill(self) -> None:
        """SIGKILL to all its processes; returns when they have ended."""
        if self._process is None:
            return
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """SIGSTOP: its connections stay and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def log_tail(self) -> str:
        """The ends of its logs, for whoever looks at a failure."""
        found = []
        for path in [self.folder / "out.log", *self._logs()]:
            if path.exists():
                lines = path.read_text(errors="replace").splitlines()[-_LINES:]
                found.append("\n".join([f"--- {self.name} {path.name}", *lines]))
        return "\n".join(found)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _ports(self, count: int) -> list[int]:
        """Of this folder for ever: a server is known to its own data by its port."""
        path = self.folder / "ports.json"
        if not path.exists():
            self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.write_text(json.dumps(free_ports(count)))
        return list(json.loads(path.read_text()))

    def _prepare(self) -> None:
        """Before each start."""

    def _command(self) -> Sequence[str]:
        raise NotImplementedError

    def _variables(self) -> Mapping[str, str]:
        return {}

    async def _ready(self) -> bool:
        raise NotImplementedError

    def _logs(self) -> Sequence[Path]:
        return ()

    def _give(self, folder: Path) -> None:
        """To whom the server runs as."""
        if os.getuid() != 0:
            return
        os.chown(folder, place.NOBODY, place.NOBODY)
        for parent, folders, files in os.walk(folder):
            for name in (*folders, *files):
                os.chown(Path(parent, name), place.NOBODY, place.NOBODY, follow_symlinks=False)


def dropped_rights() -> Sequence[str]:
    """What stands before a command so that it ends with us, and runs without rights where we are root."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if os.getuid() == 0:
            raise Misconfigured(
                "setpriv is missing, servers must not run as root: install util-linux, or be another user"
            )
        return ()
    rights = (f"--reuid={place.NOBODY}", f"--regid={place.NOBODY}", "--clear-groups") if os.getuid() == 0 else ()
    return (setpriv, *rights, "--pdeathsig=TERM")
