"""The data folder: what it was made for, who uses it, and the secrets made at first start."""

import fcntl
import json
import os
import secrets
import stat
from dataclasses import replace
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet

from cluster.settings import Settings
from pipeline.errors import Misconfigured, NotFound

#: Of everything in the folder together: it is raised with any format in it, so that an older Rayfold refuses the whole.
FORMAT = 3

_PRIVATE = 0o700

#: In a folder that is to become a data folder: the demo's own ones, and what file systems bring.
_MAY_BE_THERE = frozenset(("demo", "demo-servers", "lost+found"))


def prepare(settings: Settings) -> tuple[Settings, bool]:
    """Make or check the folder; returns the settings with absolute path and secrets, and whether it is new.

    Raises `Misconfigured` for a newer format, another partition count, a bad key, or a missing permission.
    """
    folder = settings.data.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = _read_format(folder / "format.json")
        _make_private(folder, known is not None)
        if known is not None:
            _check(folder, known, settings)
        else:
            _write(folder / "format.json", json.dumps({"format": FORMAT, "partitions": settings.partitions}))
        (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
        token = settings.admin_token or _secret(folder / "secrets" / "admin_token", secrets.token_urlsafe(24))
        key = settings.secret_key or _secret(folder / "secrets" / "secret_key", Fernet.generate_key().decode())
        _check_key(key, "RAYFOLD_SECRET_KEY" if settings.secret_key else str(folder / "secrets" / "secret_key"))
    except PermissionError as error:
        raise Misconfigured(f"no permission to use {error.filename}: give it to this user, or choose --data") from None
    except FileExistsError:
        raise Misconfigured(f"{folder} is not a folder: choose another one with --data") from None
    except OSError as error:
        raise Misconfigured(f"the data folder {folder} cannot be used: {error.strerror}") from None
    return replace(settings, data=folder, admin_token=token, secret_key=key), known is None


def raise_format(folder: Path) -> int | None:
    """Write down that from now on this Rayfold's formats are used; returns the format before where that was another one."""
    known = _read_format(folder / "format.json")
    if known is None or known["format"] == FORMAT:
        return None
    _write(folder / "format.json", json.dumps({**known, "format": FORMAT}))
    return known["format"]


def said_of_rise(before: int) -> str:
    """What the user has to know when `raise_format` has raised it."""
    return (
        f"format {before} became {FORMAT}: what is stored stays and is read on; "
        "an older Rayfold refuses this folder from now on"
    )


def first_showing(settings: Settings) -> bool:
    """Whether the token that was made here has never been printed; from now on it has."""
    try:
        os.close(os.open(settings.data / "secrets" / "admin_token.shown", os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    return True


def admin_token(settings: Settings) -> str:
    """The token of an installation that runs or ran. Raises `Misconfigured` when there is none."""
    if settings.admin_token:
        return settings.admin_token
    path = settings.data / "secrets" / "admin_token"
    try:
        return _read_secret(path)
    except OSError as error:
        raise Misconfigured(
            f"the admin token cannot be read from {path} ({error.strerror}): "
            "name the installation's folder with --data, or set RAYFOLD_ADMIN_TOKEN"
        ) from None


def _make_private(folder: Path, is_ours: bool) -> None:
    """Nobody else reads what is stored here. A folder that holds other things is refused rather than locked up."""
    if stat.S_IMODE(folder.stat().st_mode) == _PRIVATE:
        return
    others = [name for name in os.listdir(folder) if not name.startswith(".") and name not in _MAY_BE_THERE]
    if others and not is_ours:
        raise Misconfigured(f"{folder} holds other things, such as {others[0]}: choose a folder of its own with --data")
    folder.chmod(_PRIVATE)


def _check_key(key: str, where: str) -> None:
    try:
        Fernet(key)
    except ValueError:
        raise Misconfigured(
            f"{where} is no key (32 bytes in URL-safe base64): restore the one that the stored secrets were encrypted with"
        ) from None


def _read_format(path: Path) -> dict[str, int] | None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, int])
        return {name: found[name] for name in ("format", "partitions")}
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        raise Misconfigured(f"{path} is damaged: restore it from a backup, or start with an empty folder") from None


def _check(folder: Path, known: dict[str, int], settings: Settings) -> None:
    if known["format"] > FORMAT:
        raise Misconfigured(
            f"{folder} has format {known['format']}, written by a newer Rayfold; this one reads {FORMAT}: upgrade"
        )
    if known["partitions"] != settings.partitions:
        raise Misconfigured(
            f"{folder} has {known['partitions']} partitions and cannot get {settings.partitions}: "
            f"set RAYFOLD_PARTITIONS={known['partitions']}, or start with an empty folder"
        )


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.replace(path)


def _secret(path: Path, fresh: str) -> str:
    if not path.exists():
        _write(path, fresh)
    return _read_secret(path)


def _read_secret(path: Path) -> str:
    text = path.read_text(errors="replace").strip()
    if not text or not text.isascii():
        raise Misconfigured(f"{path} is damaged: restore it from a backup")
    return text


class FolderLock:
    """Held by the one `rayfold up` of a folder for as long as it runs; the kernel releases it when that one dies."""

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        """Raises `Misconfigured` when its file cannot be opened, `NotFound` when there is none and it is not to be made."""
        self.path = folder / "up.lock"
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
        except OSError as error:
            if not create and isinstance(error, FileNotFoundError | NotADirectoryError):
                raise NotFound(f"nothing was ever started on {folder}: name the folder with --data") from None
            raise Misconfigured(
                f"{self.path} cannot be opened ({error.strerror}): give it to this user, or choose another folder with --data"
            ) from None

    def take(self) -> None:
        """Raises `Misconfigured` when another `up` uses the folder."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured(
                f"{self.path.parent} is in use by process {self.holder() or 'unknown'}: "
                "stop it with `rayfold down`, or choose another folder with --data"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def holder(self) -> int | None:
        """The process that took it last."""
        text = os.pread(self._fd, 20, 0).decode(errors="replace")
        return int(text) if text.isascii() and text.isdigit() else None

    def is_taken(self) -> bool:
        """Whether some process holds it now."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        return False

    def close(self) -> None:
        os.close(self._fd)
