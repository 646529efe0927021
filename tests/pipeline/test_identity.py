"""Minted ids: the same everywhere, recognisable, in the partition of what they were minted from."""

from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from pipeline.identity import Kind, event_id, mint, minted_kind, partition, session_document_id


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1), st.sampled_from(Kind), st.integers(1, 64))
def test_a_minted_id_lies_in_the_partition_of_its_value(value: str, kind: Kind, partitions: int) -> None:
    assert partition(mint(kind, value), partitions) == partition(value, partitions)


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1))
def test_a_minted_id_is_recognised_and_never_minted_again(value: str) -> None:
    profile, session = mint(Kind.PROFILE, value), mint(Kind.SESSION, value)
    assert (minted_kind(profile), minted_kind(session)) == (Kind.PROFILE, Kind.SESSION)
    assert mint(Kind.PROFILE, profile) == profile
    assert mint(Kind.PROFILE, session) == session
    assert mint(Kind.SESSION, session) == session
    assert profile != session


def test_ids_never_change_between_versions() -> None:
    assert mint(Kind.PROFILE, "00001") == "4b1dcd5d-2d59-8142-ae1f-e3c11fa1793f"
    assert event_id("cdnow", "cdnow.txt:2") == event_id("cdnow", "cdnow.txt:2") != event_id("shop", "cdnow.txt:2")
    assert session_document_id("s", "p") != session_document_id("s", "q")


def test_foreign_uuids_are_not_taken_for_minted_ones() -> None:
    ours = mint(Kind.PROFILE, "x")
    assert minted_kind(ours.upper()) is None
    assert minted_kind(ours[:-1] + ("0" if ours[-1] != "0" else "1")) is None
    assert minted_kind("01890a5d-ac96-774b-bcce-b302099a8057") is None
    assert minted_kind("") is None


def test_right_check_digits_do_not_make_an_id_of_another_shape_ours() -> None:
    for head in ("zzzzzzzz-0000-8100-8000-00000000", "+1234567-0000-8100-8000-00000000", "1" * 14 + "81" + "1" * 16):
        forged = head + blake2b(head.encode(), digest_size=2, person=b"rayfold-check").hexdigest()
        assert minted_kind(forged) is None
        assert 0 <= partition(forged, 4) < 4
    assert minted_kind("\ud800" * 36) is None
