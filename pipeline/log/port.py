"""The log as every stage sees it: append-only partitions, groups with cursors, fenced writers.

An adapter is correct when it passes tests/contracts/log.py. All methods may raise `LogUnavailable`; a call that
raised it may or may not have had its effect. Nothing here interprets the bytes: one message is one envelope.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol


class Position(NamedTuple):
    """Where a message stands in its partition; ordered and storable, never computed with."""

    ledger: int
    entry: int


#: Before the first message of any partition.
BEGINNING = Position(-1, -1)


class Message(NamedTuple):
    """One stored envelope."""

    partition: int
    position: Position
    published_ms: int
    records: int  #: as given to `append`; what `backlog` counts
    data: bytes


class Backlog(NamedTuple):
    """What a group has not committed yet, over all partitions of a topic."""

    records: int
    seconds: float  #: age of the oldest message not committed; 0 when there is none


class Writer(Protocol):
    """The one fenced writer of a partition."""

    async def append(self, data: bytes, records: int) -> Position:
        """Store one message; durable on return.

        Raises `Fenced` when a newer writer was opened, and `TooLarge` for what no message can hold: nothing was stored then,
        however long this writer had been stopped. Any other failure leaves the outcome unknown: the caller gives up ownership.
        """
        ...


class Membership(Protocol):
    """This worker's place in a group of one topic: which partitions it holds, and its cursor in each."""

    @property
    def held(self) -> frozenset[int]:
        """Partitions this worker holds now: partition N belongs to live member N mod count, sorted by name.

        During a change two members may hold one partition for a moment; only a fenced writer excludes.
        """
        ...

    async def read(self, partition: int, max_bytes: int) -> Sequence[Message]:
        """The next messages in order, at once; empty when there are none.

        Starts after the committed position when the partition is first read or was `restart`ed. Returns at least one
        message if there is one, and stops after the message with which the sum of sizes passes `max_bytes`. What was
        appended just now may be missing for some milliseconds; `wait` returns when it is there.
        """
        ...

    async def restart(self, partition: int) -> None:
        """Make the next `read` start after the committed position again."""
        ...

    async def commit(self, partition: int, position: Position) -> None:
        """Everything up to and including `position` is done. Never moves back; may be persisted lazily."""
        ...

    async def wait(self, timeout_s: float) -> None:
        """Return when, since this method last returned, something was appended to the topic or `held` changed; or time is over.

        Appends to partitions not held need not count.

        One caller at a time: an append between a `read` and the next `wait` is never slept over.
        """
        ...

    async def close(self) -> None:
        """Leave the group; its partitions go to the other members at once."""
        ...


class Log(Protocol):
    """A durable log of topics with the same number of partitions each."""

    @property
    def partitions(self) -> int: ...

    async def append(self, topic: str, partition: int, data: bytes, records: int) -> Position:
        """Store one message as one of many writers; durable on return. Raises `TooLarge` as `Writer.append` does."""
        ...

    async def check(self) -> None:
        """Whether events can be taken: raises `LogUnavailable`, or `LogFull` where there is hardly any room; stores nothing."""
        ...

    async def exclusive(self, topic: str, partition: int) -> Writer:
        """Become the one fenced writer; every older writer of this partition fails from now on."""
        ...

    async def join(self, topic: str, group: str, worker: str) -> Membership:
        """Become a member of a group under a unique name. Raises `NotFound` when there is no such group.

        When the group is dropped later, `held` is empty within a second and `read`, `commit` and `wait` raise `NotFound`,
        also when a new group was created under its name.
        """
        ...

    async def create_group(self, topic: str, group: str, at: Literal["start", "end"] | int) -> None:
        """Create a group; an existing one stays as it is.

        A number is a time in milliseconds: the group begins with the first message published at or after it, or with the
        oldest that is left; retention takes nothing of that from before the return on. Where the clock was set back, with
        one of several such messages.
        """
        ...

    async def drop_group(self, topic: str, group: str) -> None:
        """Forget a group and its cursors, so that it holds back no retention; none is no error."""
        ...

    async def groups(self, topic: str) -> Sequence[str]:
        """Names of all groups of a topic, sorted."""
        ...

    async def read(
        self, topic: str, partition: int, after: Position, max_bytes: int, *, inclusive: bool = False
    ) -> Sequence[Message]:
        """Messages after a position (from it on, when `inclusive`), without a group, at once; bounds as in `Membership.read`."""
        ...

    async def wait(self, topic: str, timeout_s: float) -> None:
        """Return when something may have been appended to the topic since this method last returned, or time is over.

        One caller at a time for a topic: of several, one could sleep over what woke another.
        """
        ...

    async def last(self, topic: str, partition: int) -> Message | None:
        """The newest message, None when nothing was ever appended. Retention never takes it."""
        ...

    async def committed(self, topic: str, partition: int, group: str, *, max_age_s: float = 0) -> Position:
        """The group's committed position; `BEGINNING` when it has committed nothing.

        Retention keeps the message at this position and everything after it. Who asks often and is content with where the
        group was up to `max_age_s` ago says so: a broker is asked less. Never ahead of the truth; after a crash of the
        broker it may lie behind what it was before, as far as commits were not persisted.
        """
        ...

    async def backlog(self, topic: str, group: str) -> Backlog:
        """Exact while little lies behind the group; of much it may be an estimate. Raises `NotFound`."""
        ...

    async def trim(self, topic: str, older_than_ms: int) -> int:
        """Apply retention now: drop messages published before that time that no group and no rule above keeps.

        Returns how many were dropped. A broker that does this by itself returns 0.
        """
        ...

    async def close(self) -> None:
        """Release everything this process holds; appends under way are finished first."""
        ...
