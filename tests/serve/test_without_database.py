"""While the definitions database is away: who runs goes on, who starts begins with the copy, who is unknown waits."""

import asyncio
import json
from pathlib import Path

import pytest

from cluster import wiring
from cluster.ports import free_ports
from cluster.servers.mariadb import MariaDB
from cluster.settings import read_settings
from cluster.supervisor import Supervisor
from pipeline.clock import SystemClock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.errors import DefinitionsUnavailable, UnknownFormat
from pipeline.stores.definitions import Changes, Definition
from pipeline.stores.definitions_copy import DefinitionsCopy
from tests.system import payload, running


async def test_events_are_taken_and_folded_while_it_is_away(tmp_path: Path, own_mariadb: MariaDB) -> None:
    async with running(tmp_path, on={"RAYFOLD_DEFINITIONS": own_mariadb.url}) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        while not (before := (await system.status())["stages"]["collector"]["alive"]):
            await asyncio.sleep(0.1)
        own_mariadb.kill()
        answer = await system.track(payload("shop", "page-view", profile={"id": "p"}), wait="stored", timeout="30")
        assert answer.status_code == 200, answer.text
        unknown = await system.track(payload("nobody", "page-view"))
        assert (unknown.status_code, "retry-after" in unknown.headers) == (503, True), unknown.text
        put = await system.private.put("/sources/other", json={})
        assert put.status_code == 503, put.text
        status = await system.status()
        assert "does not answer" in status["definitions"]["error"]
        assert status["definitions"]["age_s"] > 0
        assert status["stages"]["collector"]["alive"] == before
        await own_mariadb.start()
        await system.put("sources", "other", {})
        assert (await system.track(payload("other", "page-view"))).status_code == 200
        account = await system.quiet()
        assert account["stored"] == 2


async def test_a_restart_while_it_is_away_goes_on_with_the_copy(tmp_path: Path, own_mariadb: MariaDB) -> None:
    on = {"RAYFOLD_DEFINITIONS": own_mariadb.url}
    async with running(tmp_path, on=on) as system:
        await system.put("sources", "shop", {"static_profile_id": True})
        assert (await system.track(payload("shop", "page-view", profile={"id": "p"}))).status_code == 200
        await system.quiet()
    own_mariadb.kill()
    async with running(tmp_path, on=on, worker="later", arranged=True) as system:
        assert (await system.public.get("/ready")).status_code == 200
        answer = await system.track(payload("shop", "page-view", profile={"id": "p"}), wait="stored", timeout="30")
        assert answer.status_code == 200, answer.text
        assert (await system.track(payload("nobody", "page-view"))).status_code == 503
        assert (await system.private.put("/sources/other", json={})).status_code == 503
        found = (await system.status())["definitions"]
        assert found["error"]
        assert found["age_s"] is not None
        await own_mariadb.start()
        await system.put("sources", "other", {})
        assert (await system.track(payload("other", "page-view"))).status_code == 200
        assert (await system.quiet())["stored"] == 3


async def test_many_unknown_sources_wait_together_while_it_stands_still(tmp_path: Path, own_mariadb: MariaDB) -> None:
    async with running(tmp_path, (), on={"RAYFOLD_DEFINITIONS": own_mariadb.url}) as system:
        await system.put("sources", "shop", {})
        own_mariadb.pause()
        try:
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*(system.track(payload(f"s{n}", "page-view")) for n in range(30)))
            assert {answer.status_code for answer in answers} == {503}
            assert (await system.track(payload("shop", "page-view"))).status_code == 200
        finally:
            own_mariadb.resume()
        assert (await system.track(payload("s1", "page-view"))).status_code == 406


def test_only_a_start_that_has_stood_once_does_without_the_database(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    address = f"mysql://me:hush-hush@127.0.0.1:{port}/rayfold"
    settings = read_settings({"RAYFOLD_DEFINITIONS": address}, data=tmp_path)
    said: list[str] = []
    supervisor = Supervisor(settings, said.append)
    with pytest.raises(DefinitionsUnavailable, match="does not answer") as refused:
        supervisor._arrange()
    (tmp_path / "arranged").touch()
    assert not supervisor._arrange()
    assert "what stood before" in said[0]
    assert "hush" not in said[0] + str(refused.value)


async def test_a_worker_begins_with_the_copy(tmp_path: Path, own_mariadb: MariaDB) -> None:
    settings = read_settings({"RAYFOLD_DEFINITIONS": own_mariadb.url}, data=tmp_path)
    await wiring.migrate(settings)
    definitions = await wiring.open_definitions(settings)
    await definitions.put("sources", "gone", b"{}")
    await definitions.delete("sources", "gone")
    await definitions.put("sources", "shop", json.dumps({"id": "shop"}).encode())
    first = DefinitionsWatch(definitions, SystemClock(), wiring.definitions_copy(settings))
    await first.begin()
    own_mariadb.kill()
    later = DefinitionsWatch(await wiring.open_definitions(settings), SystemClock(), wiring.definitions_copy(settings))
    await later.begin()
    assert (later.catalog.revision, list(later.catalog.sources)) == (3, ["shop"])
    assert later.last_error
    assert later.is_loaded
    assert (later.asked_ms, later.known_ms > 0) == (0, True)
    without = DefinitionsWatch(definitions, SystemClock())
    with pytest.raises(DefinitionsUnavailable):
        await without.begin()
    await own_mariadb.start()
    await definitions.put("sources", "new", json.dumps({"id": "new"}).encode())
    await later.refresh()
    assert sorted(later.catalog.sources) == ["new", "shop"]
    await definitions.close()
    await later._definitions.close()


async def test_a_database_that_is_behind_the_copy_is_read_anew(tmp_path: Path, own_mariadb: MariaDB) -> None:
    settings = read_settings({"RAYFOLD_DEFINITIONS": own_mariadb.url}, data=tmp_path)
    await wiring.migrate(settings)
    copy = wiring.definitions_copy(settings)
    assert copy is not None
    copy.write(Changes(500, [Definition("sources", "lost", 500, False, b'{"id":"lost"}', None)]))
    definitions = await wiring.open_definitions(settings)
    await definitions.put("sources", "shop", b'{"id":"shop"}')
    own_mariadb.kill()
    watch = DefinitionsWatch(definitions, SystemClock(), copy)
    await watch.begin()
    assert list(watch.catalog.sources) == ["lost"]
    await own_mariadb.start()
    await watch.refresh()
    assert (watch.catalog.revision, list(watch.catalog.sources)) == (1, ["shop"])
    kept = copy.read()
    assert kept is not None
    assert (kept.revision, [row.id for row in kept.rows]) == (1, ["shop"])
    await definitions.close()


def test_a_copy_is_private_never_older_and_refused_when_it_is_newer(tmp_path: Path) -> None:
    copy = DefinitionsCopy(tmp_path / "copy", "db")
    assert copy.read() is None
    newer = Changes(2, [Definition("sources", "a", 2, False, b"{}", None)])
    copy.write(newer)
    copy.write(Changes(1, []))
    assert copy.read() == newer
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    assert DefinitionsCopy(tmp_path / "copy", "other").read() is None  # revisions of another database mean nothing here
    (tmp_path / "copy").write_bytes((tmp_path / "copy").read_bytes().replace(b"\xa1v\x01", b"\xa1v\x02"))
    with pytest.raises(UnknownFormat, match="newer Rayfold"):
        copy.read()
    (tmp_path / "copy").write_bytes(b"\xff")
    with pytest.raises(UnknownFormat, match="damaged"):
        copy.read()
    copy.write(newer)
    assert copy.read() == newer
