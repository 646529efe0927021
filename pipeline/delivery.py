"""What is due to a destination, the request it is sent as, and what an answer means. Sans I/O."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, NamedTuple

from pipeline import envelope, identity
from pipeline.catalog import destination_asker
from pipeline.definition import Destination
from pipeline.envelope import CHANGED, Entry, Pair, Processed
from pipeline.http.port import Http, Response
from pipeline.reference import compile_template
from pipeline.scope import Scope, Scopes
from pipeline.secrets import resolve
from pipeline.tql import compile_condition

#: A delivery this old becomes a dead letter.
MAX_AGE_MS = 24 * 3600 * 1000

#: Waiting times between attempts, in seconds: doubled each time, with full jitter.
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 60.0

#: Pause while the other side refuses our credentials or does not know the address: somebody has to act.
ALARM_PAUSE_S = 30.0


class Request(NamedTuple):
    """One HTTP call of a delivery."""

    id: str  #: of the delivery: (destination, event); sent as Idempotency-Key
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout_s: float


class Verdict(StrEnum):
    DELIVERED = "delivered"
    AGAIN = "again"  #: later
    ALARM = "alarm"  #: later, and somebody has to look at it: credentials or address
    DEAD = "dead"  #: this one will never be taken


class Selection:
    """Which events a destination gets, compiled."""

    def __init__(self, destination: Destination, now: Callable[[], datetime]) -> None:
        self.destination = destination
        self._asker = destination_asker(destination.id)
        self._condition = compile_condition(destination.condition, now) if destination.condition else None

    def _asked(self, pair: Pair) -> bool:
        """Whether the destination asked for such events when they were folded."""
        if pair.askers is not None:
            return self._asker in pair.askers
        wanted = self.destination
        return wanted.source in (None, pair.source) and wanted.event_type in (None, pair.type)

    def wants(self, pairs: Sequence[Pair]) -> bool:
        """Whether anything in an envelope can be due."""
        return any(map(self._asked, pairs))

    def due(self, processed: Processed) -> list[tuple[Entry, Scope]]:
        """The events of an envelope that are to be delivered, in order."""
        asked = {(pair.source, pair.type) for pair in processed.pairs if self._asked(pair)}
        changes_only = self.destination.on_profile_change_only
        found = []
        scopes = Scopes(processed)
        for entry in processed.events:
            if entry.view < 0 or (entry.source, entry.type) not in asked:
                continue
            if changes_only and not entry.flags & CHANGED:
                continue
            scope = scopes.of(entry)
            if self._condition is None or self._condition(scope):
                found.append((entry, scope))
        return found


class Outlet(Selection):
    """A destination that can be delivered to: with its address, its template and its secrets filled in."""

    def __init__(self, destination: Destination, now: Callable[[], datetime], secret: Callable[[str], str]) -> None:
        super().__init__(destination, now)
        settings = destination.settings
        self._template = compile_template(destination.mapping) if destination.mapping else None
        self._url: str = resolve(settings.url, secret)
        given: Mapping[str, str] = resolve(settings.headers, secret)
        self._headers = {"content-type": "application/json", **{name.lower(): text for name, text in given.items()}}

    def request(self, entry: Entry, scope: Scope) -> Request:
        """The call for one event. Without a mapping the event and the profile are sent as they are."""
        settings = self.destination.settings
        whole = {"event": scope["event"], "profile": scope["profile"]}
        value: Any = whole if self._template is None else self._template(scope)
        body = None if settings.method == "GET" else envelope.encode(value)
        return self.call(delivery_id(self.destination.id, entry.id), body)

    def same_as(self, other: "Outlet") -> bool:
        """Whether a request made by the other one is as good as one made by this."""
        mine, theirs = (self.destination, self._url, self._headers), (other.destination, other._url, other._headers)
        return self is other or mine == theirs

    def call(self, id: str, body: bytes | None) -> Request:
        """The call that brings this body."""
        settings = self.destination.settings
        headers = {**self._headers, "idempotency-key": id}
        return Request(id, settings.method, self._url, headers, body, settings.timeout)


async def send(http: Http, request: Request) -> Response:
    """Make the call. Raises `HttpFailure`."""
    return await http.send(request.method, request.url, request.headers, request.body, request.timeout_s)


def delivery_id(destination: str, event: str) -> str:
    """The same for every attempt at bringing this event to this destination."""
    return identity.event_id("@destination", f"{destination}:{event}")


def judge(response: Response) -> Verdict:
    """What the other side's answer means for this delivery."""
    status = response.status
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status in (400, 422):
        return Verdict.DEAD
    if status in (401, 403, 404):
        return Verdict.ALARM
    return Verdict.AGAIN


def retry_after_s(response: Response, now_ms: int) -> float:
    """Seconds the other side asks us to wait (RFC 9110 §10.2.3), at most an hour; 0 when it does not say."""
    text = response.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return min(float(text), 3600.0)
    if not text:
        return 0.0
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max(at.timestamp() - now_ms / 1000, 0.0), 3600.0)
