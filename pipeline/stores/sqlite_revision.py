"""The newest revision of a definitions database that is a SQLite file: asked for every batch, so in microseconds."""

import sqlite3
from pathlib import Path

from pipeline.errors import DefinitionsUnavailable

#: Readers wait for nobody, but for a file that is being recovered.
_BUSY_TIMEOUT_S = 0.5


class SqliteRevision:
    """A connection of its own, read on the event loop. Opening raises `sqlite3.Error`."""

    def __init__(self, path: Path, counter: str, name: str) -> None:
        self._path = path
        self._statement = f"select n from {counter} where name = '{name}'"  # noqa: S608  (names are ours)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_TIMEOUT_S)

    def read(self) -> int:
        """Sees every transaction that was committed before. Raises `DefinitionsUnavailable`."""
        try:
            ((revision,),) = self._db.execute(self._statement).fetchall()  # all: else the file stays held for reading
        except (sqlite3.Error, ValueError) as error:
            raise DefinitionsUnavailable(f"{self._path} cannot be read just now: {error}") from error
        return int(revision)

    def close(self) -> None:
        self._db.close()
