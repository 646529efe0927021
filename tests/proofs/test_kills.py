"""kill -9 once of each part, under load: what was answered 200 is stored once, nothing twice, and the account balances."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installation import Installation, eventually, installed
from tests.load import Load

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("kills") / "data", layout="v1.1") as found:
        found.put("source", "load", {"static_profile_id": True})
        nodes = [
            {"id": "start", "type": "start"},
            {"id": "count", "type": "increment", "settings": {"field": "profile@stats.counters.runs"}},
        ]
        found.put("workflow", "count", {"nodes": nodes, "edges": [{"from": "start", "to": "count"}]})
        found.put("rule", "count", {"source": "load", "event_type": "increase-interest", "workflow": "count"})
        found.settled()
        yield found


class Sent:
    """What all tests of the module have sent so far."""

    count = 0
    per_profile: dict[str, int] = {}


def _agrees(installation: Installation, load: Load) -> None:
    """The account, the documents and the profiles against the client's own count."""
    Sent.count += len(load.answered)
    for profile, events in load.per_profile.items():
        Sent.per_profile[profile] = Sent.per_profile.get(profile, 0) + events
    account = installation.quiet()
    assert account["balanced"], account
    assert account["verified"], account
    assert account["stored"] == Sent.count, account
    assert account["accepted"] == account["stored"] + account["duplicate"], account
    assert account["workflows"]["run"] == Sent.count, account
    for profile, events in Sent.per_profile.items():
        found = installation.get(f"/profiles/{profile}")
        assert found["interests"]["load"] == events, profile
        assert found["stats"]["counters"]["runs"] == events, profile
    for message in load.answered[:: max(1, len(load.answered) // 50)]:
        assert installation.get(f"/events/{message}", source="load")["message_id"] == message


@pytest.mark.parametrize("part", ["api.public", "collector", "batcher", "dispatcher", "executor"])
async def test_a_killed_worker_loses_nothing_and_doubles_nothing(installation: Installation, part: str) -> None:
    async with Load(installation.url, "load", start=Sent.count) as load:
        await load.more(200, 30)
        killed = installation.kill(part)
        await load.more(300, 60)
    _agrees(installation, load)
    eventually(lambda: set(installation.pids(part)) - {killed}, 20, f"another {part} in its place")
    if not part.startswith("api."):
        eventually(lambda: installation.status()["stages"][part]["restarts"] == 1, 20, "the status says so")


async def test_everything_killed_at_once_comes_back_by_up(installation: Installation) -> None:
    async with Load(installation.url, "load", start=Sent.count) as load:
        await load.more(200, 30)
        assert installation.kill_everything() > 5
        installation.up()
        await load.more(200, 60)
    _agrees(installation, load)


async def test_verify_notices_one_event_deleted_behind_its_back(installation: Installation) -> None:
    assert installation.rayfold("account", "--verify").returncode == 0
    _delete_one(installation.folder)
    done = installation.rayfold("account", "--verify")
    assert done.returncode == 1
    assert "1 event documents are missing" in done.stderr


def _delete_one(folder: Path) -> None:
    db = sqlite3.connect(folder / "documents.db")
    try:
        with db:
            db.execute("delete from event where id in (select id from event where client = 1 limit 1)")
    finally:
        db.close()
