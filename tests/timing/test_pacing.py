"""Pacing: what a pace promises for any input, and what it costs in virtual time against one who knows the durations."""

from __future__ import annotations

import math
import random

import pytest
from clairvoyant import EVEN, MIX, QUICK, REVIEW, Even, Law, Street, draws, optimum, pay, sample
from hypothesis import given, settings
from hypothesis import strategies as st

from smile_async.errors import BadConfiguration
from smile_async.timing.pacing import Pace, Rhythm, failing_delay

AGES = st.floats(min_value=0, max_value=1e9) | st.sampled_from([0.0, 1e-300, 0.1, 21_600.0, math.inf])


def after(law: Law, jobs: int, *, rate: float, seed: int, pace: Pace | None = None) -> Street:
    """A street on which so many jobs of this law are done."""
    street = Street((pace or Pace()).rhythm(), draws(law, random.Random(seed)), rate)
    street.run(lambda s: s.finished >= jobs)
    return street


# -- the pace


def test_fixed_pace_is_the_official_rhythm() -> None:
    """Pace.fixed waits 2, 2, 2, then 4 s for ever, whatever is learned, reviewed or not."""
    rhythm = Pace.fixed().rhythm()
    rhythm.learn(2, 0.0, 1.0)
    waits = [rhythm.delay(2, 3.0 * asked, asked, reviewed=asked > 4) for asked in range(8)]
    assert waits == [2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0]


@pytest.mark.parametrize(
    "bad",
    [
        {"price": 0.0},
        {"price": math.inf},
        {"price": math.nan},
        {"floor": 0.0},
        {"floor": 3.0, "ceiling": 2.0},
        {"ceiling": math.inf},
        {"price": 10**400},
        {"price": "0.5"},
        {"floor": True, "ceiling": 10**400},
        {"steady": (10**400, 3, 4.0)},
        {"steady": (0.0, 3, 4.0)},
        {"steady": (2.0, -1, 4.0)},
        {"steady": (2.0, 3, math.inf)},
    ],
)
def test_senseless_paces_are_refused(bad: dict[str, object]) -> None:
    """A pace nobody can mean is refused where it is written down."""
    with pytest.raises(BadConfiguration, match=r"seconds|price"):
        Pace(**bad)  # type: ignore[arg-type]


@given(
    observations=st.lists(st.tuples(AGES, AGES, st.booleans(), st.booleans()), max_size=80),
    ages=st.lists(AGES, min_size=1, max_size=20),
    floor=st.floats(0.01, 20.0),
    width=st.floats(0.0, 1000.0),
    price=st.floats(1e-3, 1e3),
)
@settings(max_examples=12, deadline=None)
def test_delays_stay_between_floor_and_ceiling(
    observations: list[tuple[float, float, bool, bool]], ages: list[float], floor: float, width: float, price: float
) -> None:
    """Whatever was observed, crossed intervals too, every delay is finite and between floor and ceiling."""
    pace = Pace(price=price, floor=floor, ceiling=floor + width)
    rhythm = pace.rhythm()
    for start, end, done, reviewed in observations:
        rhythm.learn(2, start, end, done=done, reviewed=reviewed)
    for age in ages:
        for reviewed in (False, True):
            assert pace.floor <= rhythm.delay(2, age, 1, reviewed) <= pace.ceiling


def test_learning_survives_the_impossible() -> None:
    """Many jobs done in every cell at once, then everything done at once, upset neither estimate nor delays."""
    rhythm = Pace().rhythm()
    for k in range(1, 600):
        for _ in range(3):
            rhythm.learn(2, (0.6 + 0.01 * k) ** 5, (0.61 + 0.01 * k) ** 5)
    for _ in range(500):
        rhythm.learn(2, 0.0, 0.0)
    assert all(0.25 <= rhythm.delay(2, age, 1) <= 300 for age in (0.0, 1.0, 100.0, 1e4, 1e6))


def test_a_higher_price_buys_less_lateness() -> None:
    """With the price of a second, polls rise and lateness falls, before and after learning."""
    for jobs in (0, 400):
        bills = [
            pay(after(QUICK, jobs, rate=10, seed=1, pace=Pace(price=price)).rhythm, sample(QUICK, 300))
            for price in (0.05, 0.2, 0.8, 3.2)
        ]
        polls, late = [bill[1] for bill in bills], [bill[2] for bill in bills]
        assert polls == sorted(polls)
        assert late == sorted(late, reverse=True)


def test_job_types_and_reviews_are_learned_apart() -> None:
    """What is learned of one job type, or of reviews, leaves the others as they were."""
    rhythm, untouched = Pace().rhythm(), Pace().rhythm()
    for _ in range(200):
        rhythm.learn(2, 0.0, 30.0, done=False)
        rhythm.learn(2, 30.0, 31.0)
    first, slow = rhythm.delay(4, 0.0, 0), untouched.delay(4, 0.0, 0)
    assert first == pytest.approx(slow)
    assert rhythm.delay(2, 0.0, 0) > 2 * first
    assert rhythm.delay(2, 30.0, 1, reviewed=True) == pytest.approx(untouched.delay(2, 30.0, 1, reviewed=True), rel=0.1)


def test_reviews_are_polled_slowly() -> None:
    """A job with a human reviewer is polled seldom from the start, and for little more than need be once learned."""
    rhythm = Pace().rhythm()
    assert rhythm.delay(2, 5.0, 1, reviewed=True) > 20
    for duration in random.Random(3).sample(sample(REVIEW, 300), 300):
        age = 5.0
        while age < duration:
            before, age = age, age + rhythm.delay(2, age, 1, reviewed=True)
            rhythm.learn(2, before, age, done=age >= duration, reviewed=True)
    cost = 0.0
    for duration in sample(REVIEW, 100):
        age = 5.0
        while age < duration:
            age += rhythm.delay(2, age, 1, reviewed=True)
            cost += 0.01
        cost += 0.005 * (age - duration)
    assert cost <= 1.3 * optimum(REVIEW)


# -- the figures, in virtual time


def test_beginners_are_sensible() -> None:
    """By the prior alone: 1.1 x the optimum where durations are as documented, and better than the official rhythm."""
    for law, times in ((MIX, 1.15), (QUICK, 1.15), (EVEN, 2.5)):
        rhythm = Pace().rhythm()
        for _ in range(64):  # the first few are polled early on purpose
            rhythm.delay(2, 0.0, 0)
        cost = pay(rhythm, sample(law, 400))[0]
        assert cost <= times * optimum(law)
        assert cost < pay(Pace.fixed().rhythm(), sample(law, 400))[0]


@pytest.mark.parametrize("rate", [0.01, 1, 10, 100])
@pytest.mark.parametrize(("law", "known"), [(MIX, 6.1), (QUICK, 4.0)], ids=["mix", "quick"])
def test_learned_cost_is_near_the_optimum(law: Law, known: float, rate: float) -> None:
    """After 500 jobs, at any rate of arrivals, polls + lateness / 2 is at most 1.15 x what clairvoyance would pay."""
    best = optimum(law)
    assert best == pytest.approx(known, abs=0.05)
    for seed in range(3):
        street = after(law, 500, rate=rate, seed=seed)
        assert pay(street.rhythm, sample(law, 400))[0] <= 1.15 * best


@pytest.mark.parametrize("rate", [0.01, 1, 10, 100])
def test_decisions_at_8_to_12_seconds(rate: float) -> None:
    """After 500 jobs decided between 8 and 12 s: at most 2.5 polls and 1.5 s of lateness, at any rate of arrivals."""
    for seed in range(4):
        _, polls, late = pay(after(EVEN, 500, rate=rate, seed=seed).rhythm, sample(EVEN, 400))
        assert polls <= 2.5
        assert late <= 1.5


@pytest.mark.parametrize("rate", [50, 170, 250, 400])
@pytest.mark.parametrize("width", [1e-9, 0.3, 0.6])
def test_jobs_that_all_take_the_same_time(rate: float, width: float) -> None:
    """Of 5,000 jobs of ten seconds none is left to the tail of the pace, though nothing was known at first."""
    street = Street(Pace().rhythm(), draws([(1.0, Even(10, 10 + width))], random.Random(1)), rate)
    street.run(lambda s: s.arrived >= 5000)
    street.run_out()
    late = sorted(bill[2] for bill in street.bills)
    assert len(late) == 5000
    assert late[-1] <= 8
    assert sum(late) / 5000 <= 1.7
    assert sum(bill[1] for bill in street.bills) / 5000 <= 1.6


def test_ages_nobody_has_reached_are_left_to_the_prior() -> None:
    """That of two thousand jobs one was done by ten seconds is no reason to leave the others alone for twenty."""
    rhythm = Pace().rhythm()
    for _ in range(2000):
        rhythm.learn(2, 0.0, 5.0, done=False)
        rhythm.learn(2, 5.0, 10.0, done=False)
    rhythm.learn(2, 0.0, 10.0)
    assert max(rhythm.delay(2, 10.2, 2) for _ in range(50)) <= 8


def test_long_jobs_count_before_they_finish() -> None:
    """At 100 jobs a second no review has ended after 500 jobs, yet those still pending keep the tail known."""
    street = after(MIX, 500, rate=100, seed=7)
    assert max(bill[2] for bill in street.bills) < 300
    age, polls = 60.0, 0
    while age < 1800:
        age += street.rhythm.delay(2, age, polls)
        polls += 1
    assert polls <= 60


@pytest.mark.parametrize(
    ("old", "new"),
    [(EVEN, [(1.0, Even(2, 3))]), (EVEN, [(1.0, Even(30, 40))]), (EVEN, QUICK), (QUICK, EVEN), (QUICK, MIX)],
    ids=["faster", "slower", "wider", "narrower", "reviews appear"],
)
def test_drift_is_followed(old: Law, new: Law) -> None:
    """A thousand jobs after durations changed, either way, the cost is again within 1.5 x of the new optimum."""
    street = after(old, 1500, rate=10, seed=2)
    street.durations = draws(new, random.Random(2))
    street.run(lambda s: s.finished >= 2500)
    assert pay(street.rhythm, sample(new, 300))[0] <= 1.5 * optimum(new)


def test_knowledge_stays_small() -> None:
    """Memory does not grow with jobs: the intervals kept are bounded."""
    rhythm, rng = Pace().rhythm(), random.Random(5)
    for _ in range(1500):
        start = rng.uniform(0, 500)
        rhythm.learn(2, start, start * rng.uniform(1, 2))
    kept = rhythm._curves[2, False].recent
    assert len(kept) <= 600 + 8192 / 4


# -- failing


@given(st.integers(0, 10_000), st.floats(0.01, 1000), st.floats(0, 1000))
def test_failure_only_ever_spreads_polls(failures: int, delay: float, latency: float) -> None:
    """More failures or slower answers never shorten a delay, and stretch it no further than the cap."""
    waits = failing_delay(failures, delay, latency=latency)
    assert delay <= waits <= max(delay, 60.0)
    assert failing_delay(failures + 1, delay, latency=latency) >= waits
    assert failing_delay(failures, delay, latency=latency + 1) >= waits
    assert failing_delay(0, delay) == delay


def test_a_rhythm_belongs_to_one_session() -> None:
    """One pace makes rhythms that share nothing."""
    pace = Pace()
    first, second = pace.rhythm(), pace.rhythm()
    for _ in range(100):
        first.learn(2, 50.0, 51.0)
    assert isinstance(second, Rhythm)
    assert second.delay(2, 0.0, 0) == Pace().rhythm().delay(2, 0.0, 0)


def test_the_first_jobs_of_a_session_are_polled_early() -> None:
    """Whoever tries the library on an instant sandbox does not wait for the prior: first 0.25 s, then longer."""
    rhythm = Pace().rhythm()
    assert rhythm.delay(2, 0.0, 0) <= 0.25
    assert rhythm.delay(2, 1.0, 2) <= 0.75
    assert rhythm.delay(2, 0.0, 0, reviewed=True) > 1
    for _ in range(64):
        rhythm.delay(2, 0.0, 0)
    assert rhythm.delay(2, 0.0, 0) > 1


def test_instant_decisions_are_learned_within_a_few_jobs() -> None:
    """Eight jobs done at once teach a session that it need not wait."""
    rhythm = Pace().rhythm()
    for _ in range(8):
        rhythm.learn(2, 0.0, 0.25)
    assert rhythm.delay(2, 0.0, 0) < 1
