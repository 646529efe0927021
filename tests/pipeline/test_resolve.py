"""Who a payload belongs to: the table of identities, row by row, over partitions that forward to each other."""

import pytest

from pipeline import identity
from pipeline.identity import Kind, mint
from pipeline.record import Alias
from pipeline.resolve import CircularAlias
from tests.pipeline.world import NOW, PARTITIONS, World, agrees, elsewhere, near, payload


def test_nothing_makes_a_fresh_profile_and_an_artificial_session() -> None:
    world = World()
    world.send(payload(1))
    world.send(payload(2))
    assert len(world.living()) == 2
    world.send(payload(1))  # repeated: the same message id leads to the same place
    assert len(world.living()) == 2
    agrees(world, 2)


def test_a_session_is_a_profile_until_it_is_known_as_an_alias() -> None:
    world = World()
    world.send(payload(1, session="S"))
    world.send(payload(2, session="S"))
    assert world.living() == [mint(Kind.SESSION, "S")]
    body = world.profile(mint(Kind.SESSION, "S"))
    assert (body["interests"]["n"], body["metadata"]["time"]["visit"]["count"]) == (2, 1)
    world.send(payload(3, session="T", profile=mint(Kind.SESSION, "S")))  # as the API answered it
    world.send(payload(4, session="T"))
    assert world.living() == [mint(Kind.SESSION, "S")]
    assert world.profile(mint(Kind.SESSION, "T"))["interests"]["n"] == 4
    agrees(world, 4)


def test_an_unknown_id_without_session_lives_at_once() -> None:
    world = World()
    world.send(payload(1, profile="X"))
    body = world.profile(mint(Kind.PROFILE, "X"))
    assert (body["id"], body["primary_id"]) == (mint(Kind.PROFILE, "X"), None)
    assert "X" in body["ids"]


def test_a_static_source_keeps_the_id_as_primary_and_links_the_session() -> None:
    world = World()
    session = elsewhere("X", "S")
    world.send(payload(1, profile="X", session=session, static=True))
    world.send(payload(2, session=session))
    assert world.living() == [mint(Kind.PROFILE, "X")]
    body = world.profile(mint(Kind.SESSION, session))
    assert (body["primary_id"], body["interests"]["n"]) == ("X", 2)
    agrees(world, 2)


@pytest.mark.parametrize("far", [False, True])
def test_an_unknown_id_with_a_session_becomes_an_alias_of_it_once_and_for_all(far: bool) -> None:
    world = World()
    session = elsewhere("X", "S") if far else next(s for n in range(99) if near(s := f"S{n}", "X"))
    world.send(payload(1, session=session))
    world.send(payload(2, profile="X", session=session))
    world.send(payload(3, profile="X", session="other session"))
    world.send(payload(2, profile="X", session=session))
    assert world.saved[mint(Kind.PROFILE, "X")][1]["merged_into"] == mint(Kind.SESSION, session)
    assert world.living() == [mint(Kind.SESSION, session)]
    assert world.profile(mint(Kind.PROFILE, "X"))["interests"]["n"] == 3
    assert world.totals["duplicate"] == 1
    agrees(world, 3)
    assert any(a != b for a, b in world.hops) or not far


def test_an_unknown_id_of_session_kind_lives_itself() -> None:
    world = World()
    id = mint(Kind.SESSION, "never seen")
    world.send(payload(1, profile=id, session="S"))
    assert world.living() == [id]
    agrees(world, 1)


def test_a_session_of_a_living_profile_stays_it_when_another_profile_uses_it() -> None:
    world = World()
    world.send(payload(1, session="S"))
    world.send(payload(2, profile="X"))
    world.send(payload(3, profile="X", session="S"))
    assert len(world.living()) == 2
    assert world.profile(mint(Kind.SESSION, "S"))["interests"]["n"] == 1
    assert world.profile(mint(Kind.PROFILE, "X"))["interests"]["n"] == 2
    parts = [b for _, b in world.saved.values() if b["id"] == "S"]
    assert sorted(part["profile"]["id"] for part in parts) == sorted(world.living())
    agrees(world, 3)


@pytest.mark.parametrize("remembers", [False, True])
def test_a_chain_of_aliases_may_lead_back_to_where_it_began(remembers: bool) -> None:
    world = World(remembers=remembers)
    session = elsewhere("X", "S")
    home = next(y for n in range(99) if near(y := f"Y{n}", "X"))
    world.send(payload(1, profile=home))
    world.send(payload(2, profile=home, session=session))  # the session belongs to it
    world.hops.clear()
    world.send(payload(3, profile="X", session=session))
    x, s = (identity.partition(value, PARTITIONS) for value in ("X", session))
    assert world.hops == [(x, s), (s, x)]
    assert world.profile(mint(Kind.PROFILE, "X"))["interests"]["n"] == 3
    world.send(payload(3, profile="X", session=session))
    assert world.totals["duplicate"] == 1
    agrees(world, 3)


def test_a_session_is_not_linked_to_a_profile_that_does_not_live() -> None:
    world = World(remembers=True)
    one, other = mint(Kind.SESSION, "s-1"), mint(Kind.SESSION, "s-2")
    world.send(payload(1, profile=other, session="s-1", save_profile=False))
    world.send(payload(2, profile=one, session="s-2", save_profile=False))
    for number, session in enumerate(("s-1", "s-2"), 3):
        world.send(payload(number, session=session))
    assert world.living() == sorted((one, other))
    agrees(world, 4)


@pytest.mark.parametrize("far", [False, True])
def test_a_circle_of_aliases_is_noticed(far: bool) -> None:
    world = World(remembers=True)
    other = elsewhere("X", "Y") if far else next(y for n in range(99) if near(y := f"Y{n}", "X"))
    ids = [mint(Kind.PROFILE, name) for name in ("X", other)]
    for id, to in (ids, reversed(ids)):
        world.deliver(identity.partition(id, PARTITIONS), Alias(id=id, to=to, received_ms=NOW))
    with pytest.raises(CircularAlias):
        world.send(payload(1, profile="X"))


def test_an_id_of_a_session_document_is_no_profile() -> None:
    world = World(remembers=True)
    document = identity.session_document_id("S", mint(Kind.SESSION, "S"))
    world.send(payload(1, session="S"))
    world.send(payload(2, profile=document))
    world.send(payload(3, session="S"))
    assert world.living() == sorted((mint(Kind.SESSION, "S"), mint(Kind.PROFILE, document)))
    assert mint(Kind.PROFILE, document) != document
    agrees(world, 3)


def test_an_alias_grows_at_its_end_one_hop_at_a_time() -> None:
    world = World()
    second = elsewhere("X", "S")
    world.send(payload(1, profile="X", session=second))  # X → S
    survivor = elsewhere(second, "Y")
    version, body = world.saved[mint(Kind.SESSION, second)]
    world.send(payload(2, profile=survivor))
    merged = {"id": body["id"], "merged_into": mint(Kind.PROFILE, survivor), "metadata": {"time": {"update": "x"}}}
    world.saved[mint(Kind.SESSION, second)] = (version + 1, merged)
    world.hops.clear()
    world.send(payload(3, profile="X"))
    x, s, y = (identity.partition(value, PARTITIONS) for value in ("X", second, survivor))
    assert world.hops[:2] == [(x, s), (s, y)]
    assert world.profile(mint(Kind.PROFILE, "X"))["interests"]["n"] == 2
    world.send(payload(3, profile="X"))
    assert world.totals["duplicate"] == 1


def test_a_deleted_id_lives_again_after_its_tombstone() -> None:
    world = World()
    world.send(payload(1, profile="X"))
    id = mint(Kind.PROFILE, "X")
    world.saved[id] = (7, None)  # type: ignore[assignment]  # a tombstone is loaded as no body with its version
    world.send(payload(2, profile="X", session="S"))
    assert world.saved[id][0] == 8
    assert world.profile(id)["interests"]["n"] == 1


def test_an_alias_command_never_touches_what_lives() -> None:
    world = World()
    world.send(payload(1, session="S"))
    id = mint(Kind.SESSION, "S")
    command = Alias(id=id, to=mint(Kind.PROFILE, "X"), received_ms=NOW)
    world.deliver(identity.partition(id, PARTITIONS), command)
    assert world.living() == [id]
    free = mint(Kind.SESSION, "T")
    for to in ("X", "Y"):
        world.deliver(identity.partition(free, PARTITIONS), Alias(id=free, to=mint(Kind.PROFILE, to), received_ms=NOW))
    assert world.saved[free][1]["merged_into"] == mint(Kind.PROFILE, "X")


def test_a_repeat_of_what_was_forwarded_is_known_before_it_is_forwarded_again() -> None:
    world = World()
    session = elsewhere("X", "S")
    world.send(payload(1, session=session, profile="X"))
    assert len(world.hops) == 1
    world.send(payload(1, session=session, profile="X"))
    assert len(world.hops) == 1
    assert world.totals["duplicate"] == 1
    agrees(world, 1)
