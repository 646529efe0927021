"""What the processes of an installation use: CPU seconds and memory, by role, from /proc."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")

#: A piece of the command line → role; the first that fits.
_ROLES: tuple[tuple[str, str], ...] = (
    ("ServeReplica:public", "public API"),
    ("ServeReplica:private:private", "private API"),
    ("ServeReplica:private:", "workers"),
    ("haproxy.cfg", "HAProxy"),
    ("HAProxyManager", "Serve ingress"),
    ("ProxyActor", "Serve ingress"),
    ("ServeController", "Serve controller"),
    ("PulsarStandaloneStarter", "Pulsar"),
    ("elasticsearch", "Elasticsearch"),
    ("mariadbd", "MariaDB"),
    ("mysqld", "MariaDB"),
)


def role_of(pid: int) -> str:
    """What a process does in the installation; everything else is Ray's own."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return next((role for piece, role in _ROLES if piece in command), "Ray itself")


def cpu_seconds(pids: Iterable[int]) -> Mapping[str, float]:
    """User and system time so far, by role."""
    found: dict[str, float] = defaultdict(float)
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found[role_of(pid)] += (int(fields[11]) + int(fields[12])) / _TICKS
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def pss_bytes(pids: Iterable[int]) -> Mapping[str, int]:
    """Proportional set size by role: shared pages are divided among those that share them."""
    found: dict[str, int] = defaultdict(int)
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    found[role_of(pid)] += int(line.split()[1]) * 1024
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
