"""What a node type is: settings, ports, and a generator that does the node's work."""

from collections.abc import Callable, Generator, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from pipeline.errors import Malformed
from pipeline.http.port import Response
from pipeline.operations import FieldError, Operation, apply
from pipeline.path import Json
from pipeline.shape import fault


class HttpCall(NamedTuple):
    """A request a node wants made."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout_s: float


class HttpResult(NamedTuple):
    """What came of it; `response` None when there was no answer, then `error` says why."""

    response: Response | None
    error: str


class EmittedEvent(NamedTuple):
    type: str
    properties: Json


class NodeFailed(Exception):
    """The node cannot go on with this data; the run ends."""


class State:
    """What a run has come to: nodes see and change a copy of the scope, and leave their effects here."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.scope: dict[str, Any] = {**scope, "profile": deepcopy(scope.get("profile") or {}), "memory": {}}
        self.operations: list[Operation] = []
        self.emitted: list[EmittedEvent] = []

    def change(self, operation: str, path: str, value: Any) -> None:
        """Do it to the copy now and to the profile later. Raises `NodeFailed` when the field refuses it."""
        done: Operation = (operation, path, value)
        errors: list[FieldError] = apply(self.scope["profile"], [done])
        if errors:
            raise NodeFailed(f"{errors[0].path}: {errors[0].reason}")
        self.operations.append(done)


#: Ports to go on by; yields calls, receives their results.
Work = Generator[HttpCall, HttpResult, tuple[str, ...]]
Node = Callable[[State], Work]


class Tools(NamedTuple):
    """What compiling may use besides the settings."""

    now: Callable[[], datetime]
    secret: Callable[[str], str]  #: a secret's value by its name; raises `Malformed`


class NodeType(NamedTuple):
    """`compile` gets checked settings and the node's id. Raises `Malformed` naming the key."""

    settings: type[msgspec.Struct]
    ports: tuple[str, ...]
    compile: Callable[[Any, str, Tools], Node]


def only(*ports: str) -> Work:
    """The work of a node that calls nobody."""
    yield from ()  # makes it a generator
    return ports


def compile_node(kind: NodeType, given: Json, id: str, tools: Tools) -> Node:
    """Checks the settings and compiles them. Raises `Malformed` naming node and key."""
    try:
        return kind.compile(msgspec.convert(given, kind.settings), id, tools)
    except msgspec.ValidationError as error:
        message, key = fault(error)
    except Malformed as error:
        message, key = str(error), error.field
    raise Malformed(f"node {id!r}: {message}", ".".join(filter(None, ("nodes", id, "settings", key))))
