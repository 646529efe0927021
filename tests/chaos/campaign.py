"""All rounds of one layout, on one installation as long as nothing goes wrong."""

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cluster.folder import prepare
from cluster.head import Head
from cluster.servers import trio
from cluster.settings import read_settings
from tests.chaos.disk import Filled, full_disk, small_disk
from tests.chaos.faults import Fault
from tests.chaos.proof import Proof, proving
from tests.chaos.rounds import Outcome, Servers, play
from tests.installation import Installation
from tests.storage import EMBEDDED

#: What an installation can stand on: kinds of faults.
SERVERS = ("pulsar", "elasticsearch", "mariadb")

#: How long a disk stays full.
_FULL_S = 15.0


def campaign(
    layout: str,
    faults: Sequence[Fault],
    chance: random.Random,
    stop_s: float,
    seconds: MutableMapping[str, str],
    say: Callable[[str], None],
    on_servers: bool,
) -> Iterator[Outcome]:
    """Each round's outcome as it comes. After one that went wrong its folder is kept and a fresh installation goes on.

    Into `seconds` goes what a second `up` on the folder was told.
    """
    left = list(faults)
    while left:
        folder = Path(tempfile.mkdtemp(prefix="rayfold-chaos-")) / "data"
        with _servers(on_servers) as (servers, settings), proving(folder, layout, settings) as proof:
            seconds[layout] = _second_up(proof.installation)
            while left:
                outcome = _round(proof, layout, left.pop(0), chance, stop_s, servers)
                if outcome.problem:
                    _keep_logs(proof.installation, folder)
                    say(f"WRONG: {outcome.problem}\nkept: {folder} (documents.db, log/, up.log, ray.log, ray-logs/)")
                yield outcome
                if outcome.problem:
                    break
        if not outcome.problem:
            shutil.rmtree(folder.parent, ignore_errors=True)


def fillings(layout: str, rounds: int, say: Callable[[str], None]) -> Iterator[Filled]:
    """A full disk so many times, on one installation. Raises `NoSmallDisk`."""
    folder = Path(tempfile.mkdtemp(prefix="rayfold-chaos-"))
    disk = folder / "disk"
    with small_disk(disk), proving(disk / "data", layout) as proof:
        for _ in range(rounds):
            filled = asyncio.run(full_disk(proof, disk, layout, _FULL_S))
            yield filled
            if filled.problems:
                shutil.copytree(disk / "data", folder / "data")
                _keep_logs(proof.installation, folder / "data")
                say(f"WRONG: {'; '.join(filled.problems)}\nkept: {folder / 'data'}")
                return
    shutil.rmtree(folder)


def _second_up(installation: Installation) -> str:
    """What it said; it must not start."""
    done = installation.rayfold("up")
    assert done.returncode == 1, "a second `up` on the same folder was not refused"
    return done.stderr.strip().replace(str(installation.folder), "DATA")


@contextmanager
def _servers(wanted: bool) -> Iterator[tuple[Servers, Mapping[str, str]]]:
    """Of one installation, with the settings that put it on them; none where everything is embedded."""
    if not wanted:
        yield {}, EMBEDDED
        return
    with trio.fresh_folder() as folder, trio.running(folder, os.environ) as running:
        yield dict(zip(SERVERS, running.servers, strict=True)), running.settings


def _round(proof: Proof, layout: str, fault: Fault, chance: random.Random, stop_s: float, servers: Servers) -> Outcome:
    return asyncio.run(play(proof, layout, fault, chance, stop_s, servers))


def _keep_logs(installation: Installation, folder: Path) -> None:
    """Ray's own go with its folder when it ends."""
    settings, _ = prepare(read_settings(installation.environment))
    for session in (Head(settings).folder / "r").glob("session_2*"):
        shutil.copytree(session / "logs", folder / "ray-logs" / session.name, dirs_exist_ok=True)
