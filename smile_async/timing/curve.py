"""When one kind of job is done, learned from polls, and turned into the age of the next one.

A poll only says "by now" or "not yet": from many such answers survival is estimated, on a grid of ages, and for each
price of lateness a dynamic programme over it says from every age when to ask next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate, pairwise
from operator import add, mul, sub
from typing import Final

__all__ = ["LAST", "Curve", "edge_of"]

#: Ages are binned where age ** (1/5) is evenly spaced: 0.3 s apart at 10 s, 20 s at half an hour. Good
#: gaps between polls grow like the square root of the age: even steps of its logarithm would be too coarse late.
_ROOT, _FIRST, _STEP = 0.2, 0.1**0.2, 0.01
#: Beyond six hours the best gap exceeds the default ceiling anyway, so there is nothing left to plan.
LAST: Final = 21_600.0
_CELLS: Final = math.ceil((LAST**_ROOT - _FIRST) / _STEP)
_EDGES: Final = [0.0, *((_FIRST + _STEP * k) ** 5 for k in range(1, _CELLS + 1))]

#: Before any answer: log-logistic parts (share, median seconds, shape), for all that is documented is "a few
#: seconds", longer with human review (wire.md §8). Heavy tails, so that being wrong is cheap.
_PRIOR, _PRIOR_REVIEWED = ((0.96, 5.0, 1.6), (0.04, 1500.0, 2.0)), ((1.0, 1200.0, 1.5),)
#: Pseudo-events the prior weighs in one cell, alone (estimation) and with its neighbours (planning); by simulation.
_PRIOR_CELL, _PRIOR_NEIGHBOURS = 0.03, 0.5
#: Fewer jobs than this are none; what is less still could not be divided by.
_LEAST = 1e-200
#: What is known of one cell speaks for the next one too, by this much, and for the one after by its square. Where all
#: jobs take the same time a wider blur makes the plan distrust the edge, a narrower one hears noise in the tail. Above
#: a price of 1 polls lie so close that noise costs more than distrust: where durations are spread out a plan learned
#: from 500 jobs costs 1.03 x the optimum, and 1.05 x with the narrow blur.
_BLUR, _BLUR_DEAR = 0.7, 0.85
#: Jobs after which an observation weighs 1/e: 5 % of reviewed jobs still leave a hundred to learn the review tail from.
_MEMORY: Final = 2000.0
#: Replanning after this much news (a job done is 4, a "not yet" 1), then more and more seldom: 2 to 4 us an answer.
_SOON, _GROWTH, _SELDOM = 64.0, 1.4, 4096.0
#: Distinct intervals kept for re-estimation (lighter ones are settled for good: bounds memory and time), and rounds of
#: estimation at each replanning: each continues the last, so a few are enough.
_KEPT, _ROUNDS = 600, 4
#: Polls are placed as if lateness cost this much more: a poll also buys knowledge, and estimates blur where a law ends.
_ZEAL: Final = 1.3
#: Until so many jobs were seen done, the first few to be uploaded are polled early, each time at half their age again:
#: whoever tries the library on an instant sandbox must not wait for the prior's five seconds.
_NOVICE, _EAGER = 8, 64
#: Drift is watched for once plans are this far apart: two CUSUM tests for odds that rose or fell by a factor, one false
#: alarm in e^12 = 160,000 answers (Lorden's bound); after an alarm the past weighs so much less.
_SETTLED, _ODDS, _ALARM, _FORGET = 300.0, 2.0, 12.0, 20.0


def edge_of(age: float) -> int:
    """The edge nearest to an age."""
    return int((min(age, LAST) ** _ROOT - _FIRST) / _STEP + 0.5) if age > _EDGES[1] else 0


class Curve:
    """When one kind of job is done: learned from censored answers, and turned into the age of the next poll."""

    def __init__(self, own: int, floor: float, ceiling: float, reviewed: bool) -> None:
        """*own*: the usual price, an exponent of two as every price here; a gap has *floor* to *ceiling* seconds."""
        self._own, self._floor, self._ceiling = own, floor, ceiling
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
        self.plans: dict[int, list[float]] = {}

    def next_age(self, age: float, price: int) -> float:
        """The age of the best next poll of a job that was not done at `age`."""
        return (self.plans.get(price) or self._planned(price))[edge_of(age)]

    def is_novice(self, asked: int) -> bool:
        """Whether a job is among the first, while nearly nothing is known; `asked` 0 announces one more."""
        self.begun += asked == 0
        return self.done < _NOVICE and self.begun <= _EAGER

    def learn(self, after: int, by: int, done: bool) -> None:
        """A job that was not done at edge *after* was, or was not, done at edge *by*."""
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
        # Other prices when they are asked for: most sessions know one.
        self.plans = {}
        self._planned(self._own)
        self._settle()
        self.every = min(_GROWTH * self.every, _SELDOM)
        self.due = self.every

    def _planned(self, price: int) -> list[float]:
        alive = self._survival(_BLUR if price <= 0 else _BLUR_DEAR, _PRIOR_NEIGHBOURS)
        plan = self.plans[price] = _plan(alive, _ZEAL * 2.0**price, self._floor, self._ceiling)
        return plan

    def _spread(self, intervals: dict[tuple[int, int], float]) -> list[float]:
        """Each interval's weight over its cells, in proportion to the present estimate."""
        alive = self.alive
        change = [0.0] * (_CELLS + 1)
        for (after, by), weight in intervals.items():
            share = weight / (alive[after] - alive[by] or math.inf)
            change[after] += share
            change[by] -= share
        return [max(0.0, x) for x in map(mul, accumulate(change), map(sub, alive, alive[1:]))]

    def _survival(self, blur: float, prior: float) -> list[float]:
        """Survival from jobs done and jobs at risk in each cell and, `blur` times less with each step, around it.

        A cell's hazard is the prior's times (done + doubt) / (expected by the prior of those at risk + doubt). Jobs
        still pending are at risk as far as they have come, so it does not matter that quick jobs report first.
        """
        done = [*map(add, self._spread(self.recent), self.settled)]
        # at least those that are done: settled weights need not balance to the last digit
        risk = map(max, map(sub, accumulate(self.entered), accumulate(done, initial=0.0)), done)
        expected = [*map(mul, risk, self.hazards)]
        if blur:
            done, expected = _blurred(done, expected, blur, prior)
        # Several events outweigh any prior: an instant sandbox is learned in a few jobs.
        doubts = [prior / (1 + events * events / 4) for events in done]
        cells = zip(self.hazards, done, expected, doubts, strict=True)
        hazards = [hazard * (events + doubt) / (forecast + doubt) for hazard, events, forecast, doubt in cells]
        alive = [*accumulate([1 - hazard if hazard < 0.9 else 0.1 for hazard in hazards], mul, initial=1.0)]
        return alive if alive[-1] > _LEAST else [max(each, _LEAST) for each in alive]

    def _settle(self) -> None:
        light = sorted(self.recent, key=self.recent.__getitem__, reverse=True)[_KEPT:]
        spread = self._spread({key: self.recent.pop(key) for key in light})
        self.settled = [*map(add, self.settled, spread)]


def _blurred(done: list[float], expected: list[float], blur: float, prior: float) -> tuple[list[float], list[float]]:
    """What was done, and what was expected, in each cell and, `blur` times less with each step, around it."""
    around = zip(
        _before(done, blur), _before(expected, blur), _onward(done, blur), _onward(expected, blur), strict=True
    )
    events, forecasts = [], []
    for done_before, expected_before, done_onward, expected_onward in around:
        # Younger ages weigh no more than what is known from here on: that of a thousand jobs none was done by 10 s
        # says nothing of 12 s, where none has been yet.
        share = min(1.0, (expected_onward + prior) / (expected_before or math.inf))
        events.append(done_onward + share * done_before)
        forecasts.append(expected_onward + share * expected_before)
    return events, forecasts


def _before(cells: list[float], blur: float) -> Iterator[float]:
    """For each cell the sum over those before it, `blur` times less with each step."""
    return accumulate(cells[:-1], lambda total, cell: blur * (total + cell), initial=0.0)


def _onward(cells: list[float], blur: float) -> Iterator[float]:
    """For each cell the sum of it and those after it, `blur` times less with each step."""
    return reversed([*accumulate(reversed(cells), lambda total, cell: blur * total + cell)])


def _plan(alive: list[float], price: float, floor: float, ceiling: float) -> list[float]:
    """For each edge the age of the best next poll: a dynamic programme from the last edge down.

    As polls + price x lateness is, up to a constant, the sum over polls of S(gap's start) x (1 + price x gap), what
    remains from edge i is rest(i) = min over j of S(i) x (1 + price x (age j - age i)) + rest(j). The best j never
    decreases with i, as S decreases, which bounds the search from above.
    """
    rest = [0.0] * (_CELLS + 1)
    ages = [math.inf] * (_CELLS + 1)
    low = best = _CELLS
    for i in range(_CELLS - 1, -1, -1):
        while low > i + 1 and _EDGES[low - 1] >= _EDGES[i] + floor:
            low -= 1
        while best > low and _EDGES[best] > _EDGES[i] + ceiling:
            best -= 1
        slope = price * alive[i]
        costs = [r + slope * age for r, age in zip(rest[low : best + 1], _EDGES[low : best + 1], strict=True)]
        least = min(costs)
        best = low + costs.index(least)
        ages[i] = _EDGES[best]
        rest[i] = alive[i] + least - slope * _EDGES[i]
    return ages
