"""Times: what clients write, kept as UTC with milliseconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import instant
from pipeline.errors import Malformed

NOW = 1_700_000_000_000
FIRST_MS = -62_135_596_800_000  # year 1
LAST_MS = 253_402_300_799_999  # year 9999


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("2023-01-31T12:00:00Z", "2023-01-31T12:00:00.000Z"),
        ("2023-01-31T12:00:00", "2023-01-31T12:00:00.000Z"),
        ("2023-01-31T12:00:00.5+02:00", "2023-01-31T10:00:00.500Z"),
        ("2023-01-31 12:00:00.123999", "2023-01-31T12:00:00.123Z"),
        ("2023-01-31", "2023-01-31T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_kept_as_utc_with_milliseconds(text: str, kept: str) -> None:
    assert instant.to_text(instant.from_text(text, "f", NOW)) == kept


@given(st.integers(FIRST_MS, LAST_MS))
def test_every_time_that_is_written_can_be_read_again(ms: int) -> None:
    assert instant.parse(instant.to_text(ms)) == ms


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("yesterday", "no time"),
        ("", "no time"),
        (5, "int"),
        ("2023-13-01T00:00:00Z", "no time"),
        ("0001-01-01T00:00:00+23:00", "year 1"),
        ("2999-01-01T00:00:00Z", "future"),
        ("9999-12-31T23:59:59-23:00", "future"),
    ],
)
def test_what_is_no_time_is_refused_with_its_field(value: object, said: str) -> None:
    with pytest.raises(Malformed, match=said) as caught:
        instant.from_text(value, "events[0].time.create", NOW)
    assert caught.value.field == "events[0].time.create"


def test_a_clock_may_be_a_day_ahead_and_no_more() -> None:
    ahead = instant.to_text(NOW + instant.MAX_AHEAD_MS)
    assert instant.from_text(ahead, "f", NOW) == NOW + instant.MAX_AHEAD_MS
    with pytest.raises(Malformed, match="future"):
        instant.from_text(instant.to_text(NOW + instant.MAX_AHEAD_MS + 1), "f", NOW)
