"""Where the jobs stand: counted and searched in small bites, so that a page on display never holds up the API.

A job's standing follows from the clock, so there is nothing to be told of; it is looked up. The work is bounded three
ways: other requests get their turn after every few hundred jobs, a count is kept the longer the dearer it was, and a
search gives up after a while and says where to go on.
"""

import time
from collections import Counter
from collections.abc import Sequence

import anyio.lowlevel

from smile_async.sandbox.outcomes import decision_of
from smile_async.sandbox.records import JobRecord
from smile_async.sandbox.registry import Registry

from .query import Query

__all__ = ["PAGE", "Census", "Found", "search", "standing"]

#: Jobs on one page.
PAGE = 25
#: Jobs looked at before others get their turn: about a millisecond.
_BITE = 500
#: Jobs one search looks at.
_REACH = 20_000
#: A count is good for this many times as long as it took: counting takes at most this share of the time.
_KEEP = 20


def standing(job: JobRecord, now: float) -> str:
    """`waiting` for its zip, `processing`, or the decision as of *now*."""
    if job.zip_at is None:
        return "waiting"
    for message in reversed(job.plan):
        if message.at <= now:
            return decision_of(message.code, job.job_type)
    return "processing"


class Census:
    """How many jobs stand where."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._counts: Counter[str] = Counter()
        self._good_until = 0.0

    def forget(self) -> None:
        """Count anew next time: somebody has just changed something and wants to see it."""
        self._good_until = 0.0

    async def count(self, now: float) -> Counter[str]:
        """Jobs by standing, of this moment or of one shortly before."""
        if time.perf_counter() < self._good_until:
            return self._counts
        counts: Counter[str] = Counter()
        jobs = list(self._registry.jobs.values())
        spent = 0.0
        for start in range(0, len(jobs), _BITE):
            began = time.perf_counter()
            counts.update(standing(job, now) for job in jobs[start : start + _BITE])
            spent += time.perf_counter() - began
            await anyio.lowlevel.checkpoint()
        self._counts, self._good_until = counts, time.perf_counter() + _KEEP * spent
        return counts


class Found:
    """One page of jobs, newest first; `older` is where the next one begins (None = there is nothing further back)."""

    def __init__(self, jobs: Sequence[JobRecord], older: int | None, *, exhausted: bool) -> None:
        self.jobs = jobs
        self.older = older
        #: Whether the search gave up before the page was full.
        self.exhausted = exhausted


async def search(registry: Registry, query: Query, now: float) -> Found:
    """The page of jobs that *query* asks for."""
    jobs = list(registry.jobs.values())
    start = min(query.before or len(jobs), len(jobs))
    stop = max(start - _REACH, 0) if query.narrow else 0
    found: list[JobRecord] = []
    for position in range(start - 1, stop - 1, -1):
        job = jobs[position]
        if _fits(job, query, now):
            found.append(job)
        if len(found) == PAGE:
            return Found(found, position or None, exhausted=False)
        if position % _BITE == 0:
            await anyio.lowlevel.checkpoint()
    return Found(found, stop or None, exhausted=stop > 0)


def _fits(job: JobRecord, query: Query, now: float) -> bool:
    if query.find and query.find not in job.user_id.lower() and query.find not in job.job_id.lower():
        return False
    return not query.state or standing(job, now) == query.state
