"""The format of definitions: a fixture of each kind, taken and compiled for ever."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline import definition, envelope, replay
from pipeline.delivery import Selection
from pipeline.log.port import BEGINNING, Position
from pipeline.secrets import unresolved
from pipeline.workflow.flow import Tools, compile_workflow

DEFINITIONS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "definitions-1.json").read_text()
)


def _now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("kind", definition.KINDS)
def test_definitions_of_schema_1(kind: str) -> None:
    read = definition.parse(kind, json.dumps(DEFINITIONS[kind]).encode())
    assert (read.id, read.enabled) == (DEFINITIONS[kind]["id"], True)
    if isinstance(read, definition.Destination):
        assert Selection(read, _now).destination.settings.url == "https://example.com/${TOKEN}"
    if isinstance(read, definition.Workflow):
        compile_workflow(read, Tools(_now, unresolved))


def test_a_replay_of_schema_1() -> None:
    read = replay.decode(json.dumps(DEFINITIONS[replay.KIND]).encode())
    assert (read.reader, read.is_of_store) == ("replay.019ab9a8-0000-7000-8000-000000000001", True)
    assert read.ends == {"processed": [Position(0, 5), BEGINNING], "runs": [BEGINNING, Position(0, 1)]}
    assert json.loads(envelope.encode(read)) == DEFINITIONS[replay.KIND]
