"""Warnings outlive an absent store; those that had to give way are counted."""

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from pipeline.errors import StoreUnavailable
from pipeline.journal import Journal
from pipeline.stores.documents import Document, Outcome, Query
from pipeline.stores.sqlite import SqliteDocuments


class Away(SqliteDocuments):
    """A store that does not answer while `away`."""

    away = True

    async def save(self, documents: Sequence[Document]) -> Sequence[Outcome]:
        if self.away:
            raise StoreUnavailable("away")
        return await super().save(documents)


async def test_warnings_wait_for_the_store_and_the_oldest_give_way(tmp_path: Path) -> None:
    numbers = itertools.count(1)
    journal = Journal("collector", "w", lambda: f"{next(numbers):05d}")
    documents = await Away.open(tmp_path / "documents.db")
    assert isinstance(documents, Away)
    try:
        for number in range(1_200):
            journal.handle(logging.LogRecord("x", logging.WARNING, "", 0, "number %d", (number,), None))
            if number in (500, 1_100):
                with pytest.raises(StoreUnavailable):
                    await journal.flush_to(documents)
        documents.away = False
        await journal.flush_to(documents)
        await journal.flush_to(documents)
        page = await documents.search("log", Query(), limit=2_000)
        bodies = [msgspec.json.decode(one.body) for one in page.items]
        assert sorted(int(body["message"].split()[1]) for body in bodies) == list(range(200, 1_200))
        assert {body["lost_before"] for body in bodies} == {200}
    finally:
        await documents.close()
