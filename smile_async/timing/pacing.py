"""When to ask again: the pace of polls, learned from the polls themselves.

A verdict becomes available at a moment nobody tells us, and a poll only says "by now" or "not yet". The cheapest
schedule follows from when such jobs are usually done: that is learned from the polls themselves, and the next poll is
placed where polls + price x lateness is least. A second is dearer to a person than to a batch, so there are two prices,
and how many polls the dear one may cost is bounded. Nothing here reads a clock, draws a random number or does I/O: the
same answers always give the same schedule, and hours of polling can be tested in a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from smile_async.errors import BadConfiguration
from smile_async.limits import finite
from smile_async.timing.curve import LAST, Curve, edge_of

__all__ = ["Eagerness", "Pace", "Rhythm", "failing_delay"]

#: Plans are made for powers of two, at most so many a session: a price that is out by 1.4 costs 1.5 % of polls + price
#: x lateness at most, and a plan costs some milliseconds.
_PLANS: Final = 8

#: One gap in so many is cut short at a place that sweeps it: otherwise jobs that became faster would never be noticed.
_PROBE: Final = 1 / 40
#: Width of the jitter around each gap (spreads bursts, refines what is learned), and the golden section that steps
#: through probes and jitter evenly without random numbers.
_JITTER, _GOLDEN = 0.06, (math.sqrt(5) - 1) / 2
#: Seconds after a 429 in which nobody is polled eagerly; for as long again the bound on eager polls grows back.
_CALM: Final = 30.0
#: How many polls a second jobs come to is told by the mean of so many gaps between polls. In seconds: what it begins
#: with, about what a person's jobs have at first; and what an immediate poll counts as.
_HEARD, _USUAL, _AT_ONCE = 64, 2.0, 0.01


@dataclass(frozen=True, slots=True)
class Pace:
    """How eagerly a session polls; immutable, so one may serve any number of sessions.

    `price`: polls you would pay to know a verdict one second sooner, where no person waits: streams, follows, batches,
    and whatever comes after a first verdict. `person`: the same for `verify` and `wait` up to the first verdict, and
    never less than `price`. It falls towards `price`, for all who wait alike, while the session would otherwise poll
    more than `Limits.eager_polls` a second, and for a while after a 429. `price=` in a call overrules both, within that
    bound. Prices are rounded to powers of two, and to the nearest of eight around these two.

    `floor`, `ceiling`: least and most seconds between two polls of one job. `steady`: set by `Pace.fixed`, a rhythm
    that never learns and knows no price. Raises BadConfiguration.
    """

    price: float = 0.5
    person: float = 4.0
    floor: float = 0.25
    #: Every five minutes: even 10,000 jobs under review are then no more than 33 polls a second.
    ceiling: float = 300.0
    steady: tuple[float, int, float] | None = None

    def __post_init__(self) -> None:
        if not (finite(self.price) > 0 and finite(self.person) > 0):
            raise BadConfiguration(
                "Pace.price and person are polls for a second of lateness: give finite numbers above 0"
            )
        if not 0 < finite(self.floor) <= finite(self.ceiling):
            raise BadConfiguration("Pace.floor and ceiling are seconds between polls: give finite 0 < floor <= ceiling")
        steady: object = self.steady
        match steady:
            case None:
                fit = True
            case tuple((first, times, then)):
                fit = finite(first) > 0 and finite(times) >= 0 and finite(then) > 0
            case _:
                fit = False
        if not fit:
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

    __slots__ = ("_curves", "_lowest", "_own", "_phase", "pace")

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._own = _power(pace.price)
        spare = _PLANS - 1 - max(0, _power(pace.person) - self._own)
        self._lowest = self._own - max(0, spare) // 2
        self._curves: dict[tuple[int, bool], Curve] = {}
        self._phase = 0.0

    def delay(self, job_type: int, age: float, asked: int, reviewed: bool = False, price: float | None = None) -> float:
        """Seconds to wait before polling a job again that was not done at `age` (0: just uploaded, `asked` 0).

        `price`: polls for a second of lateness, None for the pace's own.
        """
        steady = self.pace.steady
        if steady is not None:
            return steady[0] if asked < steady[1] else steady[2]
        power = self._own if price is None else min(max(_power(price), self._lowest), self._lowest + _PLANS - 1)
        curve = self._curves.get((job_type, reviewed)) or self._begin(job_type, reviewed)
        gap = min(curve.next_age(age, power) - min(age, LAST), self.pace.ceiling)
        phase = self._phase = (self._phase + _GOLDEN) % 1.0
        gap *= phase / _PROBE if phase < _PROBE else 1.0 + _JITTER * (phase - 0.5)
        if not reviewed and curve.is_novice(asked):
            gap = min(gap, self.pace.floor + age / 2)
        return min(max(gap, self.pace.floor), self.pace.ceiling)

    def learn(self, job_type: int, after: float, by: float, *, done: bool = True, reviewed: bool = False) -> None:
        """Take note of one answered poll: a job known not to be done at age `after` was, or was not, done at age `by`.

        Report the "not done" answers too: without them the quick jobs, which report first, would pass for all jobs.
        """
        if self.pace.steady is None:
            curve = self._curves.get((job_type, reviewed)) or self._begin(job_type, reviewed)
            curve.learn(edge_of(after), edge_of(by), done)

    def _begin(self, job_type: int, reviewed: bool) -> Curve:
        curve = Curve(self._own, self.pace.floor, self.pace.ceiling, reviewed)
        return self._curves.setdefault((job_type, reviewed), curve)


class Eagerness:
    """How much of a price above the session's own is granted, so that what it costs in polls is bounded.

    Everybody who asks for the same is granted the same, whoever came first. Polls grow with the root of their price: if
    all jobs got what they ask for and that came to twice the bound, a quarter of the price keeps them within it. So a
    crowd is held back from its first moment, and not only once its polls are counted.
    """

    __slots__ = ("_gap", "_most", "own")

    def __init__(self, own: float, most: float) -> None:
        """*most*: polls a second from which a price above *own* falls."""
        self._most = most
        #: The price that is always granted.
        self.own = own
        self._gap = _USUAL

    def granted(self, price: float, jobs: int, calm: float) -> float:
        """What is granted to who asks for `price`, in a session that polls `jobs` and was last told to slow down
        `calm` seconds ago.
        """
        if price <= self.own:
            return price
        share = self._most * min(1.0, calm / _CALM - 1.0) * self._gap / max(jobs, 1)
        # The least of floats come to nothing when they are shared.
        if share <= 0:
            return self.own
        # Down to a power of two: rounded up, the bound would be exceeded.
        return price if share >= 1.0 else max(self.own, price * 2.0 ** math.floor(2 * math.log2(share)))

    def waits(self, gap: float, price: float, granted: float) -> None:
        """Take note that a job which asks for `price` waits for `gap` seconds, by what was `granted`."""
        self._gap += (max(gap, _AT_ONCE) * math.sqrt(granted / price) - self._gap) / _HEARD


def _power(price: float) -> int:
    """The exponent of the nearest power of two; beyond a trillion every price is the same."""
    return round(min(max(math.log2(price), -40.0), 40.0))


def failing_delay(failures: int, delay: float, *, latency: float = 0.0, cap: float = 60.0) -> float:
    """Seconds to wait instead of `delay` after `failures` failed polls in a row, the last taking `latency` seconds.

    Never less than `delay`: a failing or slow API is asked less often, never more.
    """
    grown = max(delay, 1.0) * 2.0 ** min(failures, 64) if failures > 0 else delay
    return max(delay, min(cap, max(grown, 4 * latency)))
