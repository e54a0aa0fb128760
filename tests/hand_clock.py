"""A clock that only moves when a test moves it, for everything that takes a `Clock`.

Timers are cancel scopes in a heap: no task, no thread. `advance` fires them in order and lets the event loop settle
after each, so what happens in an hour of virtual time happens in milliseconds, and always in the same order.
"""

import asyncio
import heapq
from collections.abc import Coroutine
from itertools import count
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

Result = TypeVar("Result")


async def settle() -> None:
    """Let everything that can run without waiting run."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    for _ in range(100_000):
        if not loop._ready:  # type: ignore[attr-defined]
            return
        await asyncio.sleep(0)
    raise AssertionError("the event loop does not come to rest")


class HandClock:
    """Virtual seconds; `time` runs *offset* ahead of `monotonic`."""

    def __init__(self, now: float = 1000.0, offset: float = 1_767_322_000.0) -> None:
        self.now = now
        self.offset = offset
        self._timers: list[tuple[float, int, anyio.CancelScope]] = []
        self._numbers = count()

    def time(self) -> float:
        return self.now + self.offset

    def monotonic(self) -> float:
        return self.now

    def stamp(self) -> str:
        return f"by-hand-{id(self)} {self.now!r}"

    async def wait(self, event: anyio.Event, timeout: float | None) -> bool:
        if timeout is None:
            await event.wait()
            return True
        if timeout <= 0:
            await anyio.lowlevel.checkpoint()
            return event.is_set()
        with anyio.CancelScope() as scope:
            heapq.heappush(self._timers, (self.now + timeout, next(self._numbers), scope))
            await event.wait()
        return event.is_set()

    async def sleep(self, seconds: float) -> None:
        await self.wait(anyio.Event(), seconds)

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass, firing timers on the way."""
        until = self.now + seconds
        await settle()
        while self._timers and self._timers[0][0] <= until:
            when, _, scope = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            scope.cancel()
            await settle()
        self.now = until
        await settle()

    async def run(self, work: Coroutine[Any, Any, Result], most: float = 1e6) -> Result:
        """*work*'s result; whenever it waits for the clock alone, the clock jumps to the next timer."""
        task = asyncio.ensure_future(work)
        until = self.now + most
        try:
            while not (await asyncio.wait({task}, timeout=0.001))[0]:
                if self._timers and self.now < until:
                    await self.advance(max(0.0, self._timers[0][0] - self.now))
        finally:
            task.cancel()
        return await task
