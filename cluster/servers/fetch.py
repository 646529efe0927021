"""Fetches the programs of the servers by Maven and Debian's packages; what is there already is left alone."""

import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from cluster.servers import place
from pipeline.errors import Misconfigured

#: Folder that it unpacks to → coordinates in Maven's terms.
_ARTIFACTS: Mapping[str, str] = {
    place.PULSAR: "org.apache.pulsar:pulsar-server-distribution:4.0.8:tar.gz:bin",
    place.ELASTICSEARCH: "org.elasticsearch.distribution.integ-test-zip:elasticsearch:9.5.0:zip",
}
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"

_PACKAGE = "mariadb-server-core"
_FETCH_DEADLINE_S = 1800


def fetch(environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Everything that is missing. Raises `Misconfigured` naming all that cannot be had here and how to get it."""
    folder = place.cache(environment)
    folder.mkdir(parents=True, exist_ok=True)
    problems = []
    for name, artifact in _ARTIFACTS.items():
        try:
            if not (folder / name).is_dir():
                say(f"Fetching {name} into {folder} …")
                _fetch(folder, name, artifact, environment)
        except Misconfigured as error:
            problems.append(str(error))
    if place.mariadbd(environment) is None:
        try:
            _install_mariadb(environment, say)
        except Misconfigured as error:
            problems.append(str(error))
    problems += [one for one in place.missing(environment) if "make servers" not in one]
    if problems:
        raise Misconfigured("not all servers can be had: " + "; ".join(problems))


def _fetch(folder: Path, name: str, artifact: str, environment: Mapping[str, str]) -> None:
    """Whole or not at all: unpacked beside its place, then renamed."""
    maven = shutil.which("mvn", path=environment.get("PATH"))
    if maven is None:
        raise Misconfigured(f"{name} is fetched by Maven, which is not on PATH (Debian: apt-get install maven)")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        _run([maven, "-q", "-B", _PLUGIN, f"-Dartifact={artifact}", f"-DoutputDirectory={temporary}"], name)
        (archive,) = Path(temporary).iterdir()
        if archive.suffix == ".zip":
            zipfile.ZipFile(archive).extractall(temporary)  # noqa: S202  (from the registry that Maven trusts)
        else:
            with tarfile.open(archive) as opened:
                opened.extractall(temporary, filter="data")
        (Path(temporary) / name).rename(folder / name)


def _install_mariadb(environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    apt = shutil.which("apt-get", path=environment.get("PATH"))
    if apt is None or os.getuid() != 0:
        raise Misconfigured(
            f"MariaDB is missing: install it (Debian: apt-get install --no-install-recommends {_PACKAGE}), "
            "or put mariadbd or mysqld on PATH"
        )
    say("Installing MariaDB by apt-get …")
    _run([apt, "-qq", "update"], "the list of packages")
    _run([apt, "-qq", "-y", "--no-install-recommends", "install", _PACKAGE], "MariaDB")


def _run(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_FETCH_DEADLINE_S,
            check=False,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.TimeoutExpired:
        raise Misconfigured(
            f"{what} could not be had within {_FETCH_DEADLINE_S} s: is the registry reachable?"
        ) from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise Misconfigured(f"{what} could not be had by {Path(command[0]).name}: {' '.join(said)}")
