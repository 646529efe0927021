"""Dotted paths: quoted parts, lists by index, and nothing that makes them raise on data."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Malformed
from pipeline.path import MISSING, compile_get, parent_of, split

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        ('a."b c".d', ("a", "b c", "d")),
        ('"a.b"', ("a.b",)),
        ('"a.".b', ("a.", "b")),
        ("a.0", ("a", "0")),
    ],
)
def test_a_path_is_split_at_its_dots_outside_quotes(text: str, parts: tuple[str, ...]) -> None:
    assert split(text) == parts


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", '"', '""', 'a."b', 'a."b"c', '"a".', ".".join("a" * 21)])
def test_what_is_no_path_is_named(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        split(text)
    assert caught.value.field == text


@given(st.lists(st.text(st.characters(exclude_characters='"'), min_size=1), min_size=1, max_size=20))
def test_quoted_parts_come_back_whatever_they_hold(parts: list[str]) -> None:
    assert split(".".join(f'"{part}"' for part in parts)) == tuple(parts)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", {"b": [1, {"c": 2}], "n": None}),
        ("a.b.0", 1),
        ("a.b.1.c", 2),
        ("a.n", None),
        ("a.n.deeper", MISSING),
        ("a.b.2", MISSING),
        ("a.b.-1", MISSING),
        ("a.b.x", MISSING),
        ("a.b.²", MISSING),
        ("a.b." + "9" * 5000, MISSING),
        ("x", MISSING),
        ("text.0", MISSING),
    ],
)
def test_it_finds_the_value_or_says_that_there_is_none(path: str, found: Any) -> None:
    value = {"a": {"b": [1, {"c": 2}], "n": None}, "text": "x"}
    assert compile_get(path)(value) == found


@given(JSON, st.lists(st.text(st.characters(exclude_characters='".'), min_size=1, max_size=3), min_size=1, max_size=4))
def test_looking_never_raises(value: Any, parts: list[str]) -> None:
    compile_get(".".join(parts))(value)


@given(st.lists(st.text(st.characters(exclude_characters='".'), min_size=1, max_size=3), min_size=1, max_size=4))
def test_what_was_put_is_found(parts: list[str]) -> None:
    value: dict[str, Any] = {}
    parent = parent_of(value, tuple(parts))
    assert parent is not None
    parent[parts[-1]] = 7
    assert compile_get(".".join(parts))(value) == 7


def test_a_parent_is_made_where_there_is_none_but_nothing_is_overwritten() -> None:
    value: dict[str, Any] = {"n": None, "text": "x", "list": [{}]}
    assert parent_of(value, ("n", "deep", "x")) == {}
    assert value["n"] == {"deep": {}}
    assert parent_of(value, ("text", "x")) is None
    assert parent_of(value, ("list", "x")) is None
    assert (value["text"], value["list"]) == ("x", [{}])
