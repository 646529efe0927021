"""`emit-event`: a new event of the same profile."""

from typing import Any

import msgspec

from pipeline.errors import Malformed
from pipeline.reference import compile_template
from pipeline.workflow.node import EmittedEvent, Node, NodeType, State, Tools, Work, only


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    properties: dict[str, Any] = {}


def _compile(settings: Settings, id: str, tools: Tools) -> Node:
    name = "-".join(settings.type.lower().split())
    if not name:
        raise Malformed("the event type must not be empty", "type")
    properties = compile_template(settings.properties, "properties")

    def run(state: State) -> Work:
        state.emitted.append(EmittedEvent(name, properties(state.scope)))
        return only("payload")

    return run


EMIT_EVENT = NodeType(Settings, ("payload",), _compile)
