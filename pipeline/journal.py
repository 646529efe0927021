"""Keeps what the program warns of, so that it can be read over the API: the newest records, written in batches."""

import logging
from collections import deque
from collections.abc import Callable

from pipeline import envelope, instant
from pipeline.document import SCHEMA
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
        self._waiting: deque[Document] = deque(maxlen=_MAX_WAITING)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record until the next `flush_to`."""
        id = self._new_id()
        body = {
            "schema": SCHEMA,
            "id": id,
            "time": instant.to_text(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "stage": self._stage,
            "worker": self._worker,
            "logger": record.name,
            "message": record.getMessage()[:_MAX_TEXT],
        }
        self._waiting.append(Document("log", id, 1, envelope.encode(body)))

    async def flush_to(self, documents: Documents) -> None:
        """Write what is waiting. Raises `StoreUnavailable`; then nothing is forgotten."""
        taken = list(self._waiting)
        if taken:
            await documents.save(taken)
            for _ in taken:
                self._waiting.popleft()
