"""All partitions of a small installation, folding into a dictionary: no log, no store, no clock."""

from collections import deque
from decimal import Decimal
from typing import Any

import msgspec

from pipeline import envelope, identity
from pipeline.batch import Batch
from pipeline.catalog import Catalog
from pipeline.envelope import Processed, Through, Totals
from pipeline.fold import Fold
from pipeline.hot import Hot, Limits
from pipeline.log.port import Position
from pipeline.mapping.table import load_table
from pipeline.record import EventIn, Payload, Record

PARTITIONS = 4
NOW = 1_700_000_000_000
TABLE = load_table()


class World:
    """All partitions over one dictionary of saved documents; every record is an envelope of its own."""

    def __init__(self, catalog: Catalog | None = None, *, remembers: bool = False) -> None:
        """`remembers`: each partition keeps its memory; else everything has to be found again in what was saved."""
        self._hots = [Hot(Limits()) for _ in range(PARTITIONS)] if remembers else None
        self.saved: dict[str, tuple[int, dict[str, Any]]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.hops: list[tuple[int, int]] = []
        self._catalog = catalog or Catalog()
        self._sequence = 0
        self._totals = [Totals() for _ in range(PARTITIONS)]

    def send(self, payload: Payload) -> None:
        """As the API does: to the partition of the routing key."""
        key = payload.profile or payload.session
        self.deliver(identity.partition(key, PARTITIONS), payload, True)

    def deliver(self, partition: int, record: Record, api: bool = False) -> None:
        """Fold a record, then whatever it makes the partitions send each other."""
        queue = deque([(partition, record, api)])
        while queue:
            at, one, from_api = queue.popleft()
            for item in self.apply(at, one, from_api).out:
                target = identity.partition(item.key, PARTITIONS)
                self.hops.append((at, target))
                queue.append((target, _decoded(item.record), False))

    def apply(self, partition: int, record: Record, api: bool) -> Processed:
        """Fold one record at one partition, and save what comes of it."""
        hot = self._hots[partition] if self._hots else Hot(Limits())
        fold = Fold(partition, PARTITIONS, hot, TABLE)
        self._sequence += 1
        batch = Batch(self._sequence, Through(), {}, {}, self._totals[partition])
        while missing := fold.apply(record, api, self._catalog, batch):
            for id in (*missing.profiles, *missing.sessions):
                version, body = self.saved.get(id, (0, None))
                hot.loaded(id, version, envelope.decode_object(envelope.encode(body)) if body else None, 100)
            fold.asked(missing.events, frozenset(missing.events & self.events.keys()))
        batch.done(Position(0, self._sequence), 0)
        processed = batch.finish(hot, NOW, 1)
        self._totals[partition] = processed.totals
        for stored in (*processed.profiles, *processed.sessions):
            assert stored.version == self.saved.get(stored.id, (0, None))[0] + 1
            self.saved[stored.id] = (stored.version, envelope.decode_object(stored.body))
        for entry in processed.events:
            assert entry.id not in self.events, "stored twice"
            self.events[entry.id] = envelope.decode_object(entry.body)
        return processed

    @property
    def totals(self) -> dict[str, int]:
        names = (
            "accepted",
            "taken",
            "stored",
            "duplicate",
            "not_stored",
            "forwarded",
            "internal",
            "refused",
            "rejected",
        )
        return {name: sum(getattr(one, name) for one in self._totals) for name in names}

    def profile(self, id: str) -> dict[str, Any]:
        """The survivor behind any id."""
        _, body = self.saved[id]
        while "merged_into" in body:
            _, body = self.saved[body["merged_into"]]
        return body

    def living(self) -> list[str]:
        """Ids of the profiles that are no aliases."""
        return sorted(id for id, (_, b) in self.saved.items() if "stats" in b)


def _decoded(raw: Any) -> Record:
    decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record, float_hook=Decimal)
    return decoder.decode(raw)


def payload(number: int, session: str | None = None, profile: str | None = None, **more: Any) -> Payload:
    """One event of message m-<number>, which adds 1 to the interest n."""
    message = f"m-{number}"
    event = EventIn(identity.event_id("s", message), "increase-interest", message, None, {"interest": "n"}, {}, [])
    named = session or identity.event_id("s", f"session of {message}")
    return Payload(
        received_ms=NOW + number,
        revision=0,
        source="s",
        session=named,
        artificial=session is None,
        profile=profile,
        events=[event],
        **more,
    )


def elsewhere(than: str, stem: str) -> str:
    """A value of another partition."""
    for number in range(1000):
        if identity.partition(f"{stem}{number}", PARTITIONS) != identity.partition(than, PARTITIONS):
            return f"{stem}{number}"
    raise AssertionError


def agrees(world: World, stored: int) -> None:
    """Every event is stored or a duplicate, and whatever was sent on has arrived."""
    totals = world.totals
    assert totals["accepted"] == totals["stored"] + totals["duplicate"], totals
    assert totals["forwarded"] == totals["taken"]
    assert totals["stored"] == stored


def near(one: str, other: str) -> bool:
    """Whether both lie in one partition."""
    return identity.partition(one, PARTITIONS) == identity.partition(other, PARTITIONS)
