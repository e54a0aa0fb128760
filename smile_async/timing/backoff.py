"""How long to back off, and how often at all: jitter, a budget, and what a server asks for.

Many clients that retry in step are a second outage, so delays are random over their whole range, and a session that
fails all the time runs out of tokens instead of multiplying its traffic.
"""

from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["LONGEST_WISH", "RetryBudget", "backoff", "http_date", "retry_after"]


#: Tokens a retry costs: what AWS's SDKs charge for a transient error (guarantee G4).
COST = 14
#: Seconds.
A_DAY = 86_400.0
#: Seconds that a server is left alone for because it asked to be; then it is tried, whatever it asked for.
LONGEST_WISH = 300.0


def backoff(attempt: int, *, base: float = 0.05, cap: float = 20.0, draw: float) -> float:
    """Seconds before retry number `attempt` (0 is the first): full jitter, `draw` in [0, 1); `base` 1 if throttled."""
    return draw * min(cap, base * 2.0 ** min(attempt, 64))


class RetryBudget:
    """Tokens that retries must buy, COST each, so that a failing API meets no storm; `tokens` are left."""

    __slots__ = ("capacity", "tokens")

    def __init__(self, capacity: int = 500) -> None:
        self.capacity = self.tokens = capacity

    def take(self) -> int:
        """Buy one retry: the tokens it cost, to be given back if it succeeds, or 0: no retry."""
        if self.tokens < COST:
            return 0
        self.tokens -= COST
        return COST

    def give(self, taken: int = 0) -> None:
        """A request succeeded: put back what its retries took, or one token if it took none."""
        self.tokens = min(self.capacity, self.tokens + max(taken, 1))


def http_date(text: str) -> float:
    """Seconds since 1970 UTC of an HTTP date; without a zone (-0000) it is UTC. Raises ValueError or OverflowError."""
    date = parsedate_to_datetime(text)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def retry_after(value: str, now: float) -> float | None:
    """Seconds a Retry-After header asks for, at most a day: a number, or an HTTP date seen at epoch `now`.

    None if senseless.
    """
    text = value.strip()
    try:
        seconds = float(text) if text.replace(".", "", 1).isdecimal() else http_date(text) - now
    except (ValueError, OverflowError):
        return None
    return min(seconds, A_DAY) if seconds >= 0 else None
