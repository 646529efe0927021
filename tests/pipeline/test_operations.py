"""Operations on profiles: exact sums, refused fields named, the rest goes on."""

from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import envelope
from pipeline.operations import MAX_LIST, apply

MONEY = st.decimals(min_value=-(10**9), max_value=10**9, places=2)


@given(st.lists(st.one_of(MONEY, st.integers(-(10**9), 10**9)), min_size=1, max_size=60))
def test_sums_of_money_are_exact_through_every_save_and_load(amounts: list[Any]) -> None:
    profile: dict[str, Any] = {}
    for amount in amounts:
        assert apply(profile, [("+", "data.metrics.ltcocv", amount)]) == []
        profile = envelope.decode_object(envelope.encode(profile))
    assert Fraction(profile["data"]["metrics"]["ltcocv"]) == sum((Fraction(one) for one in amounts), Fraction(0))


def test_binary_floats_are_taken_at_their_written_value() -> None:
    profile: dict[str, Any] = {}
    apply(profile, [("+", "a", 0.1), ("+", "a", 0.2)])
    assert profile == {"a": Decimal("0.3")}


@pytest.mark.parametrize(
    ("before", "operation", "after"),
    [
        ({}, ("=", "a.b", 1), {"a": {"b": 1}}),
        ({"a": 1}, ("?=", "a", 2), {"a": 1}),
        ({"a": None}, ("?=", "a", 2), {"a": 2}),
        ({}, ("[]", "segments", "x"), {"segments": ["x"]}),
        ({"s": ["x"]}, ("[]", "s", ["x", "y"]), {"s": ["x", "y"]}),
        ({"s": ["x", "y"]}, ("-[]", "s", "x"), {"s": ["y"]}),
        ({"s": ["y"]}, ("-[]", "s", "x"), {"s": ["y"]}),
        ({}, ("++", "n", None), {"n": 1}),
        ({"n": 1}, ("-", "n", 3), {"n": -2}),
        ({"n": 1}, ("x", "n", None), {}),
        ({}, ("=", 'i."a.b"', 1), {"i": {"a.b": 1}}),
    ],
)
def test_each_operation(before: dict[str, Any], operation: Any, after: dict[str, Any]) -> None:
    assert apply(before, [operation]) == []
    assert before == after


@pytest.mark.parametrize(
    "operation",
    [
        ("+", "n", "1"),
        ("+", "n", True),
        ("+", "text", 1),
        ("[]", "text", 1),
        ("=", "text.deeper", 1),
        ("=", "id", "other"),
        ("=", "metadata.time.insert", "x"),
        ("=", "merged_into", "x"),
        ("=", "stats", 5),
        ("x", "data", None),
        ("?=", "stats", {}),
        ("fly", "n", 1),
    ],
)
def test_a_refused_field_is_named_and_the_rest_goes_on(operation: Any) -> None:
    profile: dict[str, Any] = {
        "id": "p",
        "n": 1,
        "text": "x",
        "metadata": {"time": {}},
        "stats": {"visits": 1},
        "data": {},
    }
    before = deepcopy(profile)
    (error,) = apply(profile, [operation, ("++", "n", None)])
    assert error.path == operation[1]
    assert error.reason
    assert profile == before | {"n": 2}


LISTS = st.lists(st.one_of(st.integers(0, 3), st.lists(st.integers(0, 3), max_size=2)), max_size=3)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["=", "[]", "?=", "-[]", "x"]),
            st.sampled_from(["l", "o.l", "o"]),
            st.one_of(LISTS, st.fixed_dictionaries({"l": LISTS})),
        ),
        min_size=2,
        max_size=8,
    )
)
def test_operations_are_never_altered_by_being_carried_out(operations: list[Any]) -> None:
    before = deepcopy(operations)
    profile: dict[str, Any] = {}
    errors = apply(profile, operations)
    assert operations == before
    again: dict[str, Any] = {}
    assert apply(again, operations) == errors
    assert again == profile


def test_a_list_stops_growing_at_its_bound() -> None:
    profile: dict[str, Any] = {"l": list(range(MAX_LIST - 1))}
    (error,) = apply(profile, [("[]", "l", ["one", "two"])])
    assert str(MAX_LIST) in error.reason
    assert profile["l"][-1] == "one"
    assert apply(profile, [("[]", "l", "one")]) == []


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_a_list_holds_each_value_once_in_the_order_of_arrival(one: list[int], other: list[int]) -> None:
    profile: dict[str, Any] = {}
    apply(profile, [("[]", "l", one), ("[]", "l", other)])
    assert profile["l"] == list(dict.fromkeys([*one, *other]))


@pytest.mark.parametrize("path", ["a.b", "n.deeper", "l.x"])
@pytest.mark.parametrize("operation", ["x", "-[]"])
def test_taking_away_what_is_not_there_leaves_no_trace(operation: str, path: str) -> None:
    profile: dict[str, Any] = {"n": 1, "l": [1]}
    assert apply(profile, [(operation, path, 1)]) == []
    assert profile == {"n": 1, "l": [1]}


@pytest.mark.parametrize("before", [10**309 - 1, Decimal("9.99E+308"), Decimal("9E+999999")])
def test_a_sum_that_no_store_could_compare_is_refused(before: Any) -> None:
    profile: dict[str, Any] = {"n": before}
    (error,) = apply(profile, [("+", "n", before)])
    assert (error.path, profile) == ("n", {"n": before})
