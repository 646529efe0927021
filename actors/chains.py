"""Work in order per key, several keys at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def in_chains(
    items: Iterable[T], key: Callable[[T], str], work: Callable[[T], Awaitable[bool]], at_once: int
) -> bool:
    """Items of one key follow one another in the given order, items of so many keys are under way at once.

    Returns True when all are done; False when `work` returned False for one: then the items after it in its chain, and
    chains not begun by that worker, are left. When `work` raises, all that is under way is cancelled before it is raised.
    """
    chains: dict[str, list[T]] = {}
    for item in items:
        chains.setdefault(key(item), []).append(item)
    queue = iter(chains.values())

    async def worker() -> bool:
        for chain in queue:
            for item in chain:
                if not await work(item):
                    return False
        return True

    tasks = [asyncio.create_task(worker()) for _ in range(min(at_once, len(chains)))]
    try:
        return all(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
