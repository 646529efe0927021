"""Replays over HTTP: planned, begun, followed, ended."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from pipeline import envelope, instant, replay, replay_plan
from pipeline.definition import Destination
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.delivery import Selection
from pipeline.errors import Conflict, Incomplete, Malformed, NotFound, Overtaken, RayfoldError, TooLarge
from pipeline.log.port import BEGINNING, Position
from pipeline.ports import Ports
from pipeline.progress import load as load_progress
from pipeline.progress import of_life
from pipeline.replay import KIND, Replay
from pipeline.saved import check_saved
from pipeline.shape import fault
from pipeline.topics import PROCESSED, STORE_GROUP, destination_of, destination_reader, reader_of
from pipeline.underway import Underway
from pipeline.undisturbed import Undisturbed
from serve.body import read_body
from serve.errors import json_response
from serve.openapi import request_body

_MAX_BODY_BYTES = 10_000

#: Nobody waits for longer until all is counted; its group holds the log back so long.
_COUNTING_S = 1_800.0


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"from_": "from"}):
    """What is to be read again."""

    group: str  #: ``store``, or ``dest.`` and the id of a destination
    from_: str  #: RFC 3339
    dry_run: bool = False  #: only say what it would come to


class Replays:
    """Makes and ends replays."""

    def __init__(self, ports: Ports, watch: DefinitionsWatch) -> None:
        self._ports = ports
        self._watch = watch
        self._underway = Underway(ports.log, watch)
        self._one_at_a_time = asyncio.Lock()

    async def plan(self, asked: Asked) -> dict[str, Any]:
        """What it would come to. A group of its own keeps what is counted until it is, for a minute at least.

        Raises `TooLarge` when counting takes too long.
        """
        one, selection = await self._made(asked)
        try:
            one = await self._with_groups(one)
            async with asyncio.timeout(_COUNTING_S):
                counted = await replay_plan.count(self._ports.log, one, selection)
                return {**_shown(one), **counted, "log_begins": await replay_plan.log_begins(self._ports.log, one)}
        except TimeoutError:
            raise TooLarge(
                f"counting has taken more than {_COUNTING_S / 60:g} minutes: begin at a later time, or do not count"
            ) from None
        finally:
            await replay.end(self._ports.log, one.id)

    async def begin(self, asked: Asked) -> dict[str, Any]:
        """Its groups stand before its row, its row before the answer: retention takes nothing of it.

        A crash in between leaves a group that nobody reads for; it is dropped a minute later. Raises `Conflict` while another
        replay of the group is under way, as the two would overtake each other, and for one of the store that begins too late;
        `Overtaken` when this process stood still until its groups were dropped. Those that have ended are forgotten, also of
        earlier lives of the destination.
        """
        async with self._one_at_a_time:
            one, _ = await self._made(asked)
            replays, reader = self._watch.catalog.replays.values(), reader_of(one.group)
            known = [other.id for other in replays if reader_of(other.group) == reader]
            await self._check_alone(one)
            await self._forget(known)
            try:
                one = await self._with_groups(one)
                await self._check_early(one)
                begins = await replay_plan.log_begins(self._ports.log, one)
                await self._ports.definitions.put(KIND, one.id, envelope.encode(one), group=one.reader, expected=0)
            except RayfoldError:
                await replay.end(self._ports.log, one.id)
                raise
            await self._watch.refresh()
            try:
                await self._check_alone(one)  # this process may have stood still since it looked
            except Conflict:
                await self.end(one.id)
                raise
            return {**_shown(one), "log_begins": begins}

    async def _check_alone(self, one: Replay) -> None:
        """Raises `Conflict` when another replay of its group is under way."""
        for other in await self._underway.replays():
            if other.group == one.group and other.id != one.id:
                raise Conflict(f"replay {other.id} of {reader_of(one.group)} is under way: let it end, or end it")

    async def _check_early(self, one: Replay) -> None:
        """Raises `Conflict` when the store has lost something that lies before where its replay begins.

        Such a replay would bring back what was saved last, and with it what tells that something is missing.
        """
        if not one.is_of_store:
            return
        log = self._ports.log
        for partition in range(log.partitions):
            begin = await log.committed(PROCESSED, partition, one.reader)
            try:
                await check_saved(log, self._ports.documents, partition, begin)
            except Incomplete as error:
                raise Conflict(f"this begins too late, {error}") from error

    async def _forget(self, ended: Sequence[str]) -> None:
        """Each is read by every account: they must not pile up."""
        for id in ended:
            with suppress(NotFound):  # somebody else has forgotten it just now
                await self._ports.definitions.delete(KIND, id)

    async def _made(self, asked: Asked) -> tuple[Replay, Selection | None]:
        """Raises `Malformed` for a group or time that is none, `Conflict` when the destination is disabled."""
        now_ms = self._ports.clock.now_ms()
        from_ms = instant.from_text(asked.from_, "from", now_ms)
        await self._watch.refresh()
        group, selection = asked.group, None
        if group != STORE_GROUP:
            destination = self._destination(group)
            group = self._watch.catalog.lives[destination.id]
            selection = Selection(destination, lambda: instant.to_datetime(now_ms))
        return Replay(id=self._ports.new_id(), group=group, from_ms=from_ms, time_ms=now_ms, ends={}), selection

    def _destination(self, group: str) -> Destination:
        destination = self._watch.catalog.destinations.get(destination_of(group))
        if destination is None or group != destination_reader(destination.id):
            raise Malformed(
                f"there is no {group[:80]!r}; say {STORE_GROUP!r}, or 'dest.' with a destination's id", "group"
            )
        if destination.id not in self._watch.catalog.lives:
            raise Conflict(f"destination {destination.id} is disabled: enable it first")
        return destination

    async def _with_groups(self, one: Replay) -> Replay:
        """Raises `Overtaken` when one is dropped again meanwhile."""
        log = self._ports.log
        ends = {}
        records = 0
        for topic in replay.topics_of(one.group):
            await log.create_group(topic, one.reader, one.from_ms)
            try:
                records += (await log.backlog(topic, one.reader)).records
            except NotFound:
                raise Overtaken("this process stood still until the replay's groups were dropped: ask again") from None
            ends[topic] = [await self._end(one, topic, partition) for partition in range(log.partitions)]
        return msgspec.structs.replace(one, ends=ends, records=records)

    async def _end(self, one: Replay, topic: str, partition: int) -> Position:
        """A destination's ends where it is itself: what it has not had yet comes to it anyway, once and in order."""
        if not one.is_of_store:
            progress = of_life(await load_progress(self._ports.documents, one.group, partition), one.group)
            return max(progress.position, await self._ports.log.committed(topic, partition, one.group))
        last = await self._ports.log.last(topic, partition)
        return BEGINNING if last is None else last.position

    async def list(self) -> list[dict[str, Any]]:
        """Those under way and the last of each group that has ended by itself, oldest first."""
        return [await self._state(replay.decode(row.body)) for row in await self._ports.definitions.list(KIND)]

    async def get(self, id: str) -> dict[str, Any]:
        """How far it is. Raises `NotFound`."""
        row = await self._ports.definitions.get(KIND, id)
        if row is None or row.deleted:
            raise NotFound(f"there is no replay {id[:64]!r}")
        return await self._state(replay.decode(row.body))

    async def _state(self, one: Replay) -> dict[str, Any]:
        """`left`: records it has still to read; until it is through, those that came later count too."""
        state: dict[str, Any] = {**_shown(one), "state": "running"}
        try:
            state["left"] = sum([(await self._ports.log.backlog(topic, one.reader)).records for topic in one.ends])
        except NotFound:
            state |= {"state": "done", "left": 0}
        if not one.is_of_store:
            partitions = range(self._ports.log.partitions)
            parts = [await load_progress(self._ports.documents, one.reader, partition) for partition in partitions]
            state |= {name: sum(getattr(part, name) for part in parts) for name in ("delivered", "dead")}
        return state

    async def end(self, id: str) -> int:
        """The new revision; what it has done stays done. Raises `NotFound`; its groups are gone in either case."""
        try:
            return await self._ports.definitions.delete(KIND, id)
        finally:
            await replay.end(self._ports.log, id)
            await self._watch.refresh()


def _shown(one: Replay) -> dict[str, Any]:
    times = {"from": instant.to_text(one.from_ms), "time": instant.to_text(one.time_ms)}
    return {"id": one.id, "group": reader_of(one.group), **times, "records": one.records}


def replay_routes(ports: Ports, watch: DefinitionsWatch) -> APIRouter:
    """Routes under the private API's root."""
    router = APIRouter(tags=["replays"])
    replays = Replays(ports, watch)
    undisturbed = Undisturbed()

    @router.post("/replays", openapi_extra=request_body(Asked))
    async def ask(request: Request) -> Response:
        """Feed a destination or the store again with what was published from a time on; `dry_run` only counts."""
        try:
            asked = msgspec.json.decode(await read_body(request, _MAX_BODY_BYTES), type=Asked)
        except msgspec.ValidationError as error:
            message, field = fault(error)
            raise Malformed(message, field or "body") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Malformed(f"this is not JSON: {error}") from None
        if asked.dry_run:
            return json_response(await replays.plan(asked))
        return json_response(await undisturbed.run(replays.begin(asked)), 201)

    @router.get("/replays")
    async def list_replays() -> Response:
        """Those under way and those that have ended, oldest first."""
        items = await replays.list()
        return json_response({"total": len(items), "items": items, "cursor": ""})

    @router.get("/replays/{id}")
    async def get_replay(id: str) -> Response:
        """How far one is."""
        return json_response(await replays.get(id))

    @router.delete("/replays/{id}")
    async def end_replay(id: str) -> Response:
        """End it where it is, or forget it when it has ended."""
        return json_response({"id": id, "revision": await undisturbed.run(replays.end(id))})

    return router
