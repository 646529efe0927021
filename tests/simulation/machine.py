"""One worker process: the real host, stages and API over simulated ports."""

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec
from fastapi import Request

from actors.build import build
from actors.host import Host
from pipeline import envelope
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.errors import RayfoldError
from pipeline.intake import Accepted
from pipeline.journal import Journal
from pipeline.limits import Limits
from pipeline.ports import Ports
from pipeline.record import Erase
from pipeline.secrets import SecretBox
from serve.changes import Changes
from serve.coalescer import Coalescer
from serve.dead_letters import DeadLetters
from serve.errors import status_of
from serve.replays import Replays
from serve.running import Running
from serve.track import Track
from tests.simulation.broker import Broker
from tests.simulation.clock import ProcessClock, TrueTime
from tests.simulation.definitions import Rows, SimulatedDefinitions
from tests.simulation.documents import Shards, SimulatedDocuments
from tests.simulation.log import SimulatedLog
from tests.simulation.process import Process
from tests.simulation.receivers import Receivers, SimulatedHttp

RETENTION_MS = 7 * 24 * 3600 * 1000

#: A client waits this long for its answer.
ANSWER_S = 8.0

_SECRETS = SecretBox(base64.urlsafe_b64encode(bytes(32)))


class Unreachable(Exception):
    """No answer: the process died, stands still or was never there."""


class Servers(NamedTuple):
    """What all machines share."""

    broker: Broker
    shards: Shards
    rows: Rows
    receivers: Receivers
    time: TrueTime
    random: Random
    delay_s: Callable[[], float]


class Answer(NamedTuple):
    status: int
    body: Any


async def _nothing_wanted() -> Mapping[str, Mapping[str, int]]:
    return {}


class Machine:
    """Started when made; everything in it ends when its process dies."""

    def __init__(self, servers: Servers, name: str, stages: Sequence[str], failed: Callable[[str], None]) -> None:
        self.name = name
        self.process = process = Process(name, servers.random, servers.delay_s)
        self._failed = failed
        self.ports = ports = Ports(
            log=SimulatedLog(servers.broker, process),
            documents=SimulatedDocuments(servers.shards, process),
            definitions=SimulatedDefinitions(servers.rows, process),
            http=SimulatedHttp(servers.receivers, process),
            clock=ProcessClock(process, servers.time),
            random=servers.random.random,
            new_id=lambda: f"{servers.random.getrandbits(128):032x}",
            secrets=_SECRETS,
        )
        watch = DefinitionsWatch(ports.definitions, ports.clock)
        built = [build(stage, ports, watch, name, RETENTION_MS) for stage in stages]
        journal = Journal("simulation", name, ports.new_id)
        self._host = Host(ports, watch, built, name, "node", 0, RETENTION_MS, journal, api="public")
        self._running = process.spawn(self._host.run(), name)
        self._running.add_done_callback(self._ended)
        self._limits = Limits()
        self._track: Track | None = None
        self._watch = watch
        self.changes = Changes(ports)
        self.replays = Replays(ports, watch)
        self.letters = DeadLetters(ports, watch)
        self._commands = Coalescer(ports.log, ports.new_id())
        self.account = Running(ports, watch, (), {}, _nothing_wanted).account

    def _ended(self, running: "asyncio.Task[None]") -> None:
        if self.process.alive and not running.cancelled() and (error := running.exception()) is not None:
            self._failed(f"worker {self.name} ended: {type(error).__name__}: {error}")

    @property
    def standing(self) -> Mapping[str, str]:
        """Its stages that must not go on, and why."""
        return self._host.standing

    async def stop(self) -> None:
        """In order, as by SIGTERM."""
        stopping = self.process.spawn(self._host.stop(5.0), "stop")
        await asyncio.wait([stopping, self._running], timeout=10.0)
        self.process.die()

    async def track(self, body: bytes) -> Answer:
        """One request over HTTP. Raises `Unreachable`."""
        return await self.do(self._answer(body))

    async def do(self, work: Any, within_s: float = ANSWER_S) -> Any:
        """Whatever this process is asked for from outside. Raises `Unreachable`, or what the work raises."""
        if not self.process.alive:
            work.close()
            raise Unreachable
        task = self.process.spawn(work, "request")
        await asyncio.wait([task], timeout=within_s)
        if not task.done() or task.cancelled():
            raise Unreachable
        return task.result()

    async def erase(self, id: str, profile: str) -> None:
        """Append the command that deletes a profile; durable on return."""
        record = envelope.encode(Erase(id=id, profile=profile, received_ms=self.ports.clock.now_ms()))
        await self._commands.append([Accepted(id, profile, record, 0, None, None, (), ())])

    async def _answer(self, body: bytes) -> Answer:
        if self._track is None:  # it needs the loop of its process
            ports = self.ports
            self._track = Track(ports.log, self._watch, ports.clock, ports.new_id, self._limits)
        received = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            return received.pop()

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/track",
            "query_string": b"",
            "headers": [],
            "client": ("127.0.0.1", 1),
        }
        try:
            response = await self._track(Request(scope, receive))
        except RayfoldError as error:
            return Answer(status_of(error), str(error))
        return Answer(response.status_code, msgspec.json.decode(response.body))
