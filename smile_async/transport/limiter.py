"""How many API requests may be on their way, and when none may: the queue in front of the connections.

Requests wait here, in order, never inside an HTTP library's pool, whose bookkeeping grows with what is queued in it.
A 429 or 503 closes the limiter for everybody for as long as the server asks, and halves the number let through; each
success opens it a little (additive increase, multiplicative decrease). While the breaker is open, what it holds waits
here too, and one at a time goes as its probe. Who waits here has sent nothing.
"""

from collections import deque

import anyio

from smile_async.timing.backoff import LONGEST_WISH
from smile_async.timing.breaker import Asker, Breaker
from smile_async.timing.clock import Clock

__all__ = ["Limiter", "RateLimiter"]

#: Seconds the limiter stays closed after the first throttle without Retry-After, and the most it doubles to (G4).
FIRST_CLOSURE, LONGEST_CLOSURE = 1.0, 20.0


#: A request about no job in particular.
SOMEBODY = Asker("", "", "")


class _Turn:
    __slots__ = ("asker", "event")

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self.event = anyio.Event()


class Limiter:
    """Lets at most *limit* through at once; every `enter` that returns True is paid back by one `leave`."""

    __slots__ = (
        "_clock",
        "_closed_until",
        "_closure",
        "_limit",
        "_waiting",
        "_window",
        "breaker",
        "busy",
        "shut",
        "slowed_at",
    )

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._window = float(limit)
        self._waiting: deque[_Turn] = deque()
        self._closed_until = 0.0
        self._closure = 0.0
        #: When the server last asked to slow down.
        self.slowed_at = float("-inf")
        #: Told of every answer and failure by who sends.
        self.breaker = Breaker()
        #: Requests in flight.
        self.busy = 0
        #: Nobody will be let in any more.
        self.shut = False

    def _open(self) -> bool:
        return self.busy < self._window and (not self._closed_until or self._clock.monotonic() >= self._closed_until)

    def closed_to(self, asker: Asker) -> bool:
        """Whether this request would have to wait, and not only for others to come back."""
        return self._clock.monotonic() < self._closed_until or self.breaker.holds(asker)

    async def enter(self, deadline: float, asker: Asker = SOMEBODY, *, hold: float = float("inf")) -> bool:
        """Wait for a turn until *deadline* (seconds of the clock's monotonic scale); False if it did not come.

        *hold*: seconds to wait at most where it is closed.
        """
        entered = await self.come(deadline, asker, hold=hold)
        self.busy += entered
        return entered

    async def come(self, deadline: float, asker: Asker, *, hold: float = float("inf")) -> bool:
        """Wait until a request of *asker* may go; if it would be a probe, that is kept for it for a while."""
        if self.shut:
            return False
        if not self._waiting and self._open() and not self.breaker.holds(asker):
            return True
        turn = _Turn(asker)
        self._waiting.append(turn)
        try:
            return await self._wait(turn, deadline, self._clock.monotonic() + hold)
        finally:
            self._waiting.remove(turn)
            self._wake()

    async def _wait(self, turn: _Turn, deadline: float, held_until: float) -> bool:
        while (chosen := self._next()) is not turn:
            now = self._clock.monotonic()
            closed = self.closed_to(turn.asker)
            if self.shut or now >= deadline or (closed and now >= held_until):
                return False
            if chosen is not None:
                chosen.event.set()
            until = min(deadline, held_until) if closed else deadline
            # The first in line watches the clock for all.
            if self._waiting[0] is turn and self._due() > now:
                until = min(until, self._due())
            await self._clock.wait(turn.event, until - now)
            if turn.event.is_set():
                turn.event = anyio.Event()
        self.breaker.let(turn.asker, self._clock.monotonic())
        return True

    def _next(self) -> _Turn | None:
        """Who may go now: the first in line, or whom the breaker does not hold, or a probe."""
        if not self._waiting or not self._open():
            return None
        if self.breaker.opened_at is None:
            return self._waiting[0]
        free = next((turn for turn in self._waiting if not self.breaker.holds(turn.asker)), None)
        if free is None and self._clock.monotonic() >= self.breaker.probe_at:
            return min(self._waiting, key=lambda turn: self.breaker.doubt(turn.asker))
        return free

    def _due(self) -> float:
        """When the line moves by itself; in the past if it is open."""
        return max(self._closed_until, 0.0 if self.breaker.opened_at is None else self.breaker.probe_at)

    def leave(self, *, well: bool = True) -> None:
        """A request has come back; *well* if the server did answer it."""
        self.busy -= 1
        if well:
            self._window = min(float(self._limit), self._window + 1 / self._window)
            self._closure = self._closure / 2 if self._closure > FIRST_CLOSURE else 0.0
        self._wake()

    def close_for(self, seconds: float | None) -> None:
        """The server asked to slow down, for *seconds* if it said how long; one reply stops nobody for a day."""
        now = self.slowed_at = self._clock.monotonic()
        seconds = min(seconds or 0.0, LONGEST_WISH)
        if now < self._closed_until or self.breaker.opened_at is not None:
            # Answers to requests that left before the closure are the same news, and the breaker knows how long to wait
            # where nobody is home; only a longer wish is news.
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
            turn.event.set()

    def _wake(self) -> None:
        """Let the next look again, or the first in line learn when to."""
        chosen = self._next()
        if chosen is None and self._waiting and self._due() > self._clock.monotonic():
            chosen = self._waiting[0]
        if chosen is not None:
            chosen.event.set()


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
