"""A folder of the previous format is taken over and goes on exactly; one of a newer format is refused in one sentence."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster import wiring
from cluster.folder import prepare
from cluster.settings import Settings, read_settings
from tests.actors.test_destinations import target
from tests.cluster.test_bad_states import _refused
from tests.folder import unpack
from tests.installation import Installation
from tests.system import System, running


def _settings(folder: Path) -> Settings:
    return prepare(read_settings({}, data=folder))[0]


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_folder_goes_on_where_it_was_left(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "data"
    then = unpack(number, folder)
    installation = Installation(folder)
    first, second = installation.rayfold("migrate"), installation.rayfold("migrate")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert (f"format {number} became 3" in first.stdout) is (number < 3)
    assert "became" not in second.stdout
    settings = _settings(folder)
    await wiring.arrange(settings, alone=True)
    key = settings.secret_key
    async with target() as crm:
        async with running(folder, (), key=key) as system:
            groups = [await system.group(id) for id in ("crm", "mail")]
            assert (await system.groups("dest."), await system.group("off")) == (sorted(groups), "")
            assert (groups == ["dest.crm", "dest.mail"]) is (number < 3)  # they keep the names they have
            await system.put("secrets", "WHERE", {"value": crm.url})
            now = await system.account()
            assert {name: now[name] for name in then} == then
        async with running(folder, key=key) as system:
            await _agrees(await system.quiet(), then)
            twice = ["m-collected-too", "m-undelivered", "m-unsaved"]  # `mail` asks for these too
            assert sorted(one["number"] for one in crm.got) == sorted(["m-bought", "m-collected", *twice, *twice])
            assert (await system.private.get("/runs")).json()["total"] == 3
            await _repeats_are_known(system)
            await system.put("destinations", "off", {"settings": {"url": crm.url}})
            assert (await system.group("off")).startswith("dest.off~")
            before = len(crm.got)
            answer = await system.track(
                {"source": {"id": "shop"}, "session": {"id": "s-new"}, "events": [{"type": "page-view", "id": "new"}]}
            )
            assert answer.status_code == 200
            account = await system.quiet()
            assert account["destinations"]["off"]["due"] == 1
            assert len(crm.got) == before + 2  # crm and off


async def _agrees(account: dict[str, Any], then: dict[str, Any]) -> None:
    assert (account["accepted"], account["duplicate"], account["not_stored"]) == (20, 2, 1)
    assert account["stored"] == then["stored"] + then["in_flight"]
    assert account["internal"] == then["internal"] + then["commands_in_flight"] + 1
    assert account["workflows"] == {"due": 3, "run": 3, "dead": 0, "in_flight": 0}
    assert account["destinations"] == {
        "crm": {"due": 18, "delivered": 17, "dead": 1, "in_flight": 0},
        "mail": {"due": 4, "delivered": 3, "dead": 1, "in_flight": 0},
        "off": {"due": 0, "delivered": 0, "dead": 0, "in_flight": 0},
    }


async def _repeats_are_known(system: System) -> None:
    """Of what was saved, what was processed and what was only collected in the old format."""
    before = await system.quiet()
    for message in ("m-0", "m-unsaved", "m-collected"):
        event = {"id": message, "type": "page-view"}
        who = {"session": {"id": "s-alone"}} if message == "m-0" else {"profile": {"id": "p-0"}}
        answer = await system.track({"source": {"id": "shop"}, "events": [event], **who})
        assert answer.status_code == 200
    after = await system.quiet()
    assert after["accepted"] == before["accepted"] + 3


def _sql(name: str, statement: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        db = sqlite3.connect(folder / name)
        with db:
            assert db.execute(statement).rowcount > 0
        db.close()

    return change


def _format_file(folder: Path) -> None:
    (folder / "format.json").write_text(json.dumps({"format": 4, "partitions": 4}))


def _newest(topic: str) -> Callable[[Path], None]:
    return _sql(
        f"log/{topic}.db",
        """update log set data = replace(cast(data as text), '{"v":1,', '{"v":3,')
           where id in (select max(id) from log) and compressed = 0""",
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_format_file, "format 4"),
        (_newest("collected"), "topic collected has format 3"),
        (_newest("processed"), "topic processed has format 3"),
        (_newest("runs"), "topic runs has format 3"),
        (_sql("log/runs.db", "update meta set value = 2 where name = 'format'"), "runs.db has format 2"),
        (_sql("documents.db", "update meta set value = 2 where name = 'format'"), "documents.db has format 2"),
        (_sql("definitions.db", "update alembic_version set version_num = '9999'"), "9999"),
        (_sql("definitions.db", "update definition set schema = 2 where id = 'crm'"), "'crm' of kind destinations"),
    ],
)
def test_what_a_newer_version_wrote_is_refused_in_one_sentence(
    tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    unpack(1, tmp_path / "data")
    change(tmp_path / "data")
    installation = Installation(tmp_path / "data")
    assert said in _refused(installation, "migrate")
    if change is not _format_file:
        assert json.loads((tmp_path / "data" / "format.json").read_text())["format"] == 1


def test_up_refuses_it_too(tmp_path: Path) -> None:
    unpack(1, tmp_path / "data")
    _newest("processed")(tmp_path / "data")
    assert "topic processed has format 3" in _refused(Installation(tmp_path / "data"), "up")


async def test_a_stage_that_meets_an_unknown_format_stands_still_and_skips_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as system:
        await system.put("sources", "shop", {})
        event = {"source": {"id": "shop"}, "session": {"id": "s"}, "events": [{"type": "page-view"}]}
        assert (await system.track(event, wait="stored")).status_code == 200
        for partition in range(4):
            await system.ports.log.append("collected", partition, b'{"v":99,"other":"fields"}', 1)
        assert (await system.track(event)).status_code == 200
        row: dict[str, Any] = {}
        async with asyncio.timeout(20):
            while not row.get("standing"):
                await asyncio.sleep(0.1)
                row = (await system.private.get("/status")).json()["stages"]["collector"]
        assert "topic collected has format 99" in row["standing"]
        assert row["failed"] == 1  # it does not try again and again
        assert row["backlog"] == 5  # what it cannot read, and what lies behind it
        system.expected_standing = {"collector"}
