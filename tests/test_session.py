"""The session as a user meets it: over real sockets, with every engine, and when things end badly."""

import asyncio
import copy
import itertools
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hand_clock import HandClock
from ledger_support import row_of
from scripted import KEY, PARTNER, ScriptedSmile, reset_after_reading, say, silence
from street import ENGINES, QUICK, Pictures, nothing_left, session_of, until

import smile_async.traffic.sender
from smile_async import Decision, Job, Limits, Pace, SmileSession, Stats, Ticket, Verdict
from smile_async.errors import (
    BadConfiguration,
    ForgedReply,
    InvalidJob,
    JobExists,
    JobNotFound,
    SessionClosed,
    SmileError,
    StillPending,
    Unavailable,
    UnreadableReply,
    WrongLoop,
)
from smile_async.ledger import Ledger, State
from smile_async.protocol.signature import Secret
from smile_async.sandbox import RunningSandbox, Sandbox
from smile_async.traffic.watching import Listener
from smile_async.transport.pool import Pool

pytestmark = pytest.mark.usefixtures("tidy")
engines = pytest.mark.parametrize("http", ENGINES)


async def _whole_day(session: SmileSession, pictures: Pictures) -> Stats:
    """Every call of the public API once, on a server that approves "ada"."""
    verdict = await session.verify(pictures.filed(job_id="v"), until="final", history=True, image_links=True)
    assert verdict.approved
    assert (verdict.final, verdict.code, verdict.source, verdict.confirmed) == (True, "0820", "poll", True)
    ticket = await session.submit(pictures.job(job_id="s"))
    assert ticket.smile_job_id is not None
    assert (await session.wait(ticket)).approved
    status = await session.status(ticket)
    assert status.complete
    assert status.verdict is not None
    assert status.verdict.approved
    async with session.follow(ticket) as verdicts:
        assert [verdict.code async for verdict in verdicts] == ["0820"]
    jobs = [pictures.job(job_id=f"j{number}") for number in range(5)]
    async with session.stream(jobs) as outcomes:
        ended = [outcome async for outcome in outcomes]
    assert {outcome.job.job_id for outcome in ended} == {f"j{number}" for number in range(5)}
    return session.stats


@engines
async def test_everything_works_over_http2(http: str, running: RunningSandbox, pictures: Pictures) -> None:
    """Each engine does the whole API over HTTP/2 for the API and HTTP/1.1 for storage, and the stats tell."""
    async with session_of(running, http=http) as session:
        stats = await _whole_day(session, pictures)
        assert (stats.submitted, stats.finished, stats.failed, stats.pending) == (7, 7, 0, 0)
        assert (stats.api_http_version, stats.storage_http_version) == ("HTTP/2", "HTTP/1.1")
        assert (stats.retries, stats.in_flight) == (0, 0)
        assert stats.polls >= 8
    assert len(running.sandbox.jobs["v"].images) == 9
    assert all(running.sandbox.count(job_id) == 1 for job_id in running.sandbox.jobs)


@engines
async def test_everything_works_over_http1(http: str, smile: ScriptedSmile, pictures: Pictures) -> None:
    """Each engine does the whole API where a server has no HTTP/2."""
    async with session_of(smile, http=http) as session:
        stats = await _whole_day(session, pictures)
        assert (stats.api_http_version, stats.storage_http_version) == ("HTTP/1.1", "HTTP/1.1")
    assert all(story.created == 1 and len(story.zips) == 1 for story in smile.jobs.values())


@engines
async def test_an_engine_mends_a_broken_connection(http: str, smile: ScriptedSmile, pictures: Pictures) -> None:
    """With each engine, a reset after /upload was read resumes the same job: one provider job, one zip."""
    smile.fault("upload", reset_after_reading, effect=True)
    smile.fault("put", reset_after_reading, effect=True)
    async with session_of(smile, http=http) as session:
        assert (await session.verify(pictures.job(job_id="j1"))).approved
    assert (smile.jobs["j1"].created, len(smile.jobs["j1"].zips)) == (1, 1)


@engines
async def test_many_tasks_share_a_session(http: str, running: RunningSandbox, pictures: Pictures) -> None:
    """A hundred concurrent verify calls on one session each get their own job's verdict."""
    async with session_of(running, http=http) as session:
        jobs = [pictures.job(job_id=f"j{number}") for number in range(100)]
        verdicts = await asyncio.gather(*(session.verify(job) for job in jobs))
    assert [verdict.ticket.job_id for verdict in verdicts] == [job.job_id for job in jobs]
    assert all(verdict.approved for verdict in verdicts)


async def test_register_then_authenticate(running: RunningSandbox, pictures: Pictures) -> None:
    """A new user is registered, then recognised; a rejected face is a verdict, not an exception."""
    async with session_of(running) as session:
        registered = await session.verify(Job.register("bob", pictures.selfie, liveness=pictures.liveness))
        assert (registered.approved, registered.code) == (True, "0840")
        assert (await session.verify(Job.authenticate("bob", pictures.selfie))).approved
        rejected = await session.verify(pictures.job("bob", partner_params={"sandbox_result": "1"}))
        assert (rejected.decision, rejected.approved, rejected.final) == (Decision.REJECTED, False, True)


async def test_from_env(running: RunningSandbox, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session from SMILE_* variables works, overrides win, and what is missing is named."""
    for name in ("SMILE_ENVIRONMENT", "SMILE_CALLBACK_URL", "SMILE_UPLOAD_HOSTS", "SMILE_HTTP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SMILE_PARTNER_ID", running.partner_id)
    monkeypatch.setenv("SMILE_BASE_URL", running.base_url)
    monkeypatch.setenv("SMILE_CA_FILE", running.ca_file)
    monkeypatch.setenv("SMILE_HTTP", "httpx2")
    monkeypatch.delenv("SMILE_API_KEY", raising=False)
    with pytest.raises(BadConfiguration, match="SMILE_API_KEY is not set"):
        SmileSession.from_env()
    monkeypatch.setenv("SMILE_API_KEY", running.api_key)
    async with SmileSession.from_env(pace=QUICK) as session:
        assert (await session.verify(pictures.job())).approved
    monkeypatch.setenv("SMILE_API_KEY", "wrong")
    async with SmileSession.from_env(pace=QUICK, api_key=running.api_key, http="httpx") as session:
        assert (await session.verify(pictures.job())).approved


async def test_an_asgi_transport_of_the_user(pictures: Pictures) -> None:
    """The whole conversation runs inside the process through httpx.ASGITransport, for both legs."""
    sandbox = Sandbox()
    sandbox.enroll("ada")
    transport = httpx.ASGITransport(sandbox.app)
    async with SmileSession(
        sandbox.partner_id, sandbox.api_key, base_url="https://localhost/v1", http=transport, pace=QUICK
    ) as session:
        stats = await _whole_day(session, pictures)
    assert stats.submitted == 7
    assert stats.api_http_version == stats.storage_http_version


async def test_a_factory_of_transports(pictures: Pictures) -> None:
    """A callable that makes transports is asked for one per shard and leg."""
    sandbox = Sandbox()
    sandbox.enroll("ada")
    made: list[httpx.ASGITransport] = []

    def factory() -> httpx.ASGITransport:
        made.append(httpx.ASGITransport(sandbox.app))
        return made[-1]

    async with SmileSession(
        sandbox.partner_id, sandbox.api_key, base_url="https://localhost/v1", http=factory, pace=QUICK
    ) as session:
        assert (await session.verify(pictures.job())).approved
    assert len(made) == 2


async def test_a_mock_transport_of_the_user() -> None:
    """httpx.MockTransport answers a status query as a test likes."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/job_status"
        return httpx.Response(404, json={"error": "Job not found", "code": "2304"})

    async with SmileSession(PARTNER, KEY, http=httpx.MockTransport(answer)) as session:
        with pytest.raises(JobNotFound):
            await session.status(Ticket("ada", "j1", 2))
        with pytest.raises(JobNotFound) as caught:
            await session.wait(Ticket("ada", "j1", 2))
        assert caught.value.ticket == Ticket("ada", "j1", 2)
        assert session.stats.failed == 1


async def test_patience_ends_the_waiting_not_the_job(
    running: RunningSandbox, session: SmileSession, pictures: Pictures
) -> None:
    """StillPending carries the ticket and the latest provisional; wait(ticket) takes the job up again."""
    running.sandbox.script("ada", code="0822", after=0.0)
    job = pictures.job(job_id="j1")
    with pytest.raises(StillPending) as caught:
        await session.verify(job, until="final", patience=1.5)
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert error.ticket is not None
    assert (error.ticket.job_id, error.retryable) == ("j1", False)
    assert error.verdict is not None
    assert (error.verdict.decision, error.verdict.final) == (Decision.PROVISIONAL, False)
    assert error.job is not None
    assert error.job.job_id == "j1"
    assert all(image.content is None for image in error.job.images)
    assert session.stats.failed == 0
    assert not (await session.wait(error.ticket)).final
    running.sandbox.review("j1", "approve")
    verdict = await session.wait(Ticket.from_json(error.ticket.to_json()), until="final")
    assert (verdict.approved, verdict.code) == (True, "1220")


async def test_final_waits_over_a_review_of_two_hours(pictures: Pictures) -> None:
    """until="final" waits through a human review, in virtual time; until="decision" takes the provisional."""
    clock = HandClock()
    sandbox = Sandbox(clock=clock)
    sandbox.enroll("ada")
    sandbox.script("ada", code="0822", after=5, then=[(7200, "1220")])
    session = SmileSession(
        sandbox.partner_id,
        sandbox.api_key,
        base_url="https://localhost/v1",
        http=httpx.ASGITransport(sandbox.app),
        clock=clock,
    )
    async with session:
        provisional = await clock.run(session.verify(pictures.job()), most=7000)
        assert provisional.decision is Decision.PROVISIONAL
        final = await clock.run(session.wait(provisional.ticket, until="final", patience=10_000))
        assert (final.approved, final.final, final.code) == (True, True, "1220")
    assert clock.monotonic() > 1000 + 7200


async def test_follow_tells_each_verdict_once(smile: ScriptedSmile, pictures: Pictures) -> None:
    """follow() yields the provisional, then the final one, then ends; leaving early is fine, too."""
    smile.plans["j1"] = ["", "0822", "0822", "0822", "0820"]
    async with session_of(smile) as session:
        ticket = await session.submit(pictures.job(job_id="j1"))
        async with session.follow(ticket) as verdicts:
            assert [(verdict.code, verdict.final) async for verdict in verdicts] == [("0822", False), ("0820", True)]
        async with session.follow(ticket) as verdicts:
            assert (await anext(verdicts)).code == "0820"
        async with session.follow(ticket):
            pass
        assert session.stats.pending == 0


async def test_follow_has_patience_if_asked(smile: ScriptedSmile, pictures: Pictures) -> None:
    """follow(patience=…) hands out what came and then raises StillPending with the latest word."""
    smile.plans["j1"] = ["0822"]
    async with session_of(smile) as session:
        ticket = await session.submit(pictures.job(job_id="j1"))
        heard = []
        with pytest.raises(StillPending) as caught:  # noqa: PT012 - the whole block has to fail
            async with session.follow(ticket, patience=1.5) as verdicts:
                async for verdict in verdicts:
                    heard.append(verdict.code)  # noqa: PERF401 - what came before the error counts
        assert heard == ["0822"]
        assert caught.value.verdict is not None


async def test_any_number_of_tasks_wait_for_one_ticket(smile: ScriptedSmile, pictures: Pictures) -> None:
    """Fifty waiters and followers share one job's polls; cancelling some does not disturb the others."""
    smile.plans["j1"] = ["0822"]
    async with session_of(smile, pace=Pace.fixed(0.05, 1, 0.05)) as session:
        ticket = await session.submit(pictures.job(job_id="j1"))
        waiters = [asyncio.create_task(session.wait(ticket, until="final")) for _ in range(50)]

        async def read() -> list[str]:
            async with session.follow(ticket) as verdicts:
                return [verdict.code async for verdict in verdicts]

        reader = asyncio.create_task(read())
        await until(lambda: session.poller.polls >= 2)
        for waiter in waiters[::2]:
            waiter.cancel()
        await asyncio.gather(*waiters[::2], return_exceptions=True)
        polls = session.poller.polls
        smile.jobs["j1"].codes.append("0820")
        assert {verdict.code for verdict in await asyncio.gather(*waiters[1::2])} == {"0820"}
        assert await reader == ["0822", "0820"]
        assert session.poller.polls <= polls + 3
        assert all(waiter.cancelled() for waiter in waiters[::2])


async def test_waiters_do_not_share_an_error(smile: ScriptedSmile, pictures: Pictures) -> None:
    """A fatal answer reaches each waiter as its own exception: verify's knows its job, wait's has none."""
    smile.tampers["job_status"] = lambda body: body.update(signature="x")
    async with session_of(smile, pace=Pace.fixed(0.1, 1, 0.1)) as session:
        job = pictures.job(job_id="j1")
        verifying = asyncio.create_task(session.verify(job))
        await until(lambda: len(session.poller) == 1)
        ended = await asyncio.gather(verifying, session.wait(job.ticket), return_exceptions=True)
    one, two = ended
    assert isinstance(one, ForgedReply)
    assert isinstance(two, ForgedReply)
    assert one.job is not None
    assert two.job is None


async def test_an_impostor_never_gets_the_verdict_of_an_old_job(
    running: RunningSandbox, session: SmileSession, pictures: Pictures
) -> None:
    """The job_id of an old approved job with another selfie is JobExists, in this session and in a later one."""
    assert (await session.verify(pictures.job(job_id="j1"))).approved
    impostor = Job.authenticate("ada", pictures.other, job_id="j1")
    with pytest.raises(JobExists) as caught:
        await session.verify(impostor)
    assert (caught.value.retryable, caught.value.code) == (False, "2215")
    assert caught.value.ticket == Ticket("ada", "j1", 2)
    async with session_of(running) as later, later.stream([impostor]) as outcomes:
        ended = [outcome async for outcome in outcomes]
    assert isinstance(ended[0].error, JobExists)  # type: ignore[union-attr]
    assert running.sandbox.count("j1") == 1
    assert running.sandbox.jobs["j1"].uploads == 1


async def test_an_impostor_does_not_resume_an_unfinished_job(smile: ScriptedSmile, pictures: Pictures) -> None:
    """A submission cut short is resumed with the same pictures only; others get JobExists, and change nothing."""
    job = pictures.job(job_id="j1")
    async with session_of(smile) as session:
        smile.fault("upload", *[reset_after_reading] * 3, effect=True)
        with pytest.raises(Unavailable):
            await session.submit(job)
        with pytest.raises(JobExists):
            await session.submit(Job.authenticate("ada", pictures.other, job_id="j1"))
        assert not smile.jobs["j1"].zips
        assert (await session.verify(job)).approved
    assert smile.jobs["j1"].created == 1


@pytest.mark.parametrize("leg", ["upload", "put"])
@pytest.mark.parametrize("cut", [True, False])
async def test_an_ambiguous_upload_makes_one_provider_job(
    leg: Any, cut: bool, running: RunningSandbox, session: SmileSession, pictures: Pictures
) -> None:
    """/upload or PUT that did its work without our hearing of it: the same job goes on, exactly one exists."""
    running.sandbox.fault(leg, effect=True, cut=cut, status=None if cut else 502)
    assert (await session.verify(pictures.job(job_id="j1"))).approved
    assert running.sandbox.count("j1") == 1
    assert running.sandbox.jobs["j1"].processed == 1


@pytest.mark.parametrize("leg", ["upload", "put", "job_status"])
async def test_a_cancelled_verify_can_be_taken_up(leg: Any, smile: ScriptedSmile, pictures: Pictures) -> None:
    """Cancelled on any leg, nothing is left behind, and the same Job, called again, is resumed as one provider job."""
    smile.fault(leg, silence)
    job = pictures.job(job_id="j1")
    async with session_of(smile) as session:
        verifying = asyncio.create_task(session.verify(job))
        await until(lambda: smile.asked[leg])
        verifying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await verifying
        if leg == "job_status":
            assert (await session.wait(job.ticket)).approved
        else:
            assert session.stats.in_flight == 0
            assert (await session.verify(job)).approved
    assert (smile.jobs["j1"].created, len(smile.jobs["j1"].zips)) == (1, 1)


async def too_late(session: SmileSession, job: Job) -> Ticket | None:
    """The ticket of the error of a call that ends before anything of it could leave."""
    with pytest.raises(Unavailable, match="before its patience was over") as caught:
        await session.submit(job, patience=-1)
    assert caught.value.job is job
    return caught.value.ticket


@pytest.mark.parametrize("end", ["accepted", "lost", "refused", "cancelled"])
async def test_what_left_in_an_earlier_call_is_not_forgotten(
    end: str, smile: ScriptedSmile, pictures: Pictures
) -> None:
    """However an earlier call ended of which a request left, a later call of the same job that sends nothing has the
    ticket: it is None only if no request left for the job. Another selfie under that job_id is another job.
    """
    job = pictures.job(job_id="j1")
    acts = {"lost": [reset_after_reading] * 3, "refused": [say(400, {"code": "2204"})], "cancelled": [silence]}
    smile.fault("upload", *acts.get(end, []))
    async with session_of(smile) as session:
        assert await too_late(session, job) is None
        call = asyncio.create_task(session.submit(job))
        if end == "cancelled":
            await until(lambda: smile.asked["upload"])
            call.cancel()
        await asyncio.wait({call})
        assert await too_late(session, job) == job.ticket
        assert await too_late(session, Job.authenticate("ada", pictures.other, job_id="j1")) is None


async def test_a_double_click_is_one_job(session: SmileSession, running: RunningSandbox, pictures: Pictures) -> None:
    """Two calls of one job at once, without a ledger: one provider job, whose verdict both get; with another selfie
    under that job_id the second is JobExists.
    """
    job, other = pictures.job(job_id="j1"), Job.authenticate("ada", pictures.other, job_id="j1")
    calls = [asyncio.create_task(session.verify(each)) for each in (job, pictures.job(job_id="j1"), job, other)]
    *mine, theirs = await asyncio.gather(*calls, return_exceptions=True)
    assert {end.code for end in mine if isinstance(end, Verdict)} == {"0820"}
    assert len(mine) == 3
    assert not [end for end in mine if not isinstance(end, Verdict)]
    assert isinstance(theirs, JobExists)
    assert running.sandbox.count("j1") == 1
    assert running.sandbox.jobs["j1"].processed == 1


async def test_a_picture_that_has_gone_takes_no_ticket_with_it(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path
) -> None:
    """A job that was cut short and whose picture is away at the second call is InvalidJob, with its ticket."""
    face = tmp_path / "face.jpg"
    face.write_bytes(pictures.selfie)
    job = Job.authenticate("ada", face)
    smile.fault("upload", *[reset_after_reading] * 3)
    async with session_of(smile) as session:
        with pytest.raises(Unavailable):
            await session.submit(job)
        face.unlink()
        with pytest.raises(InvalidJob, match="can not be opened") as caught:
            await session.submit(job)
        assert (caught.value.ticket, caught.value.job) == (job.ticket, job)


async def test_what_is_remembered_is_bounded(
    smile: ScriptedSmile, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unfinished submissions are remembered up to a number; beyond it the oldest is forgotten."""
    monkeypatch.setattr(smile_async.traffic.sender, "REMEMBERED", 2)
    smile.fault("upload", say(400, {"code": "2204"}), always=True)
    async with session_of(smile) as session:
        smile.fault("upload", *[say(504)] * 9, effect=True)
        for number in range(3):
            with pytest.raises(Unavailable):
                await session.submit(pictures.job(job_id=f"j{number}"))
        assert [job_id for _, job_id in session.sender._unfinished] == ["j1", "j2"]


async def test_a_place_among_the_uploads_is_waited_for_with_patience(smile: ScriptedSmile, pictures: Pictures) -> None:
    """If other uploads hold all places, patience ends the waiting: nothing was submitted."""
    smile.fault("upload", silence, always=True)
    async with session_of(smile, limits=Limits(uploads=1)) as session:
        first = asyncio.create_task(session.submit(pictures.job()))
        await until(lambda: smile.asked["upload"])
        with pytest.raises(Unavailable, match="no upload place was free") as caught:
            await session.submit(pictures.job(), patience=0.1)
        assert (caught.value.ticket, caught.value.retryable) == (None, True)
        first.cancel()
        await asyncio.wait({first})


async def test_patience_bounds_the_wait_for_the_rate(smile: ScriptedSmile, pictures: Pictures) -> None:
    """With jobs_per_second used up for minutes, verify() ends with its patience all the same."""
    async with session_of(smile, limits=Limits(jobs_per_second=0.01)) as session:
        await session.submit(pictures.job())
        begun = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await session.verify(pictures.job(), patience=0.2)
        assert time.monotonic() - begun < 3
        assert caught.value.ticket is None


async def test_a_job_that_can_not_be_sent_leaves_no_trace(
    session: SmileSession, running: RunningSandbox, tmp_path: Path
) -> None:
    """A missing picture, or no Job at all, is InvalidJob before any byte leaves."""
    with pytest.raises(InvalidJob, match="can not be opened") as caught:
        await session.verify(Job.authenticate("ada", tmp_path / "none.jpg"))
    assert caught.value.ticket is None
    with pytest.raises(InvalidJob, match="got dict instead of a Job"):
        await session.submit({"user_id": "ada"})  # type: ignore[arg-type]
    assert not running.sandbox.jobs
    assert session.stats.submitted == 0


@pytest.mark.parametrize("call", ["verify", "submit", "stream"])
async def test_no_result_travels_in_the_clear(call: str, smile: ScriptedSmile, pictures: Pictures) -> None:
    """A job's callback_url without TLS is refused before a byte leaves, unless the session was told to allow it."""
    job = pictures.job(job_id="j1", callback_url="http://intranet.example/smile")
    async with session_of(smile) as session:
        if call == "stream":
            async with session.stream([job]) as outcomes:
                (failed,) = [outcome async for outcome in outcomes]
            error: Any = failed.error  # type: ignore[union-attr]
        else:
            with pytest.raises(InvalidJob) as caught:
                await getattr(session, call)(job)
            error = caught.value
    assert str(error).startswith("job j1 of user ada: callback_url is not https")
    assert (error.job, error.ticket, smile.asked["upload"]) == (job, None, [])
    async with session_of(smile, insecure_callbacks=True) as session:
        await session.submit(job)


async def test_a_verdict_can_be_delivered(smile: ScriptedSmile, pictures: Pictures) -> None:
    """deliver() wakes who waits: a confirmed verdict at once, any other after a status query agreed."""
    smile.plans["j1"] = ["", "0820"]
    async with session_of(smile, pace=Pace.fixed(60, 1, 60)) as session:
        ticket = await session.submit(pictures.job(job_id="j1"))
        waiting = asyncio.create_task(session.wait(ticket, until="final"))
        elsewhere = Verdict(Decision.APPROVED, True, "0820", "", ticket, confirmed=True)
        await until(lambda: smile.asked["job_status"] and not session.stats.in_flight)
        assert await session.deliver(elsewhere) is elsewhere
        assert (await waiting).approved
        forwarded = Verdict.from_json(elsewhere.to_json())
        assert not forwarded.confirmed
        delivered = await session.deliver(forwarded)
        assert delivered is not None
        assert delivered.approved
        with pytest.raises(SmileError):
            await session.deliver(b"{}")


# How a session lives and ends.


def _sleeping() -> SmileSession:
    return SmileSession(PARTNER, KEY)


CALLS: dict[str, Callable[[SmileSession, Pictures], Any]] = {
    "verify": lambda session, pictures: session.verify(pictures.job()),
    "submit": lambda session, pictures: session.submit(pictures.job()),
    "wait": lambda session, pictures: session.wait(pictures.job().ticket),
    "status": lambda session, pictures: session.status(pictures.job().ticket),
    "deliver": lambda session, pictures: session.deliver(b"{}"),
    "stream": lambda session, pictures: _entered(session.stream([pictures.job()])),
    "follow": lambda session, pictures: _entered(session.follow(pictures.job().ticket)),
}


async def _entered(context: Any) -> None:
    async with context:
        pass


@pytest.mark.parametrize("call", CALLS)
async def test_a_session_is_used_inside_its_block(call: str, pictures: Pictures) -> None:
    """Before entering and after leaving, every call is SessionClosed with what to do."""
    session = _sleeping()
    with pytest.raises(SessionClosed, match="use it inside `async with") as caught:
        await CALLS[call](session, pictures)
    assert (caught.value.job is not None) is (call in ("verify", "submit"))
    async with session:
        assert repr(session).endswith(", open>")
    with pytest.raises(SessionClosed, match="use it inside `async with"):
        await CALLS[call](session, pictures)
    assert repr(session).endswith(", closed>")


async def test_a_session_is_entered_once(running: RunningSandbox) -> None:
    """Entering again, inside or after the block, is refused and does no harm."""
    session = session_of(running)
    async with session:
        with pytest.raises(SessionClosed, match="entered once"):
            await session.__aenter__()
        with pytest.raises(JobNotFound):
            await session.status(Ticket("ada", "none", 2))
    with pytest.raises(SessionClosed, match="entered once"):
        await session.__aenter__()


@pytest.mark.parametrize("call", CALLS)
async def test_a_session_belongs_to_one_loop(call: str, session: SmileSession, pictures: Pictures) -> None:
    """Used from another event loop, every call is WrongLoop, and the session goes on in its own."""

    def elsewhere() -> None:
        async def use() -> None:
            await CALLS[call](session, pictures)

        asyncio.run(use())

    with pytest.raises(WrongLoop, match="one session per loop"):
        await asyncio.to_thread(elsewhere)
    assert (await session.verify(pictures.job())).approved


def test_a_sandbox_whose_loop_stands_still_is_told_at_once(pictures: Pictures) -> None:
    """A sandbox that a wider fixture serves in its own loop never answers a test's: a hint, instead of all patience."""
    with asyncio.Runner() as wider:
        serving = Sandbox.serve()
        running = wider.run(serving.__aenter__())

        async def look() -> None:
            async with session_of(running) as session:
                assert session.stats.polls == 0

        with asyncio.Runner() as narrow, pytest.raises(WrongLoop, match="the same loop_scope"):
            narrow.run(look())
        wider.run(look())
        # In a thread of its own another loop is as good.
        wider.run(asyncio.to_thread(asyncio.run, look()))
        wider.run(serving.__aexit__(None, None, None))


def test_a_session_does_not_travel() -> None:
    """Pickling and copying a session are refused: it holds a key and a loop."""
    for send in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="make one in each process"):
            send(_sleeping())  # type: ignore[operator]


async def test_entering_and_leaving_may_happen_in_different_tasks(running: RunningSandbox, pictures: Pictures) -> None:
    """Entered in one task, used in a second, left in a third, as test fixtures and web frameworks do."""
    session = session_of(running)
    await asyncio.create_task(session.__aenter__())
    verdict = await asyncio.create_task(session.verify(pictures.job()))
    await asyncio.create_task(session.__aexit__(None, None, None))
    assert verdict.approved


async def test_leaving_tells_who_still_waits(smile: ScriptedSmile, pictures: Pictures) -> None:
    """When the session ends, waiters, followers and uploads of other tasks end with an error that has the ticket."""
    smile.plans.update(w=[""], s=[""])
    session = session_of(smile)
    await session.__aenter__()
    ticket = await session.submit(pictures.job(job_id="w"))
    smile.fault("upload", silence)
    follow = session.follow(ticket)

    async def read() -> None:
        async with follow as verdicts:
            await anext(verdicts)

    tasks = [asyncio.create_task(work) for work in (session.wait(ticket), read(), session.submit(pictures.job()))]
    await until(lambda: len(smile.asked["upload"]) == 2)
    await session.__aexit__(None, None, None)
    waited, read_, sent = await asyncio.gather(*tasks, return_exceptions=True)
    for error in (waited, read_):
        assert isinstance(error, SessionClosed)
        assert error.ticket is not None
        assert error.ticket.job_id == "w"
    assert isinstance(sent, SessionClosed)
    assert sent.ticket is not None
    with pytest.raises(SessionClosed):
        async with follow:
            pass


async def test_leaving_does_not_wait_for_a_closed_gate(smile: ScriptedSmile, pictures: Pictures) -> None:
    """Who waits because the server asked for an hour's pause learns at once that the session has ended."""
    smile.fault("upload", say(503, b"", {"Retry-After": "3600"}))
    async with session_of(smile) as session:
        with pytest.raises(Unavailable):
            await session.submit(pictures.job(), patience=0.3)
        waiting = asyncio.create_task(session.submit(pictures.job(), patience=3600))
        await until(lambda: len(session._origins[0].limiter._waiting) == 1)
    (error,) = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(error, SessionClosed)
    assert (error.ticket, error.retryable) == (None, True)


async def test_leaving_cancelled_twice_closes_everything(
    smile: ScriptedSmile, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asyncio's own cancellation, again and again while the block is left, does not keep the connections open."""
    smile.fault("job_status", silence, always=True)
    entered: list[SmileSession] = []
    closed: list[object] = []
    close = Pool.aclose

    async def slowly(pool: Pool) -> None:
        await asyncio.sleep(0.02)
        await close(pool)
        closed.append(pool)

    monkeypatch.setattr(Pool, "aclose", slowly)

    async def work() -> None:
        async with session_of(smile) as session:
            entered.append(session)
            await session.verify(pictures.job())

    working = asyncio.create_task(work())
    await until(lambda: smile.asked["job_status"])
    for _ in range(3):
        working.cancel()
        await asyncio.sleep(0.005)
    with pytest.raises(asyncio.CancelledError):
        await working
    await until(lambda: len(closed) == 2)
    assert not entered[0].host.open


async def test_an_entry_cut_short_lets_go_of_its_ledger(running: RunningSandbox, tmp_path: Path) -> None:
    """An entry that is cancelled at any of its first awaits leaves the ledger closed and free for the next session."""
    entered = 0
    for moment in range(0, 60, 3):
        session = session_of(running, ledger=tmp_path / "l")
        entering = asyncio.create_task(session.__aenter__())
        for _ in range(moment):
            await asyncio.sleep(0)
        entering.cancel()
        await asyncio.wait([entering])
        if not entering.cancelled():
            entered += 1
            await session.__aexit__(None, None, None)
        async with session_of(running, ledger=tmp_path / "l"):
            pass
    assert entered < 20


async def test_an_exit_cut_short_leaves_nothing_open(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """Whoever is cancelled by asyncio while a session is left goes when connections, tasks and ledger are closed."""
    cancelled = 0
    for moment in range(1, 60, 6):
        before = asyncio.all_tasks()
        session = await session_of(running, ledger=tmp_path / "l").__aenter__()
        assert (await session.verify(pictures.job())).approved
        leaving = asyncio.create_task(session.__aexit__(None, None, None))
        for _ in range(moment):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        cancelled += leaving.cancelled()
        assert {task for task in asyncio.all_tasks() - before if task.get_name().startswith("smile_async")} == set()
        async with Ledger(tmp_path / "l"):
            pass
    assert cancelled


async def test_a_ledger_given_unopened_is_closed_with_the_last_session_that_shares_it(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """The first of two sessions to be left leaves it to the other; after that all is on record and it can be had."""
    ledger = Ledger(tmp_path / "l")
    async with session_of(running, ledger=ledger) as last:
        async with session_of(running, ledger=ledger) as first:
            assert (await first.verify(pictures.job(job_id="j1"))).approved
        assert (await last.verify(pictures.job(job_id="j2"))).approved
    assert not ledger.opened
    async with Ledger(tmp_path / "l") as again:
        assert [(await row_of(again, job_id))["state"] for job_id in ("j1", "j2")] == [State.FINAL] * 2


async def test_a_ledger_that_the_application_has_opened_is_the_applications_to_close(
    running: RunningSandbox, tmp_path: Path
) -> None:
    """Sessions, one after another, and one that is refused, leave it open."""
    async with Ledger(tmp_path / "l") as ledger:
        for _ in range(2):
            async with session_of(running, ledger=ledger):
                pass
        with pytest.raises(BadConfiguration, match="the ledger belongs to"):
            await session_of(running, ledger=ledger, partner_id="2").__aenter__()
        assert ledger.opened


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("way", ["wait", "follow"])
async def test_a_job_just_uploaded_may_be_unknown_for_a_moment(
    way: str, smile: ScriptedSmile, pictures: Pictures
) -> None:
    """After `submit`, too, 2304 is no news for a few seconds: waiting for the ticket goes on."""
    unknown = {"error": "Job not found", "code": "2304"}
    async with session_of(smile) as session:
        ticket = await session.submit(pictures.job(job_id="j1"))
        smile.fault("job_status", say(404, unknown))
        if way == "wait":
            assert (await session.wait(ticket)).approved
        else:
            async with session.follow(ticket) as verdicts:
                assert (await anext(verdicts)).approved
        smile.fault("job_status", say(404, unknown))
        with pytest.raises(JobNotFound):
            await session.wait(Ticket("ada", "another", 2))


NO_TICKETS: list[Any] = ['{"user_id": "ada"}', None, Ticket(b"ada", "j1", 2), Ticket("ada", "\ud800", 2)]  # type: ignore[arg-type]
NO_TICKETS += [Ticket("ada", "j1", 2, 7)]  # type: ignore[arg-type]


@pytest.mark.parametrize("ticket", NO_TICKETS)
async def test_what_is_no_ticket_is_refused_at_once(ticket: Any, session: SmileSession) -> None:
    """Nothing is asked about what is no ticket, and nobody else's waiting is disturbed by it."""
    for call in (session.wait, session.status):
        with pytest.raises(InvalidJob, match=r"[Tt]icket"):
            await call(ticket)
    with pytest.raises(InvalidJob, match=r"[Tt]icket"):
        session.follow(ticket)
    assert session.stats.polls == 0


NO_PATIENCE: list[tuple[Any, str]] = [(None, "NoneType"), ("60", "str"), (True, "bool"), (float("nan"), "nan")]
NO_PATIENCE += [(float("inf"), "inf"), (float("-inf"), "-inf"), (10**400, "inf"), (10**5000, "inf")]


async def test_how_to_wait_is_checked_before_anything_is_sent(
    session: SmileSession, running: RunningSandbox, pictures: Pictures
) -> None:
    """A misspelt `until`, or a patience that is no number, is refused before the job is billed."""
    ticket = Ticket("ada", "j1", 2)
    with pytest.raises(BadConfiguration, match="until is 'Final': give 'decision' or 'final'"):
        await session.verify(pictures.job(), until="Final")  # type: ignore[arg-type]
    with pytest.raises(BadConfiguration, match="until"):
        await session.wait(ticket, until=None)  # type: ignore[arg-type]
    for patience, what in NO_PATIENCE:
        for call in (session.verify, session.submit):
            with pytest.raises(BadConfiguration, match=f"^patience is {what}: give a .*number of seconds$"):
                await call(pictures.job(), patience=patience)  # type: ignore[operator]
    for patience, what in NO_PATIENCE[1:]:
        with pytest.raises(BadConfiguration, match=f"^patience is {what}"):
            session.follow(ticket, patience=patience)
    with pytest.raises(UnreadableReply, match="got dict: give a Verdict"):
        await session.deliver({})  # type: ignore[arg-type]
    assert not running.sandbox.jobs


@pytest.mark.parametrize("name", ["history", "image_links"])
async def test_what_to_ask_for_is_true_or_false(
    name: str, session: SmileSession, running: RunningSandbox, pictures: Pictures
) -> None:
    """A flag of verify() or status() that is no bool is refused by name, before the job is billed."""
    for flag in ("false", 1, None):
        words = f"{name} is {type(flag).__name__}: give True or False"
        with pytest.raises(BadConfiguration, match=words):
            await session.verify(pictures.job(), **{name: flag})  # type: ignore[arg-type]
        with pytest.raises(BadConfiguration, match=words):
            await session.status(Ticket("ada", "j1", 2), **{name: flag})  # type: ignore[arg-type]
    assert not running.sandbox.jobs
    assert session.stats.polls == 0


def test_a_flag_of_the_session_is_true_or_false() -> None:
    """SMILE's "false" from somebody's environment must not mean that proxies are used."""
    with pytest.raises(BadConfiguration, match="trust_env is str: give True or False"):
        SmileSession("085", "key", trust_env="false")  # type: ignore[arg-type]


async def test_following_is_entered_once_and_before_it_is_read(session: SmileSession, pictures: Pictures) -> None:
    """Reading without `async with`, and entering twice, are errors at once instead of waiting for ever."""
    follow = session.follow(await session.submit(pictures.job()))
    with pytest.raises(SessionClosed, match=r"async with session\.follow"):
        await anext(follow)
    async with follow as verdicts:
        assert len([verdict async for verdict in verdicts]) == 1
    with pytest.raises(SessionClosed, match="entered once"):
        async with follow:
            pass


async def test_cancelling_the_block_leaves_nothing(smile: ScriptedSmile, pictures: Pictures) -> None:
    """A task cancelled inside the block leaves it cleanly, with all connections closed."""
    smile.fault("job_status", silence, always=True)

    async def work() -> None:
        async with session_of(smile) as session:
            await session.verify(pictures.job())

    working = asyncio.create_task(work())
    await until(lambda: smile.asked["job_status"])
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_cancelling_the_entry_leaves_nothing(running: RunningSandbox) -> None:
    """A task cancelled while it enters, at whatever point, leaves no host task behind."""
    for pause, chosen in itertools.product(range(8), ("httpx", "pyreqwest")):
        # The second kind needs no TLS context, and so reaches the start of its host task within a few steps.
        session = session_of(running, http=chosen)
        entering = asyncio.create_task(session.__aenter__())
        for _ in range(pause):
            await asyncio.sleep(0)
        entering.cancel()
        if isinstance((await asyncio.gather(entering, return_exceptions=True))[0], SmileSession):
            await session.__aexit__(None, None, None)
        async with nothing_left():
            await asyncio.sleep(0.01)


def crash(session: SmileSession) -> None:
    """End the poller, as a loop does whose tasks are all cancelled: nothing less ends a session."""
    (poller,) = (task for task in asyncio.all_tasks() if task.get_name() == "smile_async poller")
    assert session.host.open
    poller.cancel()


async def test_a_poller_that_ends_is_an_error_for_those_who_wait(running: RunningSandbox, pictures: Pictures) -> None:
    """The end of the poller fails waiters and later calls with a SmileError, and cancels nobody's task."""
    bystander = asyncio.create_task(asyncio.sleep(3600))
    async with session_of(running) as session:
        ticket = await session.submit(pictures.job())
        running.sandbox.fault("job_status", delay=30, times=None)
        waiting = [asyncio.create_task(session.wait(ticket)) for _ in range(3)]
        await until(lambda: len(session.poller) == 1)
        crash(session)
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        for error in ended:
            assert isinstance(error, SessionClosed)
            assert "has crashed (it was cancelled)" in str(error)
            assert error.ticket == ticket
        with pytest.raises(SessionClosed, match="crashed"):
            await session.verify(pictures.job())
        me = asyncio.current_task()
        assert me is not None
        assert not me.cancelling()
    assert not bystander.done()
    bystander.cancel()
    await asyncio.wait({bystander})


async def test_a_crash_during_an_upload_keeps_the_ticket(
    smile: ScriptedSmile, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the session crashes while verify() uploads, the error carries the ticket of what was uploaded."""
    async with session_of(smile) as session:
        go = anyio.Event()
        walk = session._driver.walk

        async def slow(*args: Any) -> Ticket:
            ticket = await walk(*args)
            await go.wait()
            return ticket

        monkeypatch.setattr(session._driver, "walk", slow)
        verifying = asyncio.create_task(session.verify(pictures.job(job_id="j1")))
        await until(lambda: "j1" in smile.jobs and smile.jobs["j1"].zips)
        crash(session)
        await until(lambda: not session.host.open)
        go.set()
        (error,) = await asyncio.gather(verifying, return_exceptions=True)
    assert isinstance(error, SessionClosed)
    assert error.ticket is not None
    assert error.ticket.job_id == "j1"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"partner_id": ""}, "partner_id"),
    ({"partner_id": "0 1"}, "partner_id"),
    ({"api_key": " "}, "api_key"),
    ({"environment": "staging"}, "environment is 'staging'"),
    ({"base_url": "http://api.example/v1"}, "base_url is not https"),
    ({"base_url": "https://api.example/v2"}, "does not end in /v1"),
    ({"callback_url": "http://callback.example/"}, "callback_url is not https"),
    ({"ca_file": "/nowhere/ca.pem"}, "'/nowhere/ca.pem' is not a file"),
    ({"http": "curl"}, "http is 'curl'"),
    ({"upload_hosts": ["https://bucket"]}, "upload_hosts names"),
    ({"ledger": 7}, "ledger"),
    ({"previous_api_keys": [""]}, "api_key is empty"),
]


@pytest.mark.parametrize(("given", "says"), BAD, ids=[str(given) for given, _ in BAD])
def test_bad_settings_are_refused_at_once(given: dict[str, Any], says: str) -> None:
    """What is wrong with the settings is told when the session is made, not when it is used."""
    with pytest.raises(BadConfiguration, match=says):
        SmileSession(**{"partner_id": PARTNER, "api_key": KEY, **given})


async def test_a_broken_ca_file_is_told_on_entering(tmp_path: Path) -> None:
    """A ca_file that holds no certificate is BadConfiguration when the session is entered."""
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    with pytest.raises(BadConfiguration, match=r"ca\.pem"):
        async with SmileSession(PARTNER, KEY, ca_file=path):
            pass


async def test_a_session_shows_no_secret(running: RunningSandbox) -> None:
    """The repr names partner, server and state; a Secret is taken for a key as well."""
    async with SmileSession(PARTNER, Secret(KEY), base_url=running.base_url, ca_file=running.ca_file) as session:
        server = running.base_url.split("/")[2]
        assert repr(session) == f"<SmileSession of partner 001 at {server}, open>"


async def test_an_idle_session_has_nothing_to_tell() -> None:
    """The stats of an idle session are zeros and blanks."""
    async with _sleeping() as session:
        assert session.stats == Stats(0, 0, 0, 0, 0, 0, 0, "", "")


async def test_a_body_of_pictures_does_not_show_itself(pictures: Pictures) -> None:
    """The stream that carries a zip to a transport of the user shows nothing of the pictures."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            seen.append(repr(request.stream))
            return httpx.Response(500)
        slot = {"upload_url": "https://bucket.s3.amazonaws.com/zip?Signature=x", "code": "2202", "smile_job_id": "1"}
        return httpx.Response(200, json=slot)

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return answer(request)

    async with SmileSession(PARTNER, KEY, http=Transport()) as session:
        with pytest.raises(SmileError):
            await session.submit(pictures.job(), patience=0.2)
    assert seen
    assert all(len(shown) < 80 and "canary" not in shown for shown in seen)


async def test_who_waits_for_a_verdict_is_a_person(smile: ScriptedSmile, pictures: Pictures) -> None:
    """Verify and wait ask as for a person, stream and follow as the session does, and price= says otherwise."""
    bids: list[object] = []
    async with session_of(smile, pace=Pace(price=1.0, person=8.0)) as session:
        listen = session.poller.listen

        def heard(ticket: Ticket, listener: Listener, **told: Any) -> None:
            bids.append(listener.prices)
            listen(ticket, listener, **told)

        session.poller.listen = heard  # type: ignore[method-assign]
        ticket = (await session.verify(pictures.job())).ticket
        await session.verify(pictures.job(), price=2)
        await session.wait(ticket)
        await session.wait(ticket, price=0.25)
        for price in (None, 16.0):
            async with session.stream([pictures.job()], price=price) as outcomes:
                async for _ in outcomes:
                    pass
            async with session.follow(ticket, price=price) as verdicts:
                async for _ in verdicts:
                    pass
    person = (8.0, 1.0)
    assert bids == [person, (2.0, 2.0), person, (0.25, 0.25), None, None, (16.0, 16.0), (16.0, 16.0)]


async def test_a_person_is_never_worth_less_than_a_batch(smile: ScriptedSmile, pictures: Pictures) -> None:
    """With a price above the person's, people get that too; a price that nobody can mean is refused."""
    async with session_of(smile, pace=Pace(price=32.0)) as session:
        assert session._person == (32.0, 32.0)
        for price in (0, -1.0, float("nan"), float("inf"), "4", True):
            with pytest.raises(BadConfiguration, match="price"):
                await session.verify(pictures.job(), price=price)  # type: ignore[arg-type]
        assert session.stats.submitted == 0
