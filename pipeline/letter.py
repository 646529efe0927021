"""Dead letters: what is kept of a delivery that was given up, and what may become of it. Sans I/O.

There is one exactly of each delivery that was counted as dead, never one of what is not counted yet: see `pipeline/progress.py`.
"""

from enum import StrEnum
from typing import Any

from pipeline import envelope, instant
from pipeline.delivery import Request
from pipeline.document import SCHEMA, decode_document
from pipeline.envelope import Entry
from pipeline.errors import Conflict
from pipeline.stores.documents import Document

#: Who began to send a letter and has not said for this long what came of it is gone: longer than any call may take.
CLAIM_MS = 120_000


class State(StrEnum):
    WAITING = "waiting"  #: for somebody to decide
    SENDING = "sending"  #: somebody tries just now
    SENT = "sent"  #: by hand; counts as delivered
    RESENT = "resent"  #: by hand, a letter of a replay: the destination's own account knows nothing of it
    DROPPED = "dropped"  #: for good


def letter_id(delivery: str, replay: str) -> str:
    """A replay gives up for itself: `replay` is its id, empty for the destination's own letters."""
    return f"{delivery}.{replay}" if replay else delivery


def new_letter(request: Request, destination: str, replay: str, entry: Entry, reason: str, now_ms: int) -> Document:
    """Enough to send the delivery again."""
    id = letter_id(request.id, replay)
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "id": id,
        "destination": destination,
        "event": entry.id,
        "type": entry.type,
        "profile": entry.profile,
        "reason": reason,
        "state": State.WAITING,
        "time": instant.to_text(now_ms),
        "method": request.method,
        "body": None if request.body is None else request.body.decode(),
    }
    if replay:
        body |= {"delivery": request.id, "replay": replay}
    return Document("dead", id, 1, envelope.encode(body))


class Letter:
    """A stored letter. Each change is its next version: of two made at once the store takes one."""

    def __init__(self, found: Document) -> None:
        self._found = found
        self.body = decode_document(found.body)

    @property
    def state(self) -> State:
        return State(self.body["state"])

    @property
    def delivery(self) -> str:
        """The id of the delivery: its Idempotency-Key."""
        return str(self.body.get("delivery", self._found.id))

    @property
    def request_body(self) -> bytes | None:
        text = self.body["body"]
        return text.encode() if isinstance(text, str) else None

    def check_is_open(self, now_ms: int) -> None:
        """Raises `Conflict` when it was decided already, or somebody is about to."""
        if self.state is State.SENDING:
            if now_ms - instant.parse(self.body["changed"]) < CLAIM_MS:
                raise Conflict(f"dead letter {self._found.id} is being sent just now: look again in two minutes")
        elif self.state is not State.WAITING:
            raise Conflict(f"dead letter {self._found.id} was {self.state} already")

    def becomes(self, state: State, now_ms: int, reason: str = "") -> Document:
        """To save: the letter in this state from now on."""
        if state is State.SENT and "replay" in self.body:
            state = State.RESENT
        body = {**self.body, "state": state, "changed": instant.to_text(now_ms)}
        if reason:
            body["reason"] = reason
        return Document("dead", self._found.id, self._found.version + 1, envelope.encode(body))
