"""`copy-data` (also `set-data`): profile fields from references, templates or literals."""

from typing import Any

import msgspec

from pipeline.errors import Malformed
from pipeline.operations import is_protected
from pipeline.path import split
from pipeline.reference import compile_template
from pipeline.workflow.node import Node, NodeType, State, Tools, Work, only


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mapping: dict[str, Any]  #: ``profile@a.b`` → reference, template or literal


def profile_path(text: str) -> str:
    """The path behind ``profile@``. Raises `Malformed` unless a workflow may write there."""
    root, at, path = text.partition("@")
    if not at or root != "profile" or is_protected(split(path)):
        raise Malformed(f"{text!r} cannot be written; name a field as profile@a.b", text)
    return path


def _compile(settings: Settings, id: str, tools: Tools) -> Node:
    copies = [(profile_path(target), compile_template(source, target)) for target, source in settings.mapping.items()]

    def run(state: State) -> Work:
        for path, value in copies:
            state.change("=", path, value(state.scope))
        return only("payload")

    return run


COPY_DATA = NodeType(Settings, ("payload",), _compile)
