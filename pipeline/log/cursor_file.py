"""A group's cursors: one 8-byte number per partition in a small memory-mapped file.

A commit is one aligned store: seen by every process at once, never torn, kept over kill -9; the kernel writes it to disk
when it likes. After a power loss a cursor may be behind, never ahead, since what it stands for was durable before.
"""

import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.log.sqlite_fault import unavailable

_BYTES = 8


class CursorFile:
    """Opened by `open`, made by `create`. Raises `FileNotFoundError` when there is no such group."""

    def __init__(self, path: Path, partitions: int) -> None:
        self._path = path
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._map = mmap.mmap(fd, partitions * _BYTES)
            self.inode = os.fstat(fd).st_ino
        finally:
            os.close(fd)

    @staticmethod
    def create(path: Path, committed: Sequence[int]) -> None:
        """Make the file with these sequence numbers, durable on return; an existing one stays as it is."""
        if path.exists():
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{id(committed)}")
        try:
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(b"".join(number.to_bytes(_BYTES, "little") for number in committed))
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        except FileExistsError:
            return
        except OSError as error:
            raise unavailable(path, error) from error
        finally:
            temporary.unlink(missing_ok=True)

    @staticmethod
    def read(path: Path, partition: int) -> int:
        """The committed sequence number as it is now, without keeping the file open."""
        with open(path, "rb", buffering=0) as file:
            file.seek(partition * _BYTES)
            return int.from_bytes(file.read(_BYTES), "little")

    @property
    def is_current(self) -> bool:
        """Whether the group still has this file: one that was dropped and made again has another."""
        try:
            return self._path.stat().st_ino == self.inode
        except FileNotFoundError:
            return False

    def get(self, partition: int) -> int:
        """The committed sequence number, 0 for none."""
        return int.from_bytes(self._map[partition * _BYTES : (partition + 1) * _BYTES], "little")

    def advance(self, partition: int, sequence: int) -> None:
        """Never back. Looking and storing are two steps: of two holders at the same moment the lower may win, so repeat it."""
        if sequence > self.get(partition):
            self._map[partition * _BYTES : (partition + 1) * _BYTES] = sequence.to_bytes(_BYTES, "little")

    def close(self) -> None:
        self._map.close()
