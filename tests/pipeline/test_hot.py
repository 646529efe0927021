"""What an owner keeps in memory: nothing leaves before it is known to be saved."""

from hypothesis import given
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
