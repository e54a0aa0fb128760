"""How much a session does at once, and how much it has done; every figure says its unit."""

import math
from dataclasses import dataclass

from smile_async.errors import BadConfiguration

__all__ = ["Limits", "Stats", "finite"]


def finite(value: object) -> float:
    """*value*, if it is a number to reckon with; else nan, which no comparison holds for: a text, inf, 10**400."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        number = float(value)
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a session does at once.

    `uploads`: jobs whose images are in memory; the memory bound. `requests`: API requests in flight, over as many
    HTTP/2 connections as that takes. `pending`: jobs of streams that wait for a verdict. `jobs_per_second`: new jobs,
    None for as fast as they come. `submission_bytes`: of one request of V3, pictures included. `eager_polls`: polls a
    second from which nobody is polled more eagerly than for `Pace.price`; it bounds what a `Pace.person` costs, never
    how many jobs are done.
    """

    uploads: int = 16
    requests: int = 240
    pending: int = 100_000
    jobs_per_second: float | None = None
    #: As documented (v3/wire.md §1); by one page of it the gateway takes 10 MB.
    submission_bytes: int = 4_500_000
    eager_polls: float = 200.0

    def __post_init__(self) -> None:
        for name in ("uploads", "requests", "pending", "submission_bytes"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BadConfiguration(f"Limits.{name} is {value!r}: give a whole number from 1")
        rate = self.jobs_per_second
        if rate is not None and not finite(rate) > 0:
            raise BadConfiguration("Limits.jobs_per_second is not a finite number above 0: give one, or None")
        if not finite(self.eager_polls) >= 0:
            raise BadConfiguration("Limits.eager_polls is not a finite number: give polls a second, 0 or more")


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot of what a session has done and is doing; HTTP versions are "" until a reply has come."""

    submitted: int
    pending: int
    finished: int
    failed: int
    polls: int
    retries: int
    in_flight: int
    api_http_version: str
    storage_http_version: str
