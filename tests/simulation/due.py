"""What the definitions of a revision asked for: the reference model of destinations and rules."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.stores.definitions import Definition


class Asked(NamedTuple):
    """Who asks for an event, and whether nothing has come between since."""

    id: str
    body: Mapping[str, Any]
    lasting: bool  #: nobody has disabled or deleted it since


class History:
    """Every change there was, by revision."""

    def __init__(self, rows: Sequence[Definition]) -> None:
        self._rows: dict[tuple[str, str], list[tuple[int, Mapping[str, Any] | None]]] = {}
        for row in rows:
            body = None if row.deleted else json.loads(row.body)
            self._rows.setdefault((row.kind, row.id), []).append((row.revision, body))

    def at(self, kind: str, id: str, revision: int) -> Mapping[str, Any] | None:
        """The definition at that revision; None when there was none."""
        found = [body for since, body in self._rows.get((kind, id), ()) if since <= revision]
        return found[-1] if found else None

    def lasting(self, kind: str, id: str, revision: int) -> bool:
        """Whether it was there and enabled at that revision and ever since."""
        now = self.at(kind, id, revision)
        later = [body for since, body in self._rows.get((kind, id), ()) if since > revision]
        return all(body is not None and body.get("enabled", True) for body in (now, *later))

    def always(self, kind: str, id: str) -> bool:
        """Whether it was enabled ever since it was made."""
        rows = self._rows.get((kind, id), ())
        return all(body is not None and body.get("enabled", True) for _, body in rows)

    def asked(self, kind: str, type: str, revision: int) -> Iterator[Asked]:
        """The destinations or rules that asked for events of this type at that revision."""
        for of, id in self._rows:
            if of == kind:
                body = self.at(kind, id, revision)
                if body is not None and body.get("enabled", True) and body.get("event_type") in (None, type):
                    yield Asked(id, body, self.lasting(kind, id, revision))
