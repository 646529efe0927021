"""How the installation is doing: status, account and metrics, from durable facts and heartbeats."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from pipeline import account, instant, topics
from pipeline.account import Askers
from pipeline.account_terms import Account
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.delivery import Selection
from pipeline.errors import Conflict, DefinitionsUnavailable, LogUnavailable, NotFound
from pipeline.ports import Ports
from pipeline.secrets import unresolved
from pipeline.stores.definitions import Heartbeat
from pipeline.workflow.flow import Tools
from pipeline.workflow_plan import Plan
from serve import exposition
from serve.errors import json_response

#: A worker whose heartbeat is older is not counted as alive.
_ALIVE_MS = 7_000

#: The account is drawn up again while events cross partitions under it.
_TRIES = 10
_PAUSE_S = 0.05

#: What the definitions database is given before a destination is said to be without a group.
_REFRESH_S = 1.0


class StageFacts(NamedTuple):
    """One row of the topology, as the status shows it."""

    name: str
    topic: str
    groups: tuple[str, ...]  #: a name ending in ``.`` stands for all groups that begin so


#: What whoever starts workers says of them: stage → wanted and running; None while it does not answer.
Wanted = Callable[[], Awaitable[Mapping[str, Mapping[str, int]] | None]]


class Running:
    """Answers questions about the whole installation."""

    def __init__(
        self,
        ports: Ports,
        watch: DefinitionsWatch,
        stages: Sequence[StageFacts],
        facts: Mapping[str, Any],
        wanted: Wanted,
    ) -> None:
        self._ports = ports
        self._watch = watch
        self._stages = stages
        self._facts = facts
        self._wanted = wanted
        self._askers: Askers | None = None
        self._beats: tuple[int, Sequence[Heartbeat]] = 0, ()  #: when the database answered last, by its clock

    async def status(self) -> dict[str, Any]:
        """Per stage: workers wanted and alive, partitions, counters, backlog, lag, last error, restarts.

        A restart is a worker of the last day that stopped beating without having ended in order; `lost` says which.
        `controlled`: whether whoever starts workers answers; while it does not, none is replaced. `refuses`: why no event can
        be taken, if so; on a full disk heartbeats cannot be written either, and nobody seems alive. `without_group`:
        destinations that are enabled and that nobody reads for. `definitions`: how old this API's are, and what is wrong with
        their database; while it is away workers are shown as they were when it answered last.
        """
        away = await self._look_at_beats()
        now, beats = self._beats
        wanted = await self._wanted()
        stages = {}
        for stage in self._stages:
            beating = [(beat.time_ms, _row(beat)) for beat in beats if beat.stage == stage.name]
            rows = [row for time_ms, row in beating if now - time_ms <= _ALIVE_MS and not row.get("ended")]
            lost = [
                {**{name: row[name] for name in ("worker", "node", "pid")}, "time": instant.to_text(time_ms)}
                for time_ms, row in beating
                if now - time_ms > _ALIVE_MS and not row.get("ended")
            ]
            summed = {**_summed(rows), "restarts": len(lost), "lost": lost}
            stages[stage.name] = {**summed, **(wanted or {}).get(stage.name, {}), **await self._backlog(stage)}
        apis: dict[str, list[Any]] = {"public": [], "private": []}
        for beat in beats:
            if beat.stage.startswith("api.") and now - beat.time_ms <= _ALIVE_MS:
                apis[beat.stage.removeprefix("api.")].append(_worker(_row(beat)))
        revision, controlled, refuses = self._watch.catalog.revision, wanted is not None, await self._refuses()
        installation = {**self._facts, "revision": revision, "controlled": controlled, "refuses": refuses}
        installation["without_group"] = await self._without_group()
        known_ms = self._watch.known_ms
        age_s = round((self._ports.clock.now_ms() - known_ms) / 1000, 1) if known_ms else None
        installation["definitions"] = {"age_s": age_s, "error": away or self._watch.last_error}
        return {**installation, "stages": stages, "apis": apis}

    async def _look_at_beats(self) -> str:
        """Why the newest ones cannot be had, empty where they could."""
        definitions = self._ports.definitions
        try:
            beats = await definitions.heartbeats()
            self._beats = await definitions.now_ms(), beats
        except DefinitionsUnavailable as error:
            return str(error)
        return ""

    async def _refuses(self) -> str:
        try:
            await self._ports.log.check()
        except LogUnavailable as error:
            return str(error)
        return ""

    async def _backlog(self, stage: StageFacts) -> dict[str, Any]:
        records, seconds = 0, 0.0
        try:
            for group in await self._ports.log.groups(stage.topic):
                if topics.belongs(group, stage.groups):
                    with suppress(NotFound):  # dropped since
                        backlog = await self._ports.log.backlog(stage.topic, group)
                        records += backlog.records
                        seconds = max(seconds, backlog.seconds)
        except LogUnavailable as error:
            return {"backlog": None, "lag_seconds": None, "last_error": str(error)}
        return {"backlog": records, "lag_seconds": round(seconds, 3)}

    async def _without_group(self) -> list[str]:
        """Each has its group before its definition says so, so none of the newest definitions should be among them."""
        missing: list[str] = []
        for last in (False, True):
            catalog = self._watch.catalog
            with suppress(LogUnavailable):
                groups = await self._ports.log.groups(topics.PROCESSED)
                live = [id for id, one in catalog.destinations.items() if one.enabled]
                missing = [id for id in live if catalog.lives.get(id) not in groups]
            if not missing or last:
                break
            await self._watch.current(_REFRESH_S)  # it may have been disabled just now
        return sorted(missing)

    async def account(self, *, verify: bool) -> Account:
        """The account; drawn up anew a few times while something is on its way between partitions.

        Raises `Conflict` when documents are to be counted that are dropped with time.
        """
        if verify and self._facts.get("documents_expire"):
            raise Conflict(
                "documents are dropped with time (RAYFOLD_DOCUMENTS_RETENTION): they cannot be counted against the log's "
                "totals, which go on for ever; the account without `verify` is exact all the same"
            )
        for _ in range(_TRIES):
            taken = await account.take(self._ports.log, self._ports.documents, self._asking(), verify=verify)
            if taken.balanced and taken.verified is not False:
                break
            await self._ports.clock.sleep(_PAUSE_S)
        taken.without_group = await self._without_group()
        return taken

    def _asking(self) -> Askers:
        """Compiled once a revision: a long condition takes a while."""
        catalog = self._watch.catalog
        if self._askers is None or self._askers.plan.revision != catalog.revision:
            destinations = {id: Selection(one, self._now) for id, one in catalog.destinations.items()}
            plan = Plan(catalog, Tools(self._now, unresolved))
            self._askers = Askers(destinations, plan, catalog.lives, catalog.replays)
        return self._askers

    def _now(self) -> datetime:
        return instant.to_datetime(self._ports.clock.now_ms())

    async def metrics(self, request: Request) -> Response:
        """Prometheus text."""
        text = exposition.render(await self.status())
        return Response(text, media_type=exposition.MEDIA_TYPE)


def _summed(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    failing = [row for row in rows if row["last_error"]]
    newest = max(failing, key=lambda row: int(row["last_error_ms"]), default=None)
    return {
        "alive": len(rows),
        "wanted": len(rows),
        "partitions": sorted({partition for row in rows for partition in row["partitions"]}),
        **{name: sum(row[name] for row in rows) for name in ("received", "handled", "failed", "dead")},
        "paused": {id: why for row in rows for id, why in row.get("paused", {}).items()},
        "waiting": next((row["waiting"] for row in rows if row.get("waiting")), ""),
        "standing": next((row["standing"] for row in rows if row.get("standing")), ""),
        "last_error": newest["last_error"] if newest else "",
        "last_error_time": instant.to_text(newest["last_error_ms"]) if newest else None,
        "workers": [{**_worker(row), "partitions": row["partitions"]} for row in rows],
    }


def _row(beat: Heartbeat) -> dict[str, Any]:
    """What a worker says of itself, and by how much its clock is ahead of the database's.

    A worker of an older version does not say what its clock is.
    """
    row: dict[str, Any] = msgspec.json.decode(beat.body)
    now = row.get("now_ms", beat.time_ms)
    age_s = round((now - row["definitions_asked_ms"]) / 1000, 1) if row.get("definitions_asked_ms") else None
    return {**row, "clock_ahead_ms": now - beat.time_ms, "definitions_age_s": age_s}


def _worker(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("worker", "node", "pid", "started_ms", "revision", "definitions_age_s", "clock_ahead_ms")
    return {name: row[name] for name in names}


def running_routes(running: Running) -> APIRouter:
    """Routes under the private API's root."""
    router = APIRouter(tags=["running"])

    @router.get("/status")
    async def status() -> Response:
        """Every stage: workers, partitions, counters, backlog, lag, last error."""
        return json_response(await running.status())

    @router.get("/account")
    async def get_account(verify: bool = False) -> Response:
        """What became of every event; with `verify` the documents are counted too."""
        return json_response(await running.account(verify=verify))

    router.add_api_route("/metrics", running.metrics, methods=["GET"], response_class=Response)
    return router
