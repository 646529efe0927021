"""The definitions database as every stage sees it: rows of validated JSON under a rising revision, and heartbeats.

An adapter is correct when it passes tests/contracts/definitions.py. All methods raise `DefinitionsUnavailable` when the
database cannot answer, and those that read definitions `UnknownFormat` when a newer Rayfold wrote one.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Definition(NamedTuple):
    """One row; a deleted one stays as a row with its flag and a new revision."""

    kind: str  #: sources, destinations, workflows, rules, secrets, …
    id: str
    revision: int
    deleted: bool
    body: bytes  #: JSON object; ``{}`` when deleted
    group: str | None = None  #: on the log: that of an enabled destination's life, of a replay; None when deleted


class Changes(NamedTuple):
    revision: int  #: of the database when asked: ask from here next time
    rows: Sequence[Definition]  #: changed since, deleted ones included, by rising revision


class Heartbeat(NamedTuple):
    """What a worker says of itself every two seconds."""

    worker: str
    stage: str
    time_ms: int  #: by the database's clock: when it was written
    body: bytes  #: JSON object: node, pid, partitions, counters, last error


class Definitions(Protocol):
    """Definitions by kind and id."""

    async def put(
        self, kind: str, id: str, body: bytes, *, group: str | None = None, expected: int | None = None
    ) -> int:
        """Create or replace; returns the new revision. Revisions rise by commit order: a poller misses none.

        Raises `Overtaken` when the row has another revision than `expected` (0: there is none), unless that is None.
        """
        ...

    async def delete(self, kind: str, id: str, *, expected: int | None = None) -> int:
        """Flag as deleted; returns the new revision. Raises `NotFound` when there is no live row, `Overtaken` as `put` does."""
        ...

    async def renew(self, kind: str, id: str, group: str) -> bool:
        """Unless the row names this group, give it a new revision (where there is none, make a deleted one) and return True.

        From then on no `put` or `delete` succeeds that expects what was read before.
        """
        ...

    async def get(self, kind: str, id: str) -> Definition | None: ...

    async def list(self, kind: str, *, after: str = "", limit: int = 1000) -> Sequence[Definition]:
        """Live rows by rising id."""
        ...

    async def count(self, kind: str) -> int:
        """Live rows of a kind."""
        ...

    async def revision(self) -> int:
        """Of the newest change that was answered before this was asked; cheap enough to be asked for every batch."""
        ...

    async def changed(self, since: int) -> Changes:
        """Every row with a revision above `since`."""
        ...

    async def beat(self, heartbeat: Heartbeat) -> None:
        """Write this worker's row, with the database's time instead of its own; rows not written for a day are removed."""
        ...

    async def now_ms(self) -> int:
        """The database's clock, which is everybody's; milliseconds since 1970. Embedded: this machine's."""
        ...

    async def heartbeats(self) -> Sequence[Heartbeat]: ...

    async def close(self) -> None: ...
