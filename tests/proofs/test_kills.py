"""kill -9 once of each part, under load: what was answered 200 is stored once, nothing twice, and the account balances."""

import json
import sqlite3
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import receiver
from tests.installation import Installation, eventually, installed
from tests.load import Load

pytestmark = pytest.mark.timeout(300)


class Proof:
    """One installation, what it was sent so far, and the system it delivers to."""

    def __init__(self, installation: Installation, received: str) -> None:
        self.installation = installation
        self.begun = 0  #: numbers of message ids given away
        self.answered: set[str] = set()
        self.per_profile: Counter[str] = Counter()
        self._received = received

    def load(self) -> Load:
        """More of it; message ids go on where the last load ended, whatever became of that."""
        self.begun += 1_000_000
        return Load(self.installation.url, "load", start=self.begun)

    def agrees(self, load: Load) -> None:
        """The account, every document, every profile and every delivery against the client's own count."""
        self.answered |= set(load.answered)
        self.per_profile += load.per_profile
        count = len(self.answered)
        account = self.installation.quiet()
        assert account["balanced"], account
        assert account["verified"], account
        assert account["stored"] == count, account
        assert account["accepted"] == account["stored"] + account["duplicate"], account
        assert account["workflows"]["run"] == count, account
        assert account["destinations"]["all"]["delivered"] == count, account
        stored = Counter(one["message_id"] for one in self.installation.pages("/events", type="increase-interest"))
        assert stored == Counter(self.answered)
        for profile, events in self.per_profile.items():
            found = self.installation.get(f"/profiles/{profile}")
            assert found["interests"]["load"] == events, profile
            assert found["stats"]["counters"]["runs"] == events, profile
        self._delivered()

    def _delivered(self) -> None:
        """Each event came, and of each profile in order: the interest counts them."""
        with urllib.request.urlopen(f"{self._received}/kept") as answer:
            bodies: list[dict[str, Any]] = json.loads(answer.read())
        assert {body["message"] for body in bodies} == self.answered
        numbers = defaultdict(list)
        for body in bodies:
            numbers[body["profile"]].append(body["number"])
        assert numbers == {profile: list(range(1, events + 1)) for profile, events in self.per_profile.items()}


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    process, received = receiver.start()
    try:
        with installed(tmp_path_factory.mktemp("kills") / "data", layout="v1.1") as installation:
            installation.put("source", "load", {"static_profile_id": True})
            nodes = [
                {"id": "start", "type": "start"},
                {"id": "count", "type": "increment", "settings": {"field": "profile@stats.counters.runs"}},
            ]
            installation.put("workflow", "count", {"nodes": nodes, "edges": [{"from": "start", "to": "count"}]})
            asked = {"source": "load", "event_type": "increase-interest"}
            installation.put("rule", "count", {**asked, "workflow": "count"})
            mapping = {
                "message": "event@message_id",
                "profile": "profile@primary_id",
                "number": "profile@interests.load",
            }
            settings = {"url": f"{received}/?keep=1"}
            installation.put("destination", "all", {**asked, "mapping": mapping, "settings": settings})
            installation.settled()
            yield Proof(installation, received)
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("part", ["api.public", "collector", "batcher", "dispatcher", "executor"])
async def test_a_killed_worker_loses_nothing_and_doubles_nothing(proof: Proof, part: str) -> None:
    installation = proof.installation
    stage = "" if part.startswith("api.") else part
    before = installation.status()["stages"][stage]["restarts"] if stage else 0
    async with proof.load() as load:
        await load.more(200, 30)
        killed = installation.kill(part)
        await load.more(300, 60)
    proof.agrees(load)
    eventually(lambda: set(installation.pids(part)) - {killed}, 20, f"another {part} in its place")
    if stage:
        eventually(lambda: installation.status()["stages"][stage]["restarts"] == before + 1, 20, "the status says so")


async def test_everything_killed_at_once_comes_back_by_up(proof: Proof) -> None:
    async with proof.load() as load:
        await load.more(200, 30)
        assert proof.installation.kill_everything() > 5
        proof.installation.up()
        await load.more(200, 60)
    proof.agrees(load)


async def test_the_account_balances_while_events_flow(proof: Proof) -> None:
    async with proof.load() as load:
        await load.more(100, 30)
        for _ in range(5):
            done = proof.installation.rayfold("account", "--verify")
            assert done.returncode == 0, done.stderr
        await load.more(100, 30)
    proof.agrees(load)


async def test_verify_notices_one_event_deleted_behind_its_back(proof: Proof) -> None:
    async with proof.load() as load:
        await load.more(10, 30)
    proof.agrees(load)
    assert proof.installation.rayfold("account", "--verify").returncode == 0
    _delete_one(proof.installation.folder)
    done = proof.installation.rayfold("account", "--verify")
    assert done.returncode == 1
    assert "1 event documents are missing" in done.stderr


def _delete_one(folder: Path) -> None:
    db = sqlite3.connect(folder / "documents.db")
    try:
        with db:
            db.execute("delete from event where id in (select id from event where client = 1 limit 1)")
    finally:
        db.close()
