"""A disk that is full for a while: who sends is told to come back, nothing hangs or dies, and it recovers by itself."""

import asyncio
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.chaos.probe import Probe
from tests.chaos.processes import by_role
from tests.chaos.proof import Proof
from tests.chaos.rounds import LOAD_PAUSE_S, RECOVERY_S
from tests.chaos.verdict import Verdict
from tests.installation import Installation
from tests.load import Load, Try

#: Room for an installation and all that is sent to it.
_SIZE_MB = 400

#: No answer may take longer while the disk is full.
_HANG_S = 5.0

_LOOK_S = 0.25


class NoSmallDisk(Exception):
    """Why none could be made, and how it can."""


class Filled(NamedTuple):
    """What became of it; times in seconds."""

    layout: str
    full_s: float
    refused: int  #: answers 503 with Retry-After
    others: int  #: answers of other status; 200 for what still found room
    slowest_s: float
    recovered_s: float  #: from the moment there was room again until events went all the way
    events: int
    verdict: Verdict
    problems: Sequence[str]


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """The folder is a file system of its own for the length of the block. Raises `NoSmallDisk`."""
    folder.mkdir(parents=True)
    options = f"size={_SIZE_MB}m,mode=700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NoSmallDisk(
            f"no small disk could be mounted ({done.stderr.strip()}): run this as root, or by "
            "`unshare --user --map-root-user --mount make …`"
        )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Ballast:
    """A file that takes all room that is left."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ballast"
        self._fd = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC)

    def fill(self) -> None:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    os.write(self._fd, bytes(size))
            except OSError:
                continue

    def free(self) -> None:
        os.close(self._fd)
        self._path.unlink()


async def full_disk(proof: Proof, disk: Path, layout: str, full_s: float) -> Filled:
    """Fill the disk that the installation's data lie on, under load; free it after that long; wait for the way back."""
    installation = proof.installation
    before = by_role(installation.members())
    load, probe = proof.load(LOAD_PAUSE_S), Probe(installation.url, proof.received, proof.begin())
    async with load:
        await load.more(100, RECOVERY_S)
        ballast = Ballast(disk)
        try:
            tries = await _while_full(load, ballast, full_s)
            problems = await asyncio.to_thread(_unsaid, installation)
        finally:
            ballast.free()
        freed = time.monotonic()
        async with probe, asyncio.timeout(RECOVERY_S):
            while (recovered := probe.calm_since(freed)) is None:
                await asyncio.sleep(_LOOK_S)
    after = by_role(installation.members())
    problems += [f"{role} was started anew" for role in before if before[role] != after.get(role)]
    for client in (load, probe):
        proof.answered(client.answered, client.per_profile)
    verdict = await proof.judge(RECOVERY_S)
    refused = sum(one.status == 503 for one in tries)
    slowest = max(one.seconds for one in tries)
    problems += [*_wrong(tries, slowest), *verdict.problems]
    events = len(load.answered) + len(probe.answered)
    return Filled(layout, full_s, refused, len(tries) - refused, slowest, recovered - freed, events, verdict, problems)


async def _while_full(load: Load, ballast: Ballast, full_s: float) -> list[Try]:
    """What the load was answered from the first refusal on."""
    first, end = len(load.tries), float("inf")
    while time.monotonic() < end:
        ballast.fill()  # a log that was shortened has made room
        await asyncio.sleep(_LOOK_S)
        if end == float("inf") and any(one.status != 200 for one in load.tries[first:]):
            first, end = len(load.tries), time.monotonic() + full_s
    return load.tries[first:]


def _wrong(tries: Sequence[Try], slowest: float) -> list[str]:
    """Answers that clients should not get."""
    found = Counter(
        one.status for one in tries if one.status not in (200, 503) or (one.status == 503) > one.retry_after
    )
    problems = [f"{count} times HTTP {status}, or without Retry-After" for status, count in found.items()]
    if slowest > _HANG_S:
        problems.append(f"an answer took {slowest:.1f} s")
    return problems


def _unsaid(installation: Installation) -> list[str]:
    """Where the cause should be named and is not."""
    ready = httpx.get(f"{installation.url}/ready", timeout=_HANG_S)
    said = {
        "/ready": ready.text if ready.status_code == 503 else f"HTTP {ready.status_code}",
        "rayfold status": installation.rayfold("status").stdout,
        "rayfold doctor": installation.rayfold("doctor").stdout,
    }
    return [f"{who} says nothing of the disk: {text}" for who, text in said.items() if "free space" not in text]
