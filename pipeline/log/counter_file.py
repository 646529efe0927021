"""A small file beside a topic: lock of its writers, count of its appends, pid of the last writer."""

import contextlib
import fcntl
import mmap
import os
import time
from pathlib import Path
from types import TracebackType

_SIZE_BYTES = 4096
_COUNT = slice(0, 8)
_PID = slice(8, 16)

#: Written to wake inotify watchers: a change through the memory map alone would not.
_TOUCH_OFFSET = 64

#: Between two looks at a lock that `take` waits for.
_LOOK_S = 0.001


class CounterFile:
    """Use as a context manager to hold the lock. The kernel releases the lock of a killed process.

    A child made by `os.fork()` without exec would keep it: spawn, never fork. Making one raises `OSError` when its
    disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._fill()
            self._map = mmap.mmap(self._fd, _SIZE_BYTES)
        except OSError:
            os.close(self._fd)
            raise

    def _fill(self) -> None:
        """Give the file its size by writing it: a hole in a mapped file is a bus error once the disk is full."""
        if os.fstat(self._fd).st_size >= _SIZE_BYTES:
            return
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        if os.fstat(self._fd).st_size < _SIZE_BYTES:
            os.pwrite(self._fd, bytes(_SIZE_BYTES), 0)
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def __enter__(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._map[_PID] = os.getpid().to_bytes(8, "little")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def take(self, within_s: float) -> bool:
        """Enter, but give up when the lock is not free in time; then nothing is held and False returned. Blocks."""
        end = time.monotonic() + within_s
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    return False
                time.sleep(_LOOK_S)
            else:
                self._map[_PID] = os.getpid().to_bytes(8, "little")
                return True

    def release(self) -> None:
        """Leave."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    @property
    def count(self) -> int:
        """Appends so far; a hint only: it may be ahead of what a reader finds, never behind for long."""
        return int.from_bytes(self._map[_COUNT], "little")

    @property
    def holder(self) -> int:
        """Process id of whoever took the lock last."""
        return int.from_bytes(self._map[_PID], "little")

    def bump(self) -> None:
        """Count one more append. Only while holding the lock."""
        self._map[_COUNT] = (self.count + 1).to_bytes(8, "little")

    def touch(self) -> None:
        """Wake everyone who watches the file; if that fails they look a little later by themselves."""
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, b"x", _TOUCH_OFFSET)

    def close(self) -> None:
        self._map.close()
        os.close(self._fd)
