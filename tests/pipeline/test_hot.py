"""What an owner keeps in memory: nothing leaves before it is known to be saved."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.hot import Held, Hot, Limits
from pipeline.log.port import BEGINNING, Position

TIGHT = Limits(bytes=0, ids=0, unsaved_bytes=1000)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=30))
def test_nothing_unsaved_is_ever_forgotten(steps: list[tuple[int, bool]]) -> None:
    hot = Hot(TIGHT)
    saved = 0
    appended: dict[int, list[str]] = {}
    for sequence, (count, save) in enumerate(steps, 1):
        ids = [f"{sequence}-{n}" for n in range(count)]
        hot.remember(ids, sequence)
        for id in ids:
            held = Held(1, {}, 0, 0)
            hot.put(id, held)
            hot.changed(id, held, 50, sequence)
        appended[sequence] = ids
        hot.appended(Position(0, sequence), sequence, 10)
        if save:
            saved = sequence
        hot.evict(Position(0, saved) if saved else BEGINNING)
        for number, names in appended.items():
            for id in names:
                assert hot.knows(id) is (number > saved)
                assert (hot.get(id) is not None) is (number > saved)


NAMES = [f"e-{n}" for n in range(12)]

STEPS = st.one_of(
    st.tuples(st.just("change"), st.lists(st.sampled_from(NAMES), max_size=5)),
    st.tuples(st.just("append"), st.just([])),
    st.tuples(st.just("save"), st.lists(st.just(""), max_size=3)),
    st.tuples(st.just("load"), st.lists(st.sampled_from(NAMES), max_size=3)),
)


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 4000), st.lists(STEPS, max_size=60))
def test_whatever_the_order_of_steps_an_id_is_known_until_it_is_saved(
    ids: int, size: int, steps: list[tuple[str, list[str]]]
) -> None:
    hot = Hot(Limits(bytes=size, ids=ids))
    sequence, saved = 1, 0  # of the envelope that is being made; of the last one that the store has
    changed: dict[str, int] = {}

    def evict() -> None:
        hot.evict(Position(0, saved) if saved else BEGINNING)

    for step, names in steps:
        if step == "change":
            hot.remember(names, sequence)
            for name in names:
                held = hot.get(name) or Held(0, {}, 0, 0)
                hot.put(name, held)
                hot.changed(name, held, 100, sequence)
                changed[name] = sequence
        elif step == "append":
            hot.appended(Position(0, sequence), sequence, 10)
            sequence += 1
        elif step == "save":
            saved = min(saved + len(names), sequence - 1)
            evict()
        else:
            for name in names:
                hot.loaded(name, 1, {}, 100)
        for name, at in changed.items():
            if at > saved:
                assert hot.knows(name)
                found = hot.get(name)
                assert found is not None
                assert found.sequence == at
        assert hot.unsaved_bytes >= 10 * (sequence - 1 - saved)
    # once everything is saved, no more is kept than is allowed
    hot.appended(Position(0, sequence), sequence, 10)
    saved = sequence
    evict()
    assert sum(hot.knows(name) for name in NAMES) <= ids
    kept = [hot.get(name) for name in NAMES]
    assert sum(held.size for held in kept if held is not None) <= size
    assert hot.unsaved_bytes == 0


def test_it_is_full_until_enough_is_saved() -> None:
    hot = Hot(TIGHT)
    hot.appended(Position(0, 1), 1, 600)
    assert not hot.full
    hot.appended(Position(0, 2), 2, 600)
    assert hot.full
    hot.evict(Position(0, 1))
    assert not hot.full


def test_the_least_recently_changed_leaves_first() -> None:
    hot = Hot(Limits(bytes=1300, ids=10))
    for id in ("a", "b"):
        hot.loaded(id, 1, {}, 100)
    hot.changed("a", hot.get("a") or Held(0, None, 0, 0), 100, 1)
    hot.loaded("c", 1, {}, 100)
    hot.appended(Position(0, 1), 1, 10)
    hot.evict(Position(0, 1))
    assert [hot.get(id) is not None for id in "abc"] == [True, False, True]


def test_what_fits_stays_however_often_it_is_replaced() -> None:
    hot = Hot(Limits(bytes=1300, ids=10))
    hot.loaded("a", 1, {}, 100)
    for sequence in range(1, 6):
        held = Held(sequence, {}, 0, 0)
        hot.put("b", held)
        hot.changed("b", held, 100, sequence)
        hot.appended(Position(0, sequence), sequence, 10)
    hot.evict(Position(0, 5))
    assert hot.get("a") is not None
    assert hot.get("b") is not None
