"""Fixtures: real servers with free ports and folders of their own.

One of each serves a whole run, tests being apart by `prefix`; a test that kills or changes its server takes one of its own.
Where the programs are missing the tests that need them are skipped, in CI they fail.
"""

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cluster.servers import place
from cluster.servers.elasticsearch import Elasticsearch
from cluster.servers.mariadb import MariaDB
from cluster.servers.pulsar import Pulsar
from cluster.servers.server import Server

S = TypeVar("S", bound=Server)

#: Those that run now, for the report of a test that fails.
_running: list[Server] = []


@pytest.fixture
def prefix() -> str:
    """Of everything that one test makes on a server."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def pulsar() -> Iterator[Pulsar]:
    need("pulsar")
    with folder() as path, _session(Pulsar(path, os.environ)) as server:
        yield server


@pytest.fixture(scope="session")
def elastic() -> Iterator[Elasticsearch]:
    need("elasticsearch")
    with folder() as path, _session(Elasticsearch(path, os.environ)) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    need("mariadb")
    with folder() as path, _session(MariaDB(path, os.environ)) as server:
        yield server


@pytest.fixture
async def own_pulsar() -> AsyncIterator[Pulsar]:
    need("pulsar")
    with folder() as path:
        async with up(Pulsar(path, os.environ)) as server:
            yield server


@pytest.fixture
async def own_elastic() -> AsyncIterator[Elasticsearch]:
    need("elasticsearch")
    with folder() as path:
        async with up(Elasticsearch(path, os.environ)) as server:
            yield server


@pytest.fixture
async def own_mariadb() -> AsyncIterator[MariaDB]:
    need("mariadb")
    with folder() as path:
        async with up(MariaDB(path, os.environ)) as server:
            yield server


def need(word: str) -> None:
    """Skip, or in CI fail, where the program whose name contains `word` cannot be run."""
    found = [one for one in place.missing(os.environ) if word in one.lower()]
    if not found:
        return
    text = f"NOT TESTED ON REAL SERVERS: {'; '.join(found)}"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


@contextmanager
def folder() -> Iterator[Path]:
    """One that a server without rights may enter, gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="rayfold-server-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def shown(*servers: Server) -> Iterator[None]:
    """The logs of these are shown with a test that fails in the block."""
    _running.extend(servers)
    try:
        yield
    finally:
        for server in servers:
            _running.remove(server)


@asynccontextmanager
async def up(server: S) -> AsyncIterator[S]:
    """Started, and stopped at the end whatever became of it meanwhile."""
    with shown(server):
        try:
            await server.start()
            yield server
        finally:
            await server.stop()


@contextmanager
def _session(server: S) -> Iterator[S]:
    """As `up`, without a loop: it outlives the loop of every test."""
    with shown(server):
        try:
            asyncio.run(server.start())
            yield server
        finally:
            asyncio.run(server.stop())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows the ends of the logs of all servers that run."""
    report = yield
    if report.failed and _running:
        report.sections.append(("servers", "\n".join(server.log_tail() for server in _running)))
    return report
