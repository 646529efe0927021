"""Recognises an input file by its name and reads it."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from cluster.inputs import cdnow, json_lines, shop
from cluster.inputs.item import Item
from cluster.inputs.line import decoded
from pipeline.errors import Misconfigured


def read_file(path: Path, source: str = "") -> Iterator[Item]:
    """Payloads of a file, gzipped or not. Raises `Misconfigured` when it cannot be read, `Malformed` naming a line."""
    name = path.name.removesuffix(".gz")
    try:
        raw = path.open("rb")
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
    with raw:
        lines = decoded(_unpacked(raw, path), name)
        if name == "cdnow.txt":
            yield from cdnow.read(lines, name, source or cdnow.SOURCE)
        elif name == "ecom.csv":
            yield from shop.read(lines, name, source or shop.SOURCE)
        else:
            yield from json_lines.read(lines, name, source)


def _unpacked(raw: BinaryIO, path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
