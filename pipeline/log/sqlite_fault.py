"""What a fault of SQLite or of the file system means to the user of the log."""

import errno
import sqlite3
from pathlib import Path

from pipeline.errors import LogFull, LogUnavailable, Misconfigured
from pipeline.sqlite_refusal import refusal

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: Faults of writing frames or the shared index: the commit frame was not written, so nothing was stored.
_CANNOT_GROW = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)


def unavailable(path: Path, error: sqlite3.Error | OSError) -> LogUnavailable:
    """`LogFull` only where it is certain that nothing was stored; a failed fsync, say, leaves that unknown."""
    if getattr(error, "sqlite_errorcode", 0) in _CANNOT_GROW or getattr(error, "errno", None) in _NO_ROOM:
        return LogFull(f"{path} cannot grow ({error}): free space on its disk; nothing was appended")
    return LogUnavailable(
        f"{path} cannot be used just now ({error}), so an append's outcome is unknown: try again later"
    )


def unusable(path: Path, error: sqlite3.Error | OSError) -> LogUnavailable | Misconfigured:
    """The same while opening, where what no waiting will change is told apart."""
    return refusal(path, "log", error) or unavailable(path, error)
