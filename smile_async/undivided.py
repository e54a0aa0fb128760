"""What must not be cut short: whoever is cancelled meanwhile goes when it has ended."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

__all__ = ["undivided"]

Found = TypeVar("Found")


async def undivided(work: Callable[[], Coroutine[Any, Any, Found]]) -> Found:
    """What *work* gives, from a task of its own, for no shield of anyio's keeps out a cancellation by asyncio.

    It has to end by itself, soon. A cancellation counts once it has, whatever it gave or raised.
    """
    task = asyncio.create_task(work())
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        task.exception()
        raise cancelled
    return task.result()
