"""Secrets: encrypted at rest, filled in by name, never shown."""

import msgspec
import pytest
from cryptography.fernet import Fernet

from pipeline.errors import Malformed, Misconfigured
from pipeline.secrets import SecretBox, resolve

_VALUE = "hunter2-täst"


def stored(box: SecretBox, value: str) -> bytes:
    return msgspec.json.encode({"ciphertext": box.encrypt(value)})


@pytest.fixture
def key() -> bytes:
    return Fernet.generate_key()


def test_what_is_encrypted_is_decrypted_and_not_readable_between(key: bytes) -> None:
    box = SecretBox(key)
    ciphertext = box.encrypt(_VALUE)
    assert "hunter2" not in ciphertext
    assert box.decrypt(ciphertext) == _VALUE
    assert SecretBox(key).decrypt(ciphertext) == _VALUE
    assert box.encrypt(_VALUE) != ciphertext  # equal secrets do not look equal


def test_references_are_replaced_at_any_depth_and_nothing_else_is(key: bytes) -> None:
    box = SecretBox(key)
    secret = box.lookup({"TOKEN": stored(box, _VALUE), "b.c-d": stored(box, "${TOKEN}")})
    settings = {
        "headers": {"Authorization": "Bearer ${TOKEN}", "${TOKEN}": 1},
        "list": ["${b.c-d}", 7, None, True, "$TOKEN ${} ${ TOKEN }"],
    }
    assert resolve(settings, secret) == {
        "headers": {"Authorization": f"Bearer {_VALUE}", "${TOKEN}": 1},
        "list": ["${TOKEN}", 7, None, True, "$TOKEN ${} ${ TOKEN }"],  # a value is text, never resolved again
    }
    assert settings["list"][0] == "${b.c-d}"  # type: ignore[index]


def test_an_unknown_name_is_told_with_what_to_do(key: bytes) -> None:
    with pytest.raises(Malformed, match="rayfold secret put NOBODY"):
        resolve({"url": "https://x/${NOBODY}"}, SecretBox(key).lookup({}))


def test_another_key_is_told_without_showing_anything(key: bytes) -> None:
    secret = SecretBox(Fernet.generate_key()).lookup({"A": stored(SecretBox(key), _VALUE)})
    with pytest.raises(Misconfigured, match="another key") as raised:
        resolve("${A}", secret)
    assert raised.value.__cause__ is None
    assert _VALUE not in repr(raised.value)


def test_a_broken_key_is_refused_and_no_key_is_ever_shown(key: bytes) -> None:
    with pytest.raises(Misconfigured, match="RAYFOLD_SECRET_KEY") as raised:
        SecretBox(b"too-short-to-be-a-key")
    assert "too-short" not in str(raised.value)
    assert key.decode() not in repr(SecretBox(key))
