"""Conditions: every operator, missing values, errors that point at the column."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tql import TqlError, compile_condition

SCOPE: dict[str, Any] = {
    "profile": {
        "stats": {"visits": 3},
        "interests": {"Soft Rock": 2},
        "spent": Decimal("11.77"),
        "segments": ["a"],
        "seen": "2025-12-31T23:00:00Z",
        "nothing": None,
        "name": "Hello World",
        "empty": "",
        "yes": True,
    },
    "event": {"type": "x"},
}


def now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def holds(text: str) -> bool:
    return compile_condition(text, now)(SCOPE)


@pytest.mark.parametrize(
    "text",
    [
        "profile@stats.visits > 1",
        "profile@stats.visits >= 3 AND profile@stats.visits<=3",
        "profile@stats.visits != 4",
        "profile@spent = 11.77",
        "profile@spent BETWEEN 11 AND 12",
        'profile@interests."Soft Rock" = 2',
        'profile@segments CONSISTS "a"',
        'profile@name CONSISTS "lo W"',
        'profile@seen > now.offset("-2h")',
        "profile@seen < now()",
        'profile@seen >= datetime("2025-12-31")',
        "profile@nothing IS NULL",
        "profile@name is not null",
        "profile@nothing EXISTS",
        "profile@none NOT EXISTS",
        "profile@empty EMPTY",
        "profile@none empty",
        "profile@name NOT EMPTY",
        'profile@name STARTS WITH "Hel"',
        'profile@name ends with "rld"',
        'profile@name ~ "world hello"',
        'profile@name match "HELLO"',
        'event@type IN ["x", "y"]',
        'event@type NOT IN ["z"]',
        "event@type is 'x'",
        'event@type == "x"',
        'NOT (event@type = "y")',
        '(event@type="y" OR profile@yes = true) AND profile@stats.visits=3',
        'lowercase(profile@name) = "hello world"',
        'uppercase(event@type) = "X"',
    ],
)
def test_it_holds(text: str) -> None:
    assert holds(text)
    assert not holds(f"NOT ({text})")


@pytest.mark.parametrize("operator", ["=", "!=", "<", "<=", ">", ">=", "==", "is", "CONSISTS", "STARTS WITH", "~"])
@pytest.mark.parametrize("other", ["1", '"text"', "profile@also.missing"])
def test_a_missing_value_makes_every_comparison_false(operator: str, other: str) -> None:
    assert not holds(f"profile@missing {operator} {other}")
    assert not holds(f"profile@stats.visits.deeper {operator} {other}")


@pytest.mark.parametrize(
    "text", ["profile@name > 5", 'profile@stats.visits = "3"', "profile@yes = 1", 'profile@seen > datetime("x")']
)
def test_values_of_different_kinds_compare_to_nothing(text: str) -> None:
    assert not holds(text)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("profile@a = ", 13),
        ("a = 1", 3),
        ("profile@a=1 AND profile@b=2 OR profile@c=3", 29),
        ("profile@a == = 2", 14),
        ("fly(1)=2", 1),
        ("now(3)=1", 1),
        ("", 1),
        ("(" * 40, 33),
    ],
)
def test_an_error_points_at_its_column(text: str, column: int) -> None:
    with pytest.raises(TqlError, match=f"column {column}:"):
        compile_condition(text, now)


def test_a_condition_is_bounded() -> None:
    with pytest.raises(TqlError, match="4096"):
        compile_condition("profile@a = 1" + " " * 5000, now)


@given(st.lists(st.booleans(), min_size=2, max_size=6), st.sampled_from(["AND", "OR"]))
def test_and_and_or_are_those_of_logic(values: list[bool], joint: str) -> None:
    text = f" {joint} ".join("1 = 1" if value else "1 = 2" for value in values)
    assert holds(text) == (all(values) if joint == "AND" else any(values))


@given(st.one_of(st.integers(-(10**12), 10**12), st.decimals(-1000, 1000, places=3)), st.integers(-1000, 1000))
def test_numbers_compare_by_value_whatever_their_type(one: Any, other: int) -> None:
    condition = compile_condition(f"profile@n < {other}", now)
    assert condition({"profile": {"n": one}}) == (one < other)
