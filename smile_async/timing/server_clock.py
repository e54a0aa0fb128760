"""What time it is by Smile ID's clock, as its replies tell it: signatures are made and judged by that one (G9).

A machine whose clock is a day off would sign requests that are refused as stale; the Date header of the refusal says by
how much, and the next request is signed with the server's time.
"""

from collections.abc import Mapping

from smile_async.log import log
from smile_async.timing.backoff import http_date, retry_after
from smile_async.timing.clock import Clock

__all__ = ["SKEW_SECONDS", "ServerClock"]


#: A Date header counts whole seconds and may lag behind; only more than this is a wrong clock.
SKEW_SECONDS = 5.0
#: No certificate is good for more than 398 days (CA/Browser Forum, Baseline Requirements §6.3.2): with a clock that is
#: further off we had not connected, so it is the Date that is wrong. Who believed the year 9999 could never sign again.
MOST_SECONDS_OFF = 398 * 86_400.0


class ServerClock:
    """The local clock, corrected by what the server last said."""

    __slots__ = ("_clock", "_floor", "_heard", "skew")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard = ("", 0.0)
        #: What the latest Date said, less the moment at which it first came.
        self._floor: float | None = None
        #: Seconds the server's clock is ahead of ours; 0 if they agree.
        self.skew = 0.0

    def now(self) -> float:
        """Seconds since 1970 UTC."""
        return self._clock.time() + self.skew

    def at_least(self) -> float:
        """Seconds since 1970 that the server's own clock surely shows by now: a second less than it does, or so."""
        if self._floor is None:
            return self._clock.time() - SKEW_SECONDS
        return self._floor + self._clock.monotonic()

    def wish(self, headers: Mapping[str, str]) -> float | None:
        """Seconds for which *headers* (names in lower case) ask to be left alone, None if they do not."""
        said = headers.get("retry-after")
        return None if said is None else retry_after(said, self.now())

    def hear(self, date: str) -> None:
        """Take note of a Date header that has just come; nonsense, or a date more than a year away, changes nothing."""
        now = self._clock.time()
        # Parsing it takes 10 µs: once for each of the server's seconds, unless our own clock has jumped meanwhile.
        if date == self._heard[0] and 0 <= now - self._heard[1] < SKEW_SECONDS:
            return
        self._heard = (date, now)
        try:
            said = http_date(date)
            skew = said - now
        except (ValueError, OverflowError):
            return
        if abs(skew) > MOST_SECONDS_OFF:
            return
        self._floor = said - self._clock.monotonic()
        if abs(skew - self.skew) >= SKEW_SECONDS:
            self.skew = skew if abs(skew) >= SKEW_SECONDS else 0.0
            log.warning("this machine's clock is %.0f s off; signing with the server's time", -skew)
