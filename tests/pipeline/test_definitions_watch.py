"""The catalog of a question begun after one asked; what happens while the database is away, slow or damaged."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.clock import SystemClock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.errors import DefinitionsUnavailable
from pipeline.stores.definitions import Changes
from pipeline.stores.migrate import migrate
from pipeline.stores.sqlalchemy import SqlDefinitions


class Slow:
    """Another process's view of the database: counts questions, holds them up or refuses them as told."""

    def __init__(self, behind: SqlDefinitions) -> None:
        self._behind = behind
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.away = False
        self.questions = 0

    async def revision(self) -> int:
        self.questions += 1
        revision = await self._behind.revision()
        await self.let_go.wait()
        if self.away:
            raise DefinitionsUnavailable("it is away")
        return revision

    async def changed(self, since: int) -> Changes:
        return await self._behind.changed(since)


@pytest.fixture
async def definitions(tmp_path: Path) -> AsyncIterator[SqlDefinitions]:
    url = f"sqlite+aiosqlite:///{tmp_path}/definitions.db"
    await migrate(url)
    opened = await SqlDefinitions.open(url, SystemClock())
    yield opened
    await opened.close()


async def watching(definitions: SqlDefinitions) -> tuple[DefinitionsWatch, Slow]:
    slow: Any = Slow(definitions)
    watch = DefinitionsWatch(slow, SystemClock())
    await watch.refresh()
    return watch, slow


async def test_every_change_that_was_answered_before_is_in_it(definitions: SqlDefinitions) -> None:
    watch, _ = await watching(definitions)
    for number in range(20):
        revision = await definitions.put("sources", f"s-{number}", b'{"id":"s-%d"}' % number)
        catalog = await watch.current(5.0)
        assert (catalog.revision, len(catalog.sources)) == (revision, number + 1)


async def test_callers_share_a_question_but_never_one_begun_before_they_asked(definitions: SqlDefinitions) -> None:
    watch, slow = await watching(definitions)
    slow.questions = 0
    slow.let_go.clear()
    first = asyncio.create_task(watch.current(5.0))
    while not slow.questions:
        await asyncio.sleep(0)
    # the first question has read its answer; what is changed now is not in it
    revision = await definitions.put("sources", "late", b'{"id":"late"}')
    others = [asyncio.create_task(watch.current(5.0)) for _ in range(8)]
    await asyncio.sleep(0)
    slow.let_go.set()
    await first
    assert {catalog.revision for catalog in await asyncio.gather(*others)} == {revision}
    assert slow.questions == 2


@pytest.mark.parametrize("hangs", [True, False])
async def test_without_an_answer_it_goes_on_once_the_bound_has_passed(definitions: SqlDefinitions, hangs: bool) -> None:
    watch, slow = await watching(definitions)
    revision = await definitions.put("sources", "s", b'{"id":"s"}')
    if hangs:
        slow.let_go.clear()
    slow.away = True
    started = time.monotonic()
    first, second = await asyncio.gather(watch.current(0.3), watch.current(0.3))
    assert first.revision == second.revision == 0
    assert 0.25 < time.monotonic() - started < 2
    assert watch.last_error
    # from then on nobody waits again
    started, asked = time.monotonic(), slow.questions
    for _ in range(50):
        assert (await watch.current(0.3)).revision == 0
    assert (time.monotonic() - started < 0.2, slow.questions) == (True, asked)
    # until it has answered somebody
    slow.away = False
    slow.let_go.set()
    await watch.refresh()
    assert watch.catalog.revision == revision
    revision = await definitions.put("sources", "t", b'{"id":"t"}')
    assert (await watch.current(0.3)).revision == revision
