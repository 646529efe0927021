"""Conditions: every operator, missing values, errors that point at the column."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
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
    "session": {"id": "s-1", "context": {"page": {"url": "https://example.com/a b"}}},
    "payload": {"value": 5, "items": [{"sku": "k"}]},
    "flow": {"run": "r-1"},
    "memory": {"call": {"status": 200, "body": {"score": Decimal("0.5")}}, "my node": {"error": "none"}},
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
        "profile@seen < utcnow()",
        "utcnow() = now()",
        'now() = datetime("2026-01-01T01:00:00+01:00")',
        'profile@seen BETWEEN now.offset("-1d") AND now()',
        'now.offset("+90s") > now.offset("1m")',
        'now.offset("-1w") < now.offset("-6 days")',
        'session@id = "s-1"',
        'session@context.page.url ENDS WITH "a b"',
        "payload@value = 5",
        'payload@items.0.sku = "k"',
        'flow@run = "r-1"',
        "flow@ EXISTS",
        "memory@call.status BETWEEN 200 AND 299",
        "memory@call.body.score >= 0.5",
        'memory@"my node".error IS "none"',
        "memory@other NOT EXISTS",
        'uppercase(event@type) = "X"',
    ],
)
def test_it_holds(text: str) -> None:
    assert holds(text)
    assert not holds(f"NOT ({text})")


@pytest.mark.parametrize(
    "text",
    [
        "profile@stats.visits = 4",
        "profile@stats.visits != 3",
        "profile@stats.visits < 3",
        "profile@stats.visits <= 2",
        "profile@stats.visits > 3",
        "profile@stats.visits >= 4",
        "profile@stats.visits BETWEEN 4 AND 5",
        "profile@stats.visits BETWEEN 1 AND 2",
        "profile@name IS NULL",
        "profile@none IS NULL",
        "profile@nothing IS NOT NULL",
        "profile@none EXISTS",
        "profile@name NOT EXISTS",
        "profile@name EMPTY",
        "profile@empty NOT EMPTY",
        'profile@name CONSISTS "x"',
        'profile@segments CONSISTS "A"',
        'profile@name STARTS WITH "hello"',
        'profile@name ENDS WITH "D"',
        'profile@name == "hello world"',
        'profile@name IS "Hello"',
        'profile@name ~ "hello there"',
        'profile@name MATCH "word"',
        'event@type IN ["y"]',
        'event@type NOT IN ["x"]',
        "event@type IN []",
        "NOT (profile@yes = true)",
        "utcnow() > now()",
        'memory@call.status = "200"',
        "flow@other EXISTS",
        "memory@call.error EXISTS",
    ],
)
def test_it_does_not_hold(text: str) -> None:
    assert not holds(text)
    assert holds(f"NOT ({text})")


def test_a_condition_asks_for_the_time_whenever_it_is_evaluated() -> None:
    times = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)]
    for text in ("utcnow()", "now()", 'now.offset("1h")'):
        left = iter(times)
        condition = compile_condition(f'{text} < datetime("2026-01-02")', left.__next__)
        assert [condition({}), condition({})] == [True, False]


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
        ('profile@a=1 AND profile@""=2', 17),
        ("profile@a > 1e99999999999999999999", 13),
        ("", 1),
        ("(" * 40, 33),
    ],
)
def test_an_error_points_at_its_column(text: str, column: int) -> None:
    with pytest.raises(TqlError, match=f"column {column}:"):
        compile_condition(text, now)


@pytest.mark.parametrize("text", ["a=1 AND b=2 OR c=3", "a=1 or b=2 and c=3"])
def test_mixing_and_with_or_is_explained(text: str) -> None:
    with pytest.raises(TqlError, match="AND and OR do not mix") as caught:
        compile_condition(text.replace("a=", "profile@a=").replace("b=", "profile@b=").replace("c=", "profile@c="), now)
    first, shown, caret = str(caught.value).split("\n")
    assert shown[caret.index("^") :].lower().startswith(("and profile@c", "or profile@c"))
    assert first.startswith("column ")


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ("fly(1) = 2", "fly(1)"),
        ("now(3) = 1", "now(3)"),
        ('profile@a."" = 1', 'profile@a.""'),
        ("profile@a > 1e99999999999999999999", "1e9999"),
        ("profile@a == = 2", "= 2"),
    ],
)
def test_the_caret_stands_under_the_mistake_however_long_the_condition(wrong: str, at: str) -> None:
    with pytest.raises(TqlError) as caught:
        compile_condition("profile@a = 1\nAND " * 100 + wrong + "\nAND profile@b = 2" * 100, now)
    _, shown, caret = str(caught.value).split("\n")
    assert shown[caret.index("^") :].startswith(at)
    assert len(shown) < 200


def test_a_condition_is_bounded() -> None:
    with pytest.raises(TqlError, match="4096"):
        compile_condition("profile@a = 1" + " " * 5000, now)


@settings(deadline=None)  # compiling a condition takes as long as it takes
@given(st.lists(st.booleans(), min_size=2, max_size=6), st.sampled_from(["AND", "OR"]))
def test_and_and_or_are_those_of_logic(values: list[bool], joint: str) -> None:
    text = f" {joint} ".join("1 = 1" if value else "1 = 2" for value in values)
    assert holds(text) == (all(values) if joint == "AND" else any(values))


@settings(deadline=None)  # compiling a condition takes as long as it takes
@given(st.integers(-(10**6), 10**6))
def test_a_binary_number_equals_what_was_written(hundredths: int) -> None:
    written = Decimal(hundredths).scaleb(-2)
    assert compile_condition(f"profile@n = {written}", now)({"profile": {"n": float(written)}})


@settings(deadline=None)  # compiling a condition takes as long as it takes
@given(st.one_of(st.integers(-(10**12), 10**12), st.decimals(-1000, 1000, places=3)), st.integers(-1000, 1000))
def test_numbers_compare_by_value_whatever_their_type(one: Any, other: int) -> None:
    condition = compile_condition(f"profile@n < {other}", now)
    assert condition({"profile": {"n": one}}) == (one < other)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from(
        ["2025-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "-1h", "9999999999999d"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=5,
)

EVERY_OPERATOR = [
    compile_condition(f"profile@a {operator} profile@b", now)
    for operator in ("=", "!=", "<", "<=", ">", ">=", "is", "CONSISTS", "STARTS WITH", "ENDS WITH", "MATCH")
] + [
    compile_condition(text, now)
    for text in (
        "profile@a BETWEEN profile@b AND profile@b",
        "profile@a IN [profile@b, 1, null]",
        "profile@a NOT IN [profile@b]",
        "profile@a EMPTY",
        "profile@a > now.offset(profile@b)",
        "datetime(profile@a) < datetime(profile@b)",
        "lowercase(profile@a) = uppercase(profile@b)",
    )
]


@settings(deadline=None)  # compiling a condition takes as long as it takes
@given(VALUES, VALUES)
def test_no_data_makes_a_condition_raise(one: Any, other: Any) -> None:
    for condition in EVERY_OPERATOR:
        assert isinstance(condition({"profile": {"a": one, "b": other}}), bool)


@pytest.mark.parametrize("text", ["9" * 5000 + "d", "9999999999999d", "+99999999w", "-99999999w", "²d", "1y", "d", ""])
def test_an_impossible_offset_is_a_missing_value(text: str) -> None:
    condition = compile_condition("now.offset(profile@offset) EXISTS", now)
    assert not condition({"profile": {"offset": text}})


def test_an_object_consists_of_its_keys() -> None:
    condition = compile_condition("profile@a CONSISTS profile@b", now)
    assert condition({"profile": {"a": {"x": 1}, "b": "x"}})
    assert not condition({"profile": {"a": {"x": 1}, "b": ["x"]}})
