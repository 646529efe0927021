"""What a decoder's complaint is about: which field, and what is wrong with it."""

import re

import msgspec

_PATH = re.compile(r" - at `(?:key in )?`?\$\.?([^`]*)`")
_NAMED = re.compile(r"(?:missing required|contains unknown) field `([^`]*)`")


def fault(error: msgspec.ValidationError) -> tuple[str, str]:
    """The complaint, and the path of the field, such as ``events[0].type``; empty when the whole value is meant."""
    message = str(error)
    path = _PATH.search(message)
    named = _NAMED.search(message)
    parts = [part for part in (path and path.group(1), named and named.group(1)) if part]
    return message.split(" - at")[0], ".".join(parts)
