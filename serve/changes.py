"""Definitions and what hangs on them change together: an enabled destination has a group on the log, no other has one."""

import asyncio

from pipeline import envelope, replay
from pipeline.errors import NotFound
from pipeline.ports import Ports
from pipeline.topics import PROCESSED, destination_group
from pipeline.undisturbed import Undisturbed
from serve.caught_up import caught_up

#: Whoever asks for events: of these, exactly what is sent after the answer is due by the new definition.
_ASKING = ("destinations", "rules", "workflows")

#: How long a change waits for the collectors; when they are further behind, what waits for them counts as coming after it.
_CATCH_UP_S = 5.0


class Changes:
    """One change at a time in this process, each to its end though its client may go away half-way."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._one_at_a_time = asyncio.Lock()
        self._undisturbed = Undisturbed()

    async def put(self, kind: str, id: str, body: bytes) -> int:
        """The new revision; `body` is a checked definition.

        A destination that is enabled and was not has a new group at the log's end before this returns; one that is
        disabled has none, and no replay. After a crash half-way the same call again mends it, so does the next start.
        """
        return await self._undisturbed.run(self._put(kind, id, body))

    async def delete(self, kind: str, id: str) -> int:
        """The new revision. Raises `NotFound`; a destination's group and replays are gone in either case."""
        return await self._undisturbed.run(self._delete(kind, id))

    async def _put(self, kind: str, id: str, body: bytes) -> int:
        async with self._one_at_a_time:
            if kind in _ASKING and _is_enabled(body):
                await caught_up(self._ports.log, self._ports.clock, _CATCH_UP_S)
            if kind == "destinations":
                return await self._put_destination(id, body)
            return await self._ports.definitions.put(kind, id, body)

    async def _put_destination(self, id: str, body: bytes) -> int:
        definitions, log = self._ports.definitions, self._ports.log
        group = destination_group(id)
        if not _is_enabled(body):
            revision = await definitions.put("destinations", id, body)
            await self._drop("destinations", id)
            return revision
        found = await definitions.get("destinations", id)
        if found is None or found.deleted or not _is_enabled(found.body):
            await log.drop_group(PROCESSED, group)  # what an earlier one has left would make old events due
        await log.create_group(PROCESSED, group, "end")
        revision = await definitions.put("destinations", id, body)
        await log.create_group(PROCESSED, group, "end")  # should it have been dropped meanwhile: it was nobody's
        return revision

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


def _is_enabled(body: bytes) -> bool:
    return bool(envelope.decode_object(body).get("enabled", True))
