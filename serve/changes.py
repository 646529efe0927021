"""Definitions and what hangs on them change together: a destination has a group on the log."""

import asyncio

from pipeline import replay
from pipeline.errors import NotFound
from pipeline.ports import Ports
from pipeline.topics import PROCESSED, destination_group
from pipeline.undisturbed import Undisturbed


class Changes:
    """One change at a time in this process, each to its end though its client may go away half-way."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._one_at_a_time = asyncio.Lock()
        self._undisturbed = Undisturbed()

    async def put(self, kind: str, id: str, body: bytes) -> int:
        """The new revision. A new destination's group stands at the log's end before this returns."""
        return await self._undisturbed.run(self._put(kind, id, body))

    async def delete(self, kind: str, id: str) -> int:
        """The new revision. Raises `NotFound`; a destination's group and replays are gone in either case."""
        return await self._undisturbed.run(self._delete(kind, id))

    async def _put(self, kind: str, id: str, body: bytes) -> int:
        definitions, log = self._ports.definitions, self._ports.log
        async with self._one_at_a_time:
            if kind == "destinations":
                found = await definitions.get(kind, id)
                if found is None or found.deleted:
                    # whatever an earlier one of this name has left would make old events due
                    await log.drop_group(PROCESSED, destination_group(id))
                await log.create_group(PROCESSED, destination_group(id), "end")
            return await definitions.put(kind, id, body)

    async def _delete(self, kind: str, id: str) -> int:
        async with self._one_at_a_time:
            try:
                revision = await self._ports.definitions.delete(kind, id)
            except NotFound:
                await self._drop(kind, id)
                raise
            await self._drop(kind, id)
            return revision

    async def _drop(self, kind: str, id: str) -> None:
        if kind == "destinations":
            await self._ports.log.drop_group(PROCESSED, destination_group(id))
            for row in await self._ports.definitions.list(replay.KIND):
                if replay.decode(row.body).group == destination_group(id):
                    await self._ports.definitions.delete(replay.KIND, row.id)
                    await replay.end(self._ports.log, row.id)
