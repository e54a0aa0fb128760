"""Streams over real sockets: lazy sources, readers that stop, leave or are cancelled, and what is left behind."""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from hand_clock import HandClock
from scripted import ScriptedSmile, say, silence
from street import MARKER, Pictures, nothing_left, session_of, until

from smile_async import Failed, Finished, Job, Limits, Pace, SmileSession
from smile_async.errors import (
    BadConfiguration,
    InvalidJob,
    JobExists,
    SessionClosed,
    StillPending,
    Unavailable,
    UserNotEnrolled,
)
from smile_async.protocol.signature import Secret, Signer
from smile_async.sandbox import RunningSandbox
from smile_async.traffic.sender import Sender

pytestmark = pytest.mark.usefixtures("tidy")


class Source:
    """An endless source of jobs that counts how many were pulled."""

    def __init__(self, pictures: Pictures, user_id: str = "ada", prefix: str = "j") -> None:
        self.pictures = pictures
        self.user_id = user_id
        self.prefix = prefix
        self.pulled = 0

    def __iter__(self) -> Iterator[Job]:
        while True:
            self.pulled += 1
            yield self.pictures.job(self.user_id, job_id=f"{self.prefix}{self.pulled}")


class AsyncSource(Source):
    """The same, asynchronously."""

    def __iter__(self) -> Iterator[Job]:
        raise AssertionError("an async source is not iterated synchronously")

    async def __aiter__(self) -> AsyncIterator[Job]:
        for job in Source.__iter__(self):
            await asyncio.sleep(0)
            yield job


async def _take(count: int, outcomes: Any) -> list[Finished | Failed]:
    return [await anext(outcomes) for _ in range(count)]


@pytest.mark.parametrize("kind", ["list", "generator", "async generator"])
async def test_any_source_is_streamed(
    kind: str, session: SmileSession, running: RunningSandbox, pictures: Pictures
) -> None:
    """A list, a generator and an async generator of jobs all end with one outcome per job."""
    jobs = [pictures.job(job_id=f"j{number}") for number in range(40)]

    async def later() -> AsyncIterator[Job]:
        for job in jobs:
            await asyncio.sleep(0)
            yield job

    source: Any = {"list": jobs, "generator": (job for job in jobs), "async generator": later()}[kind]
    async with session.stream(source) as outcomes:
        ended = [outcome async for outcome in outcomes]
        assert outcomes.pending == []
    assert sorted(outcome.job.job_id for outcome in ended) == sorted(job.job_id for job in jobs)
    for outcome in ended:
        assert isinstance(outcome, Finished)
        assert outcome.verdict.approved
        assert outcome.ticket.job_id == outcome.job.job_id
        assert outcome.ticket.smile_job_id is not None
    assert all(running.sandbox.count(job.job_id) == 1 for job in jobs)
    assert session.stats.finished == 40


async def test_an_empty_source_ends_at_once(session: SmileSession) -> None:
    """No jobs, no outcomes, no waiting."""
    async with session.stream([]) as outcomes:
        assert [outcome async for outcome in outcomes] == []


@pytest.mark.parametrize("kind", [Source, AsyncSource])
async def test_a_reader_that_stops_stops_the_source(
    kind: type[Source], running: RunningSandbox, pictures: Pictures
) -> None:
    """An endless source is pulled no further than limits allow while nobody reads, and on when somebody does."""
    source = kind(pictures)
    limits = Limits(uploads=4, pending=8)
    async with session_of(running, limits=limits) as session, session.stream(source) as outcomes:
        await _take(3, outcomes)
        seen = -1
        while seen != source.pulled:
            seen = source.pulled
            await asyncio.sleep(0.15)
        # Four outcomes unread, and one job in the hands of each worker at most, and those that wait for a verdict.
        assert seen <= 3 + 4 + 4 + 8
        await _take(30, outcomes)
        assert source.pulled >= 33


async def test_a_full_house_of_waiting_jobs_stops_the_source(smile: ScriptedSmile, pictures: Pictures) -> None:
    """While Limits.pending jobs wait for their verdict, no more are pulled than the workers hold."""
    source = Source(pictures)
    for number in range(100):
        smile.plans[f"j{number}"] = [""]
    async with (
        session_of(smile, limits=Limits(uploads=2, pending=5), pace=Pace.fixed(0.1, 1, 0.1)) as session,
        session.stream(source) as outcomes,
    ):
        await until(lambda: sum(bool(story.zips) for story in smile.jobs.values()) >= 5)
        await asyncio.sleep(0.1)
        assert source.pulled <= 5 + 2
        for story in smile.jobs.values():
            story.codes.append("0820")
        await _take(5, outcomes)


@pytest.mark.parametrize("kind", [Source, AsyncSource])
async def test_leaving_early_leaves_nothing_behind(
    kind: type[Source], running: RunningSandbox, pictures: Pictures
) -> None:
    """A break out of an endless stream ends its tasks; pending lists every job that may have arrived."""
    source = kind(pictures)
    async with session_of(running) as session:
        running.sandbox.script("ada", code="0820", after=3600)
        quick = pictures.job("bob", job_id="quick")
        running.sandbox.enroll("bob")

        async def jobs() -> AsyncIterator[Job]:
            yield quick
            async for job in source if isinstance(source, AsyncSource) else _slowly(source):
                yield job

        async with nothing_left():
            async with session.stream(jobs()) as outcomes:
                async for outcome in outcomes:
                    assert outcome.job.job_id == "quick"
                    await until(lambda: len(outcomes.pending) >= 3 and _decided(running, "j1"))
                    break
            left = {ticket.job_id for ticket in outcomes.pending}
        accepted = {job_id for job_id, job in running.sandbox.jobs.items() if job_id != "quick" and job.zip_at}
        assert accepted <= left
        assert session.stats.pending == 0
        running.sandbox.review("j1", "approve")
        again = next(ticket for ticket in outcomes.pending if ticket.job_id == "j1")
        assert (await session.wait(again)).approved


def _decided(running: RunningSandbox, job_id: str) -> bool:
    return job_id in running.sandbox.jobs and bool(running.sandbox.jobs[job_id].plan)


async def _slowly(source: Iterable[Job]) -> AsyncIterator[Job]:
    for job in source:
        await asyncio.sleep(0.001)
        yield job


@pytest.mark.parametrize("kind", [Source, AsyncSource])
async def test_leaving_at_once_leaves_nothing_behind(
    kind: type[Source], running: RunningSandbox, pictures: Pictures
) -> None:
    """A block that is left without a single await pulls nothing and ends."""
    source = kind(pictures)
    async with session_of(running) as session:
        with anyio.fail_after(5):
            async with session.stream(source) as outcomes:
                pass
        assert outcomes.pending == []
        assert source.pulled <= 1
        async with nothing_left():
            await asyncio.sleep(0)


async def test_an_exception_of_the_reader_passes(running: RunningSandbox, pictures: Pictures) -> None:
    """The reader's own exception leaves the block as it is, and everything ends."""
    async with session_of(running) as session, nothing_left():
        with pytest.raises(KeyError, match="mine"):  # noqa: PT012 - the whole block has to fail
            async with session.stream(Source(pictures)) as outcomes:
                await anext(outcomes)
                raise KeyError("mine")


async def test_a_cancelled_reader_leaves_nothing_behind(smile: ScriptedSmile, pictures: Pictures) -> None:
    """Cancelling the task that reads ends the stream's tasks, and pending tells what had left."""
    smile.fault("put", silence, always=True)
    async with session_of(smile, limits=Limits(uploads=3)) as session:
        stream = session.stream(Source(pictures))

        async def read() -> None:
            async with stream as outcomes:
                async for _ in outcomes:
                    raise AssertionError("nothing can have ended")

        async with nothing_left():
            reading = asyncio.create_task(read())
            await until(lambda: len(smile.asked["put"]) == 3)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        assert {ticket.job_id for ticket in stream.pending} == {"j1", "j2", "j3"}
        assert session.stats.in_flight == 0


async def test_a_cancelled_wait_for_the_next_outcome_loses_none(smile: ScriptedSmile, pictures: Pictures) -> None:
    """A reader that gives up waiting for one outcome gets it the next time it asks."""
    smile.plans["j1"] = [""]
    async with session_of(smile) as session, session.stream([pictures.job(job_id="j1")]) as outcomes:
        await until(lambda: "j1" in smile.jobs and smile.jobs["j1"].zips)
        with anyio.move_on_after(0.03):
            await anext(outcomes)
        smile.jobs["j1"].codes.append("0820")
        assert [outcome.job.job_id async for outcome in outcomes] == ["j1"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_the_error_of_a_source_comes_last(
    asynchronous: bool, session: SmileSession, running: RunningSandbox, pictures: Pictures
) -> None:
    """If the source fails after seven jobs, these get their outcomes; then its own exception is raised."""
    running.sandbox.script("ada", code="0820", after=0.1)

    def jobs() -> Iterator[Job]:
        for number in range(7):
            yield pictures.job(job_id=f"j{number}")
        raise LookupError("the database went away")

    async def later() -> AsyncIterator[Job]:
        for job in jobs():
            yield job

    ended = []
    with pytest.raises(LookupError, match="the database went away"):  # noqa: PT012 - the whole block has to fail
        async with session.stream(later() if asynchronous else jobs()) as outcomes:
            async for outcome in outcomes:
                ended.append(outcome)  # noqa: PERF401 - what came before the error counts
    assert all(isinstance(outcome, Finished) for outcome in ended)
    assert len(ended) == 7


async def test_what_is_no_job_is_the_source_s_error(session: SmileSession, pictures: Pictures) -> None:
    """A source that gives something else ends with InvalidJob, after the outcomes of the jobs before it."""
    jobs: list[Any] = [pictures.job(), {"user_id": "ada"}, pictures.job()]
    ended = []
    with pytest.raises(InvalidJob, match="the source gave dict"):  # noqa: PT012 - the whole block has to fail
        async with session.stream(jobs) as outcomes:
            async for outcome in outcomes:
                ended.append(outcome)  # noqa: PERF401
    assert len(ended) == 1


async def test_the_failure_of_one_job_is_an_outcome(
    session: SmileSession, running: RunningSandbox, pictures: Pictures
) -> None:
    """Refused, unreadable and unknown jobs are Failed with their own error; the others finish."""
    used = pictures.job(job_id="used")
    await session.verify(used)
    jobs = [
        pictures.job(job_id="fine"),
        pictures.job("stranger", job_id="unknown user"),
        Job.authenticate("ada", "/nowhere/selfie.jpg", job_id="no file"),
        Job.authenticate("ada", pictures.other, job_id="used"),
        pictures.job(job_id="rejected", partner_params={"sandbox_result": "1"}),
    ]
    async with session.stream(jobs) as outcomes:
        ended = {outcome.job.job_id: outcome async for outcome in outcomes}
    assert {job_id for job_id, outcome in ended.items() if isinstance(outcome, Finished)} == {"fine", "rejected"}
    failed = {job_id: outcome for job_id, outcome in ended.items() if isinstance(outcome, Failed)}
    kinds = {"unknown user": UserNotEnrolled, "no file": InvalidJob, "used": JobExists}
    for job_id, kind in kinds.items():
        outcome = failed[job_id]
        assert type(outcome.error) is kind
        assert outcome.ticket == outcome.error.ticket
        assert (outcome.ticket is None) == (kind is InvalidJob)
    assert session.stats.failed == 3


async def test_a_job_out_of_patience_is_failed_and_pending(smile: ScriptedSmile, pictures: Pictures) -> None:
    """Patience counts for each job from its accepted upload; StillPending is an outcome with ticket and provisional."""
    smile.plans.update(slow=[""], halfway=["0822"])
    jobs = [pictures.job(job_id=job_id) for job_id in ("slow", "halfway", "quick")]
    async with session_of(smile) as session:
        async with session.stream(jobs, until="final", patience=1.5) as outcomes:
            ended = {outcome.job.job_id: outcome async for outcome in outcomes}
        assert isinstance(ended["quick"], Finished)
        for job_id, code in (("slow", None), ("halfway", "0822")):
            outcome = ended[job_id]
            assert isinstance(outcome, Failed)
            assert isinstance(outcome.error, StillPending)
            assert outcome.ticket is not None
            assert (outcome.ticket.job_id, outcome.error.job) == (job_id, outcome.job)
            assert (outcome.error.verdict and outcome.error.verdict.code) == code
        assert (session.stats.finished, session.stats.failed, session.stats.pending) == (1, 0, 2)


async def test_what_was_not_read_is_pending_and_can_be_read(session: SmileSession, pictures: Pictures) -> None:
    """Outcomes that were ready when the block was left are listed in pending until they are read after all."""
    jobs = [pictures.job(job_id=f"j{number}") for number in range(4)]
    async with session.stream([*jobs, Job.authenticate("ada", "missing.jpg")]) as outcomes:
        first = await anext(outcomes)
        await until(lambda: session.stats.finished == 4 and session.stats.failed == 1)
        assert outcomes.pending == []
    unread = {ticket.job_id for ticket in outcomes.pending}
    if first.ticket is not None:
        unread.add(first.ticket.job_id)
    assert unread == {job.job_id for job in jobs}
    assert len([outcome async for outcome in outcomes]) == 4
    assert outcomes.pending == []


async def test_fewer_jobs_may_wait_than_uploads(smile: ScriptedSmile, pictures: Pictures) -> None:
    """Limits.pending counts jobs that are being uploaded: with one, one job is sent, and the next after its verdict."""
    source = Source(pictures)
    smile.plans["j1"] = [""]
    async with session_of(smile, limits=Limits(uploads=4, pending=1)) as session, session.stream(source) as outcomes:
        await until(lambda: "j1" in smile.jobs and bool(smile.jobs["j1"].zips))
        await asyncio.sleep(0.1)
        assert source.pulled == 1
        smile.jobs["j1"].codes.append("0820")
        assert (await anext(outcomes)).job.job_id == "j1"


async def test_a_stream_is_entered_once_and_before_it_is_read(session: SmileSession, pictures: Pictures) -> None:
    """Reading without `async with`, and entering twice, are errors at once instead of waiting for ever."""
    stream = session.stream([pictures.job()])
    with pytest.raises(SessionClosed, match=r"async with session\.stream"):
        await anext(stream)
    async with stream as outcomes:
        assert len([outcome async for outcome in outcomes]) == 1
    with pytest.raises(SessionClosed, match="entered once"):
        async with stream:
            pass


async def test_a_source_that_is_none_is_refused(session: SmileSession, pictures: Pictures) -> None:
    """A single job, or a wait that means nothing, is refused before anything is sent."""
    with pytest.raises(InvalidJob, match="got Job: give something that yields Job objects"):
        session.stream(pictures.job())  # type: ignore[arg-type]
    with pytest.raises(BadConfiguration, match="until is 'Final'"):
        session.stream([], until="Final")  # type: ignore[arg-type]
    with pytest.raises(BadConfiguration, match="patience is nan"):
        session.stream([], patience=float("nan"))


async def test_a_reader_who_is_cancelled_twice_leaves_no_listener(smile: ScriptedSmile, pictures: Pictures) -> None:
    """Asyncio's own cancellation, twice, ends the block and its listeners: nobody goes on polling for them."""
    smile.plans["j1"] = [""]
    async with session_of(smile) as session:

        async def jobs() -> AsyncIterator[Job]:
            yield pictures.job(job_id="j1")
            await until(lambda: len(session.poller) == 1)
            smile.fault("upload", silence, always=True)
            yield pictures.job(job_id="j2")

        async def read() -> None:
            async with session.stream(jobs()) as outcomes:
                await anext(outcomes)

        reading = asyncio.create_task(read())
        await until(lambda: len(smile.asked["upload"]) == 2)
        reading.cancel()
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert len(session.poller) == 0


async def test_outcomes_carry_no_pictures(session: SmileSession, pictures: Pictures) -> None:
    """Finished jobs of bytes come back with sizes and digests instead of content, and nothing keeps the bytes."""
    kept = pictures.job(job_id="kept", liveness=pictures.liveness)
    gone: list[Any] = []

    def jobs() -> Iterator[Job]:
        yield kept
        for number in range(5):
            job = pictures.job(job_id=f"j{number}")
            gone.append(weakref.ref(job))
            yield job
            del job

    async with session.stream(jobs()) as outcomes:
        ended = [outcome async for outcome in outcomes]
        gc.collect()
        assert [ref() for ref in gone] == [None] * 5
    for outcome in ended:
        assert isinstance(outcome, Finished)
        assert outcome.job.images
        for image in outcome.job.images:
            assert image.content is None
            assert image.size
            assert image.sha256
    assert kept.images[0].content is not None
    assert MARKER in kept.images[0].content


async def test_a_failure_before_acceptance_keeps_its_job(session: SmileSession, pictures: Pictures) -> None:
    """Failed before it was accepted, a job comes back as it was, so that it can be tried again."""
    job = pictures.job("stranger")
    async with session.stream([job]) as outcomes:
        (outcome,) = [outcome async for outcome in outcomes]
    assert outcome.job is job


async def test_streams_share_a_session(session: SmileSession, pictures: Pictures) -> None:
    """Several streams at once, one of them left early, do not disturb each other."""

    async def read(prefix: str) -> int:
        jobs = [pictures.job(job_id=f"{prefix}{number}") for number in range(20)]
        async with session.stream(jobs) as outcomes:
            return len([outcome async for outcome in outcomes])

    async def leave() -> int:
        async with session.stream(Source(pictures, prefix="left")) as outcomes:
            return len(await _take(2, outcomes))

    assert await asyncio.gather(read("a"), leave(), read("b")) == [20, 2, 20]


async def test_a_slow_reader_does_not_slow_others(session: SmileSession, pictures: Pictures) -> None:
    """While one stream's reader sleeps, verify() on the same session goes on."""
    async with session.stream(Source(pictures)) as outcomes:
        await anext(outcomes)
        await asyncio.sleep(0.05)
        assert (await session.verify(pictures.job())).approved


async def test_outcomes_come_in_order_of_finishing(smile: ScriptedSmile, pictures: Pictures) -> None:
    """A slow job does not hold back the outcomes of the quick ones after it."""
    smile.plans["slow"] = [*[""] * 10, "0820"]
    jobs = [pictures.job(job_id="slow"), *(pictures.job(job_id=f"j{number}") for number in range(5))]
    async with session_of(smile, pace=Pace.fixed(0.03, 1, 0.03)) as session, session.stream(jobs) as outcomes:
        ended = [outcome.job.job_id async for outcome in outcomes]
    assert ended[-1] == "slow"


async def test_jobs_of_a_stream_start_at_the_rate_allowed(running: RunningSandbox, pictures: Pictures) -> None:
    """jobs_per_second holds for streams."""
    async with session_of(running, limits=Limits(jobs_per_second=50)) as session:
        begun = time.monotonic()
        async with session.stream([pictures.job() for _ in range(11)]) as outcomes:
            assert len([outcome async for outcome in outcomes]) == 11
        assert time.monotonic() - begun >= 0.19


async def test_the_rate_is_not_saved_up_while_uploads_are_slow() -> None:
    """Jobs that wait for an upload slot take no turn: when two slots are free at last, jobs start one gap apart."""
    clock = HandClock(now=0.0)
    starts: list[float] = []

    signer = Signer("001", Secret("key"))
    driver: Any = SimpleNamespace(dialect=SimpleNamespace(signer=signer, submission=None))
    sender = Sender(driver, Limits(uploads=2, jobs_per_second=2), clock)

    async def send() -> None:
        await sender._place()
        starts.append(clock.now)
        await clock.sleep(10 - clock.now % 10)
        sender._places.release()

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(send)
        await clock.advance(40)
    assert starts == [0.0, 0.5, 10.0, 10.5, 20.0, 20.5]


async def test_a_session_that_ends_under_a_stream_is_told(smile: ScriptedSmile, pictures: Pictures) -> None:
    """If the session is left while somebody reads, waiting jobs fail, the reader gets SessionClosed, nothing hangs."""
    for number in range(200):
        smile.plans[f"j{number}"] = [""]
    session = session_of(smile, limits=Limits(uploads=2, pending=6))
    await session.__aenter__()
    ended = []
    async with session.stream(Source(pictures)) as outcomes:
        await until(lambda: len(outcomes.pending) >= 6)
        await session.__aexit__(None, None, None)
        with pytest.raises(SessionClosed):  # noqa: PT012 - the whole block has to fail
            async for outcome in outcomes:
                ended.append(outcome)  # noqa: PERF401
    assert ended
    assert all(isinstance(outcome, Failed) and isinstance(outcome.error, SessionClosed) for outcome in ended)


async def test_a_stream_that_is_cancelled_before_it_begins(session: SmileSession, pictures: Pictures) -> None:
    """A stream whose task never takes its first step hangs neither its reader nor who leaves its block."""
    outcomes = session.stream([pictures.job("ada")])
    async with asyncio.timeout(5), outcomes:
        for task in session.host._tasks:
            task.cancel()
        with pytest.raises(SessionClosed):
            await anext(outcomes)


async def test_uploads_cut_short_by_the_session_s_end_are_not_dropped(smile: ScriptedSmile, pictures: Pictures) -> None:
    """If the session ends while the last jobs of a source upload, the reader does not see a normal end."""
    smile.fault("put", silence, always=True)
    session = session_of(smile)
    await session.__aenter__()
    async with session.stream([pictures.job(job_id="j1"), pictures.job(job_id="j2")]) as outcomes:
        await until(lambda: len(smile.asked["put"]) == 2)
        await session.__aexit__(None, None, None)
        with pytest.raises(SessionClosed, match=r"outcomes\.pending"):
            await anext(outcomes)
        assert {ticket.job_id for ticket in outcomes.pending} == {"j1", "j2"}
    assert {ticket.job_id for ticket in outcomes.pending} == {"j1", "j2"}


async def test_a_defect_ends_the_stream_not_the_session(
    session: SmileSession, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception costs its own job, which is Failed; the others, and the session, go on."""

    async def defect(*_: Any) -> None:
        raise ZeroDivisionError("a defect of ours")

    with monkeypatch.context() as patch:
        patch.setattr(session.sender, "send", defect)
        async with session.stream([pictures.job(), pictures.job()]) as outcomes:
            found = [outcome async for outcome in outcomes]
    assert [type(outcome) for outcome in found] == [Failed, Failed]
    assert "ZeroDivisionError" in str(found[0].error)  # type: ignore[union-attr]
    assert (await session.verify(pictures.job())).approved


async def test_a_job_that_fails_late_is_failed_with_its_ticket(smile: ScriptedSmile, pictures: Pictures) -> None:
    """An answer that can not be believed, after the upload: Failed with the ticket and the spent job."""
    smile.tampers["job_status"] = lambda body: body.update(signature="x")
    async with session_of(smile) as session, session.stream([pictures.job(job_id="j1")]) as outcomes:
        (outcome,) = [outcome async for outcome in outcomes]
    assert isinstance(outcome, Failed)
    assert outcome.ticket is not None
    assert outcome.error.job is outcome.job
    assert all(image.content is None for image in outcome.job.images)


async def test_an_outage_fails_jobs_one_by_one(smile: ScriptedSmile, pictures: Pictures) -> None:
    """While /upload fails, each job is Failed and retryable, with a ticket; later they are resumed."""
    smile.fault("upload", say(500), always=True)
    jobs = [pictures.job(job_id=f"j{number}") for number in range(3)]
    async with session_of(smile) as session:
        async with session.stream(jobs) as outcomes:
            ended = [outcome async for outcome in outcomes]
        for outcome in ended:
            assert isinstance(outcome, Failed)
            assert isinstance(outcome.error, Unavailable)
            assert outcome.error.retryable
            assert outcome.ticket is not None
        smile._always.clear()
        async with session.stream([outcome.job for outcome in ended]) as outcomes:
            assert all([isinstance(outcome, Finished) async for outcome in outcomes])
    assert all(story.created == 1 for story in smile.jobs.values())


async def test_a_stream_knows_its_listeners_only(smile: ScriptedSmile, pictures: Pictures) -> None:
    """What is pending is this stream's jobs, not those that others wait for."""
    smile.plans.update(mine=[""], theirs=[""])
    async with session_of(smile) as session:
        ticket = await session.submit(pictures.job(job_id="theirs"))
        waiting = asyncio.create_task(session.wait(ticket))
        async with session.stream([pictures.job(job_id="mine")]) as outcomes:
            await until(lambda: [one.job_id for one in outcomes.pending] == ["mine"])
        assert [one.job_id for one in outcomes.pending] == ["mine"]
        waiting.cancel()
        await asyncio.wait({waiting})
