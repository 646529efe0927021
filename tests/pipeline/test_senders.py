"""Appends of API processes: one that was acknowledged is taken exactly once, whatever is stored again and whatever comes late."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.envelope import Heard, Sender
from pipeline.senders import hear, is_copy, remembered


class Partition:
    """Takes envelopes as a collector does: record by record, in the order they are stored."""

    def __init__(self) -> None:
        self.senders: dict[str, Heard] = {}
        self.took: list[tuple[str, int, int]] = []

    def take(self, name: str, sequence: int, records: int) -> None:
        sender = Sender(name, sequence)
        for place in range(records):
            if not is_copy(sender, place, self.senders):
                self.took.append((name, sequence, place))
                hear(self.senders, sender, place)
        self.senders = remembered(self.senders)


#: What becomes of an append, and how many later ones come before it lands when it lands late.
OUTCOMES = st.sampled_from(["acknowledged", "lost", "stored though it failed", "late"])
APPENDS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), OUTCOMES, st.integers(1, 3), st.lists(st.integers(0, 30), max_size=3))
)


@given(APPENDS)
def test_an_acknowledged_append_is_taken_exactly_once(
    appends: list[tuple[str, str, int, list[int]]],
) -> None:
    stored: list[tuple[float, str, int, int]] = []
    acknowledged = []
    sequences = {"a": 0, "b": 0}
    for moment, (name, outcome, records, copies) in enumerate(appends):
        sequences[name] += 1
        one = (name, sequences[name], records)
        if outcome in ("acknowledged", "stored though it failed"):
            stored.append((moment, *one))
        if outcome == "acknowledged":
            acknowledged += [(name, sequences[name], place) for place in range(records)]
        if outcome != "lost":
            stored += [(moment + after + 0.5, *one) for after in copies]
    partition = Partition()
    for _, name, sequence, records in sorted(stored):
        partition.take(name, sequence, records)
    assert len(partition.took) == len(set(partition.took)), "a copy was taken"
    assert set(acknowledged) <= set(partition.took), "an acknowledged append was passed over"


def test_a_copy_of_an_envelope_that_is_taken_in_part_is_passed_over_up_to_there() -> None:
    senders = {"a": Heard(4, 1)}
    assert [is_copy(Sender("a", 4), place, senders) for place in range(4)] == [True, True, False, False]
    assert is_copy(Sender("a", 3), 9, senders)
    assert not is_copy(Sender("a", 5), 0, senders)
    assert not is_copy(Sender("b", 1), 0, senders)


def test_of_many_processes_those_heard_last_are_kept() -> None:
    partition = Partition()
    for number in range(100):
        partition.take(f"a-{number}", 1, 1)
        partition.take("busy", number + 1, 1)
    assert set(partition.senders) == {"busy", *(f"a-{number}" for number in range(37, 100))}
    partition.take("a-0", 2, 1)  # it lives after all: what it sends is taken
    assert partition.took[-1] == ("a-0", 2, 0)
