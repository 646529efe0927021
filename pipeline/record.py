"""What travels in topic `collected`: payloads from clients and commands from stages."""

from typing import Any, NamedTuple

import msgspec

Json = dict[str, Any]


class Origin(NamedTuple):
    """Which outbox slot a record was sent from; heard up to the highest (sequence, place) per sender."""

    sender: str
    sequence: int
    place: int


class EventIn(msgspec.Struct, array_like=True, omit_defaults=True):
    """One event of a payload, checked and with its id."""

    id: str
    type: str
    message: str | None  #: the client's own id
    create_ms: int | None  #: when it happened, by the client
    properties: Json
    context: Json
    tags: list[str]


class Payload(msgspec.Struct, tag="payload", tag_field="k", omit_defaults=True, kw_only=True):
    """A tracker payload as the API accepted it: judged, stamped, complete. Later stages never judge its source again."""

    received_ms: int
    revision: int  #: of the definitions it was judged by
    source: str
    channel: str = ""
    static: bool = False  #: the source's profile ids live at once
    profile: str | None = None  #: as the client gave it
    target: str | None = None  #: forwarded: the minted id to apply it to
    hops: int = 0  #: partitions it was forwarded by
    session: str
    artificial: bool = False  #: the client named no session
    profile_less: bool = False
    events: list[EventIn]
    context: Json = {}
    properties: Json = {}
    headers: dict[str, str] = {}
    ip: str = ""
    ids: list[str] = []
    profile_insert_ms: int | None = None  #: a new profile is back-dated to this
    session_insert_ms: int | None = None
    save_events: bool = True
    save_session: bool = True
    save_profile: bool = True
    task: str = ""  #: set when somebody waits for the outcome


class Alias(msgspec.Struct, tag="alias", tag_field="k", omit_defaults=True, kw_only=True):
    """Session `id` (minted) belongs to profile `to`: heeded only when `id` never lived."""

    id: str
    to: str
    received_ms: int


class Effect(msgspec.Struct, tag="effect", tag_field="k", omit_defaults=True, kw_only=True):
    """What one workflow run does to a profile; stored as an internal event under its deterministic id."""

    id: str
    profile: str
    received_ms: int
    revision: int
    workflow: str
    run: str
    cause: str  #: id of the event that started the run
    depth: int  #: runs that led here, this one included
    source: str
    session: str | None = None
    channel: str = ""
    hops: int = 0  #: partitions it was forwarded by
    operations: list[list[Any]] = []
    emitted: list[tuple[str, Json]] = []


class Erase(msgspec.Struct, tag="erase", tag_field="k", omit_defaults=True, kw_only=True):
    """Profile `profile` is to be forgotten; what names it later begins a new one."""

    id: str  #: of the internal event that says so; the same each time it is asked for
    profile: str
    received_ms: int
    hops: int = 0  #: partitions it was forwarded by


Record = Payload | Alias | Effect | Erase
