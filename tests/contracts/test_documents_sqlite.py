"""The contract of the document store, and what only the embedded one promises."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipeline.errors import Misconfigured, UnknownFormat
from pipeline.stores.documents import Documents, Query
from pipeline.stores.sqlite import SqliteDocuments
from tests.contracts.child import child
from tests.contracts.documents import DocumentsContract, event


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[Documents]:
    opened = await SqliteDocuments.open(tmp_path / "documents.db")
    yield opened
    await opened.close()


class TestSqliteDocuments(DocumentsContract):
    """Runs the contract."""


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    await (await SqliteDocuments.open(path)).close()
    db = sqlite3.connect(path)
    with db:
        db.execute("update meta set value = 2 where name = 'format'")
    db.close()
    with pytest.raises(UnknownFormat, match="format 2"):
        await SqliteDocuments.open(path)


async def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    path.write_bytes(b"no database" * 1_000)
    with pytest.raises(Misconfigured, match=r"documents\.db"):
        await SqliteDocuments.open(path)


async def test_a_long_search_holds_up_nothing_else(documents: Documents) -> None:
    wide = "word " * 2_000
    for start in range(0, 4_000, 1_000):
        await documents.save([event(n, text=wide) for n in range(start, start + 1_000)])
    search = asyncio.create_task(documents.count("event", Query(text="nowhere")))
    answers = 0
    while not search.done():
        await documents.known(["nobody"])
        await asyncio.sleep(0)
        answers += 1
    assert await search == 0
    assert answers > 10


_SAVE = """
import asyncio, sys
from pathlib import Path
from pipeline.stores.sqlite import SqliteDocuments
from tests.contracts.documents import event

async def main():
    documents = await SqliteDocuments.open(Path(sys.argv[1]))
    for n in range(int(sys.argv[2]), 10**9, 100):
        await documents.save([event(m) for m in range(n, n + 100)])
        print(n + 100, flush=True)

asyncio.run(main())
"""


async def test_what_was_saved_survives_kill_9_of_its_writer_while_another_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    said = [0, 0]
    with child(_SAVE, str(path), "0") as one, child(_SAVE, str(path), "1000000") as other:
        for _ in range(10):
            for n, writer in enumerate((one, other)):
                said[n] = int(await writer.said())
    documents = await SqliteDocuments.open(path)
    saved = [f"e-{n:05d}" for n in (*range(said[0]), *range(1_000_000, said[1]))]
    assert await documents.known(saved) == frozenset(saved)
    assert await documents.count("event", Query()) % 100 == 0  # a call is stored wholly or not at all
    assert (await documents.save([event(5_000_000)]))[0].result.value == "done"
    await documents.close()
