"""An installation whose every event leaves a trace: it is stored, counted in a profile, delivered and run by a workflow."""

import asyncio
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from cluster import receiver
from tests.chaos.evidence import violations
from tests.chaos.verdict import Verdict, judged
from tests.installation import Installation, installed
from tests.load import Load
from tests.storage import EMBEDDED

SOURCE = "load"
EVENT_TYPE = "increase-interest"

_WORKFLOW = {
    "nodes": [
        {"id": "start", "type": "start"},
        {"id": "count", "type": "increment", "settings": {"field": "profile@stats.counters.runs"}},
    ],
    "edges": [{"from": "start", "to": "count"}],
}
_MAPPING = {"message": "event@message_id", "profile": "profile@primary_id", "number": "profile@interests.load"}


class Proof:
    """One installation, what it was sent so far, and the system it delivers to."""

    def __init__(self, installation: Installation, received: str) -> None:
        self.installation = installation
        self.received = received
        self._begun = 0  #: numbers of message ids given away
        self._answered: set[str] = set()
        self._per_profile: Counter[str] = Counter()
        self._repeats = 0
        self._bodies: list[dict[str, Any]] = []

    def begin(self) -> int:
        """Where the numbers of a further client's message ids begin."""
        self._begun += 1_000_000
        return self._begun

    def load(self, pause_s: float = 0.0) -> Load:
        """More of it; message ids go on where the last load ended, whatever became of that."""
        return Load(self.installation.url, SOURCE, start=self.begin(), pause_s=pause_s)

    def answered(self, messages: Iterable[str], per_profile: Counter[str]) -> None:
        """What a client was answered 200 for; from now on it has to be there."""
        self._answered |= set(messages)
        self._per_profile += per_profile

    async def judge(self, within_s: float = 60.0) -> Verdict:
        """Once nothing is under way: the account, documents, profiles and deliveries against the clients' own count.

        And what log and documents hold against the invariants of the simulation.
        """
        verdict = await asyncio.to_thread(self._judge, within_s)
        return verdict._replace(problems=[*verdict.problems, *await violations(self.installation)])

    def _judge(self, within_s: float) -> Verdict:
        account = self.installation.quiet(within_s)
        self._bodies += _get(f"{self.received}/kept?since={len(self._bodies)}")
        repeats, self._repeats = self._repeats, _get(f"{self.received}/counts")["repeats"]
        repeats = self._repeats - repeats
        return judged(self.installation, account, self._answered, self._per_profile, self._bodies, repeats)


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return msgspec.json.decode(answer.read())


@contextmanager
def proving(folder: Path, layout: str, on: Mapping[str, str] = EMBEDDED) -> Iterator[Proof]:
    """Up and settled for the length of the block; `on`: see tests/storage.py."""
    process, received = receiver.start()
    try:
        with installed(folder, on, layout=layout) as installation:
            installation.put("source", SOURCE, {"static_profile_id": True})
            installation.put("workflow", "count", _WORKFLOW)
            asked = {"source": SOURCE, "event_type": EVENT_TYPE}
            installation.put("rule", "count", {**asked, "workflow": "count"})
            settings = {"url": f"{received}/?keep=1"}
            installation.put("destination", "all", {**asked, "mapping": _MAPPING, "settings": settings})
            installation.settled()
            yield Proof(installation, received)
    finally:
        process.terminate()
        process.wait()
