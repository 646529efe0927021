"""A keep-alive HTTP/1.1 client of few instructions: the load generator shares the machine with what it measures."""

import asyncio
import time
from typing import NamedTuple


class Answer(NamedTuple):
    status: int
    body: bytes
    seconds: float


class Wire:
    """One connection. For our own server only: it understands Content-Length and nothing else."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def open(cls, host: str, port: int) -> "Wire":
        reader, writer = await asyncio.open_connection(host, port)
        return cls(reader, writer, f"{host}:{port}")

    async def post(self, path: str, body: bytes) -> Answer:
        """One request and its answer."""
        started = time.perf_counter()
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self._writer.write(head.encode() + b"\r\n\r\n" + body)
        await self._writer.drain()
        answered = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in answered.split(b"\r\n"):
            if line[:15].lower() == b"content-length:":
                length = int(line[15:])
        content = await self._reader.readexactly(length)
        return Answer(int(answered[9:12]), content, time.perf_counter() - started)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()
