"""What the documentation shows can be used as it stands."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.definition import Workflow, parse
from pipeline.secrets import unresolved
from pipeline.tql import compile_condition
from pipeline.workflow.flow import Tools, compile_workflow
from pipeline.workflow.registry import NODE_TYPES

TEXT = (Path(__file__).parents[2] / "docs" / "definitions.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("condition", [line for block in blocks("tql") for line in block.splitlines()])
def test_conditions_can_be_compiled(condition: str) -> None:
    assert compile_condition(condition, now)({}) in (True, False)


def test_the_workflow_can_be_compiled() -> None:
    (shown,) = blocks("workflow")
    workflow = parse("workflows", b'{"id":"w",' + shown.strip().encode()[1:])
    assert isinstance(workflow, Workflow)
    compile_workflow(workflow, Tools(now, unresolved))


def test_every_node_type_is_documented() -> None:
    for name, kind in NODE_TYPES.items():
        (row,) = (line for line in TEXT.splitlines() if line.startswith("|") and f"`{name}`" in line)
        assert all(f"`{port}`" in row for port in kind.ports), name
