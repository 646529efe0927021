"""Secrets in definitions: encrypted at rest, filled in where they are used, never shown."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from pipeline.errors import Malformed, Misconfigured

_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_REFERENCE = re.compile(rf"\$\{{({_NAME})\}}")

#: How a secret that was not filled in begins.
UNRESOLVED = "${"


class _Stored(msgspec.Struct):
    ciphertext: str


class SecretBox:
    """Encrypts and decrypts with the installation's key (32 bytes, URL-safe base64)."""

    def __init__(self, key: bytes) -> None:
        try:
            self._fernet = Fernet(key)
        except ValueError:
            raise Misconfigured("RAYFOLD_SECRET_KEY must be 32 bytes in URL-safe base64") from None

    def __repr__(self) -> str:
        return "SecretBox()"

    def encrypt(self, value: str) -> str:
        return self._fernet.encrypt(value.encode()).decode()

    def decrypt(self, ciphertext: str) -> str:
        """Raises `Misconfigured` when it was encrypted with another key."""
        try:
            return self._fernet.decrypt(ciphertext.encode()).decode()
        except InvalidToken:
            raise Misconfigured(
                "a secret was encrypted with another key: restore RAYFOLD_SECRET_KEY, or put the secret again"
            ) from None

    def lookup(self, stored: Mapping[str, bytes]) -> Callable[[str], str]:
        """A function from a secret's name to its value, over definition bodies of kind `secrets`."""

        def value_of(name: str) -> str:
            body = stored.get(name)
            if body is None:
                raise Malformed(f"there is no secret {name!r}: put it with `rayfold secret put {name}`", "settings")
            return self.decrypt(msgspec.json.decode(body, type=_Stored).ciphertext)

        return value_of


def check_name(name: str) -> None:
    """Raises `Malformed` for a name that ``${NAME}`` could never refer to."""
    if not re.fullmatch(_NAME, name):
        raise Malformed(
            f"{name[:64]!r} cannot be referred to as ${{NAME}}; use 1-64 letters, digits, '.', '_' or '-'", "name"
        )


def unresolved(name: str) -> str:
    """Stands for a secret where only the shape of settings matters."""
    return f"${{{name}}}"


def resolve(value: Any, secret: Callable[[str], str]) -> Any:
    """The same JSON with every ``${NAME}`` in its strings replaced. Raises what `secret` raises."""
    if isinstance(value, str):
        return _REFERENCE.sub(lambda found: secret(found.group(1)), value)
    if isinstance(value, Mapping):
        return {key: resolve(item, secret) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, secret) for item in value]
    return value
