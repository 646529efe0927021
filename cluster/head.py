"""A Ray head of its own on this machine: own folder, own ports, loopback only; it joins and stops no other Ray."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from cluster import haproxy
from cluster.ports import free_ports
from cluster.settings import Settings

#: Shared memory for Ray's object store: nothing of ours travels through it.
_OBJECT_STORE_BYTES = 80_000_000

#: Seconds a replica gets to finish when it is stopped, and the whole node.
GRACE_S = 4
_DRAIN_S = GRACE_S + 2

#: In the environment of everything that belongs to a head: its folder.
_MARK = "RAYFOLD_HEAD"

#: Logical CPUs: only admission control; every replica asks for 0.
_CPUS = "1"

#: Read by Serve's controller, which scales by the log's backlog (cluster/scaling.py).
TOKEN_VARIABLE = "RAYFOLD_PULSAR_TOKEN"  # noqa: S105  (a name)


class Head:
    """One `ray start --head --block`, its child processes and its folder."""

    def __init__(self, settings: Settings) -> None:
        name = hashlib.blake2b(f"{os.getuid()}:{settings.data}".encode(), digest_size=4).hexdigest()
        #: Short: HAProxy adds 56 characters to it and takes 97 for the path of its socket.
        self.folder = Path(tempfile.gettempdir()) / f"rf-{name}"
        ports = free_ports(6)
        self.address = f"127.0.0.1:{ports[0]}"
        self._settings = settings
        self._ports = ports
        self._process: subprocess.Popen[bytes] | None = None
        self._raylet: int | None = None
        self._log = settings.data / "ray.log"

    def start(self) -> None:
        """Returns at once; the head takes some seconds to answer at `address`."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True)
        arguments = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            "--node-ip-address=127.0.0.1",
            f"--port={self._ports[0]}",
            "--include-dashboard=false",
            "--disable-usage-stats",
            f"--num-cpus={_CPUS}",
            "--num-gpus=0",
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
            f"--temp-dir={self.folder / 'r'}",
            f"--ray-client-server-port={self._ports[4]}",
            "--no-monitor",  # the autoscaler of nodes: there is one node
            "--include-log-monitor=false",
            f"--metrics-export-port={self._ports[1]}",
            f"--dashboard-agent-listen-port={self._ports[5]}",
            "--min-worker-port=0",  # random ones; the default range is shared by all Rays of a machine
            "--max-worker-port=0",
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                start_new_session=True,
            )

    def environment(self) -> Mapping[str, str]:
        """Inherited by everything the head starts."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RAYFOLD_"))},
            _MARK: os.fspath(self.folder),
            **({TOKEN_VARIABLE: self._settings.pulsar_token} if self._settings.pulsar_token else {}),
            **haproxy.environment(self.folder / "h", self._ports[2], self._ports[3]),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # binds 127.0.0.1 instead of every address
            "RAY_AUTH_MODE": "disabled",  # reachable from this machine only
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(_DRAIN_S),
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
            "RAY_SERVE_LOG_TO_STDERR": "0",
            "RAY_worker_niceness": "0",  # 15 unless set: everything else on the machine would come first
            "RAY_enable_open_telemetry": "0",
            "RAY_DEDUP_LOGS": "0",
            "SPT_NOENV": "1",  # titles of processes are not written over their environment, where the mark is
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",  # many threads of short life would each keep an arena
        }

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def died(self) -> bool:
        """Whether the head has ended by itself, or its raylet and so the whole node.

        `ray start` minds only a raylet that ended badly; one whose agent was killed ends everything and then itself, in order.
        """
        if self._process is None:
            return False
        if self._process.poll() is not None:
            return True
        head = self._process.pid
        if self._raylet is None:
            self._raylet = next((pid for pid in self.members() if _is_raylet(pid, head)), None)
        return self._raylet is not None and not _is_raylet(self._raylet, head)

    def stop(self, *, drain: bool) -> None:
        """End the head and everything it started; bounded. `drain`: let it finish what is under way, if it still can."""
        process = self._process
        if process is None:
            return
        if drain and process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_DRAIN_S + GRACE_S)
        process.kill()
        process.wait()
        self.end_orphans()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._process = self._raylet = None

    def end_orphans(self) -> bool:
        """Kill all processes of this installation, and so what an `up` that was killed left; whether there was any.

        On return they have let go of their ports, unless the machine takes more than some seconds for that.
        """
        killed: set[int] = set()
        for _ in range(100):
            left = self.members()
            killed |= set(left)
            if not any(_lives(pid) for pid in killed):
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        return bool(killed)

    def members(self) -> list[int]:
        """All processes of this installation, ended ones excepted.

        Known by their environment: anybody's command line may name the folder, as one that reads a log there does.
        """
        mark = f"{_MARK}={self.folder}".encode()
        found = []
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                environment = Path(entry.path, "environ").read_bytes()
            except OSError:
                continue
            if mark in environment.split(b"\0"):
                found.append(int(entry.name))
        return found


def _stat(pid: int) -> tuple[str, str, int] | None:
    """Name, state and parent of a process; None when there is none."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")
    except OSError:
        return None
    state, parent = rest.split()[:2]
    return name.partition("(")[2], state, int(parent)


def _lives(pid: int) -> bool:
    """A process without memory may still hold its sockets: only one that waits to be forgotten has closed them."""
    found = _stat(pid)
    return found is not None and found[1] not in ("Z", "X")


def _is_raylet(pid: int, parent: int) -> bool:
    """Whether this process, started by that one, is a raylet and lives."""
    found = _stat(pid)
    return found is not None and found[0] == "raylet" and found[2] == parent and _lives(pid)
