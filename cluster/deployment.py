"""Deploys in a process of its own, so that whoever supervises never loads Ray. Run as a module; settings on stdin."""

import os
import pickle
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping

from cluster.settings import Settings
from pipeline.errors import Misconfigured

#: A head that does not answer by then will not.
_HEAD_DEADLINE_S = 120.0

#: How a head that listens on loopback only is joined (cluster/head.py starts it so).
OWN_HEAD: Mapping[str, str] = {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

_ADDRESS = re.compile(r"([^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", re.ASCII)


def host_and_port(address: str) -> tuple[str, int]:
    """Raises `Misconfigured` when a Ray address is not written as host:port."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found.group(2)) < 65536:
        raise Misconfigured(f"RAY_ADDRESS={address!s:.64} cannot be used: write the head's address as host:port")
    return found.group(1).strip("[]"), int(found.group(2))


def start(settings: Settings, address: str, access: Mapping[str, str] = OWN_HEAD) -> "subprocess.Popen[bytes]":
    """Begin to deploy onto the cluster at `address`, which may still be starting; `access` as that one was started with."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.deployment", address],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            **access,
        },
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(settings))
    process.stdin.close()
    return process


def failure(process: "subprocess.Popen[bytes]") -> str:
    """What a deployment that ended with an error said last."""
    assert process.stderr is not None
    lines = process.stderr.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {process.returncode}"


def _wait_for(address: str) -> None:
    host, port = host_and_port(address)
    deadline = time.monotonic() + _HEAD_DEADLINE_S
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise Misconfigured(f"the Ray head at {address} does not answer") from None
            time.sleep(0.05)


def _main() -> None:
    settings = pickle.load(sys.stdin.buffer)  # noqa: S301  (from our own parent)
    from cluster.deploy import connect, deploy  # loads Ray, while the head is starting

    _wait_for(sys.argv[1])
    connect(sys.argv[1])
    deploy(settings)


if __name__ == "__main__":
    _main()
