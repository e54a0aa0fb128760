"""Code that is not ours (handlers, transports, sources, clocks) may raise what it likes: it costs its own call alone.

A CancelledError counts as a cancellation only if somebody cancels the current task: one that comes out of an
application's own cancelled task is a failure like any other, and so are SystemExit and KeyboardInterrupt.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from smile_async.log import log

__all__ = ["contained", "is_async", "is_ours", "quietly"]


def is_ours(error: BaseException) -> bool:
    """Whether *error*, just caught, must go on: the current task is being cancelled, or its coroutine closed."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, GeneratorExit)


async def contained(work: Callable[..., Awaitable[object]], *args: object) -> BaseException | None:
    """Await *work*: what it raised, or None. A cancellation of the current task goes through."""
    try:
        await work(*args)
    except BaseException as error:
        if is_ours(error):
            raise
        return error
    return None


def is_async(function: object) -> bool:
    """Whether calling *function* gives something to await: a coroutine function, or an object that is called as one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def quietly(work: Callable[..., object], *args: object) -> None:
    """Call *work*; what it raises is logged."""
    try:
        work(*args)
    except BaseException as error:  # noqa: BLE001 - nothing is awaited here, so no cancellation is lost
        log.error("%s failed (%s)", getattr(work, "__qualname__", "a callback"), type(error).__name__, exc_info=error)
