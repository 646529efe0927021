"""A whole installation on Pulsar, Elasticsearch and MariaDB, and each of them killed or blocked once under load.

`make chaos SERVERS=1` does more of it, many times; see docs/reliability.md.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from cluster.servers import trio
from cluster.servers.trio import Trio
from tests.chaos.proof import Proof, proving
from tests.installation import Installation, eventually
from tests.load import Load
from tests.servers import need, shown

pytestmark = pytest.mark.timeout(600)

#: Events of one test, before and after what is done to a server.
_SOME = 150

#: For what takes seconds on an idle machine.
_SOON_S = 120.0

#: The first start of three servers and Rayfold, nothing under way any more after an outage.
_LONG_S = 240.0

#: What a client may wait for an answer while the log is away.
_ANSWER_S = 8.0


@pytest.fixture(scope="module")
def on() -> Iterator[Trio]:
    """Servers of these tests alone."""
    for word in ("pulsar", "elasticsearch", "mariadb"):
        need(word)
    with trio.fresh_folder() as folder, trio.running(folder, os.environ) as running, shown(*running.servers):
        yield running


@pytest.fixture(scope="module")
def proof(on: Trio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    folder = tmp_path_factory.mktemp("servers") / "data"
    with proving(folder, "v1.1", on.settings) as proof:
        yield proof


@asynccontextmanager
async def _loaded(proof: Proof) -> AsyncIterator[Load]:
    """Under load for the length of the block; what was answered counts even if the block fails, for the tests after it."""
    load = proof.load(0.05)
    try:
        async with load:
            yield load
    finally:
        proof.answered(load.answered, load.per_profile)


async def _judged(proof: Proof) -> None:
    verdict = await proof.judge(_LONG_S)
    assert not verdict.problems, verdict.problems


def _doctor(installation: Installation) -> list[dict[str, Any]]:
    """What it finds wrong."""
    return [one for one in json.loads(installation.rayfold("doctor", "--json").stdout) if not one["ok"]]


async def _until(found: Callable[[], Any], what: str) -> Any:
    return await asyncio.to_thread(eventually, found, _SOON_S, what)


async def test_everything_goes_all_the_way(proof: Proof) -> None:
    async with _loaded(proof) as load:
        await load.more(2 * _SOME, _SOON_S)
    await _judged(proof)
    # a question that took too long on a busy machine is a finding, and gone with the next one
    await _until(lambda: not _doctor(proof.installation), "the doctor finds nothing")
    done = proof.installation.rayfold("account", "--verify")
    assert done.returncode == 0, done.stderr


async def test_while_pulsar_is_away_clients_are_told_so_and_it_recovers_by_itself(proof: Proof, on: Trio) -> None:
    installation = proof.installation
    async with _loaded(proof) as load:
        await load.more(_SOME, _SOON_S)
        on.pulsar.kill()
        tried = len(load.tries)
        await _until(lambda: len(load.tries) > tried + 40, "clients are answered without the log")
        away = load.tries[tried + 10 : tried + 40]
        assert {one.status for one in away} == {503}, away
        assert all(one.retry_after for one in away)
        assert max(one.seconds for one in away) < _ANSWER_S
        ready = await asyncio.to_thread(httpx.get, f"{installation.url}/ready", timeout=_ANSWER_S)
        assert ready.status_code == 503, ready.text
        assert "Pulsar" in ready.text
        found = await asyncio.to_thread(_doctor, installation)
        assert any("Pulsar" in one["what"] for one in found), found
        await on.pulsar.start()
        await load.more(_SOME, _SOON_S)
    await _judged(proof)


async def test_while_elasticsearch_is_away_events_are_taken_and_nobody_is_replaced(proof: Proof, on: Trio) -> None:
    installation = proof.installation
    workers = installation.pids("batcher") + installation.pids("collector") + installation.pids("api.public")
    async with _loaded(proof) as load:
        await load.more(_SOME, _SOON_S)
        tried = len(load.tries)
        on.elasticsearch.kill()
        await load.more(3 * _SOME, _SOON_S)
        assert {one.status for one in load.tries[tried:]} == {200}
        found = await asyncio.to_thread(_doctor, installation)
        assert any("Elasticsearch" in one["what"] for one in found), found
        await on.elasticsearch.start()
        await load.more(_SOME, _SOON_S)
    await _judged(proof)
    now = installation.pids("batcher") + installation.pids("collector") + installation.pids("api.public")
    assert set(workers) <= set(now)


async def test_in_flood_stage_events_are_taken_and_stored_after_release(proof: Proof, on: Trio) -> None:
    async def block(value: bool | None) -> None:
        async with httpx.AsyncClient(base_url=on.elasticsearch.url) as client:
            body = {"index.blocks.read_only_allow_delete": value}
            answer = await client.put("/*/_settings", json=body, timeout=30)
            assert answer.status_code == 200, answer.text

    installation = proof.installation
    async with _loaded(proof) as load:
        await load.more(_SOME, _SOON_S)
        await block(True)
        try:
            await load.more(_SOME, _SOON_S)
            await _until(lambda: "flood" in installation.status()["stages"]["batcher"]["last_error"], "status says why")
            found = await asyncio.to_thread(_doctor, installation)
            assert any("flood" in one["what"] and "watermark" in one["cure"] for one in found), found
        finally:
            await block(None)
        await load.more(_SOME, _SOON_S)
    await _judged(proof)


async def test_while_mariadb_is_away_workers_go_on_and_new_ones_begin(proof: Proof, on: Trio) -> None:
    installation = proof.installation
    killed = installation.pids("collector")
    async with _loaded(proof) as load:
        await load.more(_SOME, _SOON_S)
        on.mariadb.kill()
        await load.more(_SOME, _SOON_S)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        sent = len(load.answered)
        await load.more(_SOME, _SOON_S)
        await _until(
            lambda: _handled(proof) > sent, "a collector that began without the database folds what came since"
        )
        found = await asyncio.to_thread(_doctor, installation)
        assert any("definitions" in one["check"] for one in found), found
        await on.mariadb.start()
        await load.more(_SOME, _SOON_S)
    await _judged(proof)


def _handled(proof: Proof) -> int:
    """Deliveries that have arrived at the destination."""
    return int(httpx.get(f"{proof.received}/counts", timeout=30).json()["delivered"])


async def test_a_collector_that_stood_still_while_another_took_over_appends_nothing(proof: Proof) -> None:
    installation = proof.installation
    (pid,) = installation.pids("collector")
    async with _loaded(proof) as load:
        await load.more(_SOME, _SOON_S)
        os.kill(pid, signal.SIGSTOP)
        try:
            sent, began = len(load.answered), time.monotonic()
            await load.more(_SOME, _SOON_S)
            await _until(lambda: _handled(proof) > sent + _SOME // 2, "another collector takes its partitions")
            assert time.monotonic() - began > 1
        finally:
            os.kill(pid, signal.SIGCONT)
        await load.more(_SOME, _SOON_S)
    await _judged(proof)
