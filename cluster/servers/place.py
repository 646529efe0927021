"""Where the servers' programs are kept, and a Java that each of them runs on."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import Misconfigured

PULSAR = "apache-pulsar-4.0.8"
ELASTICSEARCH = "elasticsearch-9.5.0"

#: What a server runs as where this process is root: Elasticsearch refuses root, the others need no rights.
NOBODY = 65534

_VERSION = re.compile(r'^JAVA_VERSION="(\d+)', re.MULTILINE)


def cache(environment: Mapping[str, str]) -> Path:
    """The folder of all programs.

    Of root it is not in its home, which others may not enter: the servers run as somebody without rights.
    """
    if os.getuid() == 0:
        return Path("/var/cache/rayfold/servers")
    home = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "rayfold" / "servers"


def java_home(environment: Mapping[str, str], least: int, most: int) -> Path:
    """A Java of a version in these bounds: JAVA_HOME, what `java` on PATH is, or one that the system has installed.

    Raises `Misconfigured` where there is none.
    """
    homes = [Path(environment["JAVA_HOME"])] if environment.get("JAVA_HOME") else []
    on_path = shutil.which("java", path=environment.get("PATH"))
    if on_path:
        homes.append(Path(on_path).resolve().parents[1])
    homes += sorted(Path("/usr/lib/jvm").glob("*"))
    for home in homes:
        if (home / "bin" / "java").exists() and least <= _version(home) <= most:
            return home
    bounds = f"{least} to {most}" if most < 99 else f"{least} or newer"
    raise Misconfigured(
        f"no Java {bounds} was found: install a JDK (Debian: apt-get install openjdk-{least}-jre-headless, "
        "or Temurin) and name its folder in JAVA_HOME where it is not in /usr/lib/jvm"
    )


def _version(home: Path) -> int:
    try:
        found = _VERSION.search((home / "release").read_text())
    except OSError:
        return 0
    return int(found.group(1)) if found else 0


def pulsar_java(environment: Mapping[str, str]) -> Path:
    return java_home(environment, 17, 21)


def elasticsearch_java(environment: Mapping[str, str]) -> Path:
    return java_home(environment, 21, 99)


def mariadbd(environment: Mapping[str, str]) -> Path | None:
    """The program of MariaDB or MySQL, None where there is none."""
    path = f"{environment.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    found = shutil.which("mariadbd", path=path) or shutil.which("mysqld", path=path)
    return Path(found) if found else None


def missing(environment: Mapping[str, str]) -> list[str]:
    """Which of the three cannot be started here, each with what to do; empty when all can."""
    found = []
    folder = cache(environment)
    for name, java in ((PULSAR, pulsar_java), (ELASTICSEARCH, elasticsearch_java)):
        if not (folder / name).is_dir():
            found.append(f"{name} is not in {folder}: `make servers` fetches it")
            continue
        try:
            java(environment)
        except Misconfigured as error:
            found.append(f"{name}: {error}")
    if mariadbd(environment) is None:
        found.append("no mariadbd and no mysqld on PATH: `make servers` says how to get one")
    return found
