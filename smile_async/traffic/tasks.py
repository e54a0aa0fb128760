"""The one way to start a task, the task that a session's own tasks live in, and the loop it belongs to.

A task group opened in `__aenter__` would tie entering and leaving to one task; pytest-asyncio's fixtures enter and
leave in two. So one host task owns all others: leaving tells it to stop and waits for it. What runs in a task may be an
application's (a handler, a transport, a source of jobs): whatever it raises costs its own task, and is written down.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from smile_async.contained import contained, quietly
from smile_async.errors import SessionClosed, WrongLoop
from smile_async.log import log

if TYPE_CHECKING:
    from smile_async.jobs.job import Job

__all__ = ["TaskHost"]

#: Seconds that tasks which do not end when they are cancelled get, before the session is left without them.
GOODBYE = 5.0


class TaskHost:
    """Opens once, runs tasks until it is closed; when it ends, however it does, *on_end* is called, *close* awaited.

    They belong to this task and not to the one that leaves: a leaver who is cancelled twice would close nothing.
    """

    def __init__(self, on_end: Callable[[], None], close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._on_end = on_end
        self._close = close
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: Resolved when the session is to end; made with the loop.
        self._stop: asyncio.Future[None] | None = None
        self._crash = ""

    @property
    def open(self) -> bool:
        """Whether tasks may be started."""
        return self._task is not None and not self._stopping

    @property
    def _stopping(self) -> bool:
        return self._stop is not None and self._stop.done()

    @property
    def closed_because(self) -> str:
        """What to tell somebody who finds it closed."""
        if self._crash:
            return f"the session has crashed ({self._crash}): please report it, and make a new session"
        if self._stopping:
            return "the session is closed: use it inside `async with`, for as long as you wait for anything"
        return "the session is not open: use it inside `async with SmileSession(...) as session:`"

    def bind(self) -> None:
        """Belong to the running loop from now on. Raises SessionClosed if it was bound before."""
        if self._loop is not None:
            raise SessionClosed("a session is entered once: make a new one")
        self._loop = asyncio.get_running_loop()
        self._stop = self._loop.create_future()

    def check(self, job: "Job | None" = None) -> None:
        """Raise WrongLoop or SessionClosed, about *job*, unless tasks may be started from here."""
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
            raise WrongLoop("the session belongs to another event loop: make one session per loop", job=job)
        if not self.open:
            raise SessionClosed(self.closed_because, job=job)

    def start(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run *main*, and what is spawned later; if *main* ends by itself, that is the end of the session."""
        running = asyncio.create_task(main(), name="smile_async poller")
        self._task = asyncio.create_task(self._live(running), name="smile_async session")

    def spawn(
        self,
        work: Callable[..., Coroutine[Any, Any, object]],
        *args: object,
        on_end: Callable[[], object] | None = None,
    ) -> None:
        """Run *work* beside the others, and call *on_end* when it ends, however that is. Raises what `check` raises.

        What it raises is logged and costs nobody else anything; it is cancelled when the session is left.
        """
        self.check()
        # Not a task group of anyio's: a task costs 3 µs here instead of 24, and each job takes two or more.
        task = asyncio.create_task(_supervised(work, args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if on_end is not None:
            # Not in the task: one that is cancelled before its first step never gets there.
            task.add_done_callback(lambda _task: quietly(on_end))

    async def _live(self, running: "asyncio.Task[None]") -> None:
        assert self._stop is not None  # noqa: S101 - bound before it was started
        try:
            await asyncio.wait([self._stop, running], return_when=asyncio.FIRST_COMPLETED)
            if not self._stopping:
                self._crash = _cause(running)
                log.error("the session's poller has ended: %s", self._crash)
        finally:
            self._shut()
            # Those who wait hear of it before anything else is tried.
            quietly(self._on_end)
            await _ended({running, *self._tasks})
            await self._close()

    def _shut(self) -> None:
        if self._stop is not None and not self._stop.done():
            self._stop.set_result(None)

    async def aclose(self) -> None:
        """Cancel all tasks and wait for their end; raises what *close* raised."""
        self._shut()
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()


async def _supervised(work: Callable[..., Coroutine[Any, Any, object]], args: tuple[object, ...]) -> None:
    error = await contained(work, *args)
    if error is not None:
        name = getattr(work, "__qualname__", "a task")
        log.error("%s failed (%s)", name, type(error).__name__, exc_info=error)


def _cause(task: asyncio.Task[Any]) -> str:
    error = None if task.cancelled() else task.exception()
    return type(error).__name__ if error is not None else "it was cancelled"


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel *tasks* and wait for them, for GOODBYE seconds at most: a handler that never ends keeps nobody here."""
    for task in tasks:
        task.cancel()
    if tasks:
        _, left = await asyncio.wait(tasks, timeout=GOODBYE)
        if left:
            log.warning("%d tasks did not end when they were cancelled: the session is left without them", len(left))
