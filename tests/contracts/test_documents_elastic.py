"""The contract of the document store on a real Elasticsearch, and what only that one promises."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from cluster.servers.elasticsearch import Elasticsearch
from pipeline.clock import SystemClock
from pipeline.stores.documents import Documents, Query
from pipeline.stores.elastic import ElasticDocuments
from pipeline.stores.elastic_address import ElasticAddress
from pipeline.stores.elastic_migrate import migrate
from tests.contracts.documents import DocumentsContract

_DAY_MS = 86_400_000

#: In the month of the contract's documents.
_NOW_MS = 1_700_000_000_000 + _DAY_MS


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
    for name in await ask(
        server, "GET", f"/{prefix}*/_settings?filter_path=*.settings.index.uuid&expand_wildcards=all"
    ):
        await ask(server, "DELETE", f"/{name}")
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
