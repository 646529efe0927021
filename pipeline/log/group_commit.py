"""Group commit: what is appended while one transaction runs makes up the next one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pipeline.errors import LogUnavailable, RayfoldError
from pipeline.log.port import Position
from pipeline.log.sqlite_topic import Item, Topic

T = TypeVar("T")

#: Bytes of one transaction, one message more at most.
_MAX_TRANSACTION_BYTES = 8_000_000

#: An append that is not durable by then is given up; it may still become so.
APPEND_DEADLINE_S = 10.0


class GroupCommit:
    """The append thread of one topic in this process."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"append-{topic.path.stem}")
        self._waiting: list[tuple[Item, asyncio.Future[Position]]] = []
        self._running: asyncio.Task[None] | None = None

    async def append(self, item: Item) -> Position:
        """Durable on return. Raises `Fenced`, or `LogUnavailable` when the outcome is unknown."""
        done: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name=f"append {self._topic.path.stem}")
        return await self._bounded(done)

    async def call(self, function: Callable[[], T]) -> T:
        """Run on the append thread, after what waits there. Raises `LogUnavailable` like `append`."""
        return await self._bounded(self._submit(function))

    def _submit(self, function: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def _bounded(self, future: "asyncio.Future[T]") -> T:
        try:
            async with asyncio.timeout(APPEND_DEADLINE_S):
                return await future
        except TimeoutError:
            raise LogUnavailable(
                f"{self._topic.path} took no append for {APPEND_DEADLINE_S:g} s, its outcome is unknown; process "
                f"{self._topic.counter.holder} held its lock last: look whether that one is stopped"
            ) from None

    async def _run(self) -> None:
        while taken := self._take():
            items = [item for item, _ in taken]
            outcomes: list[Position | RayfoldError] | list[Exception]
            try:
                outcomes = await self._submit(lambda items=items: self._topic.append(items))  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001  (whoever waits raises it; the next ones are served)
                outcomes = [error] * len(taken)
            for (_, done), outcome in zip(taken, outcomes, strict=True):
                if done.done():
                    continue
                if isinstance(outcome, Exception):
                    done.set_exception(outcome)
                else:
                    done.set_result(outcome)
        self._running = None

    def _take(self) -> list[tuple[Item, "asyncio.Future[Position]"]]:
        """The next transaction's items; those that nobody waits for any more are not begun."""
        self._waiting = [one for one in self._waiting if not one[1].done()]
        size = count = 0
        while count < len(self._waiting) and size < _MAX_TRANSACTION_BYTES:
            size += len(self._waiting[count][0].data)
            count += 1
        taken = self._waiting[:count]
        del self._waiting[:count]
        return taken

    async def close(self) -> bool:
        """Finish what is under way. False when the thread still hangs at the lock after the deadline: leave it the topic."""
        if self._running is not None:
            await asyncio.wait([self._running], timeout=APPEND_DEADLINE_S)
        try:
            await self.call(lambda: None)
        except LogUnavailable:
            if self._running is not None:
                self._running.cancel()
            self._thread.shutdown(wait=False, cancel_futures=True)
            return False
        self._thread.shutdown(wait=True)
        return True
