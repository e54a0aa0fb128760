"""Pacing: what it costs in virtual time, against one who knows the durations."""

from __future__ import annotations

import random
from bisect import bisect

import pytest
from clairvoyant import EVEN, MIX, QUICK, REVIEW, Even, Law, Street, draws, optimum, pay, sample, walk

from smile_async.timing.pacing import Eagerness, Pace, Rhythm

#: What a second is worth to a person, and polls a second from which it is worth less.
PERSON, MOST = Pace().person, 200.0
#: Decisions between two and four seconds.
SOON: Law = [(1.0, Even(2.0, 4.0))]


def after(law: Law, jobs: int, *, rate: float, seed: int, pace: Pace | None = None, bid: float | None = None) -> Street:
    """A street on which so many jobs of this law are done."""
    street = Street((pace or Pace()).rhythm(), draws(law, random.Random(seed)), rate, bid)
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
    street = after(law, 500, rate=rate, seed=0)
    assert pay(street.rhythm, sample(law, 400))[0] <= 1.15 * best


@pytest.mark.parametrize("rate", [0.01, 1, 10, 100])
def test_decisions_at_8_to_12_seconds(rate: float) -> None:
    """After 500 jobs decided between 8 and 12 s: at most 2.5 polls and 1.5 s of lateness, at any rate of arrivals."""
    _, polls, late = pay(after(EVEN, 500, rate=rate, seed=1).rhythm, sample(EVEN, 400))
    assert polls <= 2.5
    assert late <= 1.5


@pytest.mark.parametrize(
    ("rate", "width"), [(50, 1e-9), (50, 0.3), (170, 0.3), (250, 1e-9), (250, 0.6), (400, 0.3), (400, 1e-9)]
)
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


def test_what_clairvoyance_would_pay_for_a_person() -> None:
    """At price 4 one who knows the durations pays 9.96, by a grid finer than the learner's."""
    assert optimum(QUICK, PERSON, fine=True) == pytest.approx(9.96, abs=0.02)


@pytest.mark.parametrize("rate", [0.01, 1, 10])
@pytest.mark.parametrize("pace", [Pace(), Pace(price=PERSON)], ids=["beside a batch's price", "as the only price"])
def test_a_person_is_told_soon(rate: float, pace: Pace) -> None:
    """After 500 jobs polls + 4 x lateness is at most 1.10 x the optimum: 1.3 s late on average, 2.7 s at p95."""
    street = after(QUICK, 500, rate=rate, seed=0, pace=pace, bid=PERSON)
    polls, late = walk(street.rhythm, sample(QUICK, 1000), PERSON)
    assert (polls + PERSON * sum(late)) / 1000 <= 1.10 * 9.96
    assert sum(late) / 1000 <= 1.3
    assert sorted(late)[950] <= 2.7


def test_a_person_pays_less_than_at_a_fixed_pace() -> None:
    """Once 1,000 jobs are known, polls + 4 x lateness is less than every two seconds, and than the official rhythm."""

    def cost(rhythm: Rhythm) -> float:
        polls, late = walk(rhythm, sample(QUICK, 1000), PERSON)
        return (polls + PERSON * sum(late)) / 1000

    learned = cost(after(QUICK, 1000, rate=1, seed=0, bid=PERSON).rhythm)
    assert learned < cost(Pace.fixed(2.0, 1, 2.0).rhythm()) < cost(Pace.fixed().rhythm())


@pytest.mark.parametrize("rate", [0.01, 1, 10, 100])
def test_a_person_whose_decision_comes_within_seconds(rate: float) -> None:
    """After 500 jobs decided between 2 and 4 s, a person is told half a second late at most, on average."""
    _, late = walk(after(SOON, 500, rate=rate, seed=1, bid=PERSON).rhythm, sample(SOON, 400), PERSON)
    assert sum(late) / 400 <= 0.5


def test_what_people_teach_is_good_for_a_batch() -> None:
    """Whoever asked, durations are the same: learned from people, a batch's polls cost what they cost otherwise."""
    street = after(QUICK, 500, rate=1, seed=3, bid=PERSON)
    assert pay(street.rhythm, sample(QUICK, 400))[0] <= 1.15 * optimum(QUICK)


def crowd(bid: float, arrivals: float, jobs: int, most: float = MOST) -> Street:
    """So many jobs, *arrivals* a second, on a street that knows how long they take."""
    street = after(QUICK, 1000, rate=5, seed=9)
    crowded = Street(street.rhythm, draws(QUICK, random.Random(1)), arrivals, bid, Eagerness(0.5, most))
    crowded.run(lambda s: s.arrived >= jobs)
    crowded.run_out()
    return crowded


def test_a_crowd_of_people_costs_the_bound_at_most() -> None:
    """5,000 people who come at once poll by any moment no more than a batch would have, and 200 a second."""
    people, batch = (crowd(price, 1e9, 5_000) for price in (PERSON, 0.5))
    assert people.finished == batch.finished == 5_000
    for half_seconds in range(1, 2 * int(batch.now)):
        now = half_seconds / 2
        # Those who come first do not know yet how many follow them.
        assert bisect(people.polls, now) <= bisect(batch.polls, now) + MOST * now + 0.1 * MOST
    late = [bill[2] for bill in sorted(people.bills)]
    fifths = [sum(late[start : start + 1000]) / 1000 for start in range(0, 5_000, 1000)]
    assert max(fifths) <= 1.1 * min(fifths)
    assert max(fifths) <= sum(bill[2] for bill in batch.bills) / 5_000


def test_eagerness_is_shared_as_far_as_it_goes() -> None:
    """Where people ask for 1.2 x the bound it holds, over five seconds, and all are told half as late as a batch."""
    people, batch, unbound = crowd(PERSON, 40, 2000), crowd(0.5, 40, 2000), crowd(PERSON, 40, 2000, most=1e9)
    windows = range(0, 50, 5)
    busiest = [
        max(bisect(each.polls, n + 5) - bisect(each.polls, n) for n in windows) / 5 for each in (people, unbound)
    ]
    assert busiest[0] <= MOST < busiest[1]
    late = [[bill[2] for bill in sorted(each.bills)] for each in (people, batch)]
    # The first hundreds come while there is still something to spare.
    fifths = [sum(late[0][start : start + 400]) / 400 for start in range(400, 2000, 400)]
    assert max(fifths) <= 1.2 * min(fifths)
    assert max(fifths) <= 0.6 * sum(late[1]) / 2000
