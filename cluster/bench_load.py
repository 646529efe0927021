"""The load of the benchmark: bodies, closed-loop and paced senders, and the account of their answers."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cluster.wire import Wire
from pipeline import envelope

#: Sessions the events are spread over.
_SESSIONS = 5_000

#: Events of one profile in a batch: a batch of 100 is a list of 10 payloads.
_PER_PAYLOAD = 10

_TEXT = "A page title of the usual length, as shops have them"


@dataclass
class Answers:
    """What came back in one phase."""

    events: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    not_ok: int = 0
    answered_at: dict[str, float] = field(default_factory=dict)  #: message id → seconds since 1970, if asked for

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0


class Bodies:
    """Events of about 570 bytes with message ids of their own, as an SDK would send them."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._number = itertools.count()

    def _event(self) -> tuple[str, dict[str, object]]:
        number = next(self._number)
        message = f"{self._run}-{number}"
        properties = {
            "id": f"page-{number % 900}",
            "category": "jazz",
            "title": _TEXT,
            "url": f"https://shop.example/p/{number}",
        }
        context = {
            "page": {"url": f"https://shop.example/p/{number}", "title": _TEXT, "referer": {"host": "example.com"}}
        }
        return message, {"id": message, "type": "page-view", "properties": properties, "context": context}

    def one(self) -> tuple[str, bytes]:
        """Message id and body of a single event."""
        message, event = self._event()
        session = f"s-{next(self._number) % _SESSIONS}"
        payload = {"source": {"id": "bench"}, "session": {"id": session}, "events": [event]}
        return message, envelope.encode(payload)

    def batch(self, events: int) -> bytes:
        """A list of payloads with so many events in all."""
        payloads = []
        for _ in range(events // _PER_PAYLOAD):
            session = f"s-{next(self._number) % _SESSIONS}"
            group = [self._event()[1] for _ in range(_PER_PAYLOAD)]
            payloads.append({"source": {"id": "bench"}, "session": {"id": session}, "events": group})
        return envelope.encode(payloads)


async def closed_loop(port: int, connections: int, seconds: float, body: Callable[[], bytes], events: int) -> Answers:
    """As many requests as are answered: each connection sends its next one when it has its answer."""
    answers = Answers()
    end = time.perf_counter() + seconds

    async def run() -> None:
        wire = await Wire.open("127.0.0.1", port)
        while time.perf_counter() < end:
            answer = await wire.post("/track", body())
            answers.latencies.append(answer.seconds)
            answers.events += events if answer.status == 200 else 0
            answers.not_ok += answer.status != 200
        await wire.close()

    started = time.perf_counter()
    await asyncio.gather(*(run() for _ in range(connections)))
    answers.seconds = time.perf_counter() - started
    return answers


async def paced(
    port: int,
    connections: int,
    seconds: float,
    per_second: float,
    body: Callable[[], tuple[str, bytes]],
    path: str = "/track",
) -> Answers:
    """So many requests a second, begun on time whatever the answers; latency counts from when each was due."""
    answers = Answers()
    wires: asyncio.Queue[Wire] = asyncio.Queue()
    for _ in range(connections):
        wires.put_nowait(await Wire.open("127.0.0.1", port))
    started = time.perf_counter()

    async def send(due: float) -> None:
        wire = await wires.get()
        message, content = body()
        answer = await wire.post(path, content)
        now = time.perf_counter()
        wires.put_nowait(wire)
        answers.latencies.append(now - due)
        answers.answered_at[message] = time.time()
        answers.not_ok += answer.status != 200

    async with asyncio.TaskGroup() as group:
        for due in _instants(started, seconds, per_second):
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(send(due))
    answers.seconds = time.perf_counter() - started
    while not wires.empty():
        await wires.get_nowait().close()
    return answers


def _instants(started: float, seconds: float, per_second: float) -> Iterator[float]:
    return (started + number / per_second for number in range(int(seconds * per_second)))
