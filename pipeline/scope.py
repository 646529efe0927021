"""What conditions and templates can refer to: one processed event with the profile and session as they stood then."""

from functools import cache
from typing import Any

import msgspec

from pipeline import envelope
from pipeline.envelope import Entry, Processed

Scope = dict[str, Any]


class Scopes:
    """The scopes of one envelope's events. Events of one payload share profile and session: change neither."""

    def __init__(self, processed: Processed) -> None:
        self._views = processed.views
        self._view = cache(self._decoded)

    def _decoded(self, view: int) -> tuple[dict[str, Any], dict[str, Any]]:
        if view < 0:
            return {}, {}
        return _object(self._views[view].profile), _object(self._views[view].session)

    def of(self, entry: Entry) -> Scope:
        """Roots ``event``, ``profile``, ``session`` and ``payload`` (the event's properties, as in Tracardi's workflows)."""
        event = envelope.decode_object(entry.body)
        profile, session = self._view(entry.view)
        return {"event": event, "payload": event.get("properties", {}), "profile": profile, "session": session}


def _object(raw: msgspec.Raw) -> dict[str, Any]:
    return {} if bytes(raw) == b"null" else envelope.decode_object(raw)
