"""Do the same for each of many, some at a time."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

__all__ = ["for_each"]

Item = TypeVar("Item")


async def for_each(items: Iterable[Item], work: Callable[[Item], Awaitable[None]], at_once: int) -> None:
    """Await *work* for each of *items*, *at_once* at a time; they are drawn when it is their turn."""
    waiting = iter(items)

    async def some() -> None:
        for item in waiting:
            await work(item)

    async with anyio.create_task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(some)
