"""Definitions over HTTP: checked key by key, in force soon after the answer."""

from pathlib import Path
from typing import Any

import pytest

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


async def test_a_destination_brings_and_takes_its_group(tmp_path: Path) -> None:
    async with running(tmp_path, ()) as system:
        await system.put("destinations", "crm", {"settings": HTTP})
        assert "dest.crm" in await system.ports.log.groups("processed")
        await system.private.delete("/destinations/crm")
        assert "dest.crm" not in await system.ports.log.groups("processed")
