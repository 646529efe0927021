"""Definitions and what hangs on them change together: an enabled destination has a group on the log, no other has one."""

import asyncio
from contextlib import suppress

from pipeline import envelope, replay
from pipeline.errors import NotFound, Overtaken
from pipeline.ports import Ports
from pipeline.release import release
from pipeline.topics import PROCESSED, destination_group, destination_of
from pipeline.undisturbed import Undisturbed
from serve.caught_up import caught_up

#: Whoever asks for events: of these, exactly what is sent after the answer is due by the new definition.
_ASKING = ("destinations", "rules", "workflows")

#: How long a change waits for the collectors; when they are further behind, what waits for them counts as coming after it.
_CATCH_UP_S = 5.0

#: How often a change begins anew that somebody else was quicker than.
_TRIES = 10


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
        Raises `Overtaken` when others change it all the time.
        """
        return await self._undisturbed.run(self._put(kind, id, body))

    async def delete(self, kind: str, id: str) -> int:
        """The new revision. Raises `NotFound` and `Overtaken`; a destination's group and replays are gone in either case."""
        return await self._undisturbed.run(self._delete(kind, id))

    async def _put(self, kind: str, id: str, body: bytes) -> int:
        async with self._one_at_a_time:
            if kind in _ASKING and _is_enabled(body):
                await caught_up(self._ports.log, self._ports.clock, _CATCH_UP_S)
            if kind == "destinations":
                return await self._change_destination(id, body)
            return await self._ports.definitions.put(kind, id, body)

    async def _delete(self, kind: str, id: str) -> int:
        async with self._one_at_a_time:
            if kind == "destinations":
                return await self._change_destination(id, None)
            return await self._ports.definitions.delete(kind, id)

    async def _change_destination(self, id: str, body: bytes | None) -> int:
        """Put it, or delete it for None. Each time it is enabled a group of a new name is made for it.

        The definition changes only if it is still as read: then whoever made one of the groups found here and has not named
        it fails, so that none of those will be named again and they can be dropped, now or by a process that wakes up later.
        """
        log, definitions = self._ports.log, self._ports.definitions
        for _ in range(_TRIES):
            found = await definitions.get("destinations", id)
            before, expected = (found.group, found.revision) if found else (None, 0)
            groups = [group for group in await log.groups(PROCESSED) if destination_of(group) == id]
            group = None
            if body is not None and _is_enabled(body):
                group = before if before in groups else await self._new_group(id)
            try:
                if body is None:
                    revision = await definitions.delete("destinations", id, expected=expected)
                else:
                    revision = await definitions.put("destinations", id, body, group=group, expected=expected)
            except Overtaken:
                if group is not None and group != before:
                    await log.drop_group(PROCESSED, group)
                continue
            except NotFound:
                for one in groups:
                    await release(log, definitions, one)
                await self._end_replays(id)
                raise
            for one in groups:
                if one != group:
                    await log.drop_group(PROCESSED, one)
            await self._end_replays(id)
            return revision
        raise Overtaken(f"destination {id!r} is being changed by others all the time: try again")

    async def _new_group(self, id: str) -> str:
        group = destination_group(id, self._ports.new_id())
        await self._ports.log.create_group(PROCESSED, group, "end")
        return group

    async def _end_replays(self, id: str) -> None:
        """Those of lives that are over. The replays are listed first: so a life not found afterwards is none that is to come."""
        definitions = self._ports.definitions
        rows = await definitions.list(replay.KIND)
        replays = [one for row in rows if destination_of((one := replay.decode(row.body)).group) == id]
        found = await definitions.get("destinations", id) if replays else None
        for one in replays:
            if found is None or one.group != found.group:
                with suppress(NotFound):  # somebody else has ended it just now
                    await definitions.delete(replay.KIND, one.id)
                await replay.end(self._ports.log, one.id)


def _is_enabled(body: bytes) -> bool:
    return bool(envelope.decode_object(body).get("enabled", True))
