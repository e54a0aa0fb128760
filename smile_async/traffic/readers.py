"""Threads that read pictures: a read that hangs can be left behind, and holds up nobody who reads from elsewhere.

Daemon threads of our own, because no library has them: those of an executor are waited for when the interpreter ends,
and one silent share would keep the process from ending.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

__all__ = ["InThread", "Readers"]

Result = TypeVar("Result")
#: What is to be called, with what, and where its result is awaited.
_Errand = tuple[Callable[..., Any], tuple[Any, ...], "asyncio.Future[Any]"]


class InThread(Protocol):
    """Calls something that blocks, without blocking the event loop; cancelling leaves it behind."""

    def __call__(self, work: Callable[..., Result], *args: Any) -> Awaitable[Result]:
        """What *work* gives for *args*."""
        ...


class Readers:
    """At most *at_most* threads, made as they are needed, which end after `close`."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._errands: SimpleQueue[_Errand | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0

    async def __call__(self, work: Callable[..., Result], *args: Any) -> Result:
        """What *work* gives for *args*; whoever is cancelled meanwhile leaves the thread to itself."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._errands.put((work, args, result))
        # No frame of a later traceback may hold a picture.
        del args
        if not self._idle.acquire(blocking=False) and self._threads < self._at_most:
            self._threads += 1
            threading.Thread(target=self._serve, name="smile_async reader", daemon=True).start()
        return await result

    def close(self) -> None:
        """Let the threads end, each when it has nothing to do."""
        for _ in range(self._threads):
            self._errands.put(None)

    def _serve(self) -> None:
        while (errand := self._errands.get()) is not None:
            end = _performed(*errand)
            result = errand[2]
            del errand
            # Before it is told: whoever hears may have the next errand at once.
            self._idle.release()
            # The loop may be gone: then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                result.get_loop().call_soon_threadsafe(_settle, result, *end)
            del end, result


def _performed(
    work: Callable[..., Any], args: tuple[Any, ...], result: "asyncio.Future[Any]"
) -> tuple[Any, BaseException | None]:
    if result.cancelled():
        return None, None
    try:
        return work(*args), None
    except BaseException as error:  # noqa: BLE001 - it is the awaiting task's, whatever it is
        return None, error
    finally:
        del args


def _settle(result: "asyncio.Future[Any]", found: object, error: BaseException | None) -> None:
    if result.done():
        return
    if error is None:
        result.set_result(found)
    else:
        result.set_exception(error)
