"""Formats: a fixture of each, read for ever; an unknown one stops with a sentence."""

from pathlib import Path

import pytest

from pipeline import envelope
from pipeline.envelope import Heard, Pair, Sender
from pipeline.errors import UnknownFormat
from pipeline.log.port import Position
from pipeline.record import Alias, Effect, Origin, Payload

FIXTURES = Path(__file__).parent.parent / "fixtures"
API = "018bcfe5-687b-7000-8000-000000000001"


def test_collected_of_format_1() -> None:
    data = (FIXTURES / "collected-1.json").read_bytes()
    read = envelope.decode_collected(data)
    assert read.counts == [1, 0, 0]
    assert read.origins[1:] == [Origin("collector:1", 7, 0), Origin("executor:2", 3, 1)]
    assert [type(record) for record in read.records] == [Payload, Alias, Effect]
    assert read.records[0].events[0].type == "page-view"
    assert read.records[2].operations == [["[]", "segments", "vip"]]
    assert envelope.decode_collected_header(data).counts == [1, 0, 0]


def test_collected_of_format_2_names_the_api_and_its_append() -> None:
    data = (FIXTURES / "collected-2.json").read_bytes()
    for read in (envelope.decode_collected(data), envelope.decode_collected_header(data)):
        assert (read.counts, read.origins, read.sender) == ([1], [], Sender(API, 4))
    assert envelope.decode_collected(data).records[0].source == "shop"


@pytest.mark.parametrize("number", [1, 2])
def test_processed(number: int) -> None:
    data = (FIXTURES / f"processed-{number}.json").read_bytes()
    read = envelope.decode_processed(data)
    assert (read.sequence, read.through.position, read.through.index) == (5, Position(0, 12), 3)
    assert read.heard == {"executor:2": (3, 1)}
    assert read.totals.stored == 40
    assert read.events[0].type == "page-view"
    assert envelope.decode_object(read.profiles[0].body)["id"] == read.profiles[0].id
    header = envelope.decode_processed_header(data)
    askers = None if number == 1 else ("destination:crm", "rule:r")
    assert (header.sequence, header.stored, header.pairs) == (5, 1, [Pair("shop", "page-view", askers)])
    assert read.pairs == header.pairs
    assert read.senders == ({} if number == 1 else {API: Heard(4, 0)})


def test_runs_of_format_1() -> None:
    read = envelope.decode_runs((FIXTURES / "runs-1.json").read_bytes())
    assert (read.sequence, read.totals.due, read.totals.run, read.totals.dead) == (2, 9, 8, 1)
    assert len(read.runs) == len(read.out) == 1


@pytest.mark.parametrize(
    ("name", "decode"),
    [
        ("collected", envelope.decode_collected),
        ("collected", envelope.decode_collected_header),
        ("processed", envelope.decode_processed),
        ("processed", envelope.decode_processed_header),
        ("runs", envelope.decode_runs),
        ("runs", envelope.decode_runs_header),
    ],
)
def test_an_unknown_format_stops_with_one_sentence(name: str, decode: object) -> None:
    data = (FIXTURES / f"{name}-1.json").read_bytes()
    for found in (0, 3, 99):
        for one in (data.replace(b'"v":1', b'"v":%d' % found, 1), b'{"v":%d,"other":"fields"}' % found):
            with pytest.raises(UnknownFormat, match=f"topic {name} has format {found}, this Rayfold reads"):
                decode(one)  # type: ignore[operator]
            with pytest.raises(UnknownFormat):
                envelope.check_format(one, name)


def test_there_is_a_fixture_of_every_format_ever_written() -> None:
    written = {
        "collected": envelope.COLLECTED_FORMAT,
        "processed": envelope.PROCESSED_FORMAT,
        "runs": envelope.RUNS_FORMAT,
    }
    for topic, newest in written.items():
        for number in range(1, newest + 1):
            envelope.check_format((FIXTURES / f"{topic}-{number}.json").read_bytes(), topic)
            assert b'"v":%d' % number in (FIXTURES / f"{topic}-{number}.json").read_bytes()
