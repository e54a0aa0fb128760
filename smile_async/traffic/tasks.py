"""The task that a session's own tasks live in, and the loop it belongs to.

A task group opened in `__aenter__` would tie entering and leaving to one task; pytest-asyncio's fixtures enter and
leave in two. So one host task owns the group: leaving tells it to stop and waits for it, and if it crashes, those who
wait get an error while nobody else's task is cancelled.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
from anyio.abc import TaskGroup

from smile_async.errors import SessionClosed, WrongLoop

__all__ = ["Host"]

_log = logging.getLogger("smile_async")


class Host:
    """Opens once, runs tasks until it is closed; when it ends, however it does, *on_end* is called, *close* awaited.

    They belong to this task and not to the one that leaves: a leaver who is cancelled twice would close nothing.
    """

    def __init__(self, on_end: Callable[[], None], close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._on_end = on_end
        self._close = close
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._group: TaskGroup | None = None
        self._stop = anyio.Event()
        self._crash = ""

    @property
    def open(self) -> bool:
        """Whether tasks may be started."""
        return self._group is not None and not self._stop.is_set()

    @property
    def closed_because(self) -> str:
        """What to tell somebody who finds it closed."""
        if self._crash:
            return f"the session has crashed ({self._crash}): please report it, and make a new session"
        if self._stop.is_set():
            return "the session is closed: use it inside `async with`, for as long as you wait for anything"
        return "the session is not open: use it inside `async with SmileSession(...) as session:`"

    def bind(self) -> None:
        """Belong to the running loop from now on. Raises SessionClosed if it was bound before."""
        if self._loop is not None:
            raise SessionClosed("a session is entered once: make a new one")
        self._loop = asyncio.get_running_loop()

    async def start(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run *main*, and what is started later, in a task of its own."""
        ready = anyio.Event()
        self._task = asyncio.create_task(self._live(main, ready), name="smile_async session")
        try:
            await ready.wait()
        except BaseException:
            # Nobody leaves what was never entered: a cancelled entry has to tidy up itself.
            with anyio.CancelScope(shield=True):
                await self.aclose()
            raise

    async def _live(self, main: Callable[[], Coroutine[Any, Any, None]], ready: anyio.Event) -> None:
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                group.start_soon(main)
                ready.set()
                await self._stop.wait()
                group.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001 - whatever it was, those who wait must hear of it
            first = error
            while isinstance(first, ExceptionGroup):
                first = first.exceptions[0]
            self._crash = type(first).__name__
            _log.exception("the session's host task crashed")
        finally:
            self._group = None
            self._on_end()
            await self._close()

    def check(self) -> None:
        """Raise WrongLoop or SessionClosed unless tasks may be started from here."""
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
            raise WrongLoop("the session belongs to another event loop: make one session per loop")
        if not self.open:
            raise SessionClosed(self.closed_because)

    def run(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start *task* beside the others. Raises what `check` raises."""
        self.check()
        assert self._group is not None  # noqa: S101 - check has just said so
        self._group.start_soon(task)

    async def aclose(self) -> None:
        """Cancel all tasks and wait for their end; raises what *close* raised."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()
