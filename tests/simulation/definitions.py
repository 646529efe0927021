"""A definitions database that passes the contract and can be away: its rows, and one process' view."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeline.errors import DefinitionsUnavailable, NotFound, Overtaken
from pipeline.stores.definitions import Changes, Definition, Heartbeat
from tests.simulation.process import Process

T = TypeVar("T")

_DAY_MS = 24 * 3600 * 1000


class Rows:
    """What all processes share."""

    def __init__(self) -> None:
        self.away = False
        self.revision = 0
        self.history: list[Definition] = []  #: every change, by revision: for the judge
        self.rows: dict[tuple[str, str], Definition] = {}
        self.heartbeats: dict[str, Heartbeat] = {}
        self.on_write: Callable[[Definition], None] = lambda row: None

    def write(self, kind: str, id: str, body: bytes, deleted: bool, group: str | None = None) -> int:
        self.revision += 1
        row = Definition(kind, id, self.revision, deleted, body, group)
        self.rows[kind, id] = row
        self.history.append(row)
        self.on_write(row)
        return self.revision

    def check(self, kind: str, id: str, expected: int | None) -> None:
        row = self.rows.get((kind, id))
        if expected is not None and expected != (row.revision if row else 0):
            raise Overtaken(f"{kind[:-1]} {id!r} was changed meanwhile")

    def live(self, kind: str) -> list[Definition]:
        return sorted((row for row in self.rows.values() if row.kind == kind and not row.deleted), key=lambda r: r.id)


def _now_ms() -> int:
    """The database's own clock, which never jumps."""
    return round(asyncio.get_running_loop().time() * 1000)


class SimulatedDefinitions:
    """See `pipeline.stores.definitions.Definitions`: one process' connection to the database."""

    def __init__(self, rows: Rows, process: Process) -> None:
        self._rows = rows
        self._process = process

    async def _step(self, effect: Callable[[], T]) -> T:
        self._process.step()
        return await self._ask(effect)

    async def _ask(self, effect: Callable[[], T]) -> T:
        def asked() -> T:
            if self._rows.away:
                raise DefinitionsUnavailable("the database is away")
            return effect()

        return await self._process.call(asked)

    async def put(
        self, kind: str, id: str, body: bytes, *, group: str | None = None, expected: int | None = None
    ) -> int:
        def put() -> int:
            self._rows.check(kind, id, expected)
            return self._rows.write(kind, id, body, False, group)

        return await self._step(put)

    async def delete(self, kind: str, id: str, *, expected: int | None = None) -> int:
        def delete() -> int:
            row = self._rows.rows.get((kind, id))
            if row is None or row.deleted:
                raise NotFound(f"there is no {kind[:-1]} {id!r}")
            self._rows.check(kind, id, expected)
            return self._rows.write(kind, id, b"{}", True)

        return await self._step(delete)

    async def renew(self, kind: str, id: str, group: str) -> bool:
        def renew() -> bool:
            row = self._rows.rows.get((kind, id)) or Definition(kind, id, 0, True, b"{}")
            if row.group == group and not row.deleted:
                return False
            self._rows.write(kind, id, row.body, row.deleted, row.group)
            return True

        return await self._step(renew)

    async def get(self, kind: str, id: str) -> Definition | None:
        return await self._step(lambda: self._rows.rows.get((kind, id)))

    async def list(self, kind: str, *, after: str = "", limit: int = 1000) -> Sequence[Definition]:
        return await self._ask(lambda: [row for row in self._rows.live(kind) if row.id > after][:limit])

    async def count(self, kind: str) -> int:
        return await self._ask(lambda: len(self._rows.live(kind)))

    async def revision(self) -> int:
        return await self._ask(lambda: self._rows.revision)

    async def changed(self, since: int) -> Changes:
        def changed() -> Changes:
            rows = sorted((row for row in self._rows.rows.values() if row.revision > since), key=lambda r: r.revision)
            return Changes(rows[-1].revision if rows else since, rows)

        return await self._ask(changed)

    async def beat(self, heartbeat: Heartbeat) -> None:
        def beat() -> None:
            now = _now_ms()
            beats = self._rows.heartbeats
            beats[heartbeat.worker] = heartbeat._replace(time_ms=now)
            for worker in [name for name, one in beats.items() if one.time_ms < now - _DAY_MS]:
                del beats[worker]

        await self._ask(beat)

    async def now_ms(self) -> int:
        return await self._ask(_now_ms)

    async def heartbeats(self) -> Sequence[Heartbeat]:
        return await self._ask(lambda: list(self._rows.heartbeats.values()))

    async def close(self) -> None:
        """Nothing is under way once its callers have returned."""
