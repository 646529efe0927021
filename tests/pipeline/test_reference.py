"""References and the JSON templates made of them."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Malformed
from pipeline.path import MISSING
from pipeline.reference import ROOTS, compile_reference, compile_template, is_reference

SCOPE: dict[str, Any] = {
    "profile": {"id": "p", "data": {"a": 1, "null": None}, "interests": {"Soft Rock": 2}, "list": ["x", {"y": "z"}]},
    "event": {"type": "sign-up", "value": Decimal("11.770"), "yes": True},
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_characters="@{}`")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("profile@id", "p"),
        (" profile@data.a ", 1),
        ("profile@data.null", None),
        ('profile@interests."Soft Rock"', 2),
        ("profile@list.1.y", "z"),
        ("event@", SCOPE["event"]),
        ("profile@none", MISSING),
        ("profile@data.a.deeper", MISSING),
        ("session@id", MISSING),
        ("session@", MISSING),
    ],
)
def test_a_reference_finds_its_value_or_says_that_there_is_none(text: str, value: Any) -> None:
    assert compile_reference(text)(SCOPE) == value


@pytest.mark.parametrize("text", ["", "profile", "profile.id", "customer@id", "@id", "profile@a..b", 'profile@"a'])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match=r"is no|not closed"):
        compile_reference(text)


def test_the_refusal_says_which_roots_there_are() -> None:
    with pytest.raises(Malformed) as caught:
        compile_reference("customer@id")
    assert all(root in str(caught.value) for root in ROOTS)


@pytest.mark.parametrize("text", ["ann@example.com", "someone@profile", "profile", "mail profile@id", "profile@id now"])
def test_addresses_and_sentences_are_no_references(text: str) -> None:
    assert not is_reference(text)
    assert compile_template(text)(SCOPE) == text


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ({"a": "profile@id", "b": ["event@type", 5, None, True]}, {"a": "p", "b": ["sign-up", 5, None, True]}),
        ("profile@none", None),
        ('profile@interests."Soft Rock"', 2),
        ("profile@data", {"a": 1, "null": None}),
        ("event@value", Decimal("11.770")),
        ("Dear {{profile@id}}, {{ event@type }}!", "Dear p, sign-up!"),
        ("{{profile@id}}", "p"),
        ("{{event@value}}/{{event@yes}}/{{profile@list}}", '11.770/true/["x",{"y":"z"}]'),
        ("{{profile@none}}{{profile@data.null}}|", "|"),
        ("`profile@id", "profile@id"),
        ("`", ""),
        ("{{}}", "{{}}"),
        ("", ""),
    ],
)
def test_a_template_keeps_its_shape_and_fills_in_values(template: Any, made: Any) -> None:
    assert compile_template(template)(SCOPE) == made


@pytest.mark.parametrize("template", ["Dear {{name}}", {"a": ["{{profile@a..b}}"]}, {"a": "profile@a..b"}])
def test_a_mistake_in_a_template_is_found_when_it_is_compiled(template: Any) -> None:
    with pytest.raises(Malformed):
        compile_template(template)


@pytest.mark.parametrize(
    ("template", "place"),
    [({"a": ["x", "{{customer@b}}"]}, "body.a[1]"), ({"a": {"b": "profile@c..d"}}, "body.a.b")],
)
def test_a_mistake_in_a_template_names_its_place(template: Any, place: str) -> None:
    with pytest.raises(Malformed) as caught:
        compile_template(template, "body")
    assert caught.value.field == place
    assert str(caught.value).startswith(f"{place}: ")


@given(JSON)
def test_a_template_without_references_is_what_it_makes(value: Any) -> None:
    assert compile_template(value)(SCOPE) == value


@given(st.text())
def test_a_text_after_a_backtick_is_taken_as_it_stands(text: str) -> None:
    assert compile_template(f"`{text}")(SCOPE) == text


@given(st.text(), st.text(st.characters(exclude_characters="{}")))
def test_what_a_customer_sends_is_never_read_as_a_template(value: str, around: str) -> None:
    scope = {"event": {"x": value + "{{profile@id}}"}, "profile": {"id": "secret"}}
    assert compile_template("-{{event@x}}" + around)(scope) == f"-{value}{{{{profile@id}}}}{around}"
