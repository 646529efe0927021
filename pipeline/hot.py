"""What the owner of a partition keeps in memory: profiles, sessions and the ids of recent events.

Whatever is not known to be saved stays (it is pinned by the sequence of its envelope); the rest is forgotten oldest
first when a limit is passed. Nothing is forgotten but in `evict`.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from pipeline.log.port import Position
from pipeline.operations import FieldError

#: A decoded JSON object takes about this many times its encoded size.
_MEMORY_FACTOR = 6

#: A profile that is larger takes up nothing more: each event that changes it writes it whole.
MAX_PROFILE_BYTES = 1_000_000

#: Bytes of an entry known to be absent.
_ABSENT_BYTES = 300


class Limits(NamedTuple):
    """Of one partition."""

    bytes: int = 24_000_000  #: of profiles and sessions together
    ids: int = 50_000  #: in the window
    unsaved_bytes: int = 16_000_000  #: encoded, processed but not yet saved: beyond this the collector stops reading


class Held:
    """One profile or session. `body` None: there is no such document (or a tombstone with this version)."""

    __slots__ = ("body", "sequence", "size", "version")

    def __init__(self, version: int, body: dict[str, Any] | None, size: int, sequence: int) -> None:
        self.version = version
        self.body = body
        self.size = size
        self.sequence = sequence  #: of the envelope that changed it last; 0: as loaded

    @property
    def encoded_bytes(self) -> int:
        """As it was loaded or written last; little for one that is new."""
        return self.size // _MEMORY_FACTOR


def refusal_if_full(held: Held) -> FieldError | None:
    """Why this profile takes up nothing more; None while it does."""
    if held.encoded_bytes <= MAX_PROFILE_BYTES:
        return None
    return FieldError("profile", f"has {held.encoded_bytes} bytes; nothing more is added beyond {MAX_PROFILE_BYTES}")


class Hot:
    """The state of one owned partition."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._documents: dict[str, Held] = {}
        self._window: dict[str, int] = {}
        self._unsaved: deque[tuple[Position, int, int]] = deque()
        self._bytes = 0
        self._saved_sequence = 0
        self.unsaved_bytes = 0

    def get(self, id: str) -> Held | None:
        """A profile or session by document id, None when it has to be loaded."""
        return self._documents.get(id)

    def put(self, id: str, held: Held) -> None:
        """Add or replace, as the newest."""
        old = self._documents.pop(id, None)
        if old is not None:
            self._bytes -= old.size
        self._documents[id] = held
        self._bytes += held.size

    def loaded(self, id: str, version: int, body: dict[str, Any] | None, encoded_size: int) -> None:
        """Remember what the store said, unless something newer is here already."""
        if id not in self._documents:
            self.put(id, Held(version, body, encoded_size * _MEMORY_FACTOR or _ABSENT_BYTES, 0))

    def changed(self, id: str, held: Held, encoded_size: int, sequence: int) -> None:
        """The document goes out in this envelope."""
        held.sequence = sequence
        self._bytes += encoded_size * _MEMORY_FACTOR - held.size
        held.size = encoded_size * _MEMORY_FACTOR
        self._documents[id] = self._documents.pop(id)

    def knows(self, event_id: str) -> bool:
        """Whether this event was seen by this owner or stands in the unsaved tail."""
        return event_id in self._window

    def remember(self, event_ids: Iterable[str], sequence: int) -> None:
        """Put events into the window."""
        for id in event_ids:
            self._window[id] = sequence

    def appended(self, position: Position, sequence: int, size: int) -> None:
        """An envelope of that many bytes is durable."""
        self._unsaved.append((position, sequence, size))
        self.unsaved_bytes += size

    @property
    def full(self) -> bool:
        """Too much is waiting to be saved: read no more input."""
        return self.unsaved_bytes > self._limits.unsaved_bytes

    def evict(self, saved: Position) -> None:
        """Forget what the store is known to have (everything up to `saved`), as far as the limits ask for it.

        Call only between batches: never between asking the store about a batch and folding it.
        """
        while self._unsaved and self._unsaved[0][0] <= saved:
            _, self._saved_sequence, size = self._unsaved.popleft()
            self.unsaved_bytes -= size
        _drop(self._window, len(self._window) - self._limits.ids, self._saved_sequence)
        if self._bytes > self._limits.bytes:
            self._shrink()

    def _shrink(self) -> None:
        gone = []
        freed = self._bytes - self._limits.bytes
        for id, held in self._documents.items():
            if freed <= 0:
                break
            if held.sequence <= self._saved_sequence:
                gone.append(id)
                freed -= held.size
        for id in gone:
            self._bytes -= self._documents.pop(id).size


def _drop(window: dict[str, int], excess: int, saved_sequence: int) -> None:
    gone: list[str] = []
    for id, sequence in window.items():
        if excess <= len(gone) or sequence > saved_sequence:
            break
        gone.append(id)
    for id in gone:
        del window[id]
