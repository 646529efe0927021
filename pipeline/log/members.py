"""Who is alive in a group: one locked, regularly touched file per worker."""

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


class Member:
    """This worker's file; alive as long as it is open and `renew`ed."""

    def __init__(self, folder: Path, worker: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._path = folder / quote(worker, safe="")
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self.renew()

    def renew(self) -> None:
        """Alive for another `LEASE_S`."""
        os.utime(self._fd)

    def close(self) -> None:
        """Leave at once."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def alive(folder: Path) -> list[str]:
    """Names of the live members, sorted."""
    found = []
    now = time.time()
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    for entry in entries:
        try:
            age = now - entry.stat().st_mtime
            if age < LEASE_S and _is_locked(entry.path):
                found.append(unquote(entry.name))
            elif age > _FORGET_S and not _is_locked(entry.path):
                os.unlink(entry.path)
        except FileNotFoundError:
            continue
    return sorted(found)


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
