"""A log whose messages hold less than the one behind it takes."""

from typing import Any

from pipeline.errors import TooLarge
from pipeline.log.port import Position, Writer


class NarrowWriter:
    """A fenced writer of such a log."""

    def __init__(self, writer: Writer, most: int) -> None:
        self._writer = writer
        self._most = most

    async def append(self, data: bytes, records: int) -> Position:
        if len(data) > self._most:
            raise TooLarge(f"{len(data)} bytes are more than a message may hold")
        return await self._writer.append(data, records)


class Narrow:
    """`most`: bytes that one message of a fenced writer may hold."""

    def __init__(self, log: Any, most: int) -> None:
        self._log = log
        self._most = most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def exclusive(self, topic: str, partition: int) -> NarrowWriter:
        return NarrowWriter(await self._log.exclusive(topic, partition), self._most)
