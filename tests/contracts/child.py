"""A second process of a test."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: Until a child has started or has said what it was asked for.
_ANSWER_S = 60.0


class Child:
    """A Python program that is told and says lines."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    async def said(self) -> str:
        """Its next line, empty once it has ended."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), _ANSWER_S)
        return line.rstrip("\n")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def child(program: str, *arguments: str) -> Iterator[Child]:
    """Runs until the block is left, however it is left; a stopped one dies too."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, *arguments], stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Child(process)
        finally:
            process.kill()
