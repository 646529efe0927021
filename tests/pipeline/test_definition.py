"""Names of definitions: they become parts of addresses, groups and files."""

import json

import pytest

from pipeline import definition
from pipeline.errors import Malformed
from tests.contracts.ugly import UGLY_IDS, UGLY_NAMES


@pytest.mark.parametrize("name", UGLY_NAMES)
def test_an_ugly_name_is_taken_as_it_is(name: str) -> None:
    assert definition.parse("sources", json.dumps({"id": name}).encode()).id == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 65,
        "a\n",
        "\na",
        ".a",
        "-a",
        "..",
        "a/b",
        "a b",
        "é",
        "٣",
        *(one for one in UGLY_IDS if one not in (*UGLY_NAMES, "ss")),
    ],
)
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(Malformed) as caught:
        definition.parse("sources", json.dumps({"id": name}).encode())
    assert caught.value.field == "id"
