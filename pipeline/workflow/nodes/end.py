"""Where a branch ends."""

import msgspec

from pipeline.workflow.node import Node, NodeType, Tools, only


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


def _compile(settings: Settings, id: str, tools: Tools) -> Node:
    return lambda state: only()


END = NodeType(Settings, (), _compile)
