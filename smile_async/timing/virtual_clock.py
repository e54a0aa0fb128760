"""A clock for tests that jumps to the next moment anybody waits for, as soon as nothing else is left to do.

A human review takes two hours, and a test of what happens afterwards should take milliseconds and give the same result
every time. So time does not run here, it is moved: when the event loop has nothing ready, no request is under way and
no worker thread is busy, everybody waits for time alone, and the first of them has waited long enough.
"""

import asyncio
import contextlib
import heapq
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from smile_async.timing.clock import Event

__all__ = ["VirtualClock", "VirtualTimeIsUp"]

#: Turns of the event loop without a pause after which it counts as idle all the same: somebody is spinning, perhaps
#: until the very moment that would never come.
PATIENT_TURNS = 10_000
#: The same for loops that do not show what they have ready (uvloop): the longest chain of wake-ups there is.
BLIND_TURNS = 200
#: Real seconds between looks while a worker thread is busy; virtual time stands still meanwhile.
THREAD_LOOK = 0.0005


class VirtualTimeIsUp(RuntimeError):
    """So much virtual time has passed that the test must be waiting for what never happens."""


class VirtualClock:
    """A `Clock` that starts at *now* (seconds since 1970, None: this machine's time) and jumps.

    After *horizon* seconds it refuses to go on, and whoever waits for it gets VirtualTimeIsUp: a test that waits for
    what never happens would spin for ever. Used by one event loop at a time; asyncio only.
    """

    def __init__(self, now: float | None = None, *, horizon: float = 30 * 86_400.0) -> None:
        self._began = time.time() if now is None else now
        self._horizon = horizon
        self._elapsed = 0.0
        #: [when, number, scope]; the scope is None once its sleeper is awake.
        self._timers: list[list[Any]] = []
        self._numbers = count()
        self._held = 0
        self._turns = 0
        self._looking = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: anyio.CapacityLimiter | None = None

    def __repr__(self) -> str:
        return f"<VirtualClock, {self._elapsed:.10g} s after its start>"

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return self._began + self._elapsed

    def monotonic(self) -> float:
        """Seconds since this clock was made, by this clock."""
        return self._elapsed

    async def wait(self, event: Event, timeout: float | None) -> bool:
        """Wait until *event* is set (True) or *timeout* virtual seconds have passed (False); None waits for ever."""
        if timeout is None or timeout == float("inf"):
            await event.wait()
            return True
        if timeout <= 0 or event.is_set():
            await anyio.lowlevel.checkpoint()
            return event.is_set()
        self._bind()
        with anyio.CancelScope() as scope:
            timer = [self._elapsed + timeout, next(self._numbers), scope]
            heapq.heappush(self._timers, timer)
            self._look_soon()
            try:
                await event.wait()
            finally:
                timer[2] = None
        if not event.is_set() and self._elapsed >= self._horizon:
            raise VirtualTimeIsUp(f"{self._horizon:.10g} s have passed: this waits for what never happens")
        return event.is_set()

    async def sleep(self, seconds: float) -> None:
        """Let *seconds* of virtual time pass."""
        await self.wait(anyio.Event(), seconds)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """No time passes within: for what takes real time without showing it to the event loop, such as a database."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._look_soon()

    def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # What an earlier loop left behind can not be woken any more.
            self._timers.clear()
            self._looking = False
            self._loop = loop
            self._threads = anyio.to_thread.current_default_thread_limiter()

    def _look_soon(self, after: float = 0.0) -> None:
        if self._looking or not self._timers or self._held or self._loop is None:
            return
        self._looking = True
        if after:
            self._loop.call_later(after, self._look, self._loop)
        else:
            self._loop.call_soon(self._look, self._loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            return
        self._looking = False
        while self._timers and self._timers[0][2] is None:
            heapq.heappop(self._timers)
        if not self._timers or self._held:
            return
        self._turns += 1
        if self._is_busy(loop):
            self._look_soon()
        elif self._thread_is_busy(loop):
            self._turns = 0
            self._look_soon(after=THREAD_LOOK)
        else:
            self._turns = 0
            self._jump()

    def _is_busy(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether anything is ready to run after this very callback."""
        ready = getattr(loop, "_ready", None)
        if ready is None:
            return self._turns < BLIND_TURNS
        return bool(ready) and self._turns < PATIENT_TURNS

    def _thread_is_busy(self, loop: asyncio.AbstractEventLoop) -> bool:
        if self._threads is not None and self._threads.borrowed_tokens:
            return True
        # asyncio.to_thread and getaddrinfo; an executor that shows nothing counts as idle.
        executor = getattr(loop, "_default_executor", None)
        idle = getattr(getattr(executor, "_idle_semaphore", None), "_value", None)
        return idle is not None and idle < len(getattr(executor, "_threads", ()))

    def _jump(self) -> None:
        when, _, scope = heapq.heappop(self._timers)
        # One sleeper at a time, in the order of their moments: what the first does may concern the second.
        self._elapsed = max(self._elapsed, min(when, self._horizon))
        scope.cancel()
        self._look_soon()
