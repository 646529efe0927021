"""Runs the stages of one worker process: keeps them going, watches them, reports them, applies retention."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from actors.stage import Stage
from pipeline import envelope
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.errors import DefinitionsUnavailable, LogUnavailable, Malformed, Retry, Stop, StoreUnavailable
from pipeline.http.port import LONGEST_TIMEOUT_S
from pipeline.journal import Journal
from pipeline.ports import Ports
from pipeline.stores.definitions import Heartbeat
from pipeline.topics import TOPICS

_log = logging.getLogger(__name__)

#: Every worker writes its heartbeat this often.
BEAT_S = 2.0

#: A loop that has not gone round for this long is stuck. Waiting for a server goes round, but for one outbound call.
_STUCK_S = LONGEST_TIMEOUT_S + 30.0

_PAUSE_S = 1.0
_TRIM_S = 60.0
_EXPIRE_S = 3600.0


class Host:
    """`run` until `stop`; `check` raises when a stage has died or is stuck. `api`: which API this process serves too.
    `documents_retention_ms`: for how long documents that grow with time are kept, by this process' doing; 0: it does nothing.

    A stage that must not go on (`Stop`) stands still and says so: whoever took its place would find the same.
    """

    def __init__(
        self,
        ports: Ports,
        watch: DefinitionsWatch,
        stages: Sequence[Stage],
        worker: str,
        node: str,
        pid: int,
        retention_ms: int,
        journal: Journal,
        api: str = "",
        documents_retention_ms: int = 0,
    ) -> None:
        self._ports = ports
        self._watch = watch
        self._stages = stages
        self._worker = worker
        self._node = node
        self._pid = pid
        self._retention_ms = retention_ms
        self._journal = journal
        self._api = api
        self._documents_retention_ms = documents_retention_ms
        self._started_ms = ports.clock.now_ms()
        self._stopping = False
        self.standing: dict[str, str] = {}  #: stage → why it must not go on
        self._ended = asyncio.Event()
        self._complaints: set[str] = set()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Until `stop`, or until a stage or a duty beside them fails for good; then its error is raised."""
        await self._first_definitions()
        running = [
            asyncio.create_task(self._watch.run(self._ended), name="definitions"),
            asyncio.create_task(self._beat(), name="heartbeat"),
            asyncio.create_task(self._trim(), name="retention"),
            asyncio.create_task(self._expire(), name="retention of documents"),
            *(asyncio.create_task(self._keep(stage), name=stage.name) for stage in self._stages),
        ]
        try:
            await asyncio.gather(*running)  # whichever fails, this worker is to be replaced
        except Exception as error:
            self._failure = error
            _log.exception("worker %s ends", self._worker)
            raise
        finally:
            self._ended.set()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            if self._failure is None:
                await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        """A last heartbeat: this worker ended in order and needed no restart."""
        now = self._ports.clock.now_ms()
        try:
            for stage in self._stages:
                body = envelope.encode({**self._report(stage), "ended": True})
                await self._ports.definitions.beat(Heartbeat(f"{self._worker}.{stage.name}", stage.name, now, body))
        except DefinitionsUnavailable as error:
            _log.warning("no last heartbeat: %s", error)

    async def _first_definitions(self) -> None:
        while not self._stopping and not self._watch.is_loaded:
            try:
                await self._watch.begin()
                return
            except (DefinitionsUnavailable, Malformed, Stop) as error:
                if str(error) != self._watch.last_error:
                    _log.warning("waiting for the definitions: %s", error)
                self._watch.last_error = str(error)
                await self._ports.clock.sleep(_PAUSE_S)

    async def _keep(self, stage: Stage) -> None:
        while not self._stopping:
            try:
                await stage.run()
                return
            except Retry as error:
                _log.warning("stage %s runs again: %s", stage.name, error)
                stage.counters.error(str(error))
                await self._ports.clock.sleep(_PAUSE_S)
            except Stop as error:
                _log.error("stage %s stands still until this worker is started again: %s", stage.name, error)
                stage.counters.error(str(error))
                self.standing[stage.name] = str(error)
                return

    async def stop(self, within_s: float) -> None:
        """Finish what is under way, bounded; `run` returns."""
        self._stopping = True
        await asyncio.gather(*(stage.stop(within_s) for stage in self._stages))
        self._ended.set()

    def check(self) -> None:
        """Raises `RuntimeError` with the reason when this worker should be replaced."""
        if self._failure is not None:
            raise RuntimeError(f"worker {self._worker} ended: {self._failure}") from self._failure
        for stage in self._stages:
            quiet = stage.counters.quiet_s
            if quiet > _STUCK_S and not self._stopping and stage.name not in self.standing:
                raise RuntimeError(f"stage {stage.name} of worker {self._worker} has not moved for {quiet:.0f} s")

    async def _pause(self, seconds: float) -> None:
        """Until that time is over, or the host has ended."""
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return

    async def _beat(self) -> None:
        while not self._ended.is_set():
            await self._attempt(self._write_beats, "no heartbeat can be written")
            await self._attempt(lambda: self._journal.flush_to(self._ports.documents), "warnings cannot be stored")
            await self._pause(BEAT_S)

    async def _attempt(self, duty: Callable[[], Awaitable[None]], complaint: str) -> None:
        """One that is tried every two seconds: what keeps failing is said once."""
        try:
            await duty()
            self._complaints.discard(complaint)
        except (DefinitionsUnavailable, StoreUnavailable) as error:
            if complaint not in self._complaints:
                _log.warning("%s until further notice: %s", complaint, error)
            self._complaints.add(complaint)

    async def _write_beats(self) -> None:
        now = self._ports.clock.now_ms()
        for stage in self._stages:
            body = envelope.encode(self._report(stage))
            await self._ports.definitions.beat(Heartbeat(f"{self._worker}.{stage.name}", stage.name, now, body))
        if self._api:
            facts = envelope.encode(self._facts())
            await self._ports.definitions.beat(Heartbeat(self._worker, f"api.{self._api}", now, facts))

    def _report(self, stage: Stage) -> dict[str, object]:
        counters = stage.counters
        return {
            **self._facts(),
            "partitions": sorted(stage.held),
            "received": counters.received,
            "handled": counters.handled,
            "failed": counters.failed,
            "dead": counters.dead,
            "paused": counters.paused,
            "waiting": counters.waiting,
            "standing": self.standing.get(stage.name, ""),
            "last_error": counters.last_error,
            "last_error_ms": counters.last_error_ms,
        }

    def _facts(self) -> dict[str, object]:
        return {
            "worker": self._worker,
            "node": self._node,
            "pid": self._pid,
            "started_ms": self._started_ms,
            "now_ms": self._ports.clock.now_ms(),
            "revision": self._watch.catalog.revision,
            "definitions_asked_ms": self._watch.known_ms,
        }

    async def _trim(self) -> None:
        while not self._ended.is_set():
            await self._pause(_TRIM_S * (0.5 + self._ports.random()))
            try:
                for topic in TOPICS:
                    await self._ports.log.trim(topic, self._ports.clock.now_ms() - self._retention_ms)
            except LogUnavailable as error:
                _log.warning("retention waits: %s", error)

    async def _expire(self) -> None:
        while self._documents_retention_ms and not self._ended.is_set():
            try:
                for name in await self._ports.documents.expire(self._documents_retention_ms):
                    _log.warning("%s was dropped: all of it is older than documents are kept", name)
            except StoreUnavailable as error:
                _log.warning("retention of documents waits: %s", error)
            await self._pause(_EXPIRE_S)
        await self._ended.wait()
