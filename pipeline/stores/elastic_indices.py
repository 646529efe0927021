"""Which index a document lies in: by its kind, and for most kinds by a time that it keeps for ever."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from pipeline import instant
from pipeline.stores.documents import FIELDS, Kind
from pipeline.stores.elastic_address import ElasticAddress, TimePartition

_DAY_MS = 86_400_000

#: How names of indices call the kinds.
_WORDS: Mapping[Kind, str] = {
    "profile": "profiles",
    "session": "sessions",
    "event": "events",
    "receipt": "receipts",
    "dead": "dead-letters",
    "run": "runs",
    "progress": "progress",
    "log": "logs",
}

#: Kinds cut by time → the time in their bodies that tells the index. It never changes, is the server's own, and for all
#: but sessions is the searchable one: a client may say that a session began years ago.
TIMES: Mapping[Kind, str] = {
    kind: "metadata.time.create" if kind == "session" else FIELDS[kind]["time"]
    for kind in ("event", "receipt", "session", "run", "log")
}

#: Where those go that have no time between these years: nobody's mistake may make thousands of indices.
UNDATED = "undated"
_YEARS = range(2000, 2100)

#: How far back reads by id look for a session that is still in use.
_SESSION_MS = 31 * _DAY_MS

#: An event may have waited in the log for so long that its repeat is looked for from that much further back.
_BACKLOG_MS = 7 * _DAY_MS

#: By how much clocks of machines may differ.
_SKEW_MS = _DAY_MS

_DATE = re.compile(r"\d{4}-\d\d-\d\dT")

_FORM: Mapping[TimePartition, str] = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}


class Period(NamedTuple):
    """One span of time that has an index of its own."""

    name: str
    start_ms: int
    end_ms: int


class Indices:
    """The names of one installation."""

    def __init__(self, address: ElasticAddress, now_ms: Callable[[], int]) -> None:
        self._prefix = address.prefix
        self._by = address.time_partition
        self._now_ms = now_ms
        self._known_ms = address.dedup_days * _DAY_MS + _BACKLOG_MS + _SKEW_MS

    @property
    def pattern(self) -> str:
        """All of them, and nobody else's."""
        return ",".join(self.template_pattern(kind) for kind in _WORDS)

    def name(self, kind: Kind) -> str:
        """What a search asks: the index, or the alias of all indices of the kind."""
        return f"{self._prefix}rayfold-{_WORDS[kind]}"

    def template_pattern(self, kind: Kind) -> str:
        return f"{self.name(kind)}-*" if kind in TIMES else self.name(kind)

    def at(self, kind: Kind, time: str) -> str:
        """Where a document with this time is; `time` as in the body, or anything that is none."""
        if kind not in TIMES:
            return self.name(kind)
        if not _DATE.match(time) or int(time[:4]) not in _YEARS:
            return f"{self.name(kind)}-{UNDATED}"
        return f"{self.name(kind)}-{time[: {'day': 10, 'month': 7, 'year': 4}[self._span(kind)]]}"

    def now(self, kind: Kind) -> str:
        """Where what is made now goes."""
        return self.at(kind, instant.to_text(self._now_ms()))

    def recent(self, kind: Kind) -> list[str]:
        """Where reads by id look: of sessions those in use, of all others what a repeat may be a repeat of."""
        if kind not in TIMES:
            return [self.name(kind)]
        now = self._now_ms()
        period = self._period(kind, now + _SKEW_MS)
        since = now - (_SESSION_MS if kind == "session" else self._known_ms)
        names = [f"{self.name(kind)}-{period.name}"]
        while period.start_ms > since:
            period = self._period(kind, period.start_ms - 1)
            names.append(f"{self.name(kind)}-{period.name}")
        return [*names, f"{self.name(kind)}-{UNDATED}"]

    def ended(self, kind: Kind, index: str, before_ms: int) -> bool:
        """Whether all that the index is for is older than that."""
        text = index.removeprefix(f"{self.name(kind)}-")
        try:
            start = datetime.strptime(text, _FORM[self._span(kind)]).replace(tzinfo=UTC)
        except ValueError:
            return False  # undated, or not ours
        return self._period(kind, int(start.timestamp() * 1000)).end_ms <= before_ms

    def _span(self, kind: Kind) -> TimePartition:
        """Sessions are written for as long as they last: a day of them would have to be looked for in a month of indices."""
        return "month" if kind == "session" and self._by == "day" else self._by

    def _period(self, kind: Kind, ms: int) -> Period:
        at = instant.to_datetime(ms)
        start = at.replace(hour=0, minute=0, second=0, microsecond=0)
        span = self._span(kind)
        if span == "day":
            end_ms = _ms(start) + _DAY_MS
        elif span == "month":
            start = start.replace(day=1)
            end_ms = _ms(start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1))
        else:
            start = start.replace(month=1, day=1)
            end_ms = _ms(start.replace(year=start.year + 1))
        return Period(start.strftime(_FORM[span]), _ms(start), end_ms)


def _ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000
