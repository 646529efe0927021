"""From an HTTP body to records of topic `collected`: decoded, judged, stamped, with every id made.

Fields and defaults follow Tracardi's tracker payload; where Tracardi answers 500 or loses data, a clear refusal.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec

from pipeline import envelope, identity, instant
from pipeline.catalog import Catalog
from pipeline.definition import Source
from pipeline.errors import Malformed, SourceRefused, TooLarge
from pipeline.identity import Kind
from pipeline.limits import MAX_IDS, Limits, check_id, check_value, replace_nul
from pipeline.record import EventIn, Json, Payload
from pipeline.shape import fault

#: Levels of the payload's own structure around an event's properties: payload, events, event, properties.
_EVENT_DEPTH = 4

#: Request headers kept with the payload; never credentials.
KEPT_HEADERS = ("user-agent", "accept-language", "origin", "referer", "from")

_SPACES = re.compile(r"\s+")
_MAX_TYPE_LENGTH = 256


class _Times(msgspec.Struct):
    insert: str | None = None
    create: str | None = None
    update: str | None = None


class _TimesOnly(msgspec.Struct):
    time: _Times | None = None
    insert: str | None = None
    create: str | None = None


class _Reference(msgspec.Struct):
    id: str


class _Session(msgspec.Struct):
    id: str
    metadata: _TimesOnly | None = None


class _Profile(msgspec.Struct):
    id: str | None = None
    ids: list[str] = []
    metadata: _TimesOnly | None = None


class _Event(msgspec.Struct):
    type: str
    id: str | None = None
    time: _Times | None = None
    properties: Json = {}
    context: Json = {}
    tags: list[str] = []


class _Tracker(msgspec.Struct):
    source: _Reference
    session: _Session | None = None
    profile: _Profile | None = None
    context: Json = {}
    properties: Json = {}
    events: list[_Event] = []
    options: Json = {}
    profile_less: bool = False


class Caller(NamedTuple):
    """What the HTTP request says besides its body."""

    now_ms: int
    ip: str = ""
    headers: Mapping[str, str] = {}
    idempotency_key: str = ""
    profile_less: bool = False
    wait: bool = False


class Accepted(NamedTuple):
    """One payload, ready to be appended."""

    task: str
    partition_key: str  #: its partition is that of this key
    record: bytes
    events: int  #: 0: nothing to append, the answer is null
    profile: str | None
    session: str | None
    message_ids: Sequence[str]  #: of its events, or the ids made for them
    event_ids: Sequence[str]


_decoder: msgspec.json.Decoder[_Tracker | list[_Tracker]] = msgspec.json.Decoder(
    _Tracker | list[_Tracker], float_hook=Decimal
)


def decode(body: bytes, limits: Limits) -> tuple[list[_Tracker], bool]:
    """The payloads of a body, and whether it was a list.

    Raises `TooLarge`, or `Malformed`: with a field when the JSON has the wrong shape, without when it is no JSON.
    """
    if len(body) > limits.body:
        raise TooLarge(f"the body has {len(body)} bytes; at most {limits.body} are accepted: send smaller batches")
    if not body.strip():
        raise Malformed("the body is empty; send a tracker payload", "body")
    try:
        value = _decoder.decode(replace_nul(body))
    except msgspec.ValidationError as error:
        message, field = fault(error)
        raise Malformed(message, field or "body") from error
    except InvalidOperation:
        raise Malformed("a number in it is too large or too small", "body") from None
    except RecursionError:
        raise Malformed("nested deeper than any payload may be", "body") from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise Malformed(f"this is not JSON: {error}") from error
    return (value, True) if isinstance(value, list) else ([value], False)


def judge(catalog: Catalog, source_id: str, kind: str) -> Source:
    """The source, if it may send here. Raises `SourceRefused` with the reason."""
    source = catalog.sources.get(source_id)
    if source is None:
        raise SourceRefused(f"Invalid event source `{source_id[:64]}`: no such source is defined.")
    if not source.enabled:
        raise SourceRefused(f"Event source `{source.id}` is disabled.")
    if source.type != kind:
        raise SourceRefused(
            f"This endpoint allows only sources of type {kind}; `{source.id}` is of type {source.type}."
        )
    return source


def _events(
    given: _Tracker, source: Source, caller: Caller, field: str, key: str, new_id: Callable[[], str]
) -> list[EventIn]:
    own_ids = any(event.id is not None for event in given.events)
    events = []
    for index, event in enumerate(given.events):
        at = f"{field}events[{index}]"
        name = _SPACES.sub("-", event.type.strip()).lower()
        if not name or len(name) > _MAX_TYPE_LENGTH:
            raise Malformed(f"an event type has 1 to {_MAX_TYPE_LENGTH} characters", f"{at}.type")
        check_value(event.properties, f"{at}.properties", _EVENT_DEPTH)
        check_value(event.context, f"{at}.context", _EVENT_DEPTH)
        message = check_id(event.id, f"{at}.id") if event.id is not None else None
        if message is None and key and not own_ids:
            message = f"{key}:{index}"
        time = event.time and (event.time.create or event.time.insert)
        events.append(
            EventIn(
                identity.event_id(source.id, message) if message else new_id(),
                name,
                message,
                instant.from_text(time, f"{at}.time.create", caller.now_ms) if time else None,
                event.properties,
                event.context,
                event.tags,
            )
        )
    return events


def _ids(profile: _Profile | None, field: str) -> list[str]:
    if profile is None:
        return []
    if len(profile.ids) > MAX_IDS:
        raise Malformed(f"has {len(profile.ids)} ids; a profile keeps {MAX_IDS}", f"{field}profile.ids")
    return [check_id(one, f"{field}profile.ids[{index}]") for index, one in enumerate(profile.ids)]


def _flag(options: Json, name: str) -> bool:
    return options.get(name) is not False


def _insert_ms(metadata: _TimesOnly | None, field: str, now_ms: int) -> int | None:
    if metadata is None:
        return None
    text = (metadata.time and metadata.time.insert) or metadata.insert
    return instant.from_text(text, field, now_ms) if text else None


def accept(
    given: _Tracker, index: int | None, catalog: Catalog, limits: Limits, caller: Caller, new_id: Callable[[], str]
) -> Accepted:
    """Judge and complete one payload; `index` is its place in a list. Raises `Malformed`, `TooLarge`, `SourceRefused`."""
    field = "" if index is None else f"[{index}]."
    source = judge(catalog, given.source.id.strip(), "rest")
    task = new_id()
    if not given.events:
        return Accepted(task, "", b"", 0, None, None, (), ())
    if len(given.events) > limits.events:
        raise TooLarge(
            f"{field}events has {len(given.events)} events; at most {limits.events} are accepted in a payload"
        )
    check_value(given.context, f"{field}context", 2)
    check_value(given.properties, f"{field}properties", 2)
    key = f"{caller.idempotency_key}:{index or 0}" if caller.idempotency_key else ""
    events = _events(given, source, caller, field, key, new_id)
    profile_less = caller.profile_less
    profile = given.profile.id if given.profile and not profile_less else None
    if profile is not None:
        profile = check_id(profile, f"{field}profile.id")
    elif source.static_profile_id and not profile_less:
        raise Malformed("this source has static profile ids: send profile.id", f"{field}profile.id")
    artificial = given.session is None
    if given.session is not None:
        session = check_id(given.session.id, f"{field}session.id")
    else:
        session = _artificial_session(source.id, events[0].message, new_id)
    ephemeral = source.ephemeral
    payload = Payload(
        received_ms=caller.now_ms,
        revision=catalog.revision,
        source=source.id,
        channel=source.channel,
        static=source.static_profile_id,
        profile=profile,
        session=session,
        artificial=artificial,
        profile_less=profile_less,
        events=events,
        context=given.context,
        properties=given.properties,
        headers={name: caller.headers[name] for name in KEPT_HEADERS if name in caller.headers},
        ip=caller.ip,
        ids=_ids(given.profile, field),
        profile_insert_ms=_insert_ms(given.profile.metadata, f"{field}profile.metadata", caller.now_ms)
        if given.profile
        else None,
        session_insert_ms=_insert_ms(given.session.metadata, f"{field}session.metadata", caller.now_ms)
        if given.session
        else None,
        save_events=_flag(given.options, "saveEvents") and not ephemeral,
        save_session=_flag(given.options, "saveSession") and not ephemeral,
        save_profile=_flag(given.options, "saveProfile"),
        task=task if caller.wait else "",
    )
    record = envelope.encode(payload)
    if len(record) > limits.event or len(record) * len(events) > limits.body:
        _check_sizes(payload, limits, field)
    answered = None
    if not profile_less and payload.save_profile:
        answered = identity.mint(Kind.PROFILE, profile) if profile else identity.mint(Kind.SESSION, session)
    return Accepted(
        task=task,
        partition_key=profile or session,
        record=record,
        events=len(events),
        profile=answered,
        session=session if payload.save_session else None,
        message_ids=[event.message or event.id for event in events],
        event_ids=[event.id for event in events],
    )


def _artificial_session(source: str, message: str | None, new_id: Callable[[], str]) -> str:
    """A session for a client that named none; the same again when the payload is repeated."""
    return identity.event_id(source, f"session of {message}") if message else new_id()


def _check_sizes(payload: Payload, limits: Limits, field: str) -> None:
    """Each event is stored with the payload's context and headers: one large context must not become a thousand."""
    shared = len(envelope.encode((payload.context, payload.headers)))
    whole = 0
    for index, event in enumerate(payload.events):
        size = len(envelope.encode(event)) + shared
        whole += size
        if size > limits.event:
            raise TooLarge(
                f"{field}events[{index}] has {size} bytes with its payload's context; "
                f"at most {limits.event} are accepted for an event"
            )
    if whole > limits.body:
        raise TooLarge(
            f"{field}context is part of each of {len(payload.events)} events, {whole} bytes in all; "
            f"at most {limits.body} are accepted: send less context or fewer events"
        )


def response(accepted: Accepted, events: Sequence[str] = ()) -> dict[str, Any] | None:
    """The body of the answer in Tracardi's shape; None (JSON null) for a payload without events."""
    if not accepted.events:
        return None
    return {
        "task": accepted.task,
        "ux": [],
        "response": {},
        "events": [{"id": one} for one in events],
        "profile": {"id": accepted.profile},
        "session": {"id": accepted.session},
        "errors": [],
        "warnings": [],
    }
