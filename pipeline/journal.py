"""Keeps what the program warns of, so that it can be read over the API: the newest records, written in batches."""

import logging
from collections import deque
from collections.abc import Callable

from pipeline import envelope, instant
from pipeline.document import SCHEMA
from pipeline.errors import StoreUnavailable
from pipeline.stores.documents import Document, Documents

#: Records waiting to be written; older ones give way, and are counted.
_MAX_WAITING = 1_000

#: Characters of one message.
_MAX_TEXT = 2_000


class Journal(logging.Handler):
    """A handler for warnings and errors; `flush_to` writes what has come in."""

    def __init__(self, stage: str, worker: str, new_id: Callable[[], str]) -> None:
        super().__init__(logging.WARNING)
        self._stage = stage
        self._worker = worker
        self._new_id = new_id
        self._waiting: deque[logging.LogRecord] = deque()
        self._lost = 0  #: given way since the last successful `flush_to`

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record until the next `flush_to`."""
        self._waiting.append(record)
        self._shorten()

    def _shorten(self) -> None:
        while len(self._waiting) > _MAX_WAITING:
            self._waiting.popleft()
            self._lost += 1

    async def flush_to(self, documents: Documents) -> None:
        """Write what is waiting. Raises `StoreUnavailable`; then it goes on waiting."""
        if not self._waiting:
            return
        taken, self._waiting = self._waiting, deque()
        lost, self._lost = self._lost, 0
        try:
            await documents.save([self._document(record, lost) for record in taken])
        except StoreUnavailable:
            self._waiting.extendleft(reversed(taken))
            self._lost += lost
            self._shorten()
            raise

    def _document(self, record: logging.LogRecord, lost: int) -> Document:
        body = {
            "schema": SCHEMA,
            "id": self._new_id(),
            "time": instant.to_text(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "stage": self._stage,
            "worker": self._worker,
            "logger": record.name,
            "message": record.getMessage()[:_MAX_TEXT],
        }
        if lost:
            body["lost_before"] = lost  # records that gave way while the store was away
        return Document("log", str(body["id"]), 1, envelope.encode(body))
