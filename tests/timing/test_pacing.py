"""Pacing: what a pace promises for any input."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smile_async.errors import BadConfiguration
from smile_async.timing.curve import LAST, Curve, edge_of
from smile_async.timing.pacing import Eagerness, Pace, Rhythm, failing_delay

AGES = st.floats(min_value=0, max_value=1e9) | st.sampled_from([0.0, 1e-300, 0.1, 21_600.0, math.inf])


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
        {"person": 0.0},
        {"person": math.inf},
        {"floor": 0.0},
        {"floor": 3.0, "ceiling": 2.0},
        {"ceiling": math.inf},
        {"price": 10**400},
        {"price": "0.5"},
        {"floor": True, "ceiling": 10**400},
        {"steady": (10**400, 3, 4.0)},
        {"steady": (0.0, 3, 4.0)},
        {"steady": 2.0},
        {"steady": ()},
        {"steady": (2.0, 3)},
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
            assert pace.floor <= rhythm.delay(2, age, 1, reviewed, 5 * price) <= pace.ceiling


def test_learning_survives_the_impossible() -> None:
    """Many jobs done in every cell at once, then everything done at once, upset neither estimate nor delays."""
    rhythm = Pace().rhythm()
    for k in range(1, 600):
        for _ in range(3):
            rhythm.learn(2, (0.6 + 0.01 * k) ** 5, (0.61 + 0.01 * k) ** 5)
    for _ in range(500):
        rhythm.learn(2, 0.0, 0.0)
    assert all(0.25 <= rhythm.delay(2, age, 1) <= 300 for age in (0.0, 1.0, 100.0, 1e4, 1e6))


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


def test_ages_nobody_has_reached_are_left_to_the_prior() -> None:
    """That of two thousand jobs one was done by ten seconds is no reason to leave the others alone for twenty."""
    rhythm = Pace().rhythm()
    for _ in range(2000):
        rhythm.learn(2, 0.0, 5.0, done=False)
        rhythm.learn(2, 5.0, 10.0, done=False)
    rhythm.learn(2, 0.0, 10.0)
    assert max(rhythm.delay(2, 10.2, 2) for _ in range(50)) <= 8


def test_knowledge_stays_small() -> None:
    """Memory does not grow with jobs: the intervals kept are bounded."""
    rhythm, rng = Pace().rhythm(), random.Random(5)
    for _ in range(1500):
        start = rng.uniform(0, 500)
        rhythm.learn(2, start, start * rng.uniform(1, 2))
    kept = rhythm._curves[2, False].recent
    assert len(kept) <= 600 + 8192 / 4


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


def gap_at(rhythm: Rhythm, price: float | None, age: float = 30.0) -> float:
    """The gap at that price, without its jitter; whole jobs are behind the rhythm's first and eager ones."""
    return sorted(rhythm.delay(2, age, 65, price=price) for _ in range(40))[20]


def test_a_dearer_second_shortens_the_gap() -> None:
    """A gap falls with the root of the price; None is the pace's own, and the nearest power of two is as good."""
    rhythm = Pace().rhythm()
    for _ in range(64):
        rhythm.delay(2, 0.0, 0)
    gaps = [gap_at(rhythm, price) for price in (0.5, 1.0, 2.0, 4.0, 8.0)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] / gaps[4] == pytest.approx(4.0, rel=0.25)
    assert gap_at(rhythm, None) == pytest.approx(gaps[0], rel=0.05)
    assert gap_at(rhythm, 3.2) == pytest.approx(gaps[3], rel=0.05)


def test_what_comes_later_than_is_planned_for_teaches_nothing() -> None:
    """Of a job that was done after the last age of the grid there is nothing to plan."""
    curve = Curve(0, 0.05, 60.0, reviewed=False)
    curve.learn(edge_of(LAST) + 1, edge_of(LAST) + 1, done=True)
    assert not curve.recent


@pytest.mark.parametrize("pace", [Pace(), Pace(price=1e300), Pace(price=1e-300), Pace(person=1e300), Pace(person=1e-9)])
def test_a_session_makes_eight_plans_at_most(pace: Pace) -> None:
    """Whatever prices calls name, eight are planned for, the pace's own among them."""
    rhythm = pace.rhythm()
    for power in range(-60, 60):
        rhythm.delay(2, 5.0, 1, price=2.0**power)
    rhythm.delay(2, 5.0, 1)
    plans = len(rhythm._curves[2, False].plans)
    assert plans == 8 if pace == Pace() else plans <= 8


def test_a_plan_is_made_when_it_is_asked_for() -> None:
    """A session without people plans for one price, and forgets what people asked for when it has learned more."""
    rhythm = Pace().rhythm()
    rhythm.delay(2, 0.0, 0)
    assert len(rhythm._curves[2, False].plans) == 1
    rhythm.delay(2, 0.0, 0, price=4.0)
    assert len(rhythm._curves[2, False].plans) == 2
    for _ in range(100):
        rhythm.learn(2, 0.0, 5.0)
    assert len(rhythm._curves[2, False].plans) == 1


@given(
    own=st.floats(1e-3, 1e3),
    price=st.floats(1e-3, 1e3),
    most=st.floats(0, 1e4),
    gaps=st.lists(st.floats(0, 300), max_size=100),
    jobs=st.integers(0, 10**6),
    calm=st.floats(0) | st.just(math.inf),
)
def test_what_is_granted(own: float, price: float, most: float, gaps: list[float], jobs: int, calm: float) -> None:
    """Never more than was asked for nor less than the session's own, and never more to a larger crowd."""
    eagerness = Eagerness(own, most)
    for gap in gaps:
        eagerness.waits(gap, price, max(own, price / 4) if price > own else price)
    granted = eagerness.granted(price, jobs, calm)
    assert min(own, price) <= granted <= price
    assert eagerness.granted(price, jobs + 1, calm) <= granted
    assert eagerness.granted(price, 10**9, calm) == min(own, price)


def test_next_to_nothing_shared_is_nothing() -> None:
    """A bound that is the least of floats grants a crowd nothing, and breaks nothing."""
    assert Eagerness(1.0, 5e-324).granted(2.0, 10**9, math.inf) == 1.0


def test_eagerness_keeps_its_bound() -> None:
    """A hundred polls a second are for 200 jobs that ask every two seconds; more are granted less, then nothing."""
    eagerness = Eagerness(0.5, 100.0)
    for _ in range(500):
        eagerness.waits(2.0, 4.0, 4.0)
    granted = [eagerness.granted(4.0, jobs, math.inf) for jobs in (1, 199, 201, 280, 290, 400, 401, 600, 10_000)]
    assert granted == [4.0, 4.0, 2.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.5]
    # Gaps twice as long at a quarter of the price: those who wait have not become fewer.
    for _ in range(500):
        eagerness.waits(4.0, 4.0, 1.0)
    assert eagerness.granted(4.0, 290, math.inf) == 1.0


def test_nobody_is_eager_after_a_429() -> None:
    """For half a minute the session's own price holds; for as long again the bound grows back."""
    eagerness = Eagerness(0.5, 100.0)
    assert [eagerness.granted(4.0, 100, calm) for calm in (0.0, 29.9, 30.1, 38.0, 45.1, 61.0)] == [
        *(0.5, 0.5, 0.5),
        *(1.0, 4.0, 4.0),
    ]
    assert eagerness.granted(0.25, 100, 0.0) == 0.25
    assert Eagerness(0.5, 0.0).granted(4.0, 1, math.inf) == 0.5
