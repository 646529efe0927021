"""Definitions over HTTP: checked key by key, in force soon after the answer."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pipeline import definition
from pipeline.errors import Malformed
from pipeline.topics import destination_of
from tests.system import running

HTTP = {"url": "https://example.com/"}
START = {"id": "s", "type": "start"}


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("sources", {"colour": "red"}, "colour"),
        ("sources", {"type": "carrier-pigeon"}, "type"),
        ("sources", {"enabled": "yes"}, "enabled"),
        ("sources", {"id": "other"}, "'other'"),
        ("destinations", {}, "settings"),
        ("destinations", {"settings": {"url": "ftp://x"}}, "settings.url"),
        ("destinations", {"settings": {**HTTP, "retries": 5}}, "retries"),
        ("destinations", {"settings": {**HTTP, "timeout": 0}}, "settings.timeout"),
        ("destinations", {"settings": {**HTTP, "timeout": -1}}, "settings.timeout"),
        ("destinations", {"settings": {**HTTP, "timeout": 60.5}}, "settings.timeout"),
        ("destinations", {"settings": {**HTTP, "headers": {"x y": "z"}}}, "settings.headers"),
        ("destinations", {"settings": {**HTTP, "headers": {"": "z"}}}, "settings.headers"),
        ("destinations", {"settings": {**HTTP, "headers": {"x": "a\r\nb: c"}}}, "settings.headers.x"),
        ("destinations", {"settings": HTTP, "condition": "profile@a >"}, "column 12"),
        ("destinations", {"settings": HTTP, "condition": "profile@a=1 AND profile@b=2 OR profile@c=3"}, "column 29"),
        ("destinations", {"settings": HTTP, "mapping": {"x": "profile@a..b"}}, "a..b"),
        ("workflows", {"nodes": []}, "start"),
        ("workflows", {"nodes": [START, {"id": "n", "type": "fly"}]}, "'fly'"),
        ("workflows", {"nodes": [START, {"id": "n", "type": "if", "settings": {"cond": 1}}]}, "cond"),
        ("workflows", {"nodes": [START, {"id": "n", "type": "if", "settings": {"condition": "1 ="}}]}, "column"),
        ("workflows", {"nodes": [START], "edges": [{"from": "s", "to": "nowhere"}]}, "nowhere"),
        ("workflows", {"nodes": [START], "edges": [{"from": "s", "to": "s"}]}, "cycle"),
        (
            "workflows",
            {"nodes": [START, {"id": "e", "type": "end"}], "edges": [{"from": "s", "port": "x", "to": "e"}]},
            "'x'",
        ),
        ("rules", {"event_type": "x"}, "workflow"),
        ("rules", {"workflow": "nowhere"}, "workflow: there is no workflow 'nowhere'"),
    ],
)
async def test_a_mistake_is_answered_422_and_named(tmp_path: Path, kind: str, body: dict[str, Any], said: str) -> None:
    async with running(tmp_path, ()) as system:
        answer = await system.private.put(f"/{kind}/x", json=body)
        assert answer.status_code == 422, answer.text
        assert said in answer.json()["detail"]
        assert (await system.private.get(f"/{kind}/x")).status_code == 404


async def test_definitions_are_listed_read_replaced_and_deleted(tmp_path: Path) -> None:
    async with running(tmp_path, ()) as system:
        await system.put("sources", "b", {"name": "B"})
        await system.put("sources", "a", {"name": "A"})
        listed = (await system.private.get("/sources")).json()
        assert [one["id"] for one in listed["items"]] == ["a", "b"]
        await system.put("sources", "a", {"name": "New"})
        assert (await system.private.get("/sources/a")).json()["name"] == "New"
        assert (await system.private.delete("/sources/a")).status_code == 200
        assert (await system.private.delete("/sources/a")).status_code == 404
        assert (await system.private.get("/sources/a")).status_code == 404
        assert (await system.private.get("/shoes")).status_code == 404
        assert (await system.private.put("/sources/x", content=b"{")).status_code == 400


@pytest.mark.parametrize("id", ["a b", "a/b", "é", "-", "x" * 65])
async def test_an_id_that_could_not_stand_in_an_address_is_refused(tmp_path: Path, id: str) -> None:
    async with running(tmp_path, ()) as system:
        address = f"/sources/{quote(id, safe='')}"
        answer = await system.private.put(address, json={})
        assert (answer.status_code, answer.json()["field"]) == (422, "id")
        for ask in (system.private.get, system.private.delete):
            answer = await ask(address)
            assert answer.status_code == 404
            assert "there is no source" in answer.json()["detail"]
        assert (await system.private.put(f"/secrets/{quote(id, safe='')}", json={"value": "v"})).status_code == 422


def test_an_id_ends_where_it_ends() -> None:
    with pytest.raises(Malformed, match="letters"):
        definition.parse("sources", b'{"id": "x\\n"}')


@pytest.mark.parametrize("body", [b'{"name": ' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"name": 1e99999999999999999999}'])
async def test_a_body_that_cannot_be_decoded_is_answered_400(tmp_path: Path, body: bytes) -> None:
    async with running(tmp_path, ()) as system:
        answer = await system.private.put("/sources/x", content=body)
        assert answer.status_code == 400
        assert answer.json()["detail"]


async def test_pages_of_a_list(tmp_path: Path) -> None:
    async with running(tmp_path, ()) as system:
        for number in range(5):
            await system.put("sources", f"s-{number}", {})
        await system.put("sources", "gone", {})
        await system.private.delete("/sources/gone")
        seen: list[str] = []
        cursor = ""
        for _ in range(3):
            page = (await system.private.get("/sources", params={"limit": 2, "cursor": cursor})).json()
            assert page["total"] == 5
            seen += [one["id"] for one in page["items"]]
            cursor = page["cursor"]
        assert (seen, cursor) == ([f"s-{number}" for number in range(5)], "")
        assert (await system.private.get("/sources", params={"limit": 5})).json()["cursor"] == ""
        assert (await system.private.get("/sources", params={"limit": 0})).status_code == 422
        assert len((await system.private.get("/sources", params={"limit": 10**6})).json()["items"]) == 5


async def test_a_rule_of_a_deleted_workflow_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, ()) as system:
        await system.put("workflows", "w", {"nodes": [START]})
        await system.put("rules", "r", {"workflow": "w"})
        await system.private.delete("/workflows/w")
        answer = await system.private.put("/rules/r", json={"workflow": "w"})
        assert (answer.status_code, answer.json()["field"]) == (422, "workflow")


async def test_the_description_says_what_may_be_put(tmp_path: Path) -> None:
    async with running(tmp_path, ()) as system:
        paths = (await system.private.get("/openapi.json")).json()["paths"]

    def schema(path: str) -> dict[str, Any]:
        found: dict[str, Any] = paths[path]["put"]["requestBody"]["content"]["application/json"]["schema"]
        return found

    kinds = schema("/{kind}/{id}")["anyOf"]
    assert {one["title"] for one in kinds} == {"Source", "Destination", "Workflow", "Rule"}
    destination = next(one for one in kinds if one["title"] == "Destination")
    assert destination["required"] == ["settings"]
    assert "timeout" in destination["properties"]["settings"]["properties"]
    assert "$ref" not in str(kinds)
    assert schema("/secrets/{name}")["required"] == ["value"]


async def test_a_destination_brings_and_takes_its_group(tmp_path: Path) -> None:
    async with running(tmp_path, ()) as system:
        await system.put("destinations", "crm", {"settings": HTTP})
        first = await system.group("crm")
        assert destination_of(first) == "crm"
        await system.put("destinations", "crm", {"settings": HTTP, "event_type": "other"})
        assert await system.groups("dest.") == [first]  # it stayed enabled
        await system.private.delete("/destinations/crm")
        assert (await system.groups("dest."), await system.group("crm")) == ([], "")
        await system.put("destinations", "crm", {"settings": HTTP})
        assert await system.groups("dest.") == [await system.group("crm")] != [first]
