"""Commands of stages applied to the hot state of one partition: aliases of sessions, effects of workflow runs,
deletions. Sans I/O."""

from collections.abc import Mapping

import msgspec

from pipeline import identity, instant, operations
from pipeline.batch import Batch
from pipeline.catalog import Catalog
from pipeline.document import alias_document, erased_document, internal_document
from pipeline.envelope import CHANGED, DEPTH_SHIFT, INTERNAL
from pipeline.hot import Held, Hot, refusal_if_full
from pipeline.mapping.table import EventType
from pipeline.operations import FieldError
from pipeline.record import Alias, Effect, Erase, Json
from pipeline.resolve import Elsewhere, Unknown, follow, hop

#: Workflow runs that may cause one another in a chain.
MAX_DEPTH_OF_CAUSATION = 8

#: Source of events that Rayfold makes itself.
OWN_SOURCE = "@rayfold"


class Commands:
    """Everything a command needs must be loaded: see `pipeline.fold.Fold.missing`."""

    def __init__(self, place: tuple[int, int], hot: Hot, table: Mapping[str, EventType]) -> None:
        self._place = place  #: partition, of how many
        self._hot = hot
        self._table = table

    def alias(self, command: Alias, batch: Batch) -> None:
        """A session id that never lived becomes an alias; whatever lives, or is an alias already, stays as it is."""
        held = self._held(command.id)
        if held.body is None and held.version == 0 and command.id != command.to:
            write_alias(self._hot, command.id, command.to, command.received_ms, batch)

    def _here(self, command: Effect | Erase, batch: Batch) -> str | None:
        """The profile it is for; None when that lives in another partition: then it is passed on."""
        found = follow(command.profile, self._hot, *self._place)
        assert not isinstance(found, Unknown), "something was missing"
        if isinstance(found, Elsewhere):
            batch.send(
                found.profile, 0, msgspec.structs.replace(command, profile=found.profile, hops=hop(command.hops))
            )
            return None
        return found.profile

    def _held(self, id: str) -> Held:
        held = self._hot.get(id)
        assert held is not None
        return held

    def erase(self, erase: Erase, known: bool, batch: Batch) -> None:
        """Put a tombstone in the profile's place, or pass the command on. `known`: it was done before."""
        profile = self._here(erase, batch)
        if profile is None:
            return
        held = self._held(profile)
        if known or held.body is None:
            return
        held.body = None
        batch.profile(profile, held)
        batch.totals.internal += 1
        self._hot.remember([erase.id], batch.sequence)
        document = erased_document(erase, profile)
        batch.event(document, document["type"], OWN_SOURCE, profile, INTERNAL | CHANGED, -1, ())

    def effect(self, effect: Effect, catalog: Catalog, batch: Batch) -> None:
        """Change the profile, or pass the command on to where its profile lives now; refused ones are counted."""
        profile = self._here(effect, batch)
        if profile is None:
            return
        held = self._held(profile)
        if held.body is None or effect.depth > MAX_DEPTH_OF_CAUSATION:
            batch.totals.refused += 1
            return
        self._change(effect, profile, held, held.body, catalog, batch)

    def _change(self, effect: Effect, profile: str, held: Held, body: Json, catalog: Catalog, batch: Batch) -> None:
        batch.profile(profile, held)
        flags = INTERNAL | CHANGED | effect.depth << DEPTH_SHIFT
        full = refusal_if_full(held)
        errors: list[FieldError] = [full] if full else operations.apply(body, effect.operations)
        properties: Json = {"workflow": effect.workflow, "run": effect.run, "cause": effect.cause}
        properties["operations"] = effect.operations
        document = internal_document(effect.id, "profile-changed", effect, profile, properties)
        if errors:
            document["errors"] = operations.reported(errors)
        own: list[tuple[Json, str, tuple[str, ...]]] = [(document, OWN_SOURCE, ())]
        for index, (type, given) in enumerate(effect.emitted):
            id = identity.event_id(OWN_SOURCE, f"{effect.id}:{index}")
            emitted = internal_document(id, type, effect, profile, given)
            mapping = self._table.get(type)
            if mapping is not None:
                mapping.fold(given, emitted, None if full else body)
            own.append((emitted, effect.source, catalog.askers(effect.source, type)))
        body["metadata"]["time"]["update"] = instant.to_text(effect.received_ms)
        batch.totals.internal += len(own)
        view = batch.view(body, None) if any(askers for _, _, askers in own) else -1
        for one, source, askers in own:
            batch.event(one, one["type"], source, profile, flags, view if askers else -1, askers)


def write_alias(hot: Hot, id: str, to: str, now_ms: int, batch: Batch) -> None:
    """From now on this id stands for another profile."""
    held = hot.get(id)
    assert held is not None
    held.body = alias_document(id, to, now_ms)
    batch.profile(id, held)
