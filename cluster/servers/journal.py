"""Mends the journal of a BookKeeper that was killed. Call it only while that one does not run."""

from pathlib import Path
from struct import unpack

_PADDING = -0x100
_HEADER_BYTES = 512
_OLD_HEADER_BYTES = 8
_WITH_HEADER = 5  #: journal format from which on the header is long
_CHECKED_FROM, _CHECKED_TO = 32, 36  #: where an entry's own checksum lies

_CRC32C = 0x82F63B78


def _table() -> list[int]:
    found = []
    for number in range(256):
        value = number
        for _ in range(8):
            value = value >> 1 ^ _CRC32C if value & 1 else value >> 1
        found.append(value)
    return found


def repair(folder: Path) -> bool:
    """Cut a torn last record off the newest journal file; whether there was one.

    A kill in the middle of a write leaves a record whose tail is zeros, for the file is made in advance. BookKeeper 4.17 takes
    it for a valid entry, and the topic it belongs to can never be opened again. No more than what was never confirmed is cut.
    """
    files = sorted(folder.glob("*.txn"), key=lambda path: int(path.stem, 16))
    if not files:
        return False
    size = files[-1].stat().st_size
    with files[-1].open("r+b") as file:
        header = file.read(_OLD_HEADER_BYTES)
        if len(header) < _OLD_HEADER_BYTES or header[:4] != b"BKLG":
            return False
        at = _HEADER_BYTES if unpack(">i", header[4:])[0] >= _WITH_HEADER else _OLD_HEADER_BYTES
        last = None
        while at + 4 <= size:
            file.seek(at)
            (length,) = unpack(">i", file.read(4))
            if length == _PADDING:
                at += 8 + unpack(">i", file.read(4))[0]
                continue
            if length <= 0:
                break
            last = at, length
            at += 4 + length
        if last is None:
            return False
        at, length = last
        file.seek(at + 4)
        if not _is_torn(file.read(length), length):
            return False
        file.truncate(at)
        file.truncate(size)  # zeros again, as it was made
        return True


def _is_torn(record: bytes, length: int) -> bool:
    if len(record) < length:
        return True
    if length < _CHECKED_TO or unpack(">q", record[8:16])[0] < 0:  # no entry: a fence or a key
        return False
    (expected,) = unpack(">I", record[_CHECKED_FROM:_CHECKED_TO])
    return crc32c(record[:_CHECKED_FROM] + record[_CHECKED_TO:]) != int(expected)


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, which the standard library has not."""
    table, value = _table(), 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 255] ^ value >> 8
    return value ^ 0xFFFFFFFF
