"""`add-segment` and `remove-segment`."""

import msgspec

from pipeline.workflow.node import Node, NodeType, State, Tools, Work, only


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    segment: str


def _add(settings: Settings, id: str, tools: Tools) -> Node:
    def run(state: State) -> Work:
        state.change("[]", "segments", settings.segment)
        return only("payload")

    return run


def _remove(settings: Settings, id: str, tools: Tools) -> Node:
    def run(state: State) -> Work:
        # sent even when the copy lacks the segment: adding it may be on its way
        state.change("-[]", "segments", settings.segment)
        return only("payload")

    return run


ADD_SEGMENT = NodeType(Settings, ("payload",), _add)
REMOVE_SEGMENT = NodeType(Settings, ("payload",), _remove)
