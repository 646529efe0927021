"""The format of definitions: a fixture of each kind, taken and compiled for ever."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline import definition
from pipeline.delivery import Selection
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
