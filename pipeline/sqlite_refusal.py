"""Faults of opening SQLite files that no waiting will change."""

import sqlite3
from pathlib import Path

from pipeline.errors import Misconfigured

_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_FORBIDDEN = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
_NO_FILE = (PermissionError, FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError)


def refusal(path: Path, what: str, error: BaseException | None) -> Misconfigured | None:
    """The sentence for a damaged file, or one that cannot be opened; None for everything that may pass.

    `what` says what the file holds, such as ``log``.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return Misconfigured(f"{path} is not a readable {what} ({error}): restore it from a backup, or move it away")
    if code in _FORBIDDEN or isinstance(error, _NO_FILE):
        return Misconfigured(
            f"{path} cannot be opened ({error}): give this user its folder and every file in it, "
            "or set RAYFOLD_DATA to a folder that can be written"
        )
    return None
