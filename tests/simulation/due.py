"""What the definitions of a revision asked for: the reference model of destinations and rules."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import dropwhile
from typing import Any, NamedTuple

from pipeline.stores.definitions import Definition


class Asked(NamedTuple):
    """Who asks for an event, and whether nothing has come between since."""

    id: str
    body: Mapping[str, Any]
    group: str | None  #: of a destination's life
    lasting: bool  #: nobody has disabled or deleted it since: it is the same life


class _Version(NamedTuple):
    """A row at one revision."""

    revision: int
    body: Mapping[str, Any] | None  #: None when it is deleted
    group: str | None

    @property
    def enabled(self) -> bool:
        return self.body is not None and bool(self.body.get("enabled", True))


class History:
    """Every change there was, by revision."""

    def __init__(self, rows: Sequence[Definition]) -> None:
        self._rows: dict[tuple[str, str], list[_Version]] = {}
        for row in rows:
            body = None if row.deleted else json.loads(row.body)
            self._rows.setdefault((row.kind, row.id), []).append(_Version(row.revision, body, row.group))

    def _at(self, kind: str, id: str, revision: int) -> _Version | None:
        """The definition at that revision; None when there was none."""
        found = [one for one in self._rows.get((kind, id), ()) if one.revision <= revision]
        return found[-1] if found else None

    def lasting(self, kind: str, id: str, revision: int) -> bool:
        """Whether it was there and enabled at that revision and ever since, in the same life."""
        now = self._at(kind, id, revision)
        later = [one for one in self._rows.get((kind, id), ()) if one.revision > revision]
        return now is not None and _one_life([now, *later])

    def always(self, kind: str, id: str) -> bool:
        """Whether it was enabled ever since it was made, in one life."""
        return _one_life(list(dropwhile(lambda one: one.body is None, self._rows.get((kind, id), ()))))

    def asked(self, kind: str, type: str, revision: int) -> Iterator[Asked]:
        """The destinations or rules that asked for events of this type at that revision."""
        for of, id in self._rows:
            if of == kind:
                one = self._at(kind, id, revision)
                if (
                    one is not None
                    and one.body is not None
                    and one.enabled
                    and one.body.get("event_type") in (None, type)
                ):
                    yield Asked(id, one.body, one.group, self.lasting(kind, id, revision))


def _one_life(versions: Sequence[_Version]) -> bool:
    return all(one.enabled and one.group == versions[0].group for one in versions)
