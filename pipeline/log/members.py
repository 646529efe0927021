"""Who is alive in a group: one locked, regularly touched file per worker.

The kernel frees the lock of a killed process, so its death is seen at the next look; a stopped one keeps its lock, but
touches its file no more. Times are those of the machine's monotonic clock (kept as the file's time of change), so that
nobody dies when the wall clock is set or a laptop wakes up.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from urllib.parse import quote, unquote

#: A member whose file was not touched for this long is not alive, though its process holds the lock (it is stopped).
LEASE_S = 3.0

#: How often a member touches its file.
RENEW_S = 0.75

#: Files of dead members are removed after this long.
_FORGET_S = 60.0

_NS = 1_000_000_000


class Member:
    """This worker's file; alive as long as it is open and `renew`ed. Raises `BlockingIOError` while a namesake lives."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._path = folder / quote(worker, safe="")
        while True:
            folder.mkdir(mode=0o700, exist_ok=True)
            try:
                self._fd = _locked(self._path)
            except FileNotFoundError:
                continue  # the folder went with a dropped group
            if _is_same(self._fd, self._path):
                break
            os.close(self._fd)  # a namesake has just left and taken this file's name with it
        self.renew()

    def renew(self) -> None:
        """Alive for another `LEASE_S`."""
        now = time.monotonic_ns()
        os.utime(self._fd, ns=(now, now))

    def close(self) -> None:
        """Leave at once."""
        if _is_same(self._fd, self._path):
            self._path.unlink(missing_ok=True)
        os.close(self._fd)


def alive(folder: Path) -> list[str]:
    """Names of the live members, sorted."""
    found = []
    now = time.monotonic_ns()
    for entry in _entries(folder):
        with contextlib.suppress(FileNotFoundError):
            age_s = (now - entry.stat().st_mtime_ns) / _NS
            if age_s < LEASE_S and _is_locked(entry.path):
                found.append(unquote(entry.name))
            elif abs(age_s) > _FORGET_S:  # from before a restart of the machine: in the future
                _forget(entry.path)
    return sorted(found)


def dissolve(folder: Path) -> None:
    """Remove what dead members left behind, and the folder with the last of them."""
    for entry in _entries(folder):
        with contextlib.suppress(FileNotFoundError):
            _forget(entry.path)
    with contextlib.suppress(OSError):  # not empty: somebody lives
        folder.rmdir()


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    try:
        return list(os.scandir(folder))
    except FileNotFoundError:
        return []


def _locked(path: Path) -> int:
    """A descriptor holding the file's lock; raises `BlockingIOError` when somebody else has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise
    return fd


def _is_same(fd: int, path: Path) -> bool:
    try:
        return os.fstat(fd).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _is_locked(path: str) -> bool:
    """Whether its owner's process lives; askers use shared locks, so they do not meet each other."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _forget(path: str) -> None:
    """Remove a dead member's file while holding its lock, so that no namesake gets the file that goes."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except BlockingIOError:
        return
    finally:
        os.close(fd)
