"""The table of predefined event types, row by row."""

import json
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import envelope
from pipeline.mapping.table import load_table
from pipeline.operations import apply
from pipeline.path import MISSING, compile_get, parent_of, split

TABLE = load_table()

WRITTEN = json.loads(files("pipeline.mapping").joinpath("event_types.json").read_bytes())

#: By kind of a field: what it may hold and what it may not.
GOOD: dict[str, Any] = {"string": "text", "number": Decimal("1.5"), "list": ["one", "two"]}
BAD: dict[str, list[Any]] = {
    "string": [5, True, ["text"], {"a": "text"}],
    "number": ["5", True, [5], {}],
    "list": ["one", 5, {"one": 1}],
}


def copies() -> list[tuple[str, str, str, str]]:
    """(type, property, field of the event, field of the profile) of every row that copies."""
    found = []
    for type, row in WRITTEN["types"].items():
        profile = {rule[2]: rule[1] for rule in row.get("profile", ()) if rule[0] == "=" and isinstance(rule[2], str)}
        found += [(type, name, field, profile.get(name, "")) for name, field in row.get("copy", {}).items()]
        found += [(type, name, f"data.{name}", f"data.{name}") for name in row.get("same", ())]
    return found


def kind_of(field: str) -> str:
    (kind,) = [kind for kind, fields in WRITTEN["fields"].items() if field in fields]
    return str(kind)


def holding(path: str, value: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    parent = parent_of(whole, split(path))
    assert parent is not None
    parent[split(path)[-1]] = value
    return whole


def at(whole: dict[str, Any], path: str) -> Any:
    return compile_get(path)(whole)


def fold(type: str, properties: dict[str, Any], visits: int = 1) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    event: dict[str, Any] = {}
    profile: dict[str, Any] = {
        "metadata": {"time": {"visit": {"count": visits}}},
        "interests": {},
        "data": {"anonymous": True},
    }
    errors = TABLE[type].fold(properties, event, profile)
    return event, profile, [error.path for error in errors]


def test_the_table_has_all_types() -> None:
    assert set(TABLE) == {
        *("page-view", "product-details-page-view", "product-added-to-basket", "checkout-started"),
        *("checkout-completed", "sign-up", "profile-update", "increase-interest"),
    }


@pytest.mark.parametrize(("type", "property", "field", "of_profile"), copies())
def test_each_field_is_copied(type: str, property: str, field: str, of_profile: str) -> None:
    assert of_profile in ("", field)
    value = GOOD[kind_of(field)]
    event, profile, errors = fold(type, holding(property, value))
    assert errors == []
    assert at(event, field) == value
    if of_profile:
        assert at(profile, of_profile) == value
    # and nothing else but what every event of the type says
    plain_event, plain_profile, _ = fold(type, {})
    assert event == {**plain_event, **holding(field, value)}
    if of_profile:
        expected = holding(of_profile, value)
        assert profile == {**plain_profile, "data": {**plain_profile["data"], **expected["data"]}}


@pytest.mark.parametrize(("type", "property", "field", "of_profile"), copies())
def test_each_field_refuses_what_is_of_another_kind(type: str, property: str, field: str, of_profile: str) -> None:
    for value in BAD[kind_of(field)]:
        event, profile, errors = fold(type, holding(property, value))
        assert errors[0] == field, value
        assert at(event, field) is MISSING
        assert at(profile, of_profile or field) is MISSING


@pytest.mark.parametrize(("type", "property", "field", "of_profile"), copies())
def test_each_field_is_left_alone_by_null(type: str, property: str, field: str, of_profile: str) -> None:
    assert fold(type, holding(property, None)) == fold(type, {})


def test_a_profile_update_may_write_what_tracardis_profile_data_has() -> None:
    written = {
        "pii": "firstname lastname display_name birthday language.native language.spoken gender education.level"
        " civil.status attributes.height attributes.weight attributes.shoe_number",
        "contact": "email.main email.private email.business phone.main phone.business phone.mobile phone.whatsapp"
        " app.whatsapp app.discord app.slack app.twitter app.telegram app.wechat app.viber app.signal app.other"
        " address.town address.county address.country address.postcode address.street address.other confirmations",
        "identifier": "id pk badge passport credit_card token coupons",
        "media": "image webpage social.twitter social.facebook social.youtube social.instagram social.tiktok"
        " social.linkedin social.reddit social.other",
        "preferences": "purchases colors sizes devices channels payments brands fragrances services other",
        "job": "position salary type company.name company.size company.segment company.country department",
        "loyalty": "codes card.id card.name card.issuer card.expires card.points",
    }
    same = [field for type, field, *_ in copies() if type == "profile-update"]
    assert sorted(same) == sorted(f"{part}.{name}" for part, names in written.items() for name in names.split())


def test_page_view() -> None:
    event, profile, errors = fold("page-view", {"id": "home", "category": "jazz"})
    assert event["hit"] == {"id": "home", "category": "jazz"}
    assert event["journey"] == {"state": "awareness"}
    assert event["tags"] == {"values": ["event:behavioral", "activity:browsing"], "count": 2}
    assert fold("page-view", {}, visits=2)[0]["journey"] == {"state": "consideration"}
    assert (profile["data"], errors) == ({"anonymous": True}, [])


@pytest.mark.parametrize(
    ("type", "state"), [("product-details-page-view", "awareness"), ("product-added-to-basket", "consideration")]
)
def test_products(type: str, state: str) -> None:
    product = {"id": "1", "name": "CD", "sku": "s", "category": "c", "brand": "b", "variant": "v"}
    numbers = {"price": Decimal("9.99"), "quantity": 2, "position": 1}
    event, _, errors = fold(type, {**product, **numbers})
    assert event["data"]["ec"]["product"] == {**product, **numbers}
    assert (event["journey"]["state"], errors) == (state, [])
    event, _, errors = fold(type, {**product, "price": "cheap"})
    assert errors == ["data.ec.product.price"]
    assert event["data"]["ec"]["product"] == product


def test_checkout_started_and_completed() -> None:
    properties = {"id": "o", "status": "open", "currency": "USD", "value": Decimal("10.50"), "order_id": "7"}
    event, profile, errors = fold("checkout-started", properties)
    assert event["data"]["ec"]["checkout"] == {
        "id": "o",
        "status": "open",
        "currency": "USD",
        "value": Decimal("10.50"),
    }
    assert event["data"]["ec"]["order"] == {"id": "7"}
    assert profile["data"]["metrics"] == {"ltcosv": Decimal("10.50"), "ltcosc": 1, "ltcop": 0}
    for _ in range(2):
        TABLE["checkout-completed"].fold({"value": 5}, {}, profile)
    assert profile["data"]["metrics"]["ltcocv"] == 10
    assert profile["data"]["metrics"]["ltcocc"] == 2
    assert profile["data"]["metrics"]["ltcop"] == Decimal("0.5")
    assert errors == []


def test_sign_up_with_one_wrong_field() -> None:
    properties = {"email": {"main": ["a@b"], "private": "c@d"}, "firstname": "Ann", "login": "ann"}
    event, profile, errors = fold("sign-up", properties)
    assert profile["data"]["contact"] == event["data"]["contact"] == {"email": {"private": "c@d"}}
    assert profile["data"]["pii"] == {"firstname": "Ann"}
    assert profile["data"]["identifier"] == {"token": "ann"}
    assert profile["data"]["anonymous"] is False
    assert set(errors) == {"data.contact.email.main"}


def test_sign_up_with_an_email() -> None:
    event, profile, errors = fold("sign-up", {"email": {"main": "ann@example.com"}})
    assert event["data"]["contact"]["email"]["main"] == profile["data"]["contact"]["email"]["main"] == "ann@example.com"
    assert errors == []


def test_profile_update_takes_every_field_of_data() -> None:
    properties = {
        "pii": {"firstname": "Ann", "language": {"spoken": ["de"]}, "attributes": {"height": 170}},
        "contact": {"address": {"town": "Bonn"}, "app": {"slack": "@ann"}},
        "job": {"company": {"size": 12}},
        "preferences": {"colors": ["red"]},
        "loyalty": {"card": {"points": 5}},
        "media": {"social": {"reddit": "ann"}},
        "identifier": {"pk": "1"},
    }
    event, profile, errors = fold("profile-update", properties)
    assert profile["data"] == {**properties, "anonymous": False}
    assert event["data"] == properties
    assert errors == []
    assert fold("profile-update", {"preferences": {"colors": "red"}})[2] == ["data.preferences.colors"]


def test_increase_interest() -> None:
    assert fold("increase-interest", {"interest": "jazz"})[1]["interests"] == {"jazz": 1}
    assert fold("increase-interest", {"interest": "a.b", "value": Decimal("0.5")})[1]["interests"] == {
        "a.b": Decimal("0.5")
    }
    assert fold("increase-interest", {"interest": 5})[2] == ["interests.{interest}"]
    assert fold("increase-interest", {"interest": "jazz", "value": "much"})[2] == ["interests.{interest}"]


def test_what_cannot_be_copied_into_the_event_is_reported() -> None:
    (error,) = TABLE["page-view"].fold({"id": "home"}, {"hit": "taken"}, None)
    assert error.path == "hit.id"


def test_an_event_without_profile_is_mapped_too() -> None:
    event: dict[str, Any] = {}
    assert TABLE["checkout-completed"].fold({"value": 5}, event, None) == []
    assert event["data"]["ec"]["checkout"] == {"value": 5}


def test_a_profile_does_not_share_its_lists_with_the_event() -> None:
    properties: dict[str, Any] = {"preferences": {"colors": ["red"]}}
    _, profile, _ = fold("profile-update", properties)
    apply(profile, [("[]", "data.preferences.colors", "blue")])
    assert profile["data"]["preferences"]["colors"] == ["red", "blue"]
    assert properties == {"preferences": {"colors": ["red"]}}


@pytest.mark.parametrize("count", [10**300, Decimal("1e-999999999"), Decimal("-1e308"), "many", None, [1]])
@pytest.mark.parametrize("other", [1, Decimal("1e-999999999"), Decimal("1e308"), {}])
def test_counts_that_a_workflow_has_spoilt_do_not_stop_an_event(count: Any, other: Any) -> None:
    profile: dict[str, Any] = {
        "metadata": {"time": {"visit": {"count": 1}}},
        "data": {"metrics": {"ltcosc": count, "ltcocc": other}},
    }
    errors = TABLE["checkout-completed"].fold({"value": 5}, {}, profile)
    assert profile["data"]["metrics"]["ltcocv"] == 5
    assert [error.path for error in errors] == (["data.metrics.ltcocc"] if other == {} else [])


def test_clients_cannot_make_a_profile_grow_without_bound() -> None:
    profile: dict[str, Any] = {"metadata": {"time": {"visit": {"count": 1}}}, "interests": {}}
    errors = [TABLE["increase-interest"].fold({"interest": f"n-{n}"}, {}, profile) for n in range(1001)]
    assert (len(profile["interests"]), len(errors[-1]), errors[-2]) == (1000, 1, [])
    assert TABLE["increase-interest"].fold({"interest": "n-0"}, {}, profile) == []


def test_absurd_numbers_do_not_stop_the_fold() -> None:
    profile: dict[str, Any] = {
        "metadata": {"time": {"visit": {"count": 1}}},
        "data": {"metrics": {"ltcosc": 10**400, "ltcocc": Decimal("1E+308")}},
    }
    assert TABLE["checkout-completed"].fold({"value": Decimal("1E+308")}, {}, profile) == []


MONEY = st.one_of(st.decimals(-(10**15), 10**15, places=4), st.integers(-(10**15), 10**15))

#: Any value now and then, so that some fields are refused.
VALUES = st.one_of(MONEY, st.text(max_size=5), st.lists(st.text(max_size=3), max_size=3), st.none(), st.booleans())

PURCHASES = st.tuples(
    st.sampled_from(["checkout-started", "checkout-completed"]), st.fixed_dictionaries({"value": MONEY})
)
INTERESTS = st.tuples(
    st.just("increase-interest"),
    st.fixed_dictionaries({"interest": st.sampled_from(["jazz", "a.b", "🦊"])}, optional={"value": MONEY}),
)
ANYTHING = st.tuples(
    st.sampled_from(sorted(TABLE)),
    st.dictionaries(st.sampled_from(["value", "interest", "id", "firstname", "login", "email", "pii"]), VALUES),
)
UPDATES = st.tuples(
    st.just("profile-update"),
    st.builds(holding, st.sampled_from([field for type, field, *_ in copies() if type == "profile-update"]), VALUES),
)

Event = tuple[str, dict[str, Any]]


def new_profile() -> dict[str, Any]:
    return {"metadata": {"time": {"visit": {"count": 1}}}, "interests": {}, "data": {"anonymous": True}}


def after(batches: list[list[Event]]) -> tuple[bytes, list[Any]]:
    """The profile and what was refused; it is saved and loaded again between batches."""
    profile, said = new_profile(), []
    for batch in batches:
        for type, properties in batch:
            event: dict[str, Any] = {}
            given = envelope.decode_object(envelope.encode(properties))
            said.append((TABLE[type].fold(given, event, profile), envelope.encode(event)))
            assert envelope.encode(given) == envelope.encode(properties)
        profile = envelope.decode_object(envelope.encode(profile))
    return envelope.encode(profile), said


@settings(deadline=None)
@given(st.lists(st.lists(st.one_of(PURCHASES, INTERESTS, UPDATES, ANYTHING), max_size=5), max_size=6))
def test_the_same_events_make_the_same_profile_however_they_are_batched(batches: list[list[Event]]) -> None:
    whole = [event for batch in batches for event in batch]
    assert after(batches) == after([whole]) == after([[event] for event in whole])


@settings(deadline=None)
@given(st.lists(st.one_of(PURCHASES, INTERESTS), max_size=30), st.randoms(use_true_random=False))
def test_sums_are_exact_in_any_order(events: list[Event], dice: Any) -> None:
    shuffled = dice.sample(events, len(events))
    cut = dice.randint(0, len(events))
    for batches in ([events], [shuffled[:cut], shuffled[cut:]]):
        profile = envelope.decode_object(after(batches)[0])
        metrics = profile["data"].get("metrics", {})
        for type, total, count in (
            ("checkout-started", "ltcosv", "ltcosc"),
            ("checkout-completed", "ltcocv", "ltcocc"),
        ):
            amounts = [Fraction(properties["value"]) for one, properties in events if one == type]
            assert (Fraction(metrics.get(total, 0)), metrics.get(count, 0)) == (sum(amounts), len(amounts))
        expected: dict[str, Fraction] = {}
        for type, properties in events:
            if type == "increase-interest":
                name = properties["interest"]
                expected[name] = expected.get(name, Fraction(0)) + Fraction(properties.get("value", 1))
        assert {name: Fraction(number) for name, number in profile["interests"].items()} == expected
