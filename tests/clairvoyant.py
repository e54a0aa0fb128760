"""What pacing is measured against: true durations, the schedule of one who knows them, and virtual time to poll in.

The optimum is a dynamic programme over the true distribution on a grid of its own, finer than the learner's and built
differently, so that a mistake in one is not repeated in the other.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import NormalDist

from smile_async.timing.pacing import Eagerness, Rhythm

JOB_TYPE = 2
_NORMAL = NormalDist()


@dataclass(frozen=True)
class LogNormal:
    """Durations whose logarithm is normal; `median` in seconds."""

    median: float
    sigma: float

    def quantile(self, q: float) -> float:
        return self.median * math.exp(self.sigma * _NORMAL.inv_cdf(q))

    def survival(self, age: float) -> float:
        return _NORMAL.cdf(-math.log(age / self.median) / self.sigma)

    def mean(self) -> float:
        return self.median * math.exp(self.sigma**2 / 2)


@dataclass(frozen=True)
class Even:
    """Durations anywhere between two ages, in seconds, equally likely."""

    first: float
    last: float

    def quantile(self, q: float) -> float:
        return self.first + (self.last - self.first) * q

    def survival(self, age: float) -> float:
        return min(1.0, max(0.0, (self.last - age) / (self.last - self.first)))

    def mean(self) -> float:
        return (self.first + self.last) / 2


Law = list[tuple[float, LogNormal | Even]]
#: Median 6 s, 95th percentile 40 s.
QUICK: Law = [(1.0, LogNormal(6.0, math.log(40 / 6) / _NORMAL.inv_cdf(0.95)))]
REVIEW: Law = [(1.0, LogNormal(1800.0, 0.3))]
MIX: Law = [(0.95, QUICK[0][1]), (0.05, REVIEW[0][1])]
EVEN: Law = [(1.0, Even(8.0, 12.0))]


def sample(law: Law, count: int) -> list[float]:
    """Evenly spread quantiles, each share of the law represented exactly: a sample without sampling noise."""
    sizes = [(part, round(share * count)) for share, part in law]
    return [part.quantile((i + 0.5) / n) for part, n in sizes for i in range(n)]


def draws(law: Law, rng: random.Random) -> Iterator[float]:
    """Durations drawn at random, for ever."""
    parts, weights = [part for _, part in law], [share for share, _ in law]
    while True:
        yield rng.choices(parts, weights)[0].quantile(rng.uniform(1e-9, 1 - 1e-9))


def optimum(law: Law, price: float = 0.5, count: int = 400, *, fine: bool = False) -> float:
    """Least mean of polls + price x lateness seconds for one who knows the law, by a dynamic programme.

    Polls may stand at any of `count` evenly spread quantiles of each part of the law; the figure is exact for the best
    such schedule, so the true optimum is a trifle lower. `fine`: at ages 0.5 % or 30 ms apart as well, for prices at
    which polls lie closer than the quantiles of the tail.
    """
    levels = [(i + 1) / count for i in range(count - 1)] + [1 - 10 ** (-k / 16) / count for k in range(1, 96)]
    ages = [0.0, *sorted({part.quantile(q) for _, part in law for q in levels}.union(_grid() if fine else ()))]
    left = [1.0, *(sum(share * part.survival(age) for share, part in law) for age in ages[1:])]
    rest, best = [0.0] * len(ages), len(ages) - 1
    for i in range(len(ages) - 2, -1, -1):
        costs = [left[i] * (1 + price * (ages[j] - ages[i])) + rest[j] for j in range(i + 1, best + 1)]
        rest[i] = min(costs)
        best = i + 1 + costs.index(rest[i])
    return rest[0] - price * sum(share * part.mean() for share, part in law)


def _grid() -> Iterator[float]:
    age = 0.0
    while age < 8000.0:
        age += max(0.03, age * 0.005)
        yield age


def walk(rhythm: Rhythm, durations: list[float], bid: float | None = None) -> tuple[int, list[float]]:
    """Polls in all, and each lateness in seconds, of these durations at this rhythm, which learns nothing from them.

    `bid`: the price that is asked of the rhythm, None for its own.
    """
    polls, late = 0, []
    for duration in durations:
        age, asked = 0.0, 0
        while age < duration:
            age += rhythm.delay(JOB_TYPE, age, asked, price=bid)
            asked += 1
        polls += asked
        late.append(age - duration)
    return polls, late


def pay(rhythm: Rhythm, durations: list[float], price: float = 0.5) -> tuple[float, float, float]:
    """Mean (cost, polls, lateness in seconds) of these durations at this rhythm, which learns nothing from them."""
    polls, late = walk(rhythm, durations)
    n = len(durations)
    return (polls + price * sum(late)) / n, polls / n, sum(late) / n


@dataclass
class Street:
    """Virtual time: jobs arrive `rate` a second, each polled at the rhythm, which hears every answer.

    `bid`: what a second is worth to each, None for the rhythm's own price; `eagerness`: what of it is granted, None for
    all of it.
    """

    rhythm: Rhythm
    durations: Iterator[float]
    rate: float
    bid: float | None = None
    eagerness: Eagerness | None = None
    now: float = 0.0
    finished: int = 0
    arrived: int = 0
    bills: list[tuple[int, int, float]] = field(default_factory=list)
    #: When there was a poll.
    polls: list[float] = field(default_factory=list)
    _due: list[tuple[float, int, float, float, float, int]] = field(default_factory=list)

    def run(self, until: Callable[[Street], bool]) -> None:
        """Let time pass until then."""
        while not until(self):
            if not self._due or self._due[0][0] > self.arrived / self.rate:
                self.now = self.arrived / self.rate
                self.arrived += 1
                self._schedule(self.arrived - 1, self.now, next(self.durations), 0.0, 0)
            else:
                self._poll()

    def run_out(self) -> None:
        """Let time pass until all who have come are done; nobody comes any more."""
        while self._due:
            self._poll()

    def _schedule(self, number: int, born: float, duration: float, age: float, asked: int) -> None:
        price = self.bid
        if self.eagerness is not None and self.bid is not None:
            price = self.eagerness.granted(self.bid, self.arrived - self.finished, math.inf)
        wait = self.rhythm.delay(JOB_TYPE, age, asked, price=price)
        if self.eagerness is not None and self.bid is not None and price is not None:
            self.eagerness.waits(wait, self.bid, price)
        heapq.heappush(self._due, (born + age + wait, number, born, duration, age, asked + 1))

    def _poll(self) -> None:
        self.now, number, born, duration, after, asked = heapq.heappop(self._due)
        self.polls.append(self.now)
        age = self.now - born
        done = age >= duration
        self.rhythm.learn(JOB_TYPE, after, age, done=done)
        if done:
            self.finished += 1
            self.bills.append((number, asked, age - duration))
        else:
            self._schedule(number, born, duration, age, asked)
