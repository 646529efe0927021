"""`rayfold replay` over a real installation: a destination and a lost store fed again from the log."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster import receiver
from tests.installation import Installation, eventually, installed
from tests.load import Load

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("replay") / "data", layout="v1.1") as found:
        found.put("source", "load", {"static_profile_id": True})
        found.settled()
        yield found


def _said(installation: Installation, *arguments: str) -> str:
    done = installation.rayfold(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_a_destination_is_fed_again_and_letters_are_decided_over(installation: Installation) -> None:
    process, address = receiver.start()
    try:
        settings = {"url": f"{address}/in?keep=1"}
        installation.put("destination", "crm", {"mapping": {"m": "event@message_id"}, "settings": settings})
        installation.settled()
        async with Load(installation.url, "load") as load:
            await load.more(100, 30)
        count = len(load.answered)
        assert installation.quiet()["destinations"]["crm"]["delivered"] == count
        assert f"{count:,} deliveries; nothing was changed" in _said(
            installation, "replay", "crm", "--from", "1970-01-01", "--dry-run"
        )
        said = _said(installation, "replay", "crm", "--from", "1970-01-01")
        assert f"done, {count:,} delivered, 0 dead" in said
        id = said.split()[1]
        assert id in _said(installation, "replay")
        assert _counts(address) == {"delivered": count, "repeats": count, "refused": 0}  # under the same keys
        again = json.loads(_said(installation, "account", "--json", "--verify"))
        assert again["replays"][id] == {"due": count, "delivered": count, "dead": 0, "in_flight": 0}
        assert f"replay {id} is ended" in _said(installation, "replay", "--end", id)
        assert _said(installation, "replay") == ""
        for arguments, status, sentence in (
            (("replay", "crm"), 2, "--from"),
            (("replay", "nobody", "--from", "1970-01-01"), 1, "'dest.nobody'"),
            (("replay", "crm", "--from", "soon"), 1, "is no time"),
            (("replay", "--end", id), 1, id),
        ):
            done = installation.rayfold(*arguments)
            assert (done.returncode, sentence in done.stderr) == (status, True), done.stderr
        # What a replay gives up can be sent by hand, like every letter
        _behave(address, 422)
        assert f"done, 0 delivered, {count:,} dead" in _said(installation, "replay", "crm", "--from", "1970-01-01")
        _behave(address, 200)
        first = _said(installation, "dead", "list").split()[0]
        assert f"{first}  resent" in _said(installation, "dead", "send", first)
        assert len(_said(installation, "dead", "drop", "--all").splitlines()) == count - 1
        assert _said(installation, "dead", "list") == ""
        account = installation.quiet()
        assert (account["balanced"], account["destinations"]["crm"]["delivered"]) == (True, count)
        assert "is deleted" in _said(installation, "destination", "delete", "crm")
    finally:
        process.terminate()
        process.wait()


def _counts(address: str) -> Any:
    return httpx.get(f"{address}/counts").json()


def _behave(address: str, status: int) -> None:
    httpx.put(f"{address}/behave/{status}")


async def test_lost_documents_are_rebuilt_and_what_came_meanwhile_is_folded_in(installation: Installation) -> None:
    async with Load(installation.url, "load", start=1_000_000) as load:
        await load.more(200, 30)
    before = installation.quiet()
    kept = _documents(installation.folder)
    installation.down()
    for file in installation.folder.glob("documents.*"):
        file.unlink()
    installation.up()
    # The API answers, and nobody folds without the documents
    async with Load(installation.url, "load", start=2_000_000) as later:
        await later.more(50, 30)
        eventually(_holds(installation), 30, "the collector says what is missing")
        assert installation.get("/account")["stored"] == before["stored"]
        assert "done" in _said(installation, "replay", "store", "--from", "1970-01-01")
    account = installation.quiet()
    assert (account["balanced"], account["verified"]) == (True, True), account
    assert account["stored"] == before["stored"] + len(later.answered)
    now = _documents(installation.folder)
    assert kept["event"].items() <= now["event"].items()
    assert kept["session"].keys() <= now["session"].keys()
    assert _interest(now) == _interest(kept) + len(later.answered)


def _holds(installation: Installation) -> Any:
    return lambda: "rayfold replay store" in installation.status()["stages"]["collector"]["last_error"]


def _interest(documents: dict[str, dict[str, bytes]]) -> int:
    """Events folded into all profiles; aliases have none."""
    return sum(json.loads(body).get("interests", {}).get("load", 0) for body in documents["profile"].values())


def _documents(folder: Path) -> dict[str, dict[str, bytes]]:
    db = sqlite3.connect(folder / "documents.db")
    try:
        return {kind: dict(db.execute(f"select id, body from {kind}")) for kind in ("profile", "session", "event")}
    finally:
        db.close()
