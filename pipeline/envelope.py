"""The three envelope formats: one log message each, a small header and raw records.

Every envelope carries its format number `v`. `decode_*` accepts the topic's format and the one before it; anything else
raises `UnknownFormat`.
Numbers that are not integers are decoded as `Decimal`, so that sums of money stay exact, and encoded as JSON numbers.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from pipeline.errors import UnknownFormat
from pipeline.log.port import BEGINNING, Position
from pipeline.record import Origin, Record
from pipeline.topics import COLLECTED, PROCESSED, RUNS

#: The format written to each topic. 2 of `collected`: `sender`; 2 of `processed`: `senders`, `documents_at`, askers in `pairs`.
COLLECTED_FORMAT = 2
PROCESSED_FORMAT = 2
RUNS_FORMAT = 1

_encoder = msgspec.json.Encoder(decimal_format="number")

encode = _encoder.encode
"""JSON bytes of any value of the pipeline."""

decode_object = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
"""A JSON object with exact numbers."""


decode_any = msgspec.json.Decoder(float_hook=Decimal).decode
"""Any JSON with exact numbers."""


class Sender(msgspec.Struct, array_like=True, frozen=True):
    """Which append of which API process: its numbers rise with every append to a partition, failed ones included."""

    name: str
    sequence: int


class Heard(msgspec.Struct, array_like=True, frozen=True):
    """The last record taken from an API process."""

    sequence: int
    place: int


class Collected(msgspec.Struct, omit_defaults=True, kw_only=True):
    """An envelope of topic `collected`."""

    v: int = 0
    #: Client events in each record; what `accepted` and `in_flight` are counted from.
    counts: list[int]
    #: Outbox slot of each record; empty when all come from the API.
    origins: list[Origin] = []
    sender: Sender | None = None  #: of what comes from the API; format 1 has none
    records: list[msgspec.Raw]


class CollectedRecords(msgspec.Struct, kw_only=True):
    """The same bytes with the records decoded."""

    v: int = 0
    counts: list[int]
    origins: list[Origin] = []
    sender: Sender | None = None
    records: list[Record]


class CollectedHeader(msgspec.Struct, kw_only=True):
    """The same bytes, records skipped."""

    v: int = 0
    counts: list[int]
    origins: list[Origin] = []
    sender: Sender | None = None


class Through(msgspec.Struct, array_like=True, frozen=True):
    """How far an owner has read its input: the record with `index` of the envelope at `position` is done."""

    position: Position = BEGINNING
    index: int = -1


class Totals(msgspec.Struct, omit_defaults=True):
    """Cumulative counts of one partition of `processed`, in client events; as exact as the envelopes."""

    accepted: int = 0  #: appended by the API
    taken: int = 0  #: forwarded here by another partition
    stored: int = 0  #: handed to the store
    duplicate: int = 0
    rejected: int = 0
    not_stored: int = 0
    forwarded: int = 0  #: sent on to another partition
    internal: int = 0  #: events made by Rayfold itself
    refused: int = 0  #: effects refused: too deep a chain of causes


class Entry(msgspec.Struct, array_like=True):
    """One processed event: what readers choose by, then the document."""

    id: str
    type: str
    source: str
    profile: str | None
    flags: int  #: sum of `INTERNAL`, `CHANGED`, `TRANSIENT` and depth of causation << `DEPTH_SHIFT`
    view: int  #: index into `views`, -1 when no rule or destination matches
    body: msgspec.Raw


INTERNAL = 1
CHANGED = 2  #: its payload changed the profile
TRANSIENT = 4  #: not to be stored
DEPTH_SHIFT = 3


class Pair(msgspec.Struct, array_like=True, frozen=True):
    """A (source, type) among the events that have a view, and who asked for such events when they were folded.

    `askers`: ids as `pipeline.catalog.destination_asker` and `rule_asker` make them; None in format 1: whoever matches by
    the reader's own definitions.
    """

    source: str
    type: str
    askers: tuple[str, ...] | None = None


class Stored(msgspec.Struct, array_like=True):
    """A document to save."""

    id: str
    version: int
    body: msgspec.Raw


class View(msgspec.Struct, array_like=True):
    """The profile and the session as they stood after a payload; ``null`` when there is none."""

    profile: msgspec.Raw
    session: msgspec.Raw


class Outgoing(msgspec.Struct, array_like=True):
    """One record of the outbox: for the partition of `key` in topic `collected`."""

    key: str
    count: int  #: client events in it
    record: msgspec.Raw


class Answer(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The outcome of a payload somebody waits for."""

    task: str
    profile: str | None = None
    session: str | None = None
    events: list[str] = []  #: ids of the events processed now, in the payload's order
    duplicates: list[str] = []
    forwarded_to: str = ""  #: routing key of the partition that will answer instead


class Processed(msgspec.Struct, omit_defaults=True, kw_only=True):
    """An envelope of topic `processed`: all that a batch of input came to."""

    v: int = 0
    sequence: int
    through: Through
    heard: dict[str, tuple[int, int]] = {}  #: by sender of an outbox
    senders: dict[str, Heard] = {}  #: by name of an API process
    totals: Totals
    time_ms: int
    revision: int = 0
    #: Where the newest envelope with documents lies; not said where this one has some.
    documents_at: Position = BEGINNING
    pairs: list[Pair] = []
    stored: int = 0  #: client events among `events`: what it adds to `totals.stored`
    events: list[Entry] = []
    sessions: list[Stored] = []
    profiles: list[Stored] = []
    receipts: list[Stored] = []
    views: list[View] = []
    answers: list[Answer] = []
    out: list[Outgoing] = []


class ProcessedHeader(msgspec.Struct, kw_only=True):
    """The same bytes, documents skipped."""

    v: int = 0
    sequence: int
    through: Through
    totals: Totals
    time_ms: int
    revision: int = 0
    stored: int = 0
    pairs: list[Pair] = []
    answers: list[Answer] = []


class RunTotals(msgspec.Struct, omit_defaults=True):
    """Cumulative counts of one partition of `runs`."""

    due: int = 0
    run: int = 0
    dead: int = 0


class Runs(msgspec.Struct, omit_defaults=True, kw_only=True):
    """An envelope of topic `runs`: finished workflow runs and their effects."""

    v: int = 0
    sequence: int
    through: Through
    totals: RunTotals
    time_ms: int
    runs: list[Stored] = []
    out: list[Outgoing] = []


class RunsHeader(msgspec.Struct, kw_only=True):
    v: int = 0
    sequence: int
    through: Through
    totals: RunTotals


class _Version(msgspec.Struct):
    v: int = 0


_decode_version = msgspec.json.Decoder(_Version).decode

_FORMATS = {COLLECTED: COLLECTED_FORMAT, PROCESSED: PROCESSED_FORMAT, RUNS: RUNS_FORMAT}


def check_format(data: bytes, topic: str) -> None:
    """Raises `UnknownFormat` unless this version reads envelopes of that topic in that format; looks at nothing else."""
    _check(_decode_version(data).v, topic, _FORMATS[topic])


def _check(found: int, topic: str, newest: int) -> None:
    if not max(1, newest - 1) <= found <= newest:
        known = f"{newest - 1} and {newest}" if newest > 1 else str(newest)
        raise UnknownFormat(
            f"an envelope of topic {topic} has format {found}, this Rayfold reads {known}: "
            "install the version that wrote it, and go from one version to the next"
        )


def _reader(kind: type, topic: str) -> Any:
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind, float_hook=Decimal)
    newest = _FORMATS[topic]

    def decode(data: bytes) -> Any:
        try:
            value = decoder.decode(data)
        except msgspec.ValidationError:  # another format may have other fields
            check_format(data, topic)
            raise
        _check(value.v, topic, newest)
        return value

    return decode


decode_collected = _reader(CollectedRecords, COLLECTED)
decode_collected_header = _reader(CollectedHeader, COLLECTED)
decode_processed = _reader(Processed, PROCESSED)
decode_processed_header = _reader(ProcessedHeader, PROCESSED)
decode_runs = _reader(Runs, RUNS)
decode_runs_header = _reader(RunsHeader, RUNS)


def collected(
    records: Sequence[bytes], counts: Sequence[int], origins: Sequence[Origin] = (), sender: Sender | None = None
) -> bytes:
    """One envelope of encoded records: either `origins` or, from an API, `sender`."""
    return encode(
        Collected(
            v=COLLECTED_FORMAT,
            counts=list(counts),
            origins=list(origins),
            sender=sender,
            records=[msgspec.Raw(record) for record in records],
        )
    )
