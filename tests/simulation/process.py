"""A simulated operating system process: it can be killed at any await, stopped and continued."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar, copy_context
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

_running: ContextVar["Process | None"] = ContextVar("running", default=None)


def task_factory(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], **options: Any) -> "asyncio.Task[T]":
    """Every task belongs to the process of the task that made it."""
    task = asyncio.Task(work, loop=loop, **options)
    process = _running.get()
    if process is not None:
        process.adopt(task)
    return task


class Process:
    """What it does outside its memory goes through `call`. Nothing it does after `die` has any effect."""

    def __init__(self, name: str, random: Random, delay_s: Callable[[], float]) -> None:
        self.name = name
        self.alive = True
        self._random = random
        self._delay_s = delay_s
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._continued: asyncio.Future[None] | None = None
        self._fuse: int | None = None
        self._stall: tuple[int, Callable[[], None]] | None = None
        self.on_death: list[Callable[[], None]] = []
        self.skew_ms = 0  #: its clock against the true one

    # ---- what runs in it

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
        """Start a task of this process from outside."""
        context = copy_context()
        context.run(_running.set, self)
        return context.run(asyncio.get_running_loop().create_task, work, name=name)

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """A task of this process was made."""
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    # ---- what befalls it

    def die(self) -> None:
        """As by kill -9. What it has sent may still arrive."""
        if not self.alive:
            return
        self.alive = False
        self.resume()
        for task in list(self._tasks):
            task.cancel()
        for told in self.on_death:
            told()

    def die_after(self, calls: int) -> None:
        """Die at the boundary of a call, that many boundaries from now."""
        self._fuse = calls

    def stop_after(self, steps: int, stop: Callable[[], None]) -> None:
        """`stop` it before it takes a step in a change of a definition or group, that many steps from now."""
        self._stall = steps, stop

    def step(self) -> None:
        """It is about to take one."""
        if self._stall is not None:
            left, stop = self._stall
            self._stall = (left - 1, stop) if left > 1 else None
            if self._stall is None:
                stop()

    def pause(self) -> None:
        """As by SIGSTOP."""
        if self._continued is None:
            self._continued = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        """As by SIGCONT."""
        if self._continued is not None:
            self._continued.set_result(None)
            self._continued = None

    @property
    def paused(self) -> bool:
        return self._continued is not None

    # ---- what it does

    async def gate(self) -> None:
        """Where a stopped process stands still and a dead one ends."""
        while self._continued is not None:
            await asyncio.shield(self._continued)
        if not self.alive:
            raise asyncio.CancelledError

    async def call(self, effect: Callable[[], T]) -> T:
        """Ask another machine for an effect: it takes time to get there and back, and the caller may die meanwhile."""
        await self.gate()
        self._burn()
        delay = self._delay_s()
        if delay:
            try:
                await asyncio.sleep(delay)
            except asyncio.CancelledError:
                if self._random.random() < 0.5:  # it was on its way already
                    asyncio.get_running_loop().call_later(self._delay_s(), _quietly, effect)
                raise
        if not self.alive:
            raise asyncio.CancelledError
        result = effect()
        self._burn()
        delay = self._delay_s()
        if delay:
            await asyncio.sleep(delay)
        await self.gate()
        return result

    def _burn(self) -> None:
        if self._fuse is None:
            return
        self._fuse -= 1
        if self._fuse <= 0:
            self._fuse = None
            self.die()
            raise asyncio.CancelledError


def _quietly(effect: Callable[[], object]) -> None:
    with suppress(Exception):  # whoever asked is gone
        effect()
