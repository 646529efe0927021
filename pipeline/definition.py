"""The kinds of definitions: what users may write into them, checked key by key."""

import re
from typing import Any, Literal

import msgspec

from pipeline.errors import Malformed
from pipeline.shape import fault

Json = dict[str, Any]

#: Ids of definitions: they appear in URLs, group names and file names.
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


class _Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: str
    name: str = ""
    enabled: bool = True


class Source(_Definition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may send events, and how they are judged."""

    type: Literal["rest", "webhook", "redirect"] = "rest"
    channel: str = ""
    static_profile_id: bool = False
    ephemeral: bool = False


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How an HTTP destination is called."""

    url: str
    method: Literal["POST", "PUT", "PATCH", "GET", "DELETE"] = "POST"
    headers: dict[str, str] = {}
    timeout: float = 10.0  #: seconds


class Destination(_Definition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where matching events are sent on to."""

    type: Literal["http"] = "http"
    source: str | None = None
    event_type: str | None = None
    condition: str = ""
    on_profile_change_only: bool = False
    mapping: Json = {}
    settings: HttpSettings


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: str
    type: str
    settings: Json = {}


class Edge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"from_": "from"}):
    from_: str
    to: str
    port: str = "payload"


class Workflow(_Definition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A directed acyclic graph of nodes."""

    nodes: list[Node]
    edges: list[Edge] = []


class Rule(_Definition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Binds (source, event type) to a workflow; null means any."""

    source: str | None = None
    event_type: str | None = None
    workflow: str


KINDS: dict[str, type[Source] | type[Destination] | type[Workflow] | type[Rule]] = {
    "sources": Source,
    "destinations": Destination,
    "workflows": Workflow,
    "rules": Rule,
}


def parse(kind: str, body: bytes) -> Source | Destination | Workflow | Rule:
    """Decode and check one definition. Raises `Malformed` naming the key at fault."""
    try:
        value = msgspec.json.decode(body, type=KINDS[kind])
    except msgspec.ValidationError as error:
        message, field = fault(error)
        raise Malformed(f"this is no {kind[:-1]}: {message}", field or "body") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"this is not JSON: {error}") from error
    if not re.fullmatch(ID_PATTERN, value.id):
        raise Malformed(f"the id {value.id!r} must be 1-64 letters, digits, '.', '_' or '-'", "id")
    return value
