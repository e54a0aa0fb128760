"""When to ask again: the pace of polls, the back-off of retries and the budget that bounds them.

A verdict becomes available at a moment nobody tells us, and a poll only says "by now" or "not yet". The cheapest
schedule follows from when such jobs are usually done: that is learned from the polls themselves, and the next poll is
placed where polls + price x lateness is least. Nothing here reads a clock, draws a random number or does I/O: the same
answers always give the same schedule, and hours of polling can be tested in a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import accumulate, pairwise
from typing import Final

__all__ = ["Pace", "RetryBudget", "Rhythm", "backoff", "failing_delay", "retry_after"]

#: Ages are binned where age ** (1/5) is evenly spaced: 0.3 s apart at 10 s, 20 s at half an hour. Good
#: gaps between polls grow like the square root of the age: even steps of its logarithm would be too coarse late.
_ROOT: Final = 0.2
_FIRST: Final = 0.1**_ROOT
_STEP: Final = 0.01
#: Beyond six hours the best gap exceeds the default ceiling anyway, so there is nothing left to plan.
_LAST: Final = 21_600.0
_CELLS: Final = math.ceil((_LAST**_ROOT - _FIRST) / _STEP)
_EDGES: Final = [0.0, *((_FIRST + _STEP * k) ** 5 for k in range(1, _CELLS + 1))]
_MIDDLES: Final = [(a + b) / 2 for a, b in pairwise(_EDGES)]

#: Before any answer: log-logistic (median seconds, shape). "Most jobs need only a few seconds" is all the provider says
#: (protocol.md §8); the shapes give heavy tails so that surprise is cheap.
_PRIOR: Final = (5.0, 1.3)
_PRIOR_REVIEWED: Final = (900.0, 1.3)
#: The prior counts as much as this many jobs: enough for a start, little after twenty answers.
_PRIOR_JOBS: Final = 4.0
#: Jobs after which an observation weighs 1/e: 5 % of reviewed jobs still leave a hundred to learn the review tail from.
_MEMORY: Final = 2000.0
#: Answers before the first replanning, and the most between two.
_SOON, _SELDOM = 32, 4096
#: Distinct intervals kept for re-estimation; the lightest of the others are settled for good (bounds memory and time).
_KEPT: Final = 600
_ROUNDS: Final = 6
#: One gap in so many is cut short at a place that sweeps it: otherwise jobs that became faster would never be noticed.
_PROBE: Final = 1 / 40
#: Width of the jitter around each gap: spreads a burst of uploads and refines what is learned.
_JITTER: Final = 0.08
#: Change detection (CUSUM of surprise in nats): slack an answer, alarm level, and how much less the past then weighs.
_SLACK, _ALARM, _FORGET = 0.1, 25.0, 50.0
_GOLDEN: Final = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Pace:
    """How eagerly a session polls; immutable, so one may serve any number of sessions.

    `price`: polls you would pay to know a verdict one second sooner. `floor`, `ceiling`: least and most seconds between
    two polls of one job. `steady`: set by `Pace.fixed`, a rhythm that never learns. Senseless values: ValueError.
    """

    price: float = 0.5
    floor: float = 0.25
    ceiling: float = 300.0
    steady: tuple[float, int, float] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.price < math.inf:
            raise ValueError(f"price is polls per second of lateness, more than 0, not {self.price!r}")
        if not 0 < self.floor <= self.ceiling < math.inf:
            raise ValueError(f"0 < floor <= ceiling seconds between polls, not {self.floor!r} and {self.ceiling!r}")
        if self.steady is None:
            return
        first, times, then = self.steady
        if not (0 < first < math.inf and times >= 0 and 0 < then < math.inf):
            raise ValueError(f"a fixed rhythm is (seconds, times, seconds), seconds more than 0, not {self.steady!r}")

    @classmethod
    def fixed(cls, first: float = 2.0, times: int = 3, then: float = 4.0) -> Pace:
        """`times` polls `first` seconds apart, then every `then` seconds; by default as the official SDK (protocol.md §8)."""
        return cls(steady=(first, times, then))

    def rhythm(self) -> Rhythm:
        """A new learner that follows this pace: one per session."""
        return Rhythm(self)


class Rhythm:
    """Learns when jobs are done and says how long to wait before the next poll; one per session, for one thread.

    A job has two waits, each learned by job type: from upload to its first verdict of any kind (`reviewed=False`), and,
    where that was a provisional one, until the final one (`reviewed=True`). Ages are seconds since upload in both.
    """

    __slots__ = ("_curves", "_pace", "_phase")

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._curves: dict[tuple[int, bool], _Curve] = {}
        self._phase = 0.0

    def delay(self, job_type: int, age: float, asked: int, reviewed: bool = False) -> float:
        """Seconds to wait before polling a job again that was not done at `age` (0: just uploaded, `asked` 0)."""
        steady = self._pace.steady
        if steady is not None:
            return steady[0] if asked < steady[1] else steady[2]
        curve = self._curves.get((job_type, reviewed)) or self._curve(job_type, reviewed)
        gap = curve.plan[_edge(age)] - age
        phase = self._phase = (self._phase + _GOLDEN) % 1.0
        gap *= phase / _PROBE if phase < _PROBE else 1.0 + _JITTER * (phase - 0.5)
        return min(max(gap, self._pace.floor), self._pace.ceiling)

    def learn(self, job_type: int, after: float, by: float, *, done: bool = True, reviewed: bool = False) -> None:
        """Take note of one answered poll: a job known not to be done at age `after` was, or was not, done at age `by`.

        Report the "not done" answers too: without them the quick jobs, which report first, would pass for all jobs.
        """
        if self._pace.steady is None:
            curve = self._curves.get((job_type, reviewed)) or self._curve(job_type, reviewed)
            curve.learn(_edge(after), _edge(by), done)

    def _curve(self, job_type: int, reviewed: bool) -> _Curve:
        return self._curves.setdefault((job_type, reviewed), _Curve(self._pace, reviewed))


def _edge(age: float) -> int:
    """The edge nearest to an age."""
    return int((min(age, _LAST) ** _ROOT - _FIRST) / _STEP + 0.5) if age > _EDGES[1] else 0


class _Curve:
    """When one kind of job is done: learned from censored answers, and turned into the age of the next poll."""

    __slots__ = ("alive", "due", "entered", "every", "pace", "plan", "prior", "recent", "settled", "surprise", "weight")

    def __init__(self, pace: Pace, reviewed: bool) -> None:
        self.pace = pace
        median, shape = _PRIOR_REVIEWED if reviewed else _PRIOR
        self.prior = [1 / (1 + (age / median) ** shape) for age in _EDGES]
        self.alive = self.prior
        self.entered = [0.0] * (_CELLS + 1)
        self.settled = [0.0] * _CELLS
        self.recent: dict[tuple[int, int], float] = {}
        self.weight = 1.0
        self.surprise = 0.0
        self.due = self.every = _SOON
        self.plan = _plan(self.alive, pace)

    def learn(self, after: int, by: int, done: bool) -> None:
        by = max(by, after + done)
        if by > _CELLS:
            return
        weight, alive = self.weight, self.alive
        self._watch(alive[by] / alive[after], done)
        self.entered[after] += weight
        if done:
            self.recent[after, by] = self.recent.get((after, by), 0.0) + weight
            self.weight = weight * (1 + 1 / _MEMORY)
        else:
            self.entered[by] -= weight
        self.due -= 1
        if self.due <= 0:
            self.replan()

    def _watch(self, survival: float, done: bool) -> None:
        """Notice that the past no longer predicts the answers, and then let it weigh little."""
        survival = min(max(survival, 0.001), 0.999)
        odds = math.log(survival / (1 - survival))
        # log-loss minus its expectation under the forecast: (expected - actual) x log-odds
        self.surprise = max(0.0, self.surprise - _SLACK + odds * (survival - (not done)))
        if self.surprise > _ALARM:
            self.surprise = 0.0
            self.weight *= _FORGET
            self.due, self.every = 0, _SOON

    def replan(self) -> None:
        """Estimate afresh, place the polls afresh; a few milliseconds, ever more seldom."""
        self._rescale()
        for _ in range(_ROUNDS):
            self.alive = self._survival(self._spread(self.recent))
        if len(self.recent) > _KEPT:
            self._settle()
        self.plan = _plan(self.alive, self.pace)
        self.every = min(2 * self.every, _SELDOM)
        self.due = self.every

    def _rescale(self) -> None:
        scale, self.weight = 1 / self.weight, 1.0
        self.entered = [scale * x for x in self.entered]
        self.settled = [scale * x for x in self.settled]
        self.recent = {key: scale * x for key, x in self.recent.items()}

    def _spread(self, intervals: dict[tuple[int, int], float]) -> list[float]:
        """Each interval's weight over its cells, in proportion to the present estimate."""
        alive = self.alive
        change = [0.0] * (_CELLS + 1)
        for (after, by), weight in intervals.items():
            share = weight / (alive[after] - alive[by] or math.inf)
            change[after] += share
            change[by] -= share
        return [c * (a - b) for c, a, b in zip(accumulate(change), alive, alive[1:], strict=False)]

    def _survival(self, spread: list[float]) -> list[float]:
        """Survival from events and jobs at risk, a cell's ratio each: pending jobs count as far as they have come."""
        done = [a + b for a, b in zip(spread, self.settled, strict=True)]
        risk = [e - d for e, d in zip(accumulate(self.entered), accumulate(done, initial=0.0), strict=True)]
        done, risk = _smooth(done), _smooth(risk[:-1])
        alive, result = 1.0, [1.0]
        for events, jobs, start, end in zip(done, risk, self.prior, self.prior[1:], strict=False):
            hazard = (events + _PRIOR_JOBS * (start - end)) / (max(jobs, events) + _PRIOR_JOBS * start)
            alive *= 1 - min(max(hazard, 1e-9), 0.9)
            result.append(alive)
        return result

    def _settle(self) -> None:
        light = sorted(self.recent, key=self.recent.__getitem__)[: len(self.recent) - _KEPT]
        spread = self._spread({key: self.recent.pop(key) for key in light})
        self.settled = [a + b for a, b in zip(self.settled, spread, strict=True)]


def _smooth(values: list[float]) -> list[float]:
    padded = [values[0], *values, values[-1]]
    return [(a + 2 * b + c) / 4 for a, b, c in zip(padded, padded[1:], padded[2:], strict=False)]


def _plan(alive: list[float], pace: Pace) -> list[float]:
    """For each edge the age of the best next poll: a dynamic programme from the last edge down.

    As polls + price x lateness is, up to a constant, the sum over polls of S(gap's start) x (1 + price x gap), what
    remains from edge i is rest(i) = min over j of S(i) x (1 + price x (age j - age i)) + rest(j). The best j never
    decreases with i, as S decreases, which bounds the search from above.
    """
    rest = [0.0] * (_CELLS + 1)
    ages = [_LAST + pace.ceiling] * (_CELLS + 1)
    low = best = _CELLS
    for i in range(_CELLS - 1, -1, -1):
        while low > i + 1 and _EDGES[low - 1] >= _EDGES[i] + pace.floor:
            low -= 1
        while best > low and _EDGES[best] > _EDGES[i] + pace.ceiling:
            best -= 1
        slope = pace.price * alive[i]
        costs = [r + slope * age for r, age in zip(rest[low : best + 1], _EDGES[low : best + 1], strict=True)]
        least = min(costs)
        best = low + costs.index(least)
        ages[i] = _EDGES[best]
        rest[i] = alive[i] + least - slope * _EDGES[i]
    return ages


def backoff(attempt: int, *, base: float = 0.05, cap: float = 20.0, draw: float) -> float:
    """Seconds before retry number `attempt` (0 is the first): full jitter, `draw` in [0, 1); `base` 1 if throttled."""
    return draw * min(cap, base * 2.0 ** min(attempt, 64))


def failing_delay(failures: int, delay: float, *, latency: float = 0.0, cap: float = 60.0) -> float:
    """Seconds to wait instead of `delay` after `failures` failed polls in a row, the last taking `latency` seconds.

    Never less than `delay`: a failing or slow API is asked less often, never more.
    """
    grown = max(delay, 1.0) * 2.0 ** min(failures, 64) if failures > 0 else delay
    return max(delay, min(cap, max(grown, 4 * latency)))


class RetryBudget:
    """Tokens that retries must buy, so that a failing API meets no storm (500; 14 transient, 5 throttled)."""

    __slots__ = ("_tokens", "capacity")

    def __init__(self, capacity: int = 500) -> None:
        self.capacity = capacity
        self._tokens = capacity

    @property
    def tokens(self) -> int:
        """Tokens left."""
        return self._tokens

    def take(self, *, throttled: bool = False) -> int:
        """Buy one retry: the tokens it cost, to be given back if it succeeds, or 0: no retry."""
        cost = 5 if throttled else 14
        if cost > self._tokens:
            return 0
        self._tokens -= cost
        return cost

    def give(self, taken: int = 0) -> None:
        """A request succeeded: put back what its retries took, or one token if it took none."""
        self._tokens = min(self.capacity, self._tokens + max(taken, 1))


def retry_after(value: str, now: float) -> float | None:
    """Seconds a Retry-After header asks for (a number, or an HTTP date seen at epoch `now`), None if senseless."""
    text = value.strip()
    try:
        seconds = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return seconds if 0 <= seconds <= 86_400 else None
