"""Sending: order per key, the identical body again after a failure, refusals told apart."""

import asyncio
import gzip
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp.web as web
import pytest

from cluster.inputs.item import Item
from cluster.inputs.open import read_file
from cluster.sender import Sender
from pipeline.errors import Malformed, Misconfigured

EXAMPLES = Path(__file__).parents[2] / "examples"


class Server:
    """Takes what it is sent, or does as `answer` says."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.taken: list[dict[str, Any]] = []
        self.answer: Callable[[Any], int] = lambda payloads: 200
        self.url = ""

    async def track(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        given = json.loads(body)
        payloads = given if isinstance(given, list) else [given]
        status = self.answer(payloads)
        if status == 200:
            self.taken += payloads
        return web.json_response({"detail": "because"}, status=status, headers={"retry-after": "0"})


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_post("/track", found.track)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()


def _items(count: int) -> list[Item]:
    return [Item(f"k-{n % 7}", 1, json.dumps({"key": f"k-{n % 7}", "n": n}).encode()) for n in range(count)]


async def test_payloads_of_one_key_arrive_in_order_and_all_arrive() -> None:
    async with server() as target:
        seen: list[int] = []
        summary = await Sender(target.url, 5, 0, seen.append).send(_items(500))
        assert (summary.sent, summary.refused, sum(seen)) == (500, 0, 500)
        per_key = defaultdict(list)
        for one in target.taken:
            per_key[one["key"]].append(one["n"])
        assert all(numbers == sorted(numbers) for numbers in per_key.values())
        assert sum(map(len, per_key.values())) == 500


async def test_a_failure_is_tried_again_with_the_identical_body() -> None:
    async with server() as target:
        failing = iter([503, 429, 500])
        target.answer = lambda payloads: next(failing, 200)
        summary = await Sender(target.url, 100, 0, lambda count: None).send(_items(3)[:1])
        assert (summary.sent, summary.retried) == (1, 3)
        assert len(set(target.bodies)) == 1
        assert len(target.bodies) == 4


async def test_one_bad_payload_does_not_take_its_neighbours_with_it() -> None:
    async with server() as target:
        target.answer = lambda payloads: 422 if any(one["n"] == 7 for one in payloads) else 200
        summary = await Sender(target.url, 50, 0, lambda count: None).send(_items(60))
        assert (summary.sent, summary.refused) == (59, 1)
        assert "because" in summary.reasons[0]


async def test_the_rate_is_kept() -> None:
    async with server() as target:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await Sender(target.url, 1, 100, lambda count: None).send(_items(50))
        assert loop.time() - started >= 0.45


def test_the_cdnow_file_comes_to_its_published_totals() -> None:
    items = list(read_file(EXAMPLES / "cdnow" / "cdnow.txt.gz"))
    events = [event for item in items for event in json.loads(item.body, parse_float=Decimal)["events"]]
    assert (len(events), len({event["id"] for event in events})) == (69_659, 69_659)
    assert len({item.key for item in items}) == 23_570
    assert sum(Decimal(event["properties"]["value"]) for event in events) == Decimal("2500315.63")
    assert sum(event["properties"]["quantity"] for event in events) == 167_881
    assert {event["type"] for event in events} == {"checkout-completed"}


def test_the_shop_file_keeps_sessions_and_order() -> None:
    items = list(read_file(EXAMPLES / "shop" / "ecom.csv.gz"))
    payloads = [json.loads(item.body) for item in items]
    events = [event for payload in payloads for event in payload["events"]]
    assert (len(events), len({event["id"] for event in events})) == (31_106, 31_106)
    assert len({payload["session"]["id"] for payload in payloads}) == 3_605
    times = defaultdict(list)
    for payload in payloads:
        times[payload["profile"]["id"]] += [event["time"]["create"] for event in payload["events"]]
    assert len(times) == 600
    assert all(found == sorted(found) for found in times.values())


def test_json_lines_get_message_ids_of_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    file.write_text(
        '{"events": [{"type": "a"}, {"type": "b", "id": "own"}]}\n\n{"source": {"id": "x"}, "events": []}\n'
    )
    first, second = (json.loads(item.body) for item in read_file(file, "shop"))
    assert [event["id"] for event in first["events"]] == ["some.jsonl:1:0", "own"]
    assert (first["source"]["id"], second["source"]["id"]) == ("shop", "x")
    file.write_text('{"events": []}\nnonsense\n')
    with pytest.raises(Malformed, match="line 2"):
        list(read_file(file))
    with pytest.raises(Misconfigured, match="cannot be read"):
        list(read_file(tmp_path / "none"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"events": []}\n{"x": "\xff"}\n', r"a\.jsonl, line 2: .*UTF-8"),
        ("a.jsonl", b'{"x": 1e99999999999999999999}\n', r"a\.jsonl, line 1: .*number"),
        ("a.jsonl", b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}\n", r"a\.jsonl, line 1: .*deep"),
        ("cdnow.txt", b" 00001 19970101 1 11.77\n 00001 19970102 1 much\n", r"cdnow\.txt, line 2: .*purchase"),
        ("cdnow.txt", b" 00001 19970101 1 NaN\n", r"cdnow\.txt, line 1: .*purchase"),
        ("cdnow.txt", b" 00001 19970101 1\n", r"cdnow\.txt, line 1: .*purchase"),
        ("ecom.csv", b"user_id,session_id\nu,s\n", r"ecom\.csv, line 2: .*event"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Malformed, match=said):
        list(read_file(tmp_path / name))


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(b'{"events": []}\n')
    with pytest.raises(Misconfigured, match=r"a\.jsonl"):
        list(read_file(file))
    file.write_bytes(gzip.compress(b'{"events": []}\n' * 1000)[:-10])
    with pytest.raises(Misconfigured, match=r"a\.jsonl"):
        list(read_file(file))
