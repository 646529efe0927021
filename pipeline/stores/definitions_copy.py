"""A copy of the definitions on this machine's disk: workers begin with it while the database is away."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pipeline.errors import DefinitionsUnavailable, UnknownFormat
from pipeline.stores.definitions import Changes, Definition

_FORMAT = 1


class _Content(msgspec.Struct):
    v: int
    database: str  #: of which this is a copy: revisions of another one mean nothing here
    revision: int
    rows: list[Definition]


class DefinitionsCopy:
    """One file that any process of the installation on this machine replaces whole. All methods block on the disk.

    Secrets are in it as in the database: encrypted. `database` names that without its password.
    """

    def __init__(self, path: Path, database: str) -> None:
        self._path = path
        self._database = database

    def read(self) -> Changes | None:
        """What was written last, None where nothing was of this database.

        Raises `UnknownFormat` for what is damaged or a newer Rayfold's, `DefinitionsUnavailable` for what cannot be read.
        """
        try:
            content = msgspec.msgpack.decode(self._path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DefinitionsUnavailable(f"{self._path} cannot be read: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise UnknownFormat(f"{self._path} is damaged ({error}): remove it, it is made again") from error
        if content.v != _FORMAT:
            raise UnknownFormat(f"{self._path} was written by a newer Rayfold: upgrade, or remove it")
        return Changes(content.revision, content.rows) if content.database == self._database else None

    def write(self, changes: Changes, *, anew: bool = False) -> None:
        """Durable on return, whole or not at all. An older revision never replaces a newer one, unless the database
        itself has gone back (`anew`). Raises `OSError`."""
        with self._alone() as folder:
            before = self._read_revision()
            if not anew and before is not None and before > changes.revision:
                return
            temporary = self._path.with_name(f".{self._path.name}.new")
            content = _Content(_FORMAT, self._database, changes.revision, list(changes.rows))
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(msgspec.msgpack.encode(content))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            os.fsync(folder)

    def confirm(self) -> None:
        """Its rows were the newest just now: for as long as it is not written, its time says when it was known to be right."""
        try:
            os.utime(self._path)
        except FileNotFoundError:
            return

    def confirmed_ms(self) -> int:
        """When it was written or confirmed last, 0 where it was never."""
        try:
            return self._path.stat().st_mtime_ns // 1_000_000
        except OSError:
            return 0

    def _read_revision(self) -> int | None:
        try:
            found = self.read()
        except (UnknownFormat, DefinitionsUnavailable):
            return None
        return found.revision if found else None

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """The folder, locked: between the look at what is there and its replacement nobody else writes.

        The kernel frees the lock of the dead.
        """
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(folder)
