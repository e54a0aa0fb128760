"""A row is one guarded transition: attempts are numbered; what comes late, twice or from a loser changes nothing."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from hand_clock import HandClock
from ledger_support import DIGEST, job_of, row_of, two_at, verdict_of
from postgres import Postgres
from scripted import ScriptedSmile, silence
from street import Pictures, session_of
from workers_support import fresh

from smile_async import Ticket
from smile_async.batch import Planner, Row
from smile_async.errors import InvalidJob, LedgerFailed, Unavailable
from smile_async.ledger import Ledger, State, schema
from smile_async.ledger.batches import Batches, Planned
from smile_async.ledger.chunks import Chunks
from smile_async.protocol.steps import Reach
from smile_async.timing.clock import SystemClock

pytestmark = pytest.mark.usefixtures("tidy")

NO_PICTURE = InvalidJob("its picture is away")
GONE = Unavailable("gone", retryable=True)


async def test_each_begin_is_an_attempt_of_its_own(place: Path | str) -> None:
    """Attempts are counted from one, also two of one commit; an accepted job gives its ticket and no new attempt."""
    async with two_at(place) as (one, two):
        both = await asyncio.gather(one.begin(job_of(), DIGEST), one.begin(job_of(), DIGEST))
        third = await two.begin(job_of(), DIGEST)
        assert [(each.attempt, each.reach, each.ticket) for each in (*both, third)] == [
            (1, Reach.NOTHING, None),
            (2, Reach.RESERVED, None),
            (3, Reach.RESERVED, None),
        ]
        one.accepted(Ticket("ada", "j1", 2, "77"))
        one.heard(verdict_of(job_of()))
        row = await row_of(one)
        known = await two.begin(job_of(), DIGEST)
    assert row["attempts"] == known.attempt == 3
    assert known.ticket == Ticket("ada", "j1", 2, "77")
    assert known.verdict is not None
    assert known.verdict.approved


async def test_two_sets_of_pictures_in_one_commit_are_not_both_begun(place: Path | str) -> None:
    """Of two submissions of a planned row that meet in one commit, the second must have the first one's pictures."""
    async with two_at(place) as (ledger, _):
        number = await Batches(ledger).start("b", {})
        await Batches(ledger).plan("b", number, [Planned(2, "k", "j1", "ada", 2, "{}", "")], [], refused=[])
        first, second = await asyncio.gather(
            ledger.begin(job_of(), DIGEST), ledger.begin(job_of(), b"e" * 32), return_exceptions=True
        )
        assert isinstance(first, BaseException) is False
        assert isinstance(second, InvalidJob)
        assert (await row_of(ledger))["digest"] == DIGEST.hex()


async def test_an_overtaken_attempt_does_not_upload_and_changes_nothing(
    place: Path | str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once another call has begun, the first one's mark is refused and its failure leaves the row as it is."""
    caplog.set_level(logging.DEBUG, "smile_async")
    async with two_at(place) as (one, two):
        await one.begin(job_of(), DIGEST)
        await two.begin(job_of(), DIGEST)
        others = [job_of(f"o{number}") for number in range(3)]
        for job in others:
            await one.begin(job, DIGEST)
        answers = await asyncio.gather(
            *(one.mark(job.ticket, Reach.UPLOADED, 1) for job in (job_of(), *others)), return_exceptions=True
        )
        assert isinstance(answers[0], LedgerFailed)
        assert answers[0].retryable
        assert "another call" in str(answers[0])
        assert answers[1:] == [None] * 3
        one.failed(job_of().ticket, GONE, Reach.NOTHING, attempt=1)
        row = await row_of(one)
        assert (row["state"], row["reach"], row["error"]) == (State.SENDING, Reach.RESERVED, None)
        await two.mark(job_of().ticket, Reach.UPLOADED, 2)
        two.accepted(job_of().ticket)
        assert (await row_of(two))["state"] == State.ACCEPTED
    assert "overtaken" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_an_attempt_goes_on_when_the_one_that_overtook_it_has_failed(place: Path | str) -> None:
    """Whoever still holds a slot may use it once nobody else is sending the job."""
    async with two_at(place) as (one, two):
        await one.begin(job_of(), DIGEST)
        second = await two.begin(job_of(), DIGEST)
        two.failed(job_of().ticket, GONE, Reach.RESERVED, attempt=second.attempt)
        await two.flush()
        await one.mark(job_of().ticket, Reach.UPLOADED, 1)
        row = await row_of(one)
        assert (row["state"], row["reach"]) == (State.SENDING, Reach.UPLOADED)
        one.accepted(job_of().ticket)
        assert (await row_of(one))["state"] == State.ACCEPTED


@pytest.mark.parametrize("reach", [Reach.RESERVED, Reach.UPLOADED])
async def test_reach_never_falls(place: Path | str, reach: Reach) -> None:
    """Neither a row of which no job can be made, nor a late mark, nor a failure takes back how far a job may be."""
    async with two_at(place) as (one, two):
        await one.begin(job_of(), DIGEST)
        await one.mark(job_of().ticket, reach, 1)
        two.failed(job_of().ticket, NO_PICTURE, Reach.NOTHING)
        row = await row_of(two)
        assert (row["state"], row["reach"]) == (State.SENDING, reach)
        one.failed(job_of().ticket, GONE, reach, attempt=1)
        await one.flush()
        two.failed(job_of().ticket, NO_PICTURE, Reach.NOTHING)
        row = await row_of(two)
        assert (row["state"], row["reach"], row["error"]) == (State.FAILED, reach, "InvalidJob")
        again = await two.begin(job_of(), DIGEST)
        assert (again.attempt, again.reach) == (2, reach)
        await two.mark(job_of().ticket, Reach.RESERVED, 2)
        two.failed(job_of().ticket, GONE, Reach.RESERVED, attempt=2)
        assert (await row_of(two))["reach"] == reach


@pytest.mark.parametrize("state", [State.ACCEPTED, State.PROVISIONAL, State.FINAL])
async def test_no_failure_undoes_what_was_accepted(place: Path | str, state: State) -> None:
    """A late failure of whichever attempt, or of a row without a picture, leaves an accepted job and its verdict."""
    async with two_at(place) as (one, two):
        await one.begin(job_of(), DIGEST)
        await two.begin(job_of(), DIGEST)
        one.accepted(job_of().ticket)
        if state is not State.ACCEPTED:
            one.heard(verdict_of(job_of(), "0820" if state is State.FINAL else "0822"))
        await one.flush()
        for attempt in (1, 2, None):
            two.failed(job_of().ticket, GONE, Reach.NOTHING, attempt=attempt)
        row = await row_of(two)
        assert (row["state"], row["reach"], row["error"]) == (state, Reach.UPLOADED, None)
        with pytest.raises(LedgerFailed):
            await two.mark(job_of().ticket, Reach.UPLOADED, 2)


@pytest.mark.parametrize("second_fails", [False, True], ids=["second wins", "second fails"])
async def test_a_double_click_has_one_outcome(
    place: Path | str, smile: ScriptedSmile, pictures: Pictures, monkeypatch: pytest.MonkeyPatch, second_fails: bool
) -> None:
    """The same job submitted again while it is sent is one job, accepted and decided on record, whichever call wins."""
    job = pictures.job(job_id="j1")
    reserved, second_over = asyncio.Event(), asyncio.Event()
    mark = Ledger.mark

    async def slow(ledger: Ledger, ticket: Ticket, reach: Reach, attempt: int) -> None:
        if attempt == 1:
            reserved.set()
            await second_over.wait()
        await mark(ledger, ticket, reach, attempt)

    monkeypatch.setattr(Ledger, "mark", slow)
    async with two_at(place) as (one, two), session_of(smile, ledger=one) as a, session_of(smile, ledger=two) as b:
        first = asyncio.create_task(a.verify(job, patience=20.0))
        await reserved.wait()
        if second_fails:
            smile.fault("upload", silence, always=True)
            with pytest.raises(Unavailable):
                await b.verify(job, patience=0.3)
        else:
            assert (await b.verify(job)).approved
        await two.flush()
        second_over.set()
        if second_fails:
            assert (await first).approved
        else:
            with pytest.raises(LedgerFailed, match="another call") as caught:
                await first
            assert caught.value.retryable
            assert caught.value.ticket is not None
            assert (await a.verify(job)).approved
        row = await row_of(one)
        assert (row["state"], row["decision"], row["error"]) == (State.FINAL, "approved", None)
    assert len(smile.asked["put"]) == 1


class Wrong(SystemClock):
    """A clock that is a day ahead."""

    def time(self) -> float:
        return time.time() + 86_400.0


async def lived(ledger: Ledger, job_id: str) -> dict[str, float]:
    """All times on record of a job that was planned, sent, accepted, decided and then finally decided."""
    number = await Batches(ledger).start("b", {})
    await Batches(ledger).plan("b", number, [Planned(2, "k", job_id, "ada", 2, "{}", "")], [], refused=[])
    await ledger.begin(job_of(job_id), DIGEST)
    ledger.accepted(job_of(job_id).ticket)
    ledger.heard(verdict_of(job_of(job_id), "0822"))
    await ledger.flush()
    ledger.heard(verdict_of(job_of(job_id)))
    row = await row_of(ledger, job_id)
    found = {name: row[name] for name in ("created_at", "sent_at", "accepted_at", "decided_at", "final_at")}
    async with ledger.reading() as connection:
        happened = (await connection.execute(sa.select(schema.events.c.at).order_by(schema.events.c.id))).scalars()
        found |= {f"event {number}": at for number, at in enumerate(happened)}
        found["batch"] = (await connection.execute(sa.select(schema.batches.c.created_at))).scalar_one()
    assert len(found) == 10
    return found


async def test_a_clock_that_is_wrong_does_not_show_in_a_shared_ledger(server: Postgres) -> None:
    """A worker whose clock is a day ahead writes down the database's time, in every column."""
    async with Ledger(fresh(server), delay=0.0, clock=Wrong()) as ledger:
        times = await lived(ledger, "j1")
    assert all(abs(at - time.time()) < 60 for at in times.values()), times
    assert times["created_at"] <= times["sent_at"] <= times["accepted_at"] <= times["decided_at"] <= times["final_at"]


async def test_a_file_keeps_the_time_of_its_ledger(tmp_path: Path) -> None:
    """In a file all times are those of the clock the ledger was given."""
    clock = HandClock()
    async with Ledger(tmp_path / "l", delay=0.0, clock=clock) as ledger:
        times = await lived(ledger, "j1")
    assert set(times.values()) == {clock.time()}


async def test_a_job_has_the_age_of_its_first_attempt_that_may_have_been_taken(place: Path | str) -> None:
    """Counted by who began it, whatever the clock is set to; another counter tells nothing, a server's clock does."""
    clock, other = HandClock(), HandClock(5_000.0)
    async with Ledger(place, delay=0.0, clock=clock) as ledger:
        first = await ledger.begin(job_of(), DIGEST)
        ledger.failed(job_of().ticket, GONE, Reach.NOTHING, attempt=1)
        await clock.advance(30.0)
        again = await ledger.begin(job_of(), DIGEST)
        await clock.advance(7.0)
        clock.offset -= 86_400.0
        both = await asyncio.gather(ledger.begin(job_of(), DIGEST), ledger.begin(job_of(), DIGEST))
    async with Ledger(place, delay=0.0, clock=other) as ledger:
        strange = await ledger.begin(job_of(), DIGEST)
    async with Ledger(place, delay=0.0, clock=clock) as ledger:
        back = await ledger.begin(job_of(), DIGEST)
    assert [first.age, again.age, *[each.age for each in both], back.age] == [None, None, 7.0, 7.0, 7.0]
    if isinstance(place, Path):
        assert strange.age is None
    else:
        assert strange.age is not None
        assert 0 < strange.age < 600


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_clock_that_is_set_back_puts_nothing_off(restarted: bool, tmp_path: Path) -> None:
    """What is due in a moment is, and a rate is kept from now on: in the same process, and in the next."""
    clock = HandClock()
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(Ledger(tmp_path / "l", delay=0.0, clock=clock))
        number = await Batches(ledger).start("b", {})
        rows = iter([Row(line, f"u{line}", "ada", "a.jpg") for line in (2, 3)])
        work = await Planner(ledger, "b", number, chunk_jobs=1).next(rows)
        assert work is not None
        parked, held = [await Chunks(ledger, "w").claim(chunk) for chunk in work.chunks]
        assert parked is not None
        assert held is not None
        await Chunks(ledger, "w").give_back(parked, 5.0, park=True)
        assert await Chunks(ledger).reserve("b", 20, 2.0) == 0
        clock.offset -= 86_400.0
        if restarted:
            await stack.aclose()
            ledger = await stack.enter_async_context(Ledger(tmp_path / "l", delay=0.0, clock=clock))
        await clock.advance(6.0)
        assert await Chunks(ledger).reserve("b", 20, 2.0) == (0 if restarted else 4)
        again = held if restarted else parked
        assert await Chunks(ledger, "w").claim(again.id) is not None


async def test_events_say_whose_they_are(place: Path | str) -> None:
    """Every event names the user, so that a person can be forgotten whose rows are gone."""
    async with two_at(place) as (ledger, _):
        await lived(ledger, "j1")
        ledger.failed(job_of().ticket, GONE, Reach.NOTHING)
        await ledger.flush()
        async with ledger.reading() as connection:
            found = await connection.execute(sa.select(schema.events.c.kind, schema.events.c.user_id))
            assert {tuple(row) for row in found} == {
                (kind, "ada") for kind in ("sending", "accepted", "provisional", "approved", "failed")
            }
