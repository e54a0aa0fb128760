"""Retrying: bounds of the back-off, the budget, and Retry-After in all its spellings."""

import string
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smile_async.timing.backoff import RetryBudget, backoff, retry_after

NOW = 1_700_000_000.0


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0.001, 10), st.floats(0.001, 100))
def test_backoff_is_full_jitter_within_its_cap(attempt: int, draw: float, base: float, cap: float) -> None:
    """A back-off is the draw's share of base doubled each attempt, never past the cap."""
    assert 0 <= backoff(attempt, base=base, cap=cap, draw=draw) <= cap
    assert backoff(attempt, draw=draw) == pytest.approx(draw * min(20.0, 0.05 * 2.0 ** min(attempt, 60)))


def test_a_back_off_doubles_until_its_cap() -> None:
    """From a twentieth of a second to twenty, of which the draw decides the share."""
    assert [backoff(n, draw=0.5) for n in (0, 1, 2, 99)] == [0.025, 0.05, 0.1, 10.0]


@given(st.lists(st.booleans(), max_size=200))
def test_the_budget_is_never_negative_nor_overfull(events: list[bool]) -> None:
    """Tokens stay between nothing and capacity whatever the order of retries and successes."""
    budget, taken = RetryBudget(100), [0]
    for is_retry in events:
        if is_retry:
            taken.append(budget.take())
        else:
            budget.give(taken[-1])
        assert 0 <= budget.tokens <= budget.capacity


def test_a_dry_budget_refuses_until_requests_succeed() -> None:
    """500 tokens buy 35 transient retries; then ordinary successes earn one token each, and refunds what was taken."""
    budget = RetryBudget()
    assert [budget.take() for _ in range(36)] == [14] * 35 + [0]
    assert budget.tokens == 10
    budget.give(14)
    budget.give()
    assert budget.tokens == 25


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        ("Tue Nov 14 22:13:50 2023", 30.0),
        (formatdate(NOW - 90, usegmt=True), None),
        ("-5", None),
        ("86401", 86_400.0),
        ("9" * 400, 86_400.0),
        ("inf", None),
        ("nan", None),
        ("", None),
        ("soon", None),
        ("Wed, 99 Foo 2023 00:00:00 GMT", None),
    ],
)
def test_retry_after_reads_seconds_and_dates(value: str, seconds: float | None) -> None:
    """Seconds and HTTP dates are understood; what is past or not readable is None, what is far away a day."""
    assert retry_after(value, NOW) == seconds


@given(st.text(alphabet=string.printable, max_size=40))
def test_retry_after_never_raises(value: str) -> None:
    """Any header at all is a number of seconds within a day, or None."""
    seconds = retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= 86_400
