"""Work that goes on to its end though whoever asked for it goes away."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Undisturbed:
    """For what must not stop half-way: a request's handler is cancelled when its client hangs up."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()  # a task that nobody refers to may be collected

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. When the caller is cancelled the work goes on; what it raises then is told to nobody."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or the loop complains of an error that the caller has or does not want

    async def wait(self) -> None:
        """Until nothing is under way."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
