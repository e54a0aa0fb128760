"""A job's life against a provider that remembers, in every order of faults that hypothesis can think of.

First the story alone, without a loop; then whole sessions in virtual time, whose transport loses, repeats and spoils
what goes to a sandbox in the same process. Both times the provider's own books are what is checked.
"""

import asyncio
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from ground_support import jpeg
from hand_clock import HandClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from smile_async import Decision, Finished, Job, SmileError, SmileSession, Verdict
from smile_async.errors import JobExists, JobNotFound, Unavailable, UnreadableReply, UploadFailed
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import JobStatus
from smile_async.protocol.signature import Secret
from smile_async.protocol.steps import Ask, Fault, Pause, Prepare, Put, Reach, Sent, Slot, Step, Wait
from smile_async.protocol.v1.submission import Upload
from smile_async.sandbox import Sandbox
from smile_async.timing.pacing import Pace
from smile_async.traffic.pending import PendingJob

OURS, THEIRS = "ours", "theirs"
NUMBER = "0000000001"
TICKET = Ticket("ada", "7f3e", 2, NUMBER)


@dataclass
class Provider:
    """What Smile ID remembers of one job_id."""

    created: int = 0
    #: Whose zips arrived, the first of which counts.
    zips: list[str] = field(default_factory=list)

    def prepare(self, retry: bool) -> Slot:
        if self.created and (self.zips or not retry):
            raise Fault(JobExists("exists", status=400, code="2215"), Sent.ANSWERED)
        self.created += not self.created
        return Slot(Secret("https://bucket.s3.amazonaws.com/1"), NUMBER, {})

    def put(self, whose: str) -> None:
        self.zips.append(whose)

    def ask(self) -> JobStatus:
        if not self.created:
            raise Fault(JobNotFound("unknown", status=404, code="2304"), Sent.ANSWERED)
        return JobStatus(TICKET, "2302" if self.zips else "2314", False, waiting_for_zip=not self.zips)


#: What may happen to one step: does it have its effect, and what is heard of it.
EFFECTLESS = {
    "unsent": lambda: Fault(Unavailable("unsent"), Sent.UNSENT, transient=True),
    "lost": lambda: Fault(Unavailable("lost"), Sent.AMBIGUOUS, transient=True),
    "500 before": lambda: Fault(Unavailable("500"), Sent.AMBIGUOUS, transient=True),
    "throttled": lambda: Fault(Unavailable("429"), Sent.ANSWERED, transient=True, throttled=True),
    "refused": lambda: Fault(UploadFailed("400"), Sent.ANSWERED),
}
EFFECTIVE = {
    "reply lost": lambda: Fault(Unavailable("reply lost"), Sent.AMBIGUOUS, transient=True),
    "500 after": lambda: Fault(Unavailable("500"), Sent.AMBIGUOUS, transient=True),
    "nonsense": lambda: Fault(UnreadableReply("nonsense"), Sent.AMBIGUOUS),
}
HAPPENINGS = ["ok", "ok", "ok", "cancel before", "cancel after", "expired", *EFFECTLESS, *EFFECTIVE]
happenings = st.lists(st.sampled_from(HAPPENINGS), max_size=12)


class Cancelled(Exception):
    """The caller has gone."""


@dataclass
class Walk:
    """One call of `submit`: drives a story, with *happenings* for its steps; those after the last are "ok"."""

    provider: Provider
    whose: str
    happenings: list[str]
    put: int = 0

    def to_end(self, steps: Generator[Step, Any, Ticket]) -> Ticket:
        send, value = steps.send, None
        script = iter(self.happenings)
        while True:
            try:
                step = send(value)  # type: ignore[arg-type]
            except StopIteration as end:
                ticket: Ticket = end.value
                return ticket
            if isinstance(step, Pause | Wait):
                send, value = steps.send, True
                continue
            try:
                send, value = steps.send, self._perform(step, next(script, "ok"))
            except Fault as fault:
                send, value = steps.throw, fault  # type: ignore[assignment]

    def _perform(self, step: Step, happening: str) -> Any:
        if happening == "expired" and isinstance(step, Put):
            raise Fault(UploadFailed("403"), Sent.ANSWERED, expired=True)
        if happening == "cancel before":
            raise Cancelled
        if happening in EFFECTLESS:
            fault = EFFECTLESS[happening]
            raise fault()
        answer = self._effect(step)
        if happening == "cancel after":
            raise Cancelled
        if happening in EFFECTIVE:
            fault = EFFECTIVE[happening]
            raise fault()
        return answer

    def _effect(self, step: Step) -> Any:
        if isinstance(step, Prepare):
            return self.provider.prepare(step.retry)
        if isinstance(step, Put):
            if self.provider.zips:
                assert self.provider.zips[0] == self.whose, "a zip was sent for somebody else's job"
            return self.provider.put(self.whose)
        assert isinstance(step, Ask)
        return self.provider.ask()


class OneJobId(RuleBasedStateMachine):
    """One job_id, submitted, cut short, resumed and stolen, in any order; memory as the Sender keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.provider = Provider()
        self.reach = Reach.NOTHING
        self.accepted = False
        self.before = (0, 0)

    @initialize()
    def born(self) -> None:
        self.job = Job.authenticate("ada", jpeg(), job_id="7f3e")

    def walk(self, whose: str, reach: Reach, script: list[str]) -> tuple[Upload, Ticket | Fault | None]:
        submission = Upload(self.job)
        submission.resume(reach)
        try:
            end: Ticket | Fault | None = Walk(self.provider, whose, script).to_end(submission.steps())
        except Fault as fault:
            end = fault
        except Cancelled:
            end = None
        return submission, end

    @rule(script=happenings)
    def submit(self, script: list[str]) -> None:
        """We call, or call again with the same pictures."""
        submission, end = self.walk(OURS, self.reach, script)
        if isinstance(end, Ticket):
            assert self.provider.zips[0] == OURS
            self.accepted = True
        # What was sent is never forgotten: a story that says "nothing" has had no effect.
        if self.reach is Reach.NOTHING and submission.reach is Reach.NOTHING and not isinstance(end, Ticket):
            assert (self.provider.created, len(self.provider.zips)) == self.before
        if not submission.left:
            assert (self.provider.created, len(self.provider.zips)) == self.before
        self.reach = submission.reach

    @rule(script=happenings)
    def steal(self, script: list[str]) -> None:
        """Somebody with another selfie tries our job_id, from a process that knows nothing of us."""
        if not self.provider.zips:
            return
        _, end = self.walk(THEIRS, Reach.NOTHING, script)
        assert not isinstance(end, Ticket), "an impostor got our job's ticket as an accepted one"

    @rule()
    def forget(self) -> None:
        """Our process dies, without a ledger: its memory is gone, and calling again is refused, never doubled."""
        self.reach = Reach.NOTHING

    @rule()
    def finish(self) -> None:
        """Without any fault the same call ends in a ticket, or truthfully in JobExists."""
        knew = self.reach
        submission, end = self.walk(OURS, self.reach, [])
        if isinstance(end, Fault):
            assert isinstance(end.error, JobExists)
            assert knew < Reach.UPLOADED or not self.provider.zips
            assert self.provider.created == 1
        self.reach = submission.reach

    @invariant()
    def one_job(self) -> None:
        assert self.provider.created <= 1
        assert THEIRS not in self.provider.zips
        created, zips = self.before
        assert self.provider.created >= created
        assert len(self.provider.zips) >= zips
        self.before = (self.provider.created, len(self.provider.zips))


TestOneJobId = pytest.mark.filterwarnings("error")(OneJobId.TestCase)
TestOneJobId.settings = settings(max_examples=100, stateful_step_count=12, deadline=None, derandomize=True)


def _verdict(code: str) -> Verdict:
    decision = {"0822": Decision.PROVISIONAL, "0820": Decision.APPROVED, "0821": Decision.REJECTED}[code]
    return Verdict(decision, decision is not Decision.PROVISIONAL, code, "", TICKET, confirmed=True)


@given(st.lists(st.tuples(st.sampled_from(["", "0822", "0820", "0821"]), st.floats(-1e5, 1e5)), max_size=20))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_pursuit_never_moves_back(answers: list[tuple[str, float]]) -> None:
    """Answers in any order, repeated, under a clock that jumps: once final, always that; each word is news once."""
    pending_job, rhythm = PendingJob(TICKET, 1000.0, ours=True), Pace().rhythm()
    final: Verdict | None = None
    news: list[str] = []
    for code, at in answers:
        status = JobStatus(TICKET, "2302", bool(code), _verdict(code) if code else None)
        heard = pending_job.heard(status, 1000.0 + at, rhythm)
        if heard is not None:
            news.append(heard.code)
            assert final is None
            final = heard if heard.final else None
        if final is not None:
            assert pending_job.verdict is final
        assert 0 <= pending_job.delay(rhythm, 1000.0 + at) < 1e4
    assert len(news) == len(set(news)) <= 2


# Whole sessions.


TROUBLE = ["unsent", "lost", "reply lost", "500 before", "500 after", "nonsense", "503", "401", "old reply", "cancel"]


class Weather(httpx.AsyncBaseTransport):
    """Carries requests to a sandbox in this process; `script` says what happens to each."""

    def __init__(self, sandbox: Sandbox, script: list[str]) -> None:
        self._inner = httpx.ASGITransport(sandbox.app)
        self.script = list(script)
        self.victim: asyncio.Task[Any] | None = None
        self._last: dict[str, httpx.Response] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        happening = self.script.pop(0) if self.script else "ok"
        if happening == "cancel" and self.victim is not None:
            self.victim.cancel()
        if happening == "unsent":
            raise httpx.ConnectError("no route")
        if happening == "lost":
            raise httpx.WriteError("lost")
        if happening in ("500 before", "503", "401"):
            return httpx.Response(int(happening[:3]), headers={"Retry-After": "2"})
        old = self._last.get(request.url.path) if happening == "old reply" else None
        reply = await self._inner.handle_async_request(request)
        reply = httpx.Response(reply.status_code, headers=reply.headers, content=await reply.aread())
        self._last[request.url.path] = reply
        if happening == "reply lost":
            raise httpx.ReadError("reply lost")
        if happening == "500 after":
            return httpx.Response(500)
        if happening == "nonsense":
            return httpx.Response(200, content=b"<html>")
        return old or reply


@dataclass(frozen=True)
class Plan:
    """One run: what happens to the requests, how jobs are handled, how clocks run."""

    script: list[str]
    how: list[str]
    codes: list[str]
    skew: float
    jump: float


plans = st.builds(
    Plan,
    st.lists(st.sampled_from([*["ok"] * 8, *TROUBLE]), max_size=30),
    st.lists(st.sampled_from(["verify", "final", "submit", "stream", "impatient"]), min_size=1, max_size=4),
    st.lists(st.sampled_from(["0820", "0821", "0822"]), min_size=4, max_size=4),
    st.sampled_from([0.0, 0.0, 86_400.0, -86_400.0]),
    st.sampled_from([0.0, 0.0, 7200.0, -7200.0]),
)
SELFIE, IMPOSTOR = jpeg(), jpeg(size=(97, 80))


async def at_once(work: Callable[..., Any], *args: Any) -> Any:
    """Pictures are read in the loop: virtual time would run away while a thread works."""
    return work(*args)


async def _handle(session: SmileSession, job: Job, how: str) -> Verdict | SmileError | None:
    """One way to use the session; a verdict, an error, or None if it was cancelled."""
    try:
        if how == "stream":
            async with session.stream([job]) as outcomes:
                found = [outcome async for outcome in outcomes]
            assert len(found) == 1, "a job has one outcome"
            return found[0].verdict if isinstance(found[0], Finished) else found[0].error
        if how == "submit":
            return await session.wait(await session.submit(job))
        return await session.verify(job, "final" if how == "final" else "decision", 0.5 if how == "impatient" else 120)
    except SmileError as error:
        return error
    except asyncio.CancelledError:
        return None


async def _story(plan: Plan) -> None:
    clock = HandClock()
    sandbox = Sandbox("001", "key", latency=1.0, review=60.0, clock=_Shared(clock, plan.skew))
    weather = Weather(sandbox, plan.script)
    async with SmileSession(
        "001",
        "key",
        base_url="https://sandbox.test/v1",
        http=weather,
        clock=clock,
        upload_hosts="sandbox.test",
        in_thread=at_once,
    ) as session:
        jobs = []
        for number, how in enumerate(plan.how):
            user = f"user{number}"
            sandbox.enroll(user)
            sandbox.script(user, code=plan.codes[number])
            job = Job.authenticate(user, SELFIE, job_id=f"job-{number}")
            jobs.append(job)
            weather.victim = asyncio.ensure_future(_handle(session, job, how))
            end = await clock.run(weather.victim)
            weather.victim = None
            clock.offset += plan.jump
            _check(sandbox, job, end)
        weather.script.clear()
        for job in jobs:
            await clock.run(_afterwards(session, sandbox, job))
        assert session.stats.in_flight == 0
        assert len(session.poller) == 0


class _Shared:
    """The sandbox's clock: the session's scale, another wall clock."""

    def __init__(self, clock: HandClock, skew: float) -> None:
        self._clock = clock
        self._offset = clock.offset + skew

    def time(self) -> float:
        return self._clock.now + self._offset

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


def _check(sandbox: Sandbox, job: Job, end: Verdict | SmileError | None) -> None:
    record = sandbox.jobs.get(job.job_id)
    assert sandbox.count(job.job_id) <= 1
    if isinstance(end, Verdict):
        assert record is not None
        assert end.code in {message.code for message in record.plan}
    elif isinstance(end, SmileError) and end.ticket is None:
        assert record is None, "no ticket, but the provider has the job"
    if record is not None:
        assert record.processed <= 1


async def _afterwards(session: SmileSession, sandbox: Sandbox, job: Job) -> None:
    """In fair weather each job that arrived is found by its ticket, and nobody else's selfie gets its verdict."""
    record = sandbox.jobs.get(job.job_id)
    if record is None or record.zip_at is None:
        return
    verdict = await session.wait(job.ticket, until="final", patience=600)
    assert verdict.code == record.plan[-1].code
    with pytest.raises(JobExists):
        await session.verify(Job.authenticate(job.user_id, IMPOSTOR, job_id=job.job_id))
    assert sandbox.count(job.job_id) == 1
    assert record.processed == 1


@given(plans)
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_sessions_in_any_weather(plan: Plan) -> None:
    """Faults, cancels, skewed and jumping clocks, replies out of order: one job each, one outcome each, no theft."""
    random.seed(7)
    asyncio.run(_story(plan))


@given(st.lists(st.sampled_from(["ok", "lost", "reply lost", "500 after", "500 before", "unsent"]), max_size=8))
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_an_impostor_gets_no_verdict_in_any_weather(script: list[str]) -> None:
    """job_id of an old approved job, somebody else's selfie, any faults on the way: an error, never a verdict."""

    async def story() -> None:
        clock = HandClock()
        sandbox = Sandbox("001", "key", clock=clock, decode=False)
        sandbox.enroll("ada")
        weather = Weather(sandbox, [])
        settings = {"base_url": "https://sandbox.test/v1", "http": weather, "clock": clock}
        async with SmileSession("001", "key", upload_hosts="sandbox.test", in_thread=at_once, **settings) as session:
            mine = Job.authenticate("ada", SELFIE, job_id="old")
            assert (await clock.run(session.verify(mine))).approved
        weather.script = list(script)
        theirs = Job.authenticate("ada", IMPOSTOR, job_id="old")
        async with SmileSession("001", "key", upload_hosts="sandbox.test", in_thread=at_once, **settings) as session:
            for _ in range(3):
                with pytest.raises(SmileError):
                    await clock.run(session.verify(theirs))
        assert sandbox.count("old") == 1
        assert sandbox.jobs["old"].uploads == 1

    random.seed(7)
    asyncio.run(story())
