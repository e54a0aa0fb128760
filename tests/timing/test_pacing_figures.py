"""Pacing: what it costs in virtual time, against one who knows the durations."""

from __future__ import annotations

import random

import pytest
from clairvoyant import EVEN, MIX, QUICK, REVIEW, Even, Law, Street, draws, optimum, pay, sample

from smile_async.timing.pacing import Pace


def after(law: Law, jobs: int, *, rate: float, seed: int, pace: Pace | None = None) -> Street:
    """A street on which so many jobs of this law are done."""
    street = Street((pace or Pace()).rhythm(), draws(law, random.Random(seed)), rate)
    street.run(lambda s: s.finished >= jobs)
    return street


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
    for seed in range(2):
        street = after(law, 500, rate=rate, seed=seed)
        assert pay(street.rhythm, sample(law, 400))[0] <= 1.15 * best


@pytest.mark.parametrize("rate", [0.01, 1, 10, 100])
def test_decisions_at_8_to_12_seconds(rate: float) -> None:
    """After 500 jobs decided between 8 and 12 s: at most 2.5 polls and 1.5 s of lateness, at any rate of arrivals."""
    for seed in range(2):
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
