"""Which process of an installation does what."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

_REPLICA = re.compile(r"ray::ServeReplica:(\w+):(\w+)")

#: What a command line holds → what its process is.
_ROLES = {
    "ray::ServeController": "controller",
    "ray::HAProxyManager": "haproxy-manager",
    "ray::ProxyActor": "proxy",
    "ray::DashboardAgent": "agent",
    "ray::RuntimeEnvAgent": "runtime-env-agent",
    "/bin/haproxy ": "haproxy",
    "/raylet/raylet ": "raylet",
    "/gcs/gcs_server ": "gcs",
    "ray.scripts.scripts start ": "head",
    "/dashboard/dashboard.py ": "dashboard",
    "ray.util.client.server ": "client-server",
}

#: What Ray brings to every layout.
RAY = tuple(_ROLES.values())

#: Workers that Ray keeps idle, and such: nothing is expected of their return.
_OTHER = "other"


def role(command: str) -> str:
    """An API as the status calls it (`api.public`), a worker by its deployment, a part of Ray by its name here."""
    replica = _REPLICA.search(command)
    if replica is not None:
        application, deployment = replica.groups()
        return f"api.{deployment}" if application == deployment else deployment
    return next((role for part, role in _ROLES.items() if part in command), _OTHER)


def by_role(pids: Iterable[int]) -> Mapping[str, list[int]]:
    """Those that live, by what they do."""
    found = defaultdict(list)
    for pid in pids:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if command and (name := role(command)) != _OTHER:
            found[name].append(pid)
    return found
