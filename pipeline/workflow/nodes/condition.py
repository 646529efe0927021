"""`if`: goes on by port ``true`` or ``false``."""

import msgspec

from pipeline.tql import compile_condition
from pipeline.workflow.node import Node, NodeType, State, Tools, Work, only


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    condition: str


def _compile(settings: Settings, id: str, tools: Tools) -> Node:
    condition = compile_condition(settings.condition, tools.now)

    def run(state: State) -> Work:
        return only("true" if condition(state.scope) else "false")

    return run


IF = NodeType(Settings, ("true", "false"), _compile)
