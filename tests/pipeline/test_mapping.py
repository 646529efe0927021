"""The table of predefined event types, row by row."""

from decimal import Decimal
from typing import Any

import pytest

from pipeline.mapping.table import EventType, load_table
from pipeline.operations import apply

TABLE = load_table()


def fold(type: str, properties: dict[str, Any], visits: int = 1) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    event: dict[str, Any] = {}
    profile: dict[str, Any] = {
        "metadata": {"time": {"visit": {"count": visits}}},
        "interests": {},
        "data": {"anonymous": True},
    }
    errors = TABLE[type].fold(properties, event, profile)
    return event, profile, [error.path for error in errors]


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


def test_every_row_is_compiled() -> None:
    assert len(TABLE) == 8
    assert all(isinstance(row, EventType) for row in TABLE.values())


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
