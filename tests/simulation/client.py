"""Clients that send, send again until answered, repeat old payloads, and keep their own count."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from tests.simulation.machine import Answer, Unreachable

SOURCES = ("web", "static", "brief")

#: Event types: whom they concern is in tests/simulation/operator.py.
TYPES = ("increase-interest", "page-view", "sign-up")


class Sent:
    """One payload, as its client remembers it."""

    def __init__(self, body: dict[str, Any], marks: Sequence[str], client: int, number: int, revision: int) -> None:
        self.body = body
        self.marks = marks  #: one for each event; in its properties
        self.client = client
        self.number = number
        self.revision = revision  #: of the newest change that was answered before this was sent first
        self.source: str = body["source"]["id"]
        self.answered = False
        self.answered_s = 0.0  #: virtual time
        self.given_up = False  #: at first; it may have been repeated later
        self.profile: str | None = None  #: as answered
        self.repeatable = all("id" in event for event in body["events"])

    @property
    def key(self) -> str:
        """Its routing key."""
        if "profile" in self.body:
            return str(self.body["profile"]["id"])
        if "session" in self.body:
            return str(self.body["session"]["id"])
        return f"none {self.marks[0]}"

    def option(self, name: str) -> bool:
        """Whether an option is on."""
        return self.body.get("options", {}).get(name) is not False

    @property
    def stored(self) -> bool:
        return self.option("saveEvents") and self.source != "brief"


class Client:
    """One browser or backend; several may use the same session and profile ids."""

    def __init__(
        self,
        number: int,
        random: Random,
        post: Callable[[bytes], Awaitable[Answer]],
        revision: Callable[[], int],
        chaos: Callable[[], bool],
    ) -> None:
        self._number = number
        self._random = random
        self._post = post
        self._revision = revision
        self._chaos = chaos
        self._known: str | None = None
        self.sent: list[Sent] = []
        pick = random.random
        mine, shared = f"S{number}", "S0"
        self._sessions = [(mine if pick() < 0.6 else shared) + "a", (mine if pick() < 0.6 else shared) + "b"]
        self._profile = f"X{number}" if pick() < 0.5 else "X0"

    async def run(self, payloads: int) -> None:
        """Send that many payloads, each until it is answered or given up; then repeat some."""
        for number in range(payloads):
            sent = self._make(number)
            self.sent.append(sent)
            await self._send(sent)
            if self.sent and self._chaos() and self._random.random() < 0.3:
                await self._repeat(self._random.choice(self.sent))
            if self._random.random() < 0.4:
                await asyncio.sleep(self._random.choice((0.05, 0.5, 3.0)))

    def _make(self, number: int) -> Sent:
        random = self._random
        pick = random.random
        source = "web" if pick() < 0.8 else random.choice(SOURCES)
        body: dict[str, Any] = {"source": {"id": source}}
        chance = pick()
        if source == "static" or chance > 0.45:
            id = self._known if self._known and 0.45 < chance < 0.6 else self._profile
            if pick() < 0.05:
                id = self._forged()
            body["profile"] = {"id": id}
        if pick() < 0.9:
            body["session"] = {"id": self._sessions[0] if pick() < 0.7 else self._sessions[1]}
        if pick() < 0.15:
            body["options"] = {random.choice(("saveEvents", "saveSession", "saveProfile")): False}
        if pick() < 0.04:
            body["profile_less"] = True
        named = pick() < 0.85
        marks, events = [], []
        for place in range(1 if pick() < 0.8 else random.choice((2, 5))):
            mark = f"c{self._number}.{number}.{place}"
            event: dict[str, Any] = {
                "type": random.choice(TYPES),
                "properties": {"interest": "n", "mark": mark},
            }
            if named:
                event["id"] = mark
            events.append(event)
            marks.append(mark)
        body["events"] = events
        return Sent(body, marks, self._number, number, self._revision())

    def _forged(self) -> str:
        """The minted id of some session, given as a profile's."""
        from pipeline import identity
        from pipeline.identity import Kind

        return identity.mint(Kind.SESSION, self._random.choice(self._sessions))

    async def _send(self, sent: Sent) -> None:
        """Until it is answered 200, or given up. A payload without ids is sent once: a repeat would be another event."""
        encoded = json.dumps(sent.body).encode()
        while not await self._post_once(sent, encoded):
            if not sent.repeatable or (self._chaos() and self._random.random() < 0.05):
                sent.given_up = True
                return
            await asyncio.sleep(self._random.choice((0.05, 0.5, 2.0)))

    async def _post_once(self, sent: Sent, encoded: bytes) -> bool:
        try:
            answer = await self._post(encoded)
        except Unreachable:
            return False
        if answer.status in (429, 503, 406):  # 406: its source is not known everywhere yet
            return False
        assert answer.status == 200, answer
        if self._chaos() and self._random.random() < 0.05 and sent.repeatable:
            return False  # the answer is lost on its way
        if not sent.answered:
            sent.answered = True
            sent.answered_s = asyncio.get_running_loop().time()
            sent.profile = answer.body["profile"]["id"]
        if sent.profile is not None:
            self._known = sent.profile
        return True

    async def _repeat(self, sent: Sent) -> None:
        """The same body once more, at any time."""
        if sent.repeatable:
            await self._post_once(sent, json.dumps(sent.body).encode())
