"""kill -9 once of each part, under load: what was answered 200 is stored once, nothing twice, and the account balances.

`make chaos` does the same and more, many times; see docs/reliability.md.
"""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.disk import NoSmallDisk, full_disk, small_disk
from tests.chaos.faults import missing, send
from tests.chaos.processes import by_role
from tests.chaos.proof import Proof, proving
from tests.installation import Installation, eventually
from tests.load import Load

pytestmark = pytest.mark.timeout(300)


@asynccontextmanager
async def _loaded(proof: Proof) -> AsyncIterator[Load]:
    """Under load for the length of the block; what was answered counts even if the block fails, for the tests after it."""
    load = proof.load()
    try:
        async with load:
            yield load
    finally:
        proof.answered(load.answered, load.per_profile)


def _others(installation: Installation, part: str, before: list[int]) -> set[int]:
    return set(by_role(installation.members()).get(part, ())) - set(before)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | NoSmallDisk]:
    """A small disk, or why there is none."""
    folder = tmp_path_factory.mktemp("kills") / "disk"
    try:
        with small_disk(folder):
            yield folder
    except NoSmallDisk as reason:
        yield reason


@pytest.fixture(scope="module")
def proof(disk: Path | NoSmallDisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    folder = disk if isinstance(disk, Path) else tmp_path_factory.mktemp("kills")
    with proving(folder / "data", layout="v1.1") as proof:
        yield proof


async def test_a_full_disk_sends_clients_away_and_recovers_by_itself(proof: Proof, disk: Path | NoSmallDisk) -> None:
    if isinstance(disk, NoSmallDisk):
        pytest.skip(str(disk))
    assert not (await full_disk(proof, disk, "v1.1", 10.0)).problems


@pytest.mark.parametrize("part", ["api.public", "collector", "batcher", "dispatcher", "executor"])
async def test_a_killed_worker_loses_nothing_and_doubles_nothing(proof: Proof, part: str) -> None:
    installation = proof.installation
    stage = "" if part.startswith("api.") else part
    before = installation.status()["stages"][stage]["restarts"] if stage else 0
    async with _loaded(proof) as load:
        await load.more(200, 30)
        killed = installation.kill(part)
        await load.more(300, 60)
    assert not (await proof.judge()).problems
    eventually(lambda: set(installation.pids(part)) - {killed}, 20, f"another {part} in its place")
    if stage:
        eventually(lambda: installation.status()["stages"][stage]["restarts"] == before + 1, 20, "the status says so")


@pytest.mark.parametrize("part", ["controller", "haproxy", "raylet", "agent"])
async def test_a_killed_part_of_ray_comes_back_without_a_hand(proof: Proof, part: str) -> None:
    """The raylet and its agent take the whole node along, each in a way of its own: the supervisor starts another one."""
    installation = proof.installation
    roles = by_role(installation.members())
    async with _loaded(proof) as load:
        await load.more(200, 30)
        send(signal.SIGKILL, roles[part])
        others = partial(_others, installation, part, roles[part])
        await asyncio.to_thread(eventually, others, 120, f"another {part}")
        await load.more(200, 60)
    eventually(lambda: not missing(installation, list(roles)), 120, "every process")
    assert not (await proof.judge()).problems


@pytest.mark.parametrize("alone", [True, False])
async def test_a_killed_supervisor_is_replaced_by_up_alone_or_with_everything(proof: Proof, alone: bool) -> None:
    installation = proof.installation
    async with _loaded(proof) as load:
        await load.more(200, 30)
        os.kill(installation.supervisor, signal.SIGKILL)
        members = installation.members()
        assert len(members) > 5
        send(signal.SIGKILL, () if alone else members)
        await asyncio.to_thread(installation.up)
        assert not set(members) & set(installation.members())
        await load.more(200, 60)
    assert not (await proof.judge()).problems


async def test_the_account_balances_while_events_flow(proof: Proof) -> None:
    async with _loaded(proof) as load:
        await load.more(100, 30)
        for _ in range(5):
            done = proof.installation.rayfold("account", "--verify")
            assert done.returncode == 0, done.stderr
        await load.more(100, 30)
    assert not (await proof.judge()).problems


async def test_verify_notices_one_event_deleted_behind_its_back(proof: Proof) -> None:
    async with _loaded(proof) as load:
        await load.more(10, 30)
    assert not (await proof.judge()).problems
    assert proof.installation.rayfold("account", "--verify").returncode == 0
    _delete_one(proof.installation.folder)
    done = proof.installation.rayfold("account", "--verify")
    assert done.returncode == 1
    assert "1 event documents are missing" in done.stderr
    assert any("lost" in problem for problem in (await proof.judge()).problems)


def _delete_one(folder: Path) -> None:
    db = sqlite3.connect(folder / "documents.db")
    try:
        with db:
            db.execute("delete from event where id in (select id from event where client = 1 limit 1)")
    finally:
        db.close()
