"""New documents in Tracardi's shape: profiles, aliases, sessions and events; and the format of all documents."""

from typing import Any

from pipeline import envelope, instant
from pipeline.errors import UnknownFormat
from pipeline.record import Effect, Erase, EventIn, Json, Payload

#: Format of every stored document, in its field ``schema``.
SCHEMA = 1


def decode_document(body: bytes) -> Json:
    """A stored document of any kind. Raises `UnknownFormat` when this version cannot read it."""
    value = envelope.decode_object(body)
    check_schema(value.get("schema"), "a stored document")
    return value


def check_schema(found: object, what: str) -> None:
    """Raises `UnknownFormat` unless this version reads that format."""
    if found != SCHEMA:
        raise UnknownFormat(
            f"{what} has format {found}, this Rayfold reads {SCHEMA}: install the version that wrote it"
        )


def new_profile(id: str, payload: Payload, now_ms: int) -> Json:
    """A profile that starts to live with this payload."""
    born = payload.profile_insert_ms if payload.profile_insert_ms is not None else now_ms
    ids = [id]
    if payload.profile is not None and payload.profile != id:
        ids.append(payload.profile)
    return {
        "schema": SCHEMA,
        "id": id,
        "primary_id": payload.profile if payload.static and payload.profile != id else None,
        "ids": ids,
        "metadata": {
            "time": {
                "insert": instant.to_text(born),
                "create": instant.to_text(now_ms),
                "update": None,
                "visit": {"last": None, "current": None, "count": 0, "tz": None},
            }
        },
        "stats": {"visits": 0, "views": 0, "counters": {}},
        "traits": {},
        "segments": [],
        "interests": {},
        "consents": {},
        "active": True,
        "data": {"anonymous": True},
    }


def tombstone(id: str) -> Json:
    """What a deleted profile leaves: a version that nothing older passes.

    It stands for nobody, so searches for profiles pass it over as they pass over aliases.
    """
    return {"schema": SCHEMA, "id": id, "deleted": True, "merged_into": ""}


def decode_living(body: bytes) -> Json | None:
    """A stored profile, alias or session; None for a tombstone. Raises `UnknownFormat`."""
    value = decode_document(body)
    return None if value.get("deleted") else value


def alias_document(id: str, to: str, now_ms: int) -> Json:
    """An id that stands for another profile, and nothing else."""
    return {"schema": SCHEMA, "id": id, "merged_into": to, "metadata": {"time": {"update": instant.to_text(now_ms)}}}


def new_session(payload: Payload, profile: str, now_ms: int) -> Json:
    """The part of a session that belongs to this profile."""
    began = payload.session_insert_ms if payload.session_insert_ms is not None else now_ms
    text = instant.to_text(began)
    context = payload.context
    session: Json = {
        "schema": SCHEMA,
        "id": payload.session,
        "profile": {"id": profile},
        "metadata": {
            "time": {"insert": text, "create": instant.to_text(now_ms), "update": text, "duration": 0},
            "channel": payload.channel or None,
            "status": "active",
        },
        "context": context,
        "properties": payload.properties,
    }
    for name in ("device", "os", "app", "utm"):
        if isinstance(context.get(name), dict):
            session[name] = context[name]
    return session


def event_document(event: EventIn, payload: Payload, profile: str | None) -> Json:
    """A client's event before any mapping."""
    received = instant.to_text(payload.received_ms)
    created = received if event.create_ms is None else instant.to_text(event.create_ms)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "id": event.id,
        "type": event.type,
        "metadata": {
            "time": {"insert": received, "create": created},
            "ip": payload.ip or None,
            "status": "processed",
            "channel": payload.channel or None,
            "client": True,
        },
        "source": {"id": payload.source},
        "session": {"id": payload.session},
        "profile": {"id": profile},
        "properties": event.properties,
    }
    if event.message is not None:
        document["message_id"] = event.message
    if payload.profile_less:
        document["metadata"]["profile_less"] = True
    context = payload.context
    if event.context:
        context = {**context, **event.context}
    if context:
        document["context"] = context
        if isinstance(context.get("utm"), dict):
            document["utm"] = context["utm"]
    if payload.headers:
        document["request"] = {"headers": payload.headers}
    if event.tags:
        document["tags"] = {"values": event.tags, "count": len(event.tags)}
    return document


def erased_document(erase: Erase, profile: str) -> Json:
    """The event that says that a profile was deleted; nothing of what it was."""
    time = instant.to_text(erase.received_ms)
    return {
        "schema": SCHEMA,
        "id": erase.id,
        "type": "profile-deleted",
        "metadata": {"time": {"insert": time, "create": time}, "status": "processed", "client": False},
        "profile": {"id": profile},
        "properties": {},
    }


def internal_document(id: str, type: str, effect: Effect, profile: str, properties: Json) -> Json:
    """An event that Rayfold makes itself, in consequence of a workflow run."""
    time = instant.to_text(effect.received_ms)
    return {
        "schema": SCHEMA,
        "id": id,
        "type": type,
        "metadata": {
            "time": {"insert": time, "create": time},
            "status": "processed",
            "channel": effect.channel or None,
            "client": False,
            "revision": effect.revision,
        },
        "source": {"id": effect.source},
        "session": {"id": effect.session},
        "profile": {"id": profile},
        "properties": properties,
    }
