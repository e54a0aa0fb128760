import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smile_async.timing.breaker import FIRST_PAUSE, LONGEST_PAUSE, Asker, Breaker


def asker(number: int, leg: str = "upload", user: str | None = None) -> Asker:
    """The request of job *number*, each of a user of its own unless one is named."""
    return Asker(leg, f"u{number}" if user is None else user, f"j{number}")


def opened(now: float = 0.0, *, leg: str = "upload", user: str | None = None) -> Breaker:
    """A breaker that eight failures at *now* have opened."""
    breaker = Breaker()
    assert [breaker.missed(asker(n, leg, user), now, now) for n in range(8)] == [*[False] * 7, True]
    return breaker


def test_eight_failures_on_five_jobs_are_an_outage() -> None:
    """The eighth failure in a second opens it; four jobs, however often they fail, or seven failures, do not."""
    assert opened().opened_at == 0.0
    four = Breaker()
    assert not any(four.missed(asker(n % 4), 0.0, 0.0) for n in range(100))
    slow = Breaker()
    assert not any(slow.missed(asker(n), n / 6.9, n / 6.9) for n in range(100))


def test_one_user_is_no_outage_while_others_are_answered() -> None:
    """A gateway that fails one user's jobs for ever opens nothing while another was answered in the last second."""
    breaker = Breaker()
    breaker.answered(asker(0, user="ada"), 0.0, 0.0)
    for n in range(50):
        assert not breaker.missed(asker(n, user="eve"), n / 60, n / 60)
        breaker.answered(asker(99, user="eve"), 0.0, 0.0)
    always = Breaker()
    always.answered(asker(0, user="ada"), 0.0, 0.0)
    assert not any(always.missed(asker(n, user="eve"), 0.5, 0.5) for n in range(8))
    alone = Breaker()
    alone.answered(asker(0, user="ada"), 0.0, 0.0)
    assert any(alone.missed(asker(n, user="eve"), 2.0, 2.0) for n in range(8))


def test_who_is_not_suspect_goes_on() -> None:
    """While one user's uploads alone fail, other users and status queries are not held; a failure of theirs is news."""
    breaker = opened(user="eve")
    assert breaker.holds(asker(1, user="eve"))
    assert not breaker.holds(asker(1, user="ada"))
    assert not breaker.holds(asker(1, "job_status", "eve"))
    assert not breaker.answered(asker(1, user="ada"), 1.0, 1.0)
    assert not breaker.missed(asker(1, "job_status", "ada"), 1.0, 1.0, away=False)
    assert not breaker.holds(asker(2, user="ada"))
    assert not breaker.missed(asker(1, "job_status", "ada"), 1.0, 1.0)
    assert breaker.holds(asker(2, user="bob"))
    assert breaker.holds(asker(2, "job_status", "eve"))


def test_nobodys_fault_opens_nothing() -> None:
    """A failure of which nobody knows whose fault it was is no sign of an outage, however often it comes."""
    breaker = Breaker()
    assert not any(breaker.missed(asker(n), 0.0, 0.0, away=False) for n in range(100))


def test_a_failure_is_forgotten() -> None:
    """An answer a second after a lone failure leaves nothing that another seven failures could be added to."""
    breaker = Breaker()
    assert not breaker.missed(asker(0), 0.0, 0.0)
    assert not breaker.answered(asker(1), 1.1, 1.1)
    assert not any(breaker.missed(asker(n), 3.2, 3.2) for n in range(7))


def test_pauses_grow_and_one_probe_goes_at_a_time() -> None:
    """After 0.1, 0.2, 0.4 … at most 5 s one request goes; what left before the outage counts for nothing."""
    breaker, now, pauses = opened(10.0), 10.0, []
    for n in range(9):
        breaker.missed(asker(90 + n), now, now)
        breaker.answered(asker(90 + n), 9.9, now)
        pauses.append(breaker.probe_at - now)
        now = breaker.probe_at
        breaker.let(asker(n), now)
        assert not breaker.holds(asker(n))
        assert breaker.holds(asker(n + 1))
        assert breaker.probe_at == now + LONGEST_PAUSE
        breaker.missed(asker(n), now, now, away=bool(n % 2))
    assert pauses == pytest.approx([FIRST_PAUSE * 2**n for n in range(6)] + [LONGEST_PAUSE] * 3)
    breaker.let(asker(7), now)
    assert breaker.answered(asker(7), now, now + 1)
    assert not breaker.holds(asker(1))
    assert breaker.opened_at is None


def test_a_probe_that_gives_up_leaves_room() -> None:
    """A caller that is cancelled while it probes holds up nobody, and who is no probe changes nothing by giving up."""
    breaker = opened()
    breaker.let(asker(1), 1.0)
    breaker.gave_up(asker(2), 1.5)
    assert breaker.probe_at == 1.0 + LONGEST_PAUSE
    breaker.gave_up(asker(1), 1.5)
    assert (breaker.probe_at, breaker.holds(asker(1))) == (1.5 + FIRST_PAUSE, True)
    breaker.let(asker(1, "job_status"), 2.0)
    assert breaker.probe_at == 1.5 + FIRST_PAUSE


def test_the_least_suspect_probes() -> None:
    """After a failed probe another kind of request is tried first, then another user."""
    breaker = opened()
    for n in range(3):
        # What was not held when it left is news, but no probe.
        breaker.missed(asker(n, "job_status"), 1.0, 1.0)
    assert breaker.probe_at == FIRST_PAUSE
    breaker.let(asker(1), 1.2)
    breaker.missed(asker(1), 1.2, 1.2)
    waiting = [asker(1), asker(9), asker(0, "job_status"), asker(9, "job_status")]
    assert sorted(waiting, key=breaker.doubt) == [waiting[3], waiting[2], waiting[1], waiting[0]]


def test_who_needs_longer_to_come_keeps_his_turn() -> None:
    """A probe whose pictures are still being read is not held again when another has been let go as well."""
    breaker = opened()
    breaker.let(asker(1), 1.0)
    breaker.let(asker(2), breaker.probe_at)
    assert not breaker.holds(asker(1))
    breaker.missed(asker(2), 6.0, 6.0)
    assert not breaker.holds(asker(1))
    assert breaker.answered(asker(1), 9.0, 9.0)


def test_whoever_has_tried_in_vain_tries_last() -> None:
    """Among users who all have failed, one whose requests fail for ever does not probe for the others."""
    breaker = opened()
    for n in range(4):
        who = min([asker(70 + n, user="u0"), asker(80 + n, user="u1"), asker(90 + n, user="u2")], key=breaker.doubt)
        assert who.user_id == ("u0", "u1", "u2", "u0")[n]
        breaker.let(who, breaker.probe_at)
        breaker.missed(who, breaker.probe_at, breaker.probe_at)


def test_a_stray_failure_joins_no_outage() -> None:
    """While one leg is down, a failure among the answers of another holds nothing; eight in a second do."""
    breaker = opened(leg="job_status")
    breaker.answered(asker(30), 1.0, 1.0)
    assert not breaker.missed(asker(31), 1.0, 1.0)
    assert not breaker.holds(asker(32))
    assert not any(breaker.missed(asker(40 + n), 3.0, 3.0) for n in range(8))
    assert breaker.holds(asker(32))


def test_a_leg_that_answers_most_requests_is_no_part_of_an_outage() -> None:
    """What opens it on one leg does not hold another, on which one request in five has failed."""
    breaker = Breaker()
    for n in range(5):
        breaker.missed(asker(n, "upload"), 0.0, 0.0) if n == 0 else breaker.answered(asker(n, "upload"), 0.0, 0.0)
    assert any(breaker.missed(asker(n, "job_status"), 0.1, 0.1) for n in range(8))
    assert breaker.holds(asker(1, "job_status"))
    assert not breaker.holds(asker(1, "upload"))


def test_others_are_well_only_where_it_fails() -> None:
    """That others' queries are answered does not hide that one user's uploads find nobody."""
    breaker = Breaker()
    breaker.answered(asker(0, "job_status", "ada"), 0.0, 0.0)
    assert any(breaker.missed(asker(n, user="eve"), 0.5, 0.5) for n in range(8))
    assert not breaker.holds_all("upload")
    assert opened().holds_all("upload")


def test_an_outage_that_comes_back_at_once_is_asked_more_seldom() -> None:
    """A server that answers one request and no more is not let begin anew with short pauses; a day later it is."""
    breaker = opened()
    assert breaker.answered(asker(1), 0.5, 0.5)
    for n in range(8):
        breaker.missed(asker(n), 0.6, 0.6)
    assert breaker.probe_at == pytest.approx(0.6 + 2 * FIRST_PAUSE)
    assert breaker.answered(asker(1), 2.0, 2.0)
    for n in range(8):
        breaker.missed(asker(n), 9.0, 9.0)
    assert breaker.probe_at == 9.0 + FIRST_PAUSE


def test_it_is_noticed_at_once_in_a_busy_stream() -> None:
    """A thousand good answers of the second before do not hide that nobody is home any more."""
    breaker = Breaker()
    for n in range(1000):
        breaker.answered(asker(n), 0.0, n / 1000)
    assert [breaker.missed(asker(n), 1.0, 1.0) for n in range(8)][-1]


def test_answers_that_were_on_their_way_do_not_hide_it() -> None:
    """Good answers that come after the first failure count only if their requests left after that which failed."""
    for left_at, opens in ((0.99, True), (1.0, False)):
        breaker = Breaker()
        breaker.missed(asker(0), 1.0, 1.01)
        for n in range(64):
            breaker.answered(asker(100 + n), left_at, 1.02)
        assert [breaker.missed(asker(n), 1.0, 1.03) for n in range(1, 8)][-1] is opens


def test_whether_anybody_reaches_it() -> None:
    """It is not reached, from a connection that could not be made on, until a later request is answered."""
    breaker = Breaker()
    assert not breaker.reached
    breaker.answered(asker(0), 0.0, 0.1)
    assert breaker.reached
    breaker.unreached(1.0)
    breaker.answered(asker(0), 0.9, 1.1)
    assert not breaker.reached
    breaker.answered(asker(0), 1.0, 1.2)
    breaker.answered(asker(0), 0.9, 1.3)
    assert breaker.reached


@given(st.integers(0, 2**32), st.floats(0.0, 0.7))
def test_a_server_that_answers_often_is_home(seed: int, share: float) -> None:
    """While at most seven in ten of a leg's answers fail, evenly mixed, it never opens; other legs do not count."""
    breaker, dice, debt, now = Breaker(), random.Random(seed), 0.0, 400.0
    for n in range(400):
        debt += share
        now += 1 / dice.choice([50, 100, 200])
        if debt >= 1:
            debt -= 1
            assert not breaker.missed(asker(n), now, now)
        else:
            breaker.answered(asker(n), now, now)


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 0.4),
            st.integers(0, 9),
            st.sampled_from(["upload", "job_status"]),
            st.sampled_from(["well", "away", "unclear", "give up"]),
        ),
        max_size=200,
    )
)
def test_whatever_happens_there_is_hope(story: list[tuple[float, int, str, str]]) -> None:
    """It opens on enough failures only, a probe is never further than 5 s away, and an answer to one closes it."""
    breaker, now, recent = Breaker(), 0.0, list[tuple[float, Asker]]()
    for gap, number, leg, what in story:
        now += gap
        who = asker(number, leg)
        if breaker.holds(who):
            if now < breaker.probe_at:
                continue
            breaker.let(who, now)
        before = breaker.opened_at
        if what == "well":
            breaker.answered(who, now, now)
        elif what == "give up":
            breaker.gave_up(who, now)
        else:
            if what == "away":
                recent.append((now, who))
            if breaker.missed(who, now, now, away=what == "away"):
                last = [failed for when, failed in recent if when > now - 1.0]
                assert before is None
                assert len(last) >= 8
                assert len({failed.job_id for failed in last}) >= 5
        assert (breaker.opened_at is None) or breaker.probe_at <= now + LONGEST_PAUSE
    if breaker.opened_at is not None:
        held = next(who for n in range(300) for leg in ("upload", "job_status") if breaker.holds(who := asker(n, leg)))
        breaker.let(held, breaker.probe_at)
        assert breaker.answered(held, now + 5, now + 5)
