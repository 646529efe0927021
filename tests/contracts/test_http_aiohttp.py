"""Runs the contract of outbound HTTP on aiohttp."""

from collections.abc import AsyncIterator

import pytest

from pipeline.http.aiohttp import AiohttpClient
from pipeline.http.port import Http
from tests.contracts.http import HttpContract


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    client = AiohttpClient()
    yield client
    await client.close()


class TestAiohttp(HttpContract):
    """Runs the contract."""
