"""A group's cursors: one 8-byte number per partition in a small memory-mapped file.

A commit is one aligned store: seen by every process at once, never torn, kept over kill -9; the kernel writes it to disk
when it likes. After a power loss a cursor may be behind, never ahead, since what it stands for was durable before.
"""

import mmap
import os
from collections.abc import Sequence
from pathlib import Path

_BYTES = 8


class CursorFile:
    """Opened by `open`, made by `create`."""

    def __init__(self, path: Path, partitions: int) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._map = mmap.mmap(self._fd, partitions * _BYTES)
        self.inode = os.fstat(self._fd).st_ino

    @staticmethod
    def create(path: Path, committed: Sequence[int]) -> None:
        """Make the file with these sequence numbers; an existing one stays as it is."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{id(committed)}")
        temporary.write_bytes(b"".join(number.to_bytes(_BYTES, "little") for number in committed))
        os.chmod(temporary, 0o600)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()

    def get(self, partition: int) -> int:
        """The committed sequence number, 0 for none."""
        return int.from_bytes(self._map[partition * _BYTES : (partition + 1) * _BYTES], "little")

    def advance(self, partition: int, sequence: int) -> None:
        """Never back."""
        if sequence > self.get(partition):
            self._map[partition * _BYTES : (partition + 1) * _BYTES] = sequence.to_bytes(_BYTES, "little")

    def close(self) -> None:
        self._map.close()
        os.close(self._fd)
