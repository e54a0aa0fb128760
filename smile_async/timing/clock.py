"""What time it is, and how to wait: the one place where the library touches a clock.

Poller, pace, throttle and sandbox all take a `Clock`, so that a test can let a two-hour human review pass in
milliseconds. Deadlines of requests in flight stay real: a peer that hangs does not care about virtual time.
"""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol

import anyio

__all__ = ["Clock", "Event", "SystemClock", "between", "forward", "stamp"]

#: What names this boot of a Linux machine, the same for all its processes (random(4)).
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Event(Protocol):
    """What can be waited for: an event of anyio or of asyncio."""

    def is_set(self) -> bool:
        """Whether it has happened."""
        ...

    async def wait(self) -> object:
        """Return once it has happened."""
        ...


class Clock(Protocol):
    """Two readings and one way to wait; all figures are seconds."""

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC, as the wall clock has it."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    async def wait(self, event: Event, timeout: float | None) -> bool:
        """Wait until *event* is set (True) or *timeout* seconds have passed (False); None waits for ever."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let *seconds* pass."""
        ...


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed moment; the scale anyio's deadlines use on asyncio."""
        return time.monotonic()

    async def wait(self, event: Event, timeout: float | None) -> bool:
        """Wait until *event* is set (True) or *timeout* seconds have passed (False)."""
        if timeout is None:
            await event.wait()
            return True
        with anyio.move_on_after(timeout):
            await event.wait()
        return event.is_set()

    async def sleep(self, seconds: float) -> None:
        """Let *seconds* pass."""
        await anyio.sleep(seconds)

    def stamp(self) -> str:
        """This boot, and its seconds so far, those asleep included; "" where the system does not name its boots."""
        boot = _boot()
        return boot and f"{boot} {time.clock_gettime(time.CLOCK_BOOTTIME)!r}"


@cache
def _boot() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def forward(clock: Clock) -> Callable[[], float]:
    """What gives *clock*'s time of day, and goes on as seconds pass where that is set back. For any thread."""
    ahead = float("-inf")

    def now() -> float:
        nonlocal ahead
        ahead = max(ahead, clock.time() - clock.monotonic())
        return clock.monotonic() + ahead

    return now


def stamp(clock: Clock) -> str:
    """This moment by a counter of *clock*'s that nobody sets, as text to count from later (`between`), in any process.

    A clock without a method of this name has no such counter: "".
    """
    return str(getattr(clock, "stamp", str)())


def between(earlier: str | None, later: str) -> float | None:
    """Seconds from one `stamp` to another; None where they are not of one counter."""
    (whose, _, began), (counter, _, now) = (earlier or "").partition(" "), later.partition(" ")
    return float(now) - float(began) if counter and whose == counter else None
