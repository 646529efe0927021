"""Wakes readers of this process when a topic's counter file changes: inotify where there is, a slow poll elsewhere."""

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Sequence

from pipeline.errors import LogUnavailable
from pipeline.log.counter_file import CounterFile

_IN_MODIFY = 2

#: Between two looks at the counters where there is no inotify.
_POLL_S = 0.004


class Watch:
    """One for all topics of a process; belongs to the running event loop."""

    def __init__(self, files: Sequence[CounterFile]) -> None:
        self._waiters: set[asyncio.Future[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._fd = _inotify(files)
        if self._fd is not None:
            self._loop.add_reader(self._fd, self._drain)

    def _drain(self) -> None:
        assert self._fd is not None
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 65536)
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            _finish(waiter)
        self._waiters.clear()

    async def wait(self, file: CounterFile, seen: int, timeout_s: float) -> int:
        """Return the count as soon as it differs from `seen`, or when time is over. Raises `LogUnavailable` once closed."""
        end = self._loop.time() + timeout_s
        while True:
            if self._closed:
                raise LogUnavailable("this process has closed the log: open it again")
            if (count := file.count) != seen:
                return count
            left = end - self._loop.time()
            if left <= 0:
                return count
            if self._fd is None:
                await asyncio.sleep(min(left, _POLL_S))
                continue
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.add(waiter)
            timer = self._loop.call_later(left, _finish, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiters.discard(waiter)

    def close(self) -> None:
        """Everyone who waits is told."""
        self._closed = True
        self._wake()
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None


def _finish(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def _inotify(files: Sequence[CounterFile]) -> int | None:
    """A non-blocking inotify descriptor on these files; None where the system has none to give."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        return None
    fd = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if fd < 0:
        return None
    for file in files:
        if libc.inotify_add_watch(fd, os.fsencode(file.path), _IN_MODIFY) < 0:
            os.close(fd)
            return None
    return fd
