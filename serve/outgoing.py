"""Checks how a destination is called, so that a mistake is answered when it is put, not found at each delivery."""

import re

from pipeline.definition import HttpSettings
from pipeline.errors import Malformed
from pipeline.secrets import UNRESOLVED

#: Longer than this a delivery is not waited for.
_MAX_TIMEOUT_S = 60.0

#: A header's name, and what its value must not hold (RFC 9110, 5.1 and 5.5).
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def check(settings: HttpSettings) -> None:
    """Raises `Malformed` naming the setting."""
    if not settings.url.startswith(("http://", "https://", UNRESOLVED)):
        raise Malformed("expected an http:// or https:// address", "settings.url")
    if not 0 < settings.timeout <= _MAX_TIMEOUT_S:
        raise Malformed(f"expected more than 0 and at most {_MAX_TIMEOUT_S:g} seconds", "settings.timeout")
    for name, value in settings.headers.items():
        if not _TOKEN.fullmatch(name):
            raise Malformed(f"{name[:64]!r} is no name of a header", "settings.headers")
        if _FORBIDDEN.search(value):
            raise Malformed(f"the value of {name[:64]} holds control characters", f"settings.headers.{name}")
