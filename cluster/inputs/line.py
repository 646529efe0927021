"""The lines of an input file, and what is wrong with one."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from pipeline.errors import Malformed, Misconfigured


def decoded(raw: BinaryIO, name: str) -> Iterator[str]:
    """Each line as text. Raises `Malformed` naming the one that is not UTF-8, `Misconfigured` where reading fails."""
    number = 0
    try:
        for line in raw:
            number += 1
            yield line.decode()
    except UnicodeDecodeError as error:
        raise at_line(name, number, f"it is not UTF-8 ({error.reason} at byte {error.start + 1})") from None
    except (OSError, EOFError, zlib.error) as error:  # a damaged .gz is any of them
        raise Misconfigured(f"{name} cannot be read beyond line {number}: {error}") from None


def at_line(name: str, number: int, what: str) -> Malformed:
    """What to raise for a line that cannot be used."""
    return Malformed(f"{name}, line {number}: {what}", f"line {number}")
