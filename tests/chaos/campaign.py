"""All rounds of one layout, on one installation as long as nothing goes wrong."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path

from cluster.folder import prepare
from cluster.head import Head
from cluster.settings import read_settings
from tests.chaos.disk import Filled, full_disk, small_disk
from tests.chaos.faults import Fault
from tests.chaos.proof import Proof, proving
from tests.chaos.rounds import Outcome, play
from tests.installation import Installation

#: How long a disk stays full.
_FULL_S = 15.0


def campaign(
    layout: str,
    faults: Sequence[Fault],
    chance: random.Random,
    stop_s: float,
    seconds: MutableMapping[str, str],
    say: Callable[[str], None],
) -> Iterator[Outcome]:
    """Each round's outcome as it comes. After one that went wrong its folder is kept and a fresh installation goes on.

    Into `seconds` goes what a second `up` on the folder was told.
    """
    left = list(faults)
    while left:
        folder = Path(tempfile.mkdtemp(prefix="rayfold-chaos-")) / "data"
        with proving(folder, layout) as proof:
            seconds[layout] = _second_up(proof.installation)
            while left:
                outcome = _round(proof, layout, left.pop(0), chance, stop_s)
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


def _round(proof: Proof, layout: str, fault: Fault, chance: random.Random, stop_s: float) -> Outcome:
    return asyncio.run(play(proof, layout, fault, chance, stop_s))


def _keep_logs(installation: Installation, folder: Path) -> None:
    """Ray's own go with its folder when it ends."""
    settings, _ = prepare(read_settings(installation.environment))
    for session in (Head(settings).folder / "r").glob("session_2*"):
        shutil.copytree(session / "logs", folder / "ray-logs" / session.name, dirs_exist_ok=True)
