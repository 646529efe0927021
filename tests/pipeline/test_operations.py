"""Operations on profiles: exact sums, refused fields named, the rest goes on."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import envelope
from pipeline.operations import apply

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
        ("fly", "n", 1),
    ],
)
def test_a_refused_field_is_named_and_the_rest_goes_on(operation: Any) -> None:
    profile: dict[str, Any] = {"id": "p", "n": 1, "text": "x", "metadata": {"time": {}}}
    (error,) = apply(profile, [operation, ("++", "n", None)])
    assert error.path == operation[1]
    assert error.reason
    assert profile == {"id": "p", "n": 2, "text": "x", "metadata": {"time": {}}}
