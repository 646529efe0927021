"""The contract of the document store on a real Elasticsearch, and what only that one promises."""

import asyncio
import dataclasses
import json
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from cluster.servers.elasticsearch import Elasticsearch
from pipeline import instant
from pipeline.clock import SystemClock
from pipeline.errors import Misconfigured, StoreUnavailable, UnknownFormat
from pipeline.stores.documents import Document, Documents, Outcome, Query, Saved
from pipeline.stores.elastic import ElasticDocuments
from pipeline.stores.elastic_address import ElasticAddress
from pipeline.stores.elastic_bulk import Bulk, Placed
from pipeline.stores.elastic_client import ElasticClient
from pipeline.stores.elastic_migrate import migrate
from pipeline.stores.elastic_source import Entry
from tests.contracts.documents import DocumentsContract, event, profile
from tests.servers import folder, need, shown

#: Starting the server is part of the first test, and of one that has killed it.
pytestmark = pytest.mark.timeout(400)

_DAY_MS = 86_400_000

#: In the month of the contract's documents.
_NOW_MS = 1_700_000_000_000 + _DAY_MS


#: One answer, noticing that there is none, and coming back; machines are slow.
_ANSWER_S = 30.0
_NOTICED_S = 60.0
_BACK_S = 60.0


class SetClock(SystemClock):
    """The real one, but that it tells another date."""

    def __init__(self, ms: int = _NOW_MS) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms


async def ask(server: Elasticsearch, method: str, path: str, body: object = None) -> Any:
    async with (
        aiohttp.ClientSession(server.url) as session,
        session.request(method, path, json=body) as answer,
    ):
        assert answer.status < 400, await answer.text()
        return await answer.json()


async def remove(server: Elasticsearch, prefix: str) -> None:
    """What one test made: a node takes a thousand shards."""
    names = await ask(server, "GET", f"/{prefix}*/_settings?filter_path=*.settings.index.uuid&expand_wildcards=all")
    if names:
        await ask(server, "DELETE", f"/{','.join(names)}")
    await ask(server, "DELETE", f"/_index_template/{prefix}*")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def address(elastic: Elasticsearch, prefix: str) -> AsyncIterator[ElasticAddress]:
    yield ElasticAddress(elastic.url, prefix=prefix, replicas=0, profile_shards=1)
    await remove(elastic, prefix)


@pytest.fixture
async def documents(address: ElasticAddress, clock: SetClock) -> AsyncIterator[ElasticDocuments]:
    await migrate(address, clock)
    opened = await ElasticDocuments.open(address, clock)
    yield opened
    await opened.close()


class TestElasticDocuments(DocumentsContract):
    """Runs the contract."""

    async def visible(self, documents: Documents) -> None:
        await documents.count("event", Query())  # refreshes
        await documents.count("profile", Query())


def at(ms: int, id: str) -> Document:
    return event(1, id=id, metadata={"time": {"insert": instant.to_text(ms)}, "client": True})


def session(id: str, version: int, ms: int) -> Document:
    text = instant.to_text(ms)
    body = {"id": id, "n": version, "metadata": {"time": {"insert": "2001-01-01T00:00:00.000Z", "create": text}}}
    return Document("session", id, version, json.dumps(body).encode())


class TestMonths:
    async def test_events_of_two_months_are_known_and_those_of_long_ago_are_not_asked_for(
        self, documents: ElasticDocuments, clock: SetClock
    ) -> None:
        days = {f"{n} days ago": at(_NOW_MS - n * _DAY_MS, f"{n} days ago") for n in (-1, 0, 14, 400)}
        await documents.save(list(days.values()))
        clock.ms = instant.parse("2023-12-03T00:00:00.000Z")  # the repeat comes in the next month
        recent = days.keys() - {"400 days ago"}
        assert await documents.known([*days, "nobody"]) == recent
        assert (await documents.load("event", list(days))).keys() == recent
        assert await documents.load("event", list(days), anywhen=True) == days

    async def test_a_session_stays_in_the_month_it_was_made_in(
        self, documents: ElasticDocuments, clock: SetClock
    ) -> None:
        await documents.save([session("s", 1, _NOW_MS)])
        clock.ms = _NOW_MS + 20 * _DAY_MS
        outcomes = await documents.save([session("s", 3, _NOW_MS), session("s", 2, _NOW_MS)])
        assert [one.result for one in outcomes] == [Saved.DONE, Saved.KEPT]
        assert await documents.load("session", ["s"]) == {"s": session("s", 3, _NOW_MS)}
        assert await documents.count("session", Query({"session": "s"})) == 1

    @pytest.mark.parametrize(("span", "days"), [("day", 3), ("year", 800)])
    async def test_indices_may_span_another_time(
        self, address: ElasticAddress, clock: SetClock, span: Any, days: int
    ) -> None:
        cut = dataclasses.replace(address, time_partition=span)
        await migrate(cut, clock)
        documents = await ElasticDocuments.open(cut, clock)
        made = [at(_NOW_MS - n * _DAY_MS, f"e{n}") for n in (0, 1, days)]
        await documents.save(made)
        assert await documents.known([one.id for one in made]) >= {"e0", "e1"}
        assert len(await documents.load("event", [one.id for one in made], anywhen=True)) == 3
        await documents.close()
        with pytest.raises(Misconfigured, match=f"RAYFOLD_DOCUMENTS_BY={span}"):
            await migrate(address, clock)

    async def test_old_months_are_dropped_whole(self, documents: ElasticDocuments, clock: SetClock) -> None:
        await documents.save([at(_NOW_MS - n * _DAY_MS, f"e{n}") for n in (0, 40, 400)])
        await documents.save([profile("p", 1), Document("event", "odd", 1, b"{}")])
        dropped = await documents.expire(50 * _DAY_MS)
        assert [name[-7:] for name in dropped] == ["2022-10"]
        found = await documents.load("event", ["e0", "e40", "e400", "odd"], anywhen=True)
        assert found.keys() == {"e0", "e40", "odd"}
        assert await documents.load("profile", ["p"])
        assert await documents.expire(50 * _DAY_MS) == []
        (outcome,) = await documents.save([at(_NOW_MS - 400 * _DAY_MS, "e400")])  # comes late, and is taken
        assert outcome.result is Saved.DONE


class TestMigrate:
    async def test_it_may_be_repeated_and_settings_change(
        self, address: ElasticAddress, clock: SetClock, elastic: Elasticsearch, documents: ElasticDocuments
    ) -> None:
        await documents.save([event(1), profile("p", 1)])
        await migrate(dataclasses.replace(address, refresh_interval="7s"), clock)
        settings = await ask(elastic, "GET", f"/{address.prefix}*/_settings/index.refresh_interval?flat_settings=true")
        assert {one["settings"]["index.refresh_interval"] for one in settings.values()} == {"7s"}
        assert await documents.known(["e-00001"])

    async def test_before_it_nothing_is_saved_or_found_missing(self, address: ElasticAddress, clock: SetClock) -> None:
        documents = await ElasticDocuments.open(address, clock)
        for call in (documents.save([profile("p", 1)]), documents.load("profile", ["p"]), documents.known(["e"])):
            with pytest.raises(StoreUnavailable, match="rayfold migrate"):
                await call
        await migrate(address, clock)
        assert await documents.load("profile", ["p"]) == {}
        await documents.close()

    async def test_a_newer_format_is_refused(
        self, address: ElasticAddress, clock: SetClock, elastic: Elasticsearch
    ) -> None:
        await migrate(address, clock)
        newer = {"_meta": {"rayfold_format": 2}}
        await ask(elastic, "PUT", f"/{address.prefix}rayfold-profiles/_mapping", newer)
        with pytest.raises(UnknownFormat, match="format 2"):
            await migrate(address, clock)
        documents = await ElasticDocuments.open(address, clock)
        with pytest.raises(UnknownFormat, match="format 2"):
            await documents.load("profile", ["p"])
        await documents.close()

    async def test_an_index_of_profiles_that_is_gone_is_not_taken_for_an_empty_one(
        self, address: ElasticAddress, elastic: Elasticsearch, documents: ElasticDocuments
    ) -> None:
        await documents.save([profile("p", 1)])
        await ask(elastic, "DELETE", f"/{address.prefix}rayfold-profiles")
        for call in (
            documents.load("profile", ["p"]),
            documents.save([profile("p", 1)]),
            documents.search("profile", Query()),
            documents.count("profile", Query()),
        ):
            with pytest.raises(StoreUnavailable, match="missing"):
                await call


#: What a block is called in a document's error, what sets it on an index, and what the message says.
_BLOCKS = {
    "flood stage": ("index.blocks.read_only_allow_delete", "watermark.flood_stage"),
    "write block": ("index.blocks.write", "index.blocks.write"),
}


class TestBlocks:
    @pytest.mark.parametrize("block", _BLOCKS)
    async def test_a_blocked_index_is_waited_for(
        self, address: ElasticAddress, elastic: Elasticsearch, documents: ElasticDocuments, block: str
    ) -> None:
        setting, said = _BLOCKS[block]
        await documents.save([event(1)])
        name = f"{address.prefix}rayfold-events-2023-11"
        await ask(elastic, "PUT", f"/{name}/_settings", {setting: True})
        for one in (event(1), event(2)):
            with pytest.raises(StoreUnavailable, match=said):
                await documents.save([profile("p", 1), one])
        assert await documents.known(["e-00001", "e-00002"]) == {"e-00001"}
        (trouble,) = await documents.health.trouble()
        assert said in trouble
        assert name in trouble
        await ask(elastic, "PUT", f"/{name}/_settings", {setting: None})
        assert [one.result for one in await documents.save([event(1), event(2)])] == [Saved.KEPT, Saved.DONE]
        assert await documents.health.trouble() == []

    async def test_a_closed_index_is_waited_for_and_concludes_nothing(
        self, address: ElasticAddress, elastic: Elasticsearch, documents: ElasticDocuments
    ) -> None:
        await documents.save([event(1)])
        name = f"{address.prefix}rayfold-events-2023-11"
        await ask(elastic, "POST", f"/{name}/_close")
        for call in (
            documents.save([event(2)]),
            documents.known(["e-00001"]),
            documents.load("event", ["e-00001"]),
            documents.search("event", Query()),
            documents.count("event", Query()),
        ):
            with pytest.raises(StoreUnavailable, match=f"{name} is closed"):
                await call
        assert "closed" in (await documents.health.trouble())[0]
        await ask(elastic, "POST", f"/{name}/_open")
        assert await documents.known(["e-00001", "e-00002"]) == {"e-00001"}  # at once: it waits for the shard


class TestBulk:
    async def test_what_would_spoil_a_whole_request_is_taken_or_refused_alone(
        self, documents: ElasticDocuments
    ) -> None:
        long = Document("event", "x" * 600, 1, b'{"type":"long"}')
        lines = Document("event", "lines", 1, b'\n{"type":\n"lines"}\n')
        negative = profile("negative", -1)
        saved = [event(1), long, lines, negative, Document("event", "empty", 1, b""), event(2)]
        results = [one.result for one in await documents.save(saved)]
        assert results == [Saved.DONE, Saved.DONE, Saved.DONE, Saved.REFUSED, Saved.REFUSED, Saved.DONE]
        for one in (negative, saved[4]):
            await documents.save_refused(one, "no good")
        found = await documents.load("event", [long.id, "lines", "empty"])
        assert found == {one.id: one for one in (long, lines, saved[4])}
        assert await documents.known([long.id]) == {long.id}
        assert (await documents.load("profile", ["negative"]))["negative"].body == negative.body

    async def test_a_document_that_spoils_the_whole_request_is_found(
        self, address: ElasticAddress, documents: ElasticDocuments
    ) -> None:
        client = ElasticClient(address)
        index = f"{address.prefix}rayfold-events-2023-11"

        def entry(n: int, key: str) -> Placed:
            return Placed(
                n, Entry(index, b'{"create":{"_index":"%b","_id":"%b"}}\n{"id":"x"}\n' % (index.encode(), key.encode()))
            )

        bad = {3, 4, 9}
        outcomes = [Outcome(Saved.REFUSED)] * 10
        sent = [entry(n, "x" * 600 if n in bad else str(n)) for n in range(10)]
        refusals = await Bulk(client).send(sent, outcomes)
        await client.close()
        assert {one.place for one in refusals} == bad
        assert all("Validation" in one.reason for one in refusals), refusals
        assert [n for n, one in enumerate(outcomes) if one.result is Saved.DONE] == [
            n for n in range(10) if n not in bad
        ]

    async def test_many_megabytes_are_cut(self, documents: ElasticDocuments) -> None:
        wide = "word " * 20_000
        saved = [event(n, properties={"text": wide}) for n in range(120)]
        assert {one.result for one in await documents.save(saved)} == {Saved.DONE}
        assert await documents.count("event", Query()) == 120

    async def test_attributes_are_found_by_name(
        self, address: ElasticAddress, elastic: Elasticsearch, documents: ElasticDocuments
    ) -> None:
        await documents.save([event(n) for n in range(3)])
        await documents.count("event", Query())
        query = {"query": {"term": {"body.properties.title": "Title 2"}}}
        answer = await ask(elastic, "POST", f"/{address.prefix}rayfold-events/_search", query)
        assert [hit["_id"] for hit in answer["hits"]["hits"]] == ["e-00002"]

    async def test_its_state_is_told(self, documents: ElasticDocuments) -> None:
        state = await documents.health.state()
        assert state.status in ("yellow", "green")
        assert state.version.startswith("9.")


@pytest.fixture(scope="module")
def fragile() -> Iterator[Elasticsearch]:
    """One that is killed, stopped, and takes little at a time."""
    need("elasticsearch")
    with folder() as path:
        server = Elasticsearch(path, os.environ, {"indexing_pressure.memory.limit": "200kb"})
        with shown(server):
            asyncio.run(server.start())
            yield server
            asyncio.run(server.stop())


class TestAway:
    """In this order: the server is used up."""

    @pytest.fixture
    def own(self, fragile: Elasticsearch, prefix: str) -> ElasticAddress:
        return ElasticAddress(fragile.url, prefix=prefix, replicas=0, profile_shards=1, request_timeout_s=_ANSWER_S)

    async def test_a_request_that_is_rejected_as_a_whole_is_waited_for(self, own: ElasticAddress) -> None:
        await migrate(own, SetClock())
        documents = await ElasticDocuments.open(own, SetClock())
        wide = [event(n, properties={"text": "word " * 2_000}) for n in range(100)]
        with pytest.raises(StoreUnavailable, match="more to do than it can take"):
            await documents.save(wide)
        assert await documents.known([one.id for one in wide]) == frozenset()
        assert {one.result for one in await documents.save(wide[:5])} == {Saved.DONE}
        await documents.close()

    async def test_one_that_hangs_is_given_up_within_the_bound(
        self, fragile: Elasticsearch, own: ElasticAddress, caplog: pytest.LogCaptureFixture
    ) -> None:
        await migrate(own, SetClock())
        documents = await ElasticDocuments.open(dataclasses.replace(own, request_timeout_s=1.0), SetClock())
        fragile.pause()
        try:
            for _ in range(3):
                async with asyncio.timeout(_NOTICED_S):
                    with pytest.raises(StoreUnavailable, match="does not answer"):
                        await documents.save([event(1)])
        finally:
            fragile.resume()
        assert await _until_saved(documents, [event(1)])
        said = [record.message for record in caplog.records if record.levelname == "WARNING"]
        assert len([one for one in said if "lost" in one]) == len([one for one in said if "again" in one]) >= 1
        await documents.close()

    async def test_nothing_confirmed_is_missing_after_kill_9(
        self, fragile: Elasticsearch, own: ElasticAddress, caplog: pytest.LogCaptureFixture
    ) -> None:
        await migrate(own, SetClock())
        documents = await ElasticDocuments.open(own, SetClock())
        said: list[int] = []
        away = asyncio.Event()

        async def writes(first: int) -> None:
            for n in range(first, 10**9, 50):
                try:
                    await documents.save([event(m) for m in range(n, n + 50)])
                except StoreUnavailable:
                    away.set()
                    return
                said.extend(range(n, n + 50))

        writers = [asyncio.create_task(writes(first)) for first in (0, 1_000_000)]
        async with asyncio.timeout(_NOTICED_S):
            while len(said) < 500:
                await asyncio.sleep(0.01)
        fragile.kill()
        async with asyncio.timeout(_NOTICED_S):
            await asyncio.gather(*writers)
        assert away.is_set()
        other = await ElasticDocuments.open(own, SetClock())  # that it is away is no error
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await other.known(["e-00001"])
        await fragile.start()
        assert await _until_saved(documents, [event(5_000_000)])
        saved = {f"e-{n:05d}" for n in said}
        assert await documents.known(saved) == saved
        assert await other.known(saved) == saved
        await documents.close()
        await other.close()


async def _until_saved(documents: Documents, saved: list[Document]) -> bool:
    async with asyncio.timeout(_BACK_S):
        while True:
            try:
                return {one.result for one in await documents.save(saved)} <= {Saved.DONE, Saved.KEPT}
            except StoreUnavailable:
                await asyncio.sleep(0.2)
