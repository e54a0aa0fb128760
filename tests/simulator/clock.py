"""The loop's time as the clock of a place, which may be wrong, or fail."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
from simulator.loop import SimLoop

__all__ = ["BEGAN", "LoopClock"]

#: 2026-01-02 03:04:05 UTC, the moment of wire.md's samples.
BEGAN = 1_767_323_045.0


class LoopClock:
    """The loop's time as a `Clock`; the wall clock is *skew* seconds off."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.skew = 0.0
        #: Called before each wait: a clock of an application's may fail.
        self.before_wait: Callable[[], None] = lambda: None

    def time(self) -> float:
        return BEGAN + self._loop.now + self.skew

    def monotonic(self) -> float:
        return self._loop.now

    def stamp(self) -> str:
        return f"the-loop {self._loop.now!r}"

    async def wait(self, event: Any, timeout: float | None) -> bool:
        self.before_wait()
        with anyio.move_on_after(timeout):
            await event.wait()
        return bool(event.is_set())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
