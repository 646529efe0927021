"""A copy of the definitions on this machine's disk: workers begin with it while the database is away."""

import os
from pathlib import Path

import msgspec

from pipeline.errors import UnknownFormat
from pipeline.stores.definitions import Changes, Definition

_FORMAT = 1


class _Content(msgspec.Struct):
    v: int
    revision: int
    rows: list[Definition]


class DefinitionsCopy:
    """One file that any process of the installation on this machine replaces whole. All methods block on the disk.

    Secrets are in it as in the database: encrypted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Changes | None:
        """What was written last, None where nothing was. Raises `UnknownFormat` for a newer Rayfold's."""
        try:
            content = msgspec.msgpack.decode(self._path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise UnknownFormat(f"{self._path} is damaged ({error}): remove it, it is made again") from error
        if content.v != _FORMAT:
            raise UnknownFormat(f"{self._path} was written by a newer Rayfold: upgrade, or remove it")
        return Changes(content.revision, content.rows)

    def write(self, changes: Changes) -> None:
        """Durable on return, whole or not at all; an older revision never replaces a newer one that is there now."""
        before = self._read_revision()
        if before is not None and before > changes.revision:
            return
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        data = msgspec.msgpack.encode(_Content(_FORMAT, changes.revision, list(changes.rows)))
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)

    def _read_revision(self) -> int | None:
        try:
            found = self.read()
        except UnknownFormat:
            return None
        return found.revision if found else None
