"""`increment`: adds to a number of the profile, exactly."""

from decimal import Decimal

import msgspec

from pipeline.workflow.node import Node, NodeType, State, Tools, Work, only
from pipeline.workflow.nodes.copy_data import profile_path


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    field: str
    by: int | Decimal | float = 1


def _compile(settings: Settings, id: str, tools: Tools) -> Node:
    path = profile_path(settings.field)

    def run(state: State) -> Work:
        state.change("+", path, settings.by)
        return only("payload")

    return run


INCREMENT = NodeType(Settings, ("payload",), _compile)
