"""What conditions and templates can refer to: one processed event with the profile and session as they stood then."""

from typing import Any

import msgspec

from pipeline import envelope
from pipeline.envelope import Entry, Processed

Scope = dict[str, Any]


def _object(raw: msgspec.Raw) -> dict[str, Any]:
    return {} if bytes(raw) == b"null" else envelope.decode_object(raw)


def scope_of(entry: Entry, processed: Processed) -> Scope:
    """Roots ``event``, ``profile``, ``session`` and ``payload`` (the event's properties, as in Tracardi's workflows)."""
    event = envelope.decode_object(entry.body)
    view = processed.views[entry.view] if entry.view >= 0 else None
    return {
        "event": event,
        "payload": event.get("properties", {}),
        "profile": _object(view.profile) if view is not None else {},
        "session": _object(view.session) if view is not None else {},
    }
