"""The envelope in the making: what a batch of input has come to so far."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline import envelope
from pipeline.document import tombstone
from pipeline.envelope import Answer, Entry, Heard, Outgoing, Pair, Processed, Stored, Through, Totals, View
from pipeline.hot import Held, Hot
from pipeline.log.port import Position
from pipeline.record import Record
from pipeline.senders import remembered

_NULL = msgspec.Raw(b"null")


class Batch:
    """Collects records' outcomes under one sequence number."""

    def __init__(
        self,
        sequence: int,
        through: Through,
        heard: Mapping[str, tuple[int, int]],
        senders: Mapping[str, Heard],
        totals: Totals,
    ) -> None:
        self.sequence = sequence
        self.through = through
        self.heard = dict(heard)
        self.senders = dict(senders)
        self.totals = msgspec.structs.replace(totals)
        self.size = 0  #: encoded bytes so far, documents as large as they were written last
        self.records = 0  #: input records folded in
        self._entries: list[Entry] = []
        self._stored = 0
        self._receipts: list[Stored] = []
        self._views: list[View] = []
        self._pairs: dict[tuple[str, str], tuple[str, ...]] = {}
        self._answers: list[Answer] = []
        self._out: list[Outgoing] = []
        self._profiles: dict[str, Held] = {}
        self._sessions: dict[str, Held] = {}

    def event(
        self,
        document: dict[str, Any],
        type: str,
        source: str,
        profile: str | None,
        flags: int,
        view: int,
        askers: tuple[str, ...],
    ) -> None:
        """One processed event; with a view where there are askers."""
        body = envelope.encode(document)
        self._entries.append(Entry(document["id"], type, source, profile, flags, view, msgspec.Raw(body)))
        self.size += len(body)
        if view >= 0:
            if (source, type) not in self._pairs:
                self.size += sum(map(len, askers))
            self._pairs[source, type] = askers
        if not flags & (envelope.INTERNAL | envelope.TRANSIENT):
            self._stored += 1

    def receipt(self, id: str, body: dict[str, Any]) -> None:
        """A small document for an event that is processed but not kept."""
        encoded = envelope.encode(body)
        self._receipts.append(Stored(id, 1, msgspec.Raw(encoded)))
        self.size += len(encoded)

    def view(self, profile: dict[str, Any] | None, session: dict[str, Any] | None) -> int:
        """Freeze how profile and session stand now; returns the index for `event`."""
        one = msgspec.Raw(envelope.encode(profile)) if profile is not None else _NULL
        other = msgspec.Raw(envelope.encode(session)) if session is not None else _NULL
        self._views.append(View(one, other))
        self.size += len(bytes(one)) + len(bytes(other))
        return len(self._views) - 1

    def answer(self, answer: Answer) -> None:
        self._answers.append(answer)

    def send(self, key: str, count: int, record: Record) -> None:
        """Put a record for the partition of `key` into the outbox."""
        body = envelope.encode(record)
        self._out.append(Outgoing(key, count, msgspec.Raw(body)))
        self.size += len(body)

    def profile(self, id: str, held: Held) -> None:
        """This profile changes in this envelope; its version rises once."""
        self._add(self._profiles, id, held)

    def session(self, id: str, held: Held) -> None:
        """This session part changes in this envelope; its version rises once."""
        self._add(self._sessions, id, held)

    def _add(self, documents: dict[str, Held], id: str, held: Held) -> None:
        if id not in documents:
            self.size += held.encoded_bytes if held.version else len(_encoded(id, held))
            held.version += 1
            documents[id] = held

    def done(self, position: Position, index: int) -> None:
        """The input record there is wholly folded in."""
        self.through = Through(position, index)
        self.records += 1

    def finish(self, hot: Hot, time_ms: int, revision: int) -> Processed:
        """The envelope; the documents in it are pinned in `hot` until they are saved."""
        self.totals.stored += self._stored
        return Processed(
            v=envelope.PROCESSED_FORMAT,
            sequence=self.sequence,
            through=self.through,
            heard=self.heard,
            senders=remembered(self.senders),
            totals=self.totals,
            time_ms=time_ms,
            revision=revision,
            pairs=[Pair(*pair, askers) for pair, askers in sorted(self._pairs.items())],
            stored=self._stored,
            events=self._entries,
            sessions=self._pinned(self._sessions, hot),
            profiles=self._pinned(self._profiles, hot),
            receipts=self._receipts,
            views=self._views,
            answers=self._answers,
            out=self._out,
        )

    def _pinned(self, documents: Mapping[str, Held], hot: Hot) -> list[Stored]:
        stored = []
        for id, held in documents.items():
            body = _encoded(id, held)
            hot.changed(id, held, len(body), self.sequence)
            stored.append(Stored(id, held.version, msgspec.Raw(body)))
        return stored


def _encoded(id: str, held: Held) -> bytes:
    return envelope.encode(tombstone(id) if held.body is None else held.body)
