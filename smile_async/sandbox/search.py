"""Where the jobs stand: counted and searched in small bites, so that a page on display never holds up the API.

A job's standing follows from the clock, so there is nothing to be told of; it is looked up. The work is bounded four
ways: jobs that have their last word are counted once, other requests get their turn after every few hundred jobs, a
count is kept the longer the dearer it was, and a search gives up after a while and says where to go on.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

import anyio

from .records import JobRecord
from .registry import Registry

__all__ = ["STANDINGS", "Found", "JobCounts", "search", "standing"]

#: Where a job can stand, in the order of its life, and the words for it.
STANDINGS = {
    "waiting": "Awaiting zip",
    "processing": "Processing",
    "provisional": "Provisional",
    "approved": "Approved",
    "attention": "Attention",
    "rejected": "Rejected",
    "error": "Error",
    "unknown": "Unknown",
}
#: Jobs looked at before others get their turn: half a millisecond; then seconds in which the loop is all theirs.
_BITE, _PAUSE = 200, 0.001
#: Jobs one search looks at.
_REACH = 20_000
#: A count is good for this many times as long as it took: counting takes at most this share of the time.
_KEEP = 20


def standing(job: JobRecord, now: float) -> str:
    """`waiting` for its zip, `processing`, or the decision as of *now*."""
    if job.arrived_at is None:
        return "waiting"
    for message in reversed(job.plan):
        if message.at <= now:
            return job.decides(message.code) or "processing"
    return "processing"


class JobCounts:
    """How many jobs stand where."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lock = anyio.Lock()
        self._begin()

    def _begin(self) -> None:
        self._jobs = self._registry.jobs
        #: What no passing of time can change is counted once, the rest each time.
        self._settled: dict[str, str] = {}
        self._open: dict[str, JobRecord] = {}
        self._tally: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._good_until = 0.0

    def forget(self) -> None:
        """Count anew next time: somebody has just changed something and wants to see it."""
        self._good_until = 0.0

    async def count(self, now: float) -> Counter[str]:
        """Jobs by standing, of this moment or of one shortly before."""
        async with self._lock:  # several pages may be open, and one count is enough for all
            if self._jobs is not self._registry.jobs:  # it was reset
                self._begin()
            if time.perf_counter() >= self._good_until:
                await self._recount(now)
            return self._counts

    async def _recount(self, now: float) -> None:
        self._reopen()
        known = len(self._settled) + len(self._open)
        self._open.update(islice(self._jobs.items(), known, None))
        counts: Counter[str] = Counter()
        spent, waiting = 0.0, list(self._open.values())
        for start in range(0, len(waiting), _BITE):
            if start:
                await anyio.sleep(_PAUSE)
            began = time.perf_counter()
            for job in waiting[start : start + _BITE]:
                self._examine(job, now, counts)
            spent += time.perf_counter() - began
        self._counts, self._good_until = counts + self._tally, time.perf_counter() + _KEEP * spent

    def _reopen(self) -> None:
        """Look again at jobs that a reviewer has changed since."""
        for job_id in self._registry.revised:
            if job_id in self._settled:
                self._tally[self._settled.pop(job_id)] -= 1
                self._open[job_id] = self._jobs[job_id]
        self._registry.revised.clear()

    def _examine(self, job: JobRecord, now: float, counts: Counter[str]) -> None:
        stands = standing(job, now)
        undecided = stands in {"waiting", "processing", "provisional"}
        if undecided or job.plan[-1].at > now:
            counts[stands] += 1
        else:
            del self._open[job.job_id]
            self._settled[job.job_id] = stands
            self._tally[stands] += 1


class Found:
    """One page of jobs, newest first; `older` is where the next one begins (None = there is nothing further back)."""

    def __init__(self, jobs: Sequence[JobRecord], older: int | None, *, exhausted: bool) -> None:
        self.jobs = jobs
        self.older = older
        #: Whether the search gave up before the page was full.
        self.exhausted = exhausted


async def search(registry: Registry, fits: Callable[[JobRecord], bool] | None, before: int, most: int) -> Found:
    """At most *most* jobs that *fits* (None = any), newest first, older than the first *before* (0 = all)."""
    jobs = list(registry.jobs.values())
    start = min(before or len(jobs), len(jobs))
    stop = max(start - _REACH, 0) if fits is not None else 0
    found: list[JobRecord] = []
    for position in range(start - 1, stop - 1, -1):
        job = jobs[position]
        if fits is None or fits(job):
            found.append(job)
        if len(found) == most:
            return Found(found, position or None, exhausted=False)
        if position % _BITE == 0:
            await anyio.sleep(_PAUSE)
    return Found(found, stop or None, exhausted=stop > 0)
