"""All rounds of one layout, on one installation as long as nothing goes wrong."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cluster.folder import prepare
from cluster.head import Head
from cluster.settings import read_settings
from tests.chaos.faults import Fault
from tests.chaos.proof import Proof, proving
from tests.chaos.rounds import Outcome, play
from tests.installation import Installation


def campaign(
    layout: str, faults: Sequence[Fault], chance: random.Random, stop_s: float, say: Callable[[str], None]
) -> Iterator[Outcome]:
    """Each round's outcome as it comes. After one that went wrong its folder is kept and a fresh installation goes on."""
    left = list(faults)
    while left:
        folder = Path(tempfile.mkdtemp(prefix="rayfold-chaos-")) / "data"
        with proving(folder, layout) as proof:
            while left:
                outcome = _round(proof, layout, left.pop(0), chance, stop_s)
                if outcome.problem:
                    _keep_logs(proof.installation)
                    say(f"WRONG: {outcome.problem}\nkept: {folder} (documents.db, log/, up.log, ray.log, ray-logs/)")
                yield outcome
                if outcome.problem:
                    break
        if not outcome.problem:
            shutil.rmtree(folder.parent, ignore_errors=True)


def _round(proof: Proof, layout: str, fault: Fault, chance: random.Random, stop_s: float) -> Outcome:
    return asyncio.run(play(proof, layout, fault, chance, stop_s))


def _keep_logs(installation: Installation) -> None:
    """Ray's own go with its folder when it ends."""
    settings, _ = prepare(read_settings(installation.environment))
    for session in (Head(settings).folder / "r").glob("session_2*"):
        shutil.copytree(session / "logs", installation.folder / "ray-logs" / session.name, dirs_exist_ok=True)
