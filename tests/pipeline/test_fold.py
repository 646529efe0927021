"""Who a payload belongs to: DESIGN §4's table of identities, row by row, over partitions that forward to each other."""

from collections import deque
from typing import Any

import pytest

from pipeline import envelope, identity
from pipeline.batch import Batch
from pipeline.catalog import Catalog
from pipeline.definition import Rule
from pipeline.envelope import Processed, Through, Totals
from pipeline.fold import Fold
from pipeline.hot import Hot, Limits
from pipeline.identity import Kind, mint
from pipeline.log.port import Position
from pipeline.mapping.table import load_table
from pipeline.record import Alias, Effect, EventIn, Payload, Record

PARTITIONS = 4
NOW = 1_700_000_000_000
TABLE = load_table()


class World:
    """All partitions over one dictionary of saved documents; every record is an envelope of its own."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        self.saved: dict[str, tuple[int, dict[str, Any]]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.hops: list[tuple[int, int]] = []
        self.refused = 0
        self.answers: list[envelope.Answer] = []
        self._catalog = catalog or Catalog()
        self._sequence = 0
        self._totals = [Totals() for _ in range(PARTITIONS)]

    def send(self, payload: Payload) -> None:
        key = payload.profile or payload.session
        self.deliver(identity.partition(key, PARTITIONS), payload, True)

    def deliver(self, partition: int, record: Record, api: bool = False) -> None:
        queue = deque([(partition, record, api)])
        while queue:
            at, one, from_api = queue.popleft()
            for item in self._apply(at, one, from_api).out:
                target = identity.partition(item.key, PARTITIONS)
                self.hops.append((at, target))
                queue.append((target, _decoded(item.record), False))

    def _apply(self, partition: int, record: Record, api: bool) -> Processed:
        # a fresh memory each time: everything has to be found again in what was saved
        hot = Hot(Limits())
        fold = Fold(partition, PARTITIONS, hot, TABLE)
        while missing := fold.missing(record):
            for id in (*missing.profiles, *missing.sessions):
                version, body = self.saved.get(id, (0, None))
                hot.loaded(id, version, envelope.decode_object(envelope.encode(body)) if body else None, 100)
            fold.asked(missing.events, frozenset(missing.events & self.events.keys()))
        self._sequence += 1
        batch = Batch(self._sequence, Through(), {}, self._totals[partition])
        fold.apply(record, api, self._catalog, batch)
        batch.done(Position(0, self._sequence), 0)
        processed = batch.finish(hot, NOW, 1)
        self._totals[partition] = processed.totals
        for stored in (*processed.profiles, *processed.sessions):
            assert stored.version == self.saved.get(stored.id, (0, None))[0] + 1
            self.saved[stored.id] = (stored.version, envelope.decode_object(stored.body))
        for entry in processed.events:
            assert entry.id not in self.events, "stored twice"
            self.events[entry.id] = envelope.decode_object(entry.body)
        self.answers += processed.answers
        return processed

    @property
    def totals(self) -> dict[str, int]:
        names = ("accepted", "taken", "stored", "duplicate", "forwarded", "internal", "refused")
        return {name: sum(getattr(one, name) for one in self._totals) for name in names}

    def profile(self, id: str) -> dict[str, Any]:
        """The survivor behind any id."""
        _, body = self.saved[id]
        while "merged_into" in body:
            _, body = self.saved[body["merged_into"]]
        return body

    def living(self) -> list[str]:
        return sorted(id for id, (_, b) in self.saved.items() if "stats" in b)


def _decoded(raw: Any) -> Record:
    import msgspec

    return msgspec.json.Decoder(Record, float_hook=envelope.Decimal).decode(raw)  # type: ignore[no-any-return]


def _payload(number: int, session: str | None = None, profile: str | None = None, **more: Any) -> Payload:
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


def _elsewhere(than: str, stem: str) -> str:
    """A value of another partition."""
    for number in range(1000):
        if identity.partition(f"{stem}{number}", PARTITIONS) != identity.partition(than, PARTITIONS):
            return f"{stem}{number}"
    raise AssertionError


def _agrees(world: World, stored: int) -> None:
    totals = world.totals
    assert totals["accepted"] == totals["stored"] + totals["duplicate"], totals
    assert totals["forwarded"] == totals["taken"]
    assert totals["stored"] == stored


def test_nothing_makes_a_fresh_profile_and_an_artificial_session() -> None:
    world = World()
    world.send(_payload(1))
    world.send(_payload(2))
    assert len(world.living()) == 2
    world.send(_payload(1))  # repeated: the same message id leads to the same place
    assert len(world.living()) == 2
    _agrees(world, 2)


def test_a_session_is_a_profile_until_it_is_known_as_an_alias() -> None:
    world = World()
    world.send(_payload(1, session="S"))
    world.send(_payload(2, session="S"))
    assert world.living() == [mint(Kind.SESSION, "S")]
    body = world.profile(mint(Kind.SESSION, "S"))
    assert (body["interests"]["n"], body["metadata"]["time"]["visit"]["count"]) == (2, 1)
    world.send(_payload(3, session="T", profile=mint(Kind.SESSION, "S")))  # as the API answered it
    world.send(_payload(4, session="T"))
    assert world.living() == [mint(Kind.SESSION, "S")]
    assert world.profile(mint(Kind.SESSION, "T"))["interests"]["n"] == 4
    _agrees(world, 4)


def test_an_unknown_id_without_session_lives_at_once() -> None:
    world = World()
    world.send(_payload(1, profile="X"))
    body = world.profile(mint(Kind.PROFILE, "X"))
    assert (body["id"], body["primary_id"]) == (mint(Kind.PROFILE, "X"), None)
    assert "X" in body["ids"]


def test_a_static_source_keeps_the_id_as_primary_and_links_the_session() -> None:
    world = World()
    session = _elsewhere("X", "S")
    world.send(_payload(1, profile="X", session=session, static=True))
    world.send(_payload(2, session=session))
    assert world.living() == [mint(Kind.PROFILE, "X")]
    body = world.profile(mint(Kind.SESSION, session))
    assert (body["primary_id"], body["interests"]["n"]) == ("X", 2)
    _agrees(world, 2)


@pytest.mark.parametrize("far", [False, True])
def test_an_unknown_id_with_a_session_becomes_an_alias_of_it_once_and_for_all(far: bool) -> None:
    world = World()
    session = _elsewhere("X", "S") if far else next(s for n in range(99) if _near(s := f"S{n}", "X"))
    world.send(_payload(1, session=session))
    world.send(_payload(2, profile="X", session=session))
    world.send(_payload(3, profile="X", session="other session"))
    world.send(_payload(2, profile="X", session=session))
    assert world.saved[mint(Kind.PROFILE, "X")][1]["merged_into"] == mint(Kind.SESSION, session)
    assert world.living() == [mint(Kind.SESSION, session)]
    assert world.profile(mint(Kind.PROFILE, "X"))["interests"]["n"] == 3
    assert world.totals["duplicate"] == 1
    _agrees(world, 3)
    assert any(a != b for a, b in world.hops) is far or not far


def _near(one: str, other: str) -> bool:
    return identity.partition(one, PARTITIONS) == identity.partition(other, PARTITIONS)


def test_an_unknown_id_of_session_kind_lives_itself() -> None:
    world = World()
    id = mint(Kind.SESSION, "never seen")
    world.send(_payload(1, profile=id, session="S"))
    assert world.living() == [id]
    _agrees(world, 1)


def test_a_session_of_a_living_profile_stays_it_when_another_profile_uses_it() -> None:
    world = World()
    world.send(_payload(1, session="S"))
    world.send(_payload(2, profile="X"))
    world.send(_payload(3, profile="X", session="S"))
    assert len(world.living()) == 2
    assert world.profile(mint(Kind.SESSION, "S"))["interests"]["n"] == 1
    assert world.profile(mint(Kind.PROFILE, "X"))["interests"]["n"] == 2
    parts = [b for _, b in world.saved.values() if b["id"] == "S"]
    assert sorted(part["profile"]["id"] for part in parts) == sorted(world.living())
    _agrees(world, 3)


def test_an_alias_grows_at_its_end_one_hop_at_a_time() -> None:
    world = World()
    second = _elsewhere("X", "S")
    world.send(_payload(1, profile="X", session=second))  # X → S
    survivor = _elsewhere(second, "Y")
    version, body = world.saved[mint(Kind.SESSION, second)]
    world.send(_payload(2, profile=survivor))
    merged = {"id": body["id"], "merged_into": mint(Kind.PROFILE, survivor), "metadata": {"time": {"update": "x"}}}
    world.saved[mint(Kind.SESSION, second)] = (version + 1, merged)
    world.hops.clear()
    world.send(_payload(3, profile="X"))
    x, s, y = (identity.partition(value, PARTITIONS) for value in ("X", second, survivor))
    assert world.hops[:2] == [(x, s), (s, y)]
    assert world.profile(mint(Kind.PROFILE, "X"))["interests"]["n"] == 2
    world.send(_payload(3, profile="X"))
    assert world.totals["duplicate"] == 1


def test_a_deleted_id_lives_again_after_its_tombstone() -> None:
    world = World()
    world.send(_payload(1, profile="X"))
    id = mint(Kind.PROFILE, "X")
    world.saved[id] = (7, None)  # type: ignore[assignment]  # a tombstone is loaded as no body with its version
    world.send(_payload(2, profile="X", session="S"))
    assert world.saved[id][0] == 8
    assert world.profile(id)["interests"]["n"] == 1


def test_an_alias_command_never_touches_what_lives() -> None:
    world = World()
    world.send(_payload(1, session="S"))
    id = mint(Kind.SESSION, "S")
    command = Alias(id=id, to=mint(Kind.PROFILE, "X"), received_ms=NOW)
    world.deliver(identity.partition(id, PARTITIONS), command)
    assert world.living() == [id]
    free = mint(Kind.SESSION, "T")
    for to in ("X", "Y"):
        world.deliver(identity.partition(free, PARTITIONS), Alias(id=free, to=mint(Kind.PROFILE, to), received_ms=NOW))
    assert world.saved[free][1]["merged_into"] == mint(Kind.PROFILE, "X")


def test_repeats_within_one_payload_and_partly_repeated_payloads() -> None:
    world = World()
    one = _payload(1, profile="X")
    one.events.append(one.events[0])
    world.send(one)
    both = _payload(1, profile="X")
    both.events.append(_payload(2).events[0])
    world.send(both)
    assert world.profile(mint(Kind.PROFILE, "X"))["interests"]["n"] == 2
    assert world.totals["duplicate"] == 2
    _agrees(world, 2)


def test_a_profile_less_event_is_stored_without_profile_or_session_document() -> None:
    world = World()
    world.send(_payload(1, session="S", profile_less=True))
    assert world.saved == {}
    (event,) = world.events.values()
    assert event["profile"] == {"id": None}
    _agrees(world, 1)


def test_what_must_not_be_saved_is_not() -> None:
    world = World()
    world.send(_payload(1, profile="X", session="S", save_profile=False, save_session=False))
    # who the id is, is decided all the same: a repeat must take the path of its original
    assert world.living() == []
    world.send(_payload(2, profile="X", session="S"))
    assert world.profile(mint(Kind.PROFILE, "X"))["interests"]["n"] == 1


def _effect(profile: str, depth: int = 1, **more: Any) -> Effect:
    return Effect(
        id=identity.event_id("@workflow", f"run-{depth}"),
        profile=profile,
        received_ms=NOW,
        revision=1,
        workflow="w",
        run="r",
        cause="c",
        depth=depth,
        source="s",
        **more,
    )


def test_an_effect_follows_aliases_and_is_stored_as_an_internal_event() -> None:
    world = World()
    session = _elsewhere("X", "S")
    world.send(_payload(1, profile="X", session=session))
    effect = _effect(
        mint(Kind.PROFILE, "X"),
        operations=[["[]", "segments", "vip"]],
        emitted=[("increase-interest", {"interest": "n"})],
    )
    world.deliver(identity.partition("X", PARTITIONS), effect)
    body = world.profile(mint(Kind.PROFILE, "X"))
    assert (body["segments"], body["interests"]["n"]) == (["vip"], 2)
    assert world.totals["internal"] == 2
    assert [one["type"] for one in world.events.values() if not one["metadata"]["client"]] == [
        "profile-changed",
        "increase-interest",
    ]


def test_causes_do_not_chain_for_ever() -> None:
    world = World()
    world.send(_payload(1, profile="X"))
    id = mint(Kind.PROFILE, "X")
    for depth in (8, 9):
        world.deliver(
            identity.partition("X", PARTITIONS), _effect(id, depth, operations=[["++", "stats.counters.n", None]])
        )
    assert world.profile(id)["stats"]["counters"]["n"] == 1
    assert world.totals["refused"] == 1


def test_watched_events_carry_the_profile_as_it_stood_after_their_payload() -> None:
    rule = Rule(id="r", event_type="increase-interest", workflow="w")
    world = World(Catalog(rules={"r": rule}, watched=frozenset(((None, "increase-interest"),))))
    payload = _payload(1, profile="X")
    payload.events.append(_payload(2).events[0])
    processed = world._apply(identity.partition("X", PARTITIONS), payload, True)
    assert [entry.view for entry in processed.events] == [0, 0]
    assert envelope.decode_object(processed.views[0].profile)["interests"]["n"] == 2
    assert processed.pairs == [("s", "increase-interest")]
