"""When to ask again: the pace of polls, learned from the polls themselves.

A verdict becomes available at a moment nobody tells us, and a poll only says "by now" or "not yet". The cheapest
schedule follows from when such jobs are usually done: that is learned from the polls themselves, and the next poll is
placed where polls + price x lateness is least. Nothing here reads a clock, draws a random number or does I/O: the same
answers always give the same schedule, and hours of polling can be tested in a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import add, mul, sub
from typing import Final

from smile_async.errors import BadConfiguration
from smile_async.limits import finite

__all__ = ["Pace", "Rhythm", "failing_delay"]

#: Ages are binned where age ** (1/5) is evenly spaced: 0.3 s apart at 10 s, 20 s at half an hour. Good
#: gaps between polls grow like the square root of the age: even steps of its logarithm would be too coarse late.
_ROOT, _FIRST, _STEP = 0.2, 0.1**0.2, 0.01
#: Beyond six hours the best gap exceeds the default ceiling anyway, so there is nothing left to plan.
_LAST: Final = 21_600.0
_CELLS: Final = math.ceil((_LAST**_ROOT - _FIRST) / _STEP)
_EDGES: Final = [0.0, *((_FIRST + _STEP * k) ** 5 for k in range(1, _CELLS + 1))]

#: Before any answer: log-logistic parts (share, median seconds, shape), for all that is documented is "a few
#: seconds", longer with human review (wire.md §8). Heavy tails, so that being wrong is cheap.
_PRIOR, _PRIOR_REVIEWED = ((0.96, 5.0, 1.6), (0.04, 1500.0, 2.0)), ((1.0, 1200.0, 1.5),)
#: Pseudo-events the prior weighs in one cell, alone (estimation) and with its neighbours (planning); by simulation.
_PRIOR_CELL, _PRIOR_NEIGHBOURS = 0.03, 0.5
#: What is known of one cell speaks for the next one too, by this much, and for the one after by its square. Where all
#: jobs take the same time a wider blur makes the plan distrust the edge, a narrower one hears noise in the tail.
_BLUR: Final = 0.7
#: Jobs after which an observation weighs 1/e: 5 % of reviewed jobs still leave a hundred to learn the review tail from.
_MEMORY: Final = 2000.0
#: Replanning after this much news (a job done is 4, a "not yet" 1), then more and more seldom: 2 to 4 us an answer.
_SOON, _GROWTH, _SELDOM = 64.0, 1.4, 4096.0
#: Distinct intervals kept for re-estimation (lighter ones are settled for good: bounds memory and time), and rounds of
#: estimation at each replanning: each continues the last, so a few are enough.
_KEPT, _ROUNDS = 600, 4
#: Polls are placed as if lateness cost this much more: a poll also buys knowledge, and estimates blur where a law ends.
_ZEAL: Final = 1.3
#: One gap in so many is cut short at a place that sweeps it: otherwise jobs that became faster would never be noticed.
_PROBE: Final = 1 / 40
#: Until so many jobs were seen done, the first few to be uploaded are polled early, each time at half their age again:
#: whoever tries the library on an instant sandbox must not wait for the prior's five seconds.
_NOVICE, _EAGER = 8, 64
#: Width of the jitter around each gap (spreads bursts, refines what is learned), and the golden section that steps
#: through probes and jitter evenly without random numbers.
_JITTER, _GOLDEN = 0.06, (math.sqrt(5) - 1) / 2
#: Drift is watched for once plans are this far apart: two CUSUM tests for odds that rose or fell by a factor, one false
#: alarm in e^12 = 160,000 answers (Lorden's bound); after an alarm the past weighs so much less.
_SETTLED, _ODDS, _ALARM, _FORGET = 300.0, 2.0, 12.0, 20.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How eagerly a session polls; immutable, so one may serve any number of sessions.

    `price`: polls you would pay to know a verdict one second sooner. `floor`, `ceiling`: least and most seconds between
    two polls of one job. `steady`: set by `Pace.fixed`, a rhythm that never learns. Raises BadConfiguration.
    """

    price: float = 0.5
    floor: float = 0.25
    #: Every five minutes: even 10,000 jobs under review are then no more than 33 polls a second.
    ceiling: float = 300.0
    steady: tuple[float, int, float] | None = None

    def __post_init__(self) -> None:
        if not finite(self.price) > 0:
            raise BadConfiguration("Pace.price is polls for a second of lateness: give a finite number above 0")
        if not 0 < finite(self.floor) <= finite(self.ceiling):
            raise BadConfiguration("Pace.floor and ceiling are seconds between polls: give finite 0 < floor <= ceiling")
        first, times, then = self.steady or (1.0, 0, 1.0)
        if not (finite(first) > 0 and finite(times) >= 0 and finite(then) > 0):
            raise BadConfiguration("a fixed pace is seconds, times, seconds: give finite numbers above 0")

    @classmethod
    def fixed(cls, first: float = 2.0, times: int = 3, then: float = 4.0) -> Pace:
        """`times` polls `first` seconds apart, then every `then` seconds: the official SDK's (wire.md §8)."""
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
        curve = self._curves.get((job_type, reviewed)) or self._begin(job_type, reviewed)
        gap = min(curve.plan[_edge(age)] - min(age, _LAST), self._pace.ceiling)
        phase = self._phase = (self._phase + _GOLDEN) % 1.0
        gap *= phase / _PROBE if phase < _PROBE else 1.0 + _JITTER * (phase - 0.5)
        if not reviewed and curve.is_novice(asked):
            gap = min(gap, self._pace.floor + age / 2)
        return min(max(gap, self._pace.floor), self._pace.ceiling)

    def learn(self, job_type: int, after: float, by: float, *, done: bool = True, reviewed: bool = False) -> None:
        """Take note of one answered poll: a job known not to be done at age `after` was, or was not, done at age `by`.

        Report the "not done" answers too: without them the quick jobs, which report first, would pass for all jobs.
        """
        if self._pace.steady is None:
            curve = self._curves.get((job_type, reviewed)) or self._begin(job_type, reviewed)
            curve.learn(_edge(after), _edge(by), done)

    def _begin(self, job_type: int, reviewed: bool) -> _Curve:
        return self._curves.setdefault((job_type, reviewed), _Curve(self._pace, reviewed))


def _edge(age: float) -> int:
    """The edge nearest to an age."""
    return int((min(age, _LAST) ** _ROOT - _FIRST) / _STEP + 0.5) if age > _EDGES[1] else 0


class _Curve:
    """When one kind of job is done: learned from censored answers, and turned into the age of the next poll."""

    def __init__(self, pace: Pace, reviewed: bool) -> None:
        self.pace = pace
        parts = _PRIOR_REVIEWED if reviewed else _PRIOR
        self.alive = [sum(w / (1 + (age / m) ** k) for w, m, k in parts) for age in _EDGES]
        self.hazards = [1 - b / a for a, b in pairwise(self.alive)]
        self.entered = [0.0] * (_CELLS + 1)
        self.settled = [0.0] * _CELLS
        self.recent: dict[tuple[int, int], float] = {}
        self.weight = 1.0
        self.begun = self.done = 0
        self.quicker = self.slower = 0.0
        self.due = self.every = _SOON
        self.plan = _plan(self.alive, pace)

    def is_novice(self, asked: int) -> bool:
        """Whether a job is among the first, while nearly nothing is known; `asked` 0 announces one more."""
        self.begun += asked == 0
        return self.done < _NOVICE and self.begun <= _EAGER

    def learn(self, after: int, by: int, done: bool) -> None:
        by = max(by, after + done)
        if by > _CELLS:
            return
        if self.every > _SETTLED:
            # A cell's width in favour of the answer: ages are rounded, and where jobs all take the same time half a
            # cell is everything. The estimate itself and not the blurred one, for the same reason.
            edge = min(by + 1, _CELLS) if done else max(by - 1, after)
            self._watch(self.alive[edge] / self.alive[after], done)
        weight = self.weight
        self.entered[after] += weight
        if done:
            self.done += 1
            if self.done == _NOVICE:
                self.due, self.every = 0.0, _SOON / _GROWTH
            self.recent[after, by] = self.recent.get((after, by), 0.0) + weight
            self.weight = weight * (1 + 1 / _MEMORY)
        else:
            self.entered[by] -= weight
        self.due -= 4 if done else 1
        if self.due <= 0:
            self.replan()

    def _watch(self, survival: float, done: bool) -> None:
        """Notice that jobs became quicker or slower than the past lets expect, and then let the past weigh little."""
        quicker = 1 + (_ODDS - 1) * (1 - survival)
        slower = 1 + (1 / _ODDS - 1) * (1 - survival)
        self.quicker = max(0.0, self.quicker + math.log((_ODDS if done else 1) / quicker))
        self.slower = max(0.0, self.slower + math.log((1 / _ODDS if done else 1) / slower))
        if max(self.quicker, self.slower) > _ALARM:
            self.quicker = self.slower = 0.0
            self.weight *= _FORGET
            self.due, self.every = 0.0, _SOON

    def replan(self) -> None:
        """Estimate afresh, place the polls afresh; a few milliseconds, ever more seldom."""
        scale, self.weight = 1 / self.weight, 1.0
        self.entered = [scale * x for x in self.entered]
        self.settled = [scale * x for x in self.settled]
        self.recent = {key: scale * x for key, x in self.recent.items()}
        for _ in range(_ROUNDS):
            self.alive = self._survival(0.0, _PRIOR_CELL)
        self.plan = _plan(self._survival(_BLUR, _PRIOR_NEIGHBOURS), self.pace)
        self._settle()
        self.every = min(_GROWTH * self.every, _SELDOM)
        self.due = self.every

    def _spread(self, intervals: dict[tuple[int, int], float]) -> list[float]:
        """Each interval's weight over its cells, in proportion to the present estimate."""
        alive = self.alive
        change = [0.0] * (_CELLS + 1)
        for (after, by), weight in intervals.items():
            share = weight / (alive[after] - alive[by] or math.inf)
            change[after] += share
            change[by] -= share
        return [max(0.0, c * (a - b)) for c, a, b in zip(accumulate(change), alive, alive[1:], strict=False)]

    def _survival(self, blur: float, prior: float) -> list[float]:
        """Survival from jobs done and jobs at risk in each cell and, `blur` times less with each step, around it.

        A cell's hazard is the prior's times (done + doubt) / (expected by the prior of those at risk + doubt). Jobs
        still pending are at risk as far as they have come, so it does not matter that quick jobs report first.
        """
        done = [*map(add, self._spread(self.recent), self.settled)]
        # at least those that are done: settled weights need not balance to the last digit
        risk = map(max, map(sub, accumulate(self.entered), accumulate(done, initial=0.0)), done)
        expected = [*map(mul, risk, self.hazards)]
        around = zip(
            _before(done, blur), _before(expected, blur), _onward(done, blur), _onward(expected, blur), strict=True
        )
        alive, result = 1.0, [1.0]
        for hazard, (done_before, expected_before, done_onward, expected_onward) in zip(
            self.hazards, around, strict=True
        ):
            # Younger ages weigh no more than what is known from here on: that of a thousand jobs none was done by 10 s
            # says nothing of 12 s, where none has been yet.
            share = min(1.0, (expected_onward + prior) / (expected_before or math.inf))
            events = done_onward + share * done_before
            forecast = expected_onward + share * expected_before
            # Several events outweigh any prior: an instant sandbox is learned in a few jobs.
            doubt = prior / (1 + events * events / 4)
            alive = max(alive * (1 - min(hazard * (events + doubt) / (forecast + doubt), 0.9)), 1e-200)
            result.append(alive)
        return result

    def _settle(self) -> None:
        light = sorted(self.recent, key=self.recent.__getitem__, reverse=True)[_KEPT:]
        spread = self._spread({key: self.recent.pop(key) for key in light})
        self.settled = [*map(add, self.settled, spread)]


def _before(cells: list[float], blur: float) -> Iterator[float]:
    """For each cell the sum over those before it, `blur` times less with each step."""
    return accumulate(cells[:-1], lambda total, cell: blur * (total + cell), initial=0.0)


def _onward(cells: list[float], blur: float) -> Iterator[float]:
    """For each cell the sum of it and those after it, `blur` times less with each step."""
    return reversed([*accumulate(reversed(cells), lambda total, cell: blur * total + cell)])


def _plan(alive: list[float], pace: Pace) -> list[float]:
    """For each edge the age of the best next poll: a dynamic programme from the last edge down.

    As polls + price x lateness is, up to a constant, the sum over polls of S(gap's start) x (1 + price x gap), what
    remains from edge i is rest(i) = min over j of S(i) x (1 + price x (age j - age i)) + rest(j). The best j never
    decreases with i, as S decreases, which bounds the search from above.
    """
    rest = [0.0] * (_CELLS + 1)
    ages = [math.inf] * (_CELLS + 1)
    low = best = _CELLS
    for i in range(_CELLS - 1, -1, -1):
        while low > i + 1 and _EDGES[low - 1] >= _EDGES[i] + pace.floor:
            low -= 1
        while best > low and _EDGES[best] > _EDGES[i] + pace.ceiling:
            best -= 1
        slope = _ZEAL * pace.price * alive[i]
        costs = [r + slope * age for r, age in zip(rest[low : best + 1], _EDGES[low : best + 1], strict=True)]
        least = min(costs)
        best = low + costs.index(least)
        ages[i] = _EDGES[best]
        rest[i] = alive[i] + least - slope * _EDGES[i]
    return ages


def failing_delay(failures: int, delay: float, *, latency: float = 0.0, cap: float = 60.0) -> float:
    """Seconds to wait instead of `delay` after `failures` failed polls in a row, the last taking `latency` seconds.

    Never less than `delay`: a failing or slow API is asked less often, never more.
    """
    grown = max(delay, 1.0) * 2.0 ** min(failures, 64) if failures > 0 else delay
    return max(delay, min(cap, max(grown, 4 * latency)))
