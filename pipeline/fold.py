"""The heart: one record of `collected` applied to the hot state, its outcome put into the batch.

Sans I/O. `missing` says what has to be loaded before a record can be applied; `apply` looks for itself before it changes
anything, so it cannot fail half-way.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import msgspec

from pipeline import identity, instant, visit
from pipeline.batch import Batch
from pipeline.catalog import Catalog
from pipeline.commands import Commands, write_alias
from pipeline.document import SCHEMA, event_document, new_profile, new_session
from pipeline.envelope import CHANGED, TRANSIENT, Answer
from pipeline.hot import Hot, refusal_if_full
from pipeline.identity import Kind
from pipeline.limits import MAX_IDS
from pipeline.mapping.table import EventType
from pipeline.operations import FieldError, reported
from pipeline.record import Alias, Effect, Erase, EventIn, Json, Payload, Record
from pipeline.resolve import Decision, Elsewhere, Unknown, follow, hop, resolve


class Missing(NamedTuple):
    """What must be asked of the store first; empty when nothing."""

    profiles: frozenset[str] = frozenset()
    sessions: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.profiles or self.sessions or self.events)


class _Located(NamedTuple):
    """Where a payload belongs."""

    missing: Missing
    decision: Decision | None = None  #: None for a payload without a profile
    session: str = ""  #: id of the session's document, where the profile lives here


class Fold:
    """Applies records to one partition's state."""

    def __init__(self, partition: int, partitions: int, hot: Hot, table: Mapping[str, EventType]) -> None:
        self.partition = partition
        self._partitions = partitions
        self.hot = hot
        self._table = table
        self._commands = Commands(self._place, hot, table)
        #: Ids asked of the store for this batch, and whether it has them.
        self._asked: dict[str, bool] = {}

    def asked(self, ids: Iterable[str], known: frozenset[str]) -> None:
        """The store's answer about events; good until `forget`."""
        for id in ids:
            self._asked[id] = id in known

    def forget(self) -> None:
        """A new batch: what the store said of events is no longer fresh."""
        self._asked.clear()

    # ---- what has to be loaded

    def missing(self, record: Record) -> Missing:
        """What must be loaded before this record can be applied; changes nothing."""
        if isinstance(record, Payload):
            return self._locate(record).missing
        events = self._missing_events(record)
        found = follow(record.id if isinstance(record, Alias) else record.profile, self.hot, *self._place)
        if isinstance(found, Unknown):
            return Missing(profiles=frozenset((found.profile,)), events=events)
        return Missing(events=events)

    @property
    def _place(self) -> tuple[int, int]:
        return self.partition, self._partitions

    def _missing_events(self, record: Record) -> frozenset[str]:
        """Of which the store has to be asked whether it has them."""
        hot, asked = self.hot, self._asked
        if isinstance(record, Payload):
            unknown = [
                event.id
                for event in record.events
                if event.message is not None and not hot.knows(event.id) and event.id not in asked
            ]
            return frozenset(unknown)
        if isinstance(record, Erase) and not hot.knows(record.id) and record.id not in asked:
            return frozenset((record.id,))
        return frozenset()

    def _locate(self, payload: Payload) -> _Located:
        events = self._missing_events(payload)
        if payload.profile_less:
            return _Located(Missing(events=events))
        decision = resolve(payload, self.hot, *self._place)
        if isinstance(decision, Unknown):
            return _Located(Missing(profiles=frozenset((decision.profile,)), events=events), decision)
        if isinstance(decision, Elsewhere):
            return _Located(Missing(events=events), decision)
        session = identity.session_document_id(payload.session, decision.profile)
        sessions = frozenset() if self.hot.get(session) is not None else frozenset((session,))
        return _Located(Missing(sessions=sessions, events=events), decision, session)

    # ---- application

    def apply(self, record: Record, api: bool, catalog: Catalog, batch: Batch) -> Missing:
        """Fold one record in, unless something has to be loaded first: then that is returned and nothing has changed.

        `api`: appended by the API, not by another stage.
        """
        if isinstance(record, Payload):
            located = self._locate(record)
            if not located.missing:
                self._payload(record, located, api, catalog, batch)
            return located.missing
        missing = self.missing(record)
        if missing:
            return missing
        if isinstance(record, Effect):
            self._commands.effect(record, catalog, batch)
        elif isinstance(record, Erase):
            known = self.hot.knows(record.id) or self._asked[record.id]
            self._commands.erase(record, known, batch)
        else:
            self._commands.alias(record, batch)
        return missing

    def reject(self, record: Record, api: bool, reason: str, batch: Batch) -> Missing:
        """Set a record aside that `apply` cannot digest: counted, each event's reason kept where repeats are looked for.

        Like `apply`, returns what has to be loaded first.
        """
        if not isinstance(record, Payload):
            batch.totals.refused += 1
            return Missing()
        if events := self._missing_events(record):
            return Missing(events=events)
        fresh, _ = self._count_in(record, api, batch)
        batch.totals.rejected += len(fresh)
        self._remember(fresh, batch)
        for event in fresh:
            batch.receipt(event.id, {**_receipt(event, record, "rejected"), "reason": reason})
        self._answer(record, None, [], record.events, batch)
        return Missing()

    def _payload(self, payload: Payload, located: _Located, api: bool, catalog: Catalog, batch: Batch) -> None:
        fresh, repeated = self._count_in(payload, api, batch)
        decision = located.decision
        if not fresh:
            self._answer(payload, None if decision is None else decision.profile, [], repeated, batch)
            return
        if decision is None:
            self._remember(fresh, batch)
            self._events(payload, fresh, None, None, 0, None, catalog, batch)
            self._answer(payload, None, fresh, repeated, batch)
            return
        assert not isinstance(decision, Unknown), "something was missing"
        if decision.alias is not None:
            write_alias(self.hot, *decision.alias, payload.received_ms, batch)
        if isinstance(decision, Elsewhere):
            # not remembered here: a chain of aliases may lead back, and only where it is stored a repeat is known
            batch.totals.forwarded += len(fresh)
            hops = hop(payload.hops)
            forwarded = msgspec.structs.replace(payload, target=decision.profile, hops=hops, events=fresh)
            batch.send(decision.profile, len(fresh), forwarded)
            if payload.task:
                batch.answer(Answer(task=payload.task, forwarded_to=decision.profile))
            return
        self._remember(fresh, batch)
        self._here(payload, fresh, decision.profile, located.session, catalog, batch)
        self._answer(payload, decision.profile, fresh, repeated, batch)

    def _count_in(self, payload: Payload, api: bool, batch: Batch) -> tuple[list[EventIn], list[EventIn]]:
        """Count what came and what of it came before; returns the fresh events and the repeated ones."""
        if api:
            batch.totals.accepted += len(payload.events)
        else:
            batch.totals.taken += len(payload.events)
        fresh, repeated = self._fresh(payload.events)
        batch.totals.duplicate += len(repeated)
        return fresh, repeated

    def _remember(self, events: list[EventIn], batch: Batch) -> None:
        self.hot.remember((event.id for event in events), batch.sequence)

    def _fresh(self, events: list[EventIn]) -> tuple[list[EventIn], list[EventIn]]:
        fresh: list[EventIn] = []
        repeated: list[EventIn] = []
        own: set[str] = set()
        for event in events:
            known = event.id in own or self.hot.knows(event.id)
            if not known and event.message is not None:
                known = self._asked[event.id]
            (repeated if known else fresh).append(event)
            own.add(event.id)
        return fresh, repeated

    def _here(
        self, payload: Payload, events: list[EventIn], id: str, session_id: str, catalog: Catalog, batch: Batch
    ) -> None:
        now = payload.received_ms
        profile = self.hot.get(id)
        assert profile is not None
        flags = 0
        body = profile.body
        if body is None:
            body = new_profile(id, payload, now)
            flags = CHANGED
        elif not payload.save_profile:
            body = deepcopy(body)
        if payload.save_profile:
            profile.body = body
            batch.profile(id, profile)
        session_body = None
        if payload.save_session:
            session = self.hot.get(session_id)
            assert session is not None
            if session.body is None:
                session.body = new_session(payload, id, now)
                visit.begin(body, payload.context, now)
                flags = CHANGED
                if profile.version:
                    self._link(payload, id, batch)
            visit.touch(session.body, now)
            batch.session(session_id, session)
            session_body = session.body
        if _add_ids(body["ids"], payload):
            flags = CHANGED
        self._events(payload, events, body, session_body, flags, refusal_if_full(profile), catalog, batch)
        body["metadata"]["time"]["update"] = instant.to_text(now)

    def _link(self, payload: Payload, profile: str, batch: Batch) -> None:
        """Tell the session's own partition whose it is, so that the session alone finds the profile.

        Only of a profile that lives: what lives never becomes an alias, so aliases form no circle.
        """
        if payload.artificial:
            return
        minted = identity.mint(Kind.SESSION, payload.session)
        if minted != profile and payload.target != minted and payload.profile is not None:
            batch.send(minted, 0, Alias(id=minted, to=profile, received_ms=payload.received_ms))

    def _events(
        self,
        payload: Payload,
        events: list[EventIn],
        profile: Json | None,
        session: Json | None,
        flags: int,
        full: FieldError | None,
        catalog: Catalog,
        batch: Batch,
    ) -> None:
        """Map every event, then freeze the profile once for those that somebody asks for.

        `full`: why the profile takes up nothing more.
        """
        id = None if profile is None else str(profile["id"])
        documents = []
        for event in events:
            document = event_document(event, payload, id)
            mapping = self._table.get(event.type)
            if mapping is not None:
                errors = mapping.fold(event.properties, document, None if full else profile)
                if mapping.changes_profile:
                    flags |= CHANGED
                    if full:
                        errors = [*errors, full]
                if errors:
                    document["errors"] = reported(errors)
            documents.append((document, catalog.askers(payload.source, event.type)))
        view = batch.view(profile, session) if any(askers for _, askers in documents) else -1
        if not payload.save_events:
            flags |= TRANSIENT
            batch.totals.not_stored += len(events)
            for event in events:
                batch.receipt(event.id, _receipt(event, payload, "not_stored"))
        for document, askers in documents:
            batch.event(document, document["type"], payload.source, id, flags, view if askers else -1, askers)

    # ---- answers for ?wait=

    def _answer(
        self, payload: Payload, profile: str | None, fresh: list[EventIn], repeated: list[EventIn], batch: Batch
    ) -> None:
        if payload.task:
            batch.answer(
                Answer(
                    task=payload.task,
                    profile=profile if payload.save_profile else None,
                    session=payload.session if payload.save_session else None,
                    events=[event.message or event.id for event in fresh],
                    duplicates=[event.message or event.id for event in repeated],
                )
            )


def _add_ids(ids: list[str], payload: Payload) -> bool:
    """Keep the names a client uses for the profile; says whether there was a new one."""
    given = payload.ids if payload.profile is None else [payload.profile, *payload.ids]
    before = len(ids)
    for other in given:
        if len(ids) >= MAX_IDS:
            break
        if other not in ids:
            ids.append(other)
    return len(ids) > before


def _receipt(event: EventIn, payload: Payload, outcome: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "id": event.id,
        "outcome": outcome,
        "type": event.type,
        "source": payload.source,
        "time": instant.to_text(payload.received_ms),
    }
