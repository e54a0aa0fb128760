"""How many API requests may be on their way, and when none may: the queue in front of the connections.

Requests wait here, in order, never inside an HTTP library's pool, whose bookkeeping grows with what is queued in it.
A 429 or 503 closes the limiter for everybody for as long as the server asks, and halves the number let through; each
success opens it a little (additive increase, multiplicative decrease). Who waits here has sent nothing.
"""

from collections import deque

import anyio

from smile_async.timing.backoff import LONGEST_WISH
from smile_async.timing.clock import Clock

__all__ = ["Limiter", "RateLimiter"]

#: Seconds the limiter stays closed after the first throttle without Retry-After, and the most it doubles to (G4).
FIRST_CLOSURE, LONGEST_CLOSURE = 1.0, 20.0


class Limiter:
    """Lets at most *limit* through at once; every `enter` that returns True is paid back by one `leave`."""

    __slots__ = ("_clock", "_closed_until", "_closure", "_limit", "_waiting", "_window", "busy", "shut")

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._window = float(limit)
        self._waiting: deque[anyio.Event] = deque()
        self._closed_until = 0.0
        self._closure = 0.0
        #: Requests in flight.
        self.busy = 0
        #: Nobody will be let in any more.
        self.shut = False

    def _open(self) -> bool:
        return self.busy < self._window and (not self._closed_until or self._clock.monotonic() >= self._closed_until)

    async def enter(self, deadline: float) -> bool:
        """Wait for a turn until *deadline* (seconds of the clock's monotonic scale); False if it did not come."""
        if self.shut:
            return False
        if not self._waiting and self._open():
            self.busy += 1
            return True
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            while not (self._waiting[0] is turn and self._open()):
                now = self._clock.monotonic()
                if self.shut or now >= deadline:
                    return False
                first_after_closure = self._waiting[0] is turn and self._closed_until > now
                until = min(deadline, self._closed_until) if first_after_closure else deadline
                await self._clock.wait(turn, until - now)
                if turn.is_set() and not (self._waiting[0] is turn and self._open()):
                    turn = self._renewed(turn)
            self.busy += 1
            return True
        finally:
            self._waiting.remove(turn)
            self._wake()

    def _renewed(self, turn: anyio.Event) -> anyio.Event:
        fresh = anyio.Event()
        self._waiting[self._waiting.index(turn)] = fresh
        return fresh

    def leave(self, *, well: bool = True) -> None:
        """A request has come back; *well* if the server did answer it."""
        self.busy -= 1
        if well and self._window < self._limit:
            self._window = min(float(self._limit), self._window + 1 / self._window)
            self._closure = self._closure / 2 if self._closure > FIRST_CLOSURE else 0.0
        self._wake()

    def close_for(self, seconds: float | None) -> None:
        """The server asked to slow down, for *seconds* if it said how long; one reply stops nobody for a day."""
        now = self._clock.monotonic()
        seconds = min(seconds or 0.0, LONGEST_WISH)
        if now < self._closed_until:
            # Answers to requests that left before the closure are the same news; only a longer wish is not.
            self._closed_until = max(self._closed_until, now + seconds)
            return
        self._closure = min(LONGEST_CLOSURE, max(FIRST_CLOSURE, 2 * self._closure))
        self._closed_until = max(self._closed_until, now + max(seconds, self._closure))
        self._window = max(1.0, self._window / 2)
        self._wake()

    def shut_for_good(self) -> None:
        """The session is over: who waits here, or comes, is turned away."""
        self.shut = True
        for turn in self._waiting:
            turn.set()

    def _wake(self) -> None:
        """Let the first in line look again: it may enter, or must learn when the closure ends."""
        if self._waiting and (self._open() or self._closed_until > self._clock.monotonic()):
            self._waiting[0].set()


class RateLimiter:
    """Spaces new jobs evenly: at most so many a second, without saving up for bursts."""

    __slots__ = ("_clock", "_next", "_turn", "gap")

    def __init__(self, per_second: float | None, clock: Clock) -> None:
        self._clock = clock
        #: Seconds from one job to the next; 0 if there is nothing to wait for.
        self.gap = 1 / per_second if per_second else 0.0
        self._next = 0.0
        self._turn = anyio.Lock(fast_acquire=True)

    async def turn(self) -> None:
        """Wait until the next job may start; who is cancelled meanwhile leaves the turn to the next in line."""
        if not self.gap:
            return
        async with self._turn:
            now = self._clock.monotonic()
            if self._next > now:
                await self._clock.sleep(self._next - now)
            self._next = max(now, self._next) + self.gap
