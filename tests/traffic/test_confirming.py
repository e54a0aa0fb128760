"""How claims become verdicts: one question at a time, a memory for those whose status is behind, and no step back."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hand_clock import HandClock, settle
from hypothesis import given, settings
from hypothesis import strategies as st

from smile_async import Decision, JobStatus, Limits, Pace, Ticket, Verdict, classify
from smile_async.errors import JobNotFound, SessionClosed, SmileError, Unavailable, UnreadableReply
from smile_async.protocol.signature import Secret, Signer
from smile_async.protocol.steps import Ask, Fault, Sent
from smile_async.traffic.confirming import QUERIES, STRANGERS, Confirmer
from smile_async.traffic.pending import PendingJob
from smile_async.traffic.poller import Poller
from smile_async.traffic.tasks import TaskHost
from smile_async.traffic.watching import AGAIN_FOR, CLAIMS, Listener, Until

TICKET = Ticket("ada", "j1", 2, "0000000001")
#: What Smile ID may say of one job, in this order: nothing, under review, under review for another reason, the end.
STORY = ("", "0822", "0825", "1221")


def verdict_of(code: str, *, confirmed: bool = True, job_type: int = 2) -> Verdict:
    """A verdict of ada's job."""
    decision = classify(code, job_type)
    final = decision is not Decision.PROVISIONAL
    ticket = Ticket(TICKET.user_id, TICKET.job_id, job_type, TICKET.smile_job_id)
    return Verdict(decision, final, code, "", ticket, confirmed=confirmed)


def status_of(code: str) -> JobStatus:
    """What a status query says; "" for a job without a result."""
    verdict = verdict_of(code) if code else None
    return JobStatus(TICKET, "2302", verdict is not None and verdict.final, verdict)


class FakeDialect:
    """v1 with one key, and no job that could not be asked about."""

    signer = Signer("001", Secret("key"))
    slowed_at = float("-inf")

    def check_ticket(self, ticket: Ticket) -> None:
        """Refuse none."""

    def bars(self, ticket: Ticket) -> bool:
        """Nobody's jobs alone are barred."""
        return False

    def may_ask(self, ticket: Ticket) -> bool:
        """Ask about all."""
        return True


class FakeDriver:
    """Answers each query after *latency* seconds with what `answer` said when the query came."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.dialect = FakeDialect()
        self.latency = 0.0
        self.asked: list[float] = []
        self.tickets: list[Ticket] = []
        #: Jobs that the session has uploaded a moment ago.
        self.sent: set[str] = set()
        self.answer: Callable[[], str | SmileError] = lambda: "1221"

    def known(self, ticket: Ticket) -> Ticket:
        return ticket

    def expects(self, ticket: Ticket) -> bool:
        return ticket.job_id in self.sent

    async def query(self, ask: Ask, deadline: float) -> JobStatus:
        self.asked.append(self.clock.now)
        self.tickets.append(ask.ticket)
        said = self.answer()
        if self.latency:
            await self.clock.sleep(self.latency)
        if isinstance(said, SmileError):
            raise Fault(said, Sent.ANSWERED)
        return status_of(said)

    ask = query


async def nothing() -> None:
    """All that there is to close."""


class Ear(Listener):
    """Somebody who waits, and keeps what comes."""

    __slots__ = ("errors", "heard")

    wants_all = True

    def __init__(self, until: Until) -> None:
        super().__init__(until, float("inf"))
        self.heard: list[str] = []
        self.errors: list[SmileError] = []

    def tell(self, end: Verdict | SmileError) -> None:
        if isinstance(end, Verdict):
            self.heard.append(end.code)
        else:
            self.errors.append(end)


class Rig:
    """A confirmer and a poller in virtual time."""

    def __init__(self, pace: Pace = Pace.fixed(50_000.0, 1, 50_000.0)) -> None:  # noqa: B008
        self.clock = HandClock(now=0.0)
        self.driver = FakeDriver(self.clock)
        whoever: Any = self.driver
        nobody: Any = None
        self.host = TaskHost(self.end, nothing)
        self.poller = Poller(whoever, pace.rhythm(), self.clock, Limits(requests=100), self.host.spawn)
        self.confirmer = Confirmer(whoever, self.poller, self.host, self.clock, nobody)
        self.later: list[tuple[float, str]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.host.bind()
        self.host.start(self.poller.run)
        try:
            yield
        finally:
            await self.host.aclose()

    def end(self) -> None:
        self.poller.fail_all(lambda ticket: SessionClosed(self.host.closed_because, ticket=ticket))

    async def hear(self, verdict: Verdict) -> None:
        self.later.append((self.clock.now, verdict.code))

    async def claim(self, code: str, later: Any = None) -> Verdict | None:
        return await self.confirmer.confirm(verdict_of(code, confirmed=False), later)


async def test_many_claims_share_one_question() -> None:
    """However many ask about a job at the same time, one query leaves, and all get its answer."""
    rig = Rig()
    rig.driver.latency = 3.0
    got: list[Verdict | None] = []

    async def claim() -> None:
        got.append(await rig.claim("1221"))

    async with rig.running(), anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(claim)
        await rig.clock.advance(4)
    assert [verdict and verdict.code for verdict in got] == ["1221"] * 20
    assert rig.driver.asked == [0]


async def test_the_first_to_ask_may_be_cancelled() -> None:
    """The question belongs to the session: whoever else waits for its answer still gets it."""
    rig = Rig()
    rig.driver.latency = 3.0
    got: list[Verdict | None] = []

    async def claim() -> None:
        got.append(await rig.claim("1221"))

    async with rig.running(), anyio.create_task_group() as others:
        async with anyio.create_task_group() as first:
            first.start_soon(claim)
            await settle()
            others.start_soon(claim)
            await settle()
            first.cancel_scope.cancel()
        await rig.clock.advance(4)
    assert len(got) == 1
    assert rig.driver.asked == [0]


async def test_type_and_number_are_the_watchs_or_unknown() -> None:
    """The query names neither the job type nor the SmileJobID of the claim: they would choose what the code means."""
    rig = Rig()
    async with rig.running():
        await rig.confirmer.confirm(verdict_of("0810", confirmed=False, job_type=1))
        rig.poller.listen(TICKET, Ear("final"), ours=True)
        await rig.confirmer.confirm(verdict_of("0810", confirmed=False, job_type=1))
    assert [(int(ticket.job_type), ticket.smile_job_id) for ticket in rig.driver.tickets] == [
        (int(rig.driver.tickets[0].job_type), None),
        (2, TICKET.smile_job_id),
    ]
    assert rig.driver.tickets[0].job_type not in (1, 2)


async def test_behind_is_asked_ever_more_slowly() -> None:
    """After 1, 2, 4 … seconds, for ten minutes; then a WARNING, and the job is forgotten."""
    rig = Rig()
    rig.driver.answer = lambda: ""
    async with rig.running():
        assert await rig.claim("0820", rig.hear) is None
        await rig.clock.advance(5000)
        assert rig.driver.asked == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, AGAIN_FOR]
        assert rig.poller.watch_of(TICKET) is None
    assert rig.later == []


async def test_an_api_that_is_down_meanwhile_is_asked_again() -> None:
    """Errors while status is behind only cost time."""
    rig = Rig()
    rig.driver.answer = lambda: "" if rig.clock.now < 1 else Unavailable("down") if rig.clock.now < 7 else "0820"
    async with rig.running():
        assert await rig.claim("0820", rig.hear) is None
        await rig.clock.advance(100)
    assert rig.later == [(7, "0820")]


async def test_a_second_claim_brings_the_question_forward() -> None:
    """The true callback after a premature one is not made to wait for the other's long pauses."""
    rig = Rig()
    rig.driver.answer = lambda: "1221" if rig.clock.now > 300 else ""
    async with rig.running():
        await rig.claim("0820", rig.hear)
        await rig.clock.advance(300)
        await rig.claim("1221", rig.hear)
        await rig.clock.advance(100)
    assert rig.later == [(301, "1221")]


async def test_a_stream_of_claims_does_not_put_off_the_question() -> None:
    """Claims that keep coming make the next query sooner, never later; what they claim is kept up to a bound."""
    rig = Rig()
    rig.driver.answer = lambda: ""
    async with rig.running():
        for number in range(200):
            await rig.claim(f"{number:04}", rig.hear)
            await rig.clock.advance(0.25)
        watch = rig.poller.watch_of(TICKET)
        assert watch is not None
        assert watch.claim is not None
        assert len(watch.claim.said) == CLAIMS
        assert watch.claim.heard == [rig.hear]
    gaps = [later - sooner for sooner, later in pairwise(rig.driver.asked)]
    assert max(gaps) <= 1.25
    assert len(rig.driver.asked) <= 2 * 50 + QUERIES[0] + 1


async def test_a_stream_of_claims_does_not_keep_the_first_from_hearing() -> None:
    """Whoever waits to hear of a job is told about a second after status knows, however many claims go on coming."""
    rig = Rig()
    rig.driver.answer = lambda: "1221" if rig.clock.now >= 10 else ""
    async with rig.running():
        await rig.claim("1221", rig.hear)
        for number in range(60):
            await rig.clock.advance(0.25)
            await rig.claim(f"{number:04}")
    ((when, code),) = rig.later
    assert code == "1221"
    assert 10 <= when <= 11.5


async def test_a_callback_puts_off_the_pending_poll() -> None:
    """A provisional verdict that was called back starts the wait for the review anew: the pending poll is not sent."""
    rig = Rig(Pace.fixed(20.0, 1, 20.0))
    rig.driver.answer = lambda: "" if rig.clock.now < 10 else "0822"
    async with rig.running():
        rig.poller.listen(TICKET, Ear("final"), ours=True)
        await rig.clock.advance(12)
        await rig.claim("0822")
        await rig.clock.advance(19)
        assert rig.driver.asked == [12]
        await rig.clock.advance(2)
    assert rig.driver.asked == [12, 32]


class Pupil:
    """A rhythm that notes what it is taught."""

    def __init__(self) -> None:
        self.taught: list[tuple[float, float, bool, bool]] = []

    def learn(self, job_type: int, after: float, by: float, *, done: bool = True, reviewed: bool = False) -> None:
        self.taught.append((after, by, done, reviewed))


@pytest.mark.parametrize("ours", [True, False])
def test_callbacks_teach_as_polls_do(*, ours: bool) -> None:
    """When a job was decided is learned from whoever says so first, once, and only for jobs we have uploaded."""
    pupil: Any = Pupil()
    pending_job = PendingJob(TICKET, 100.0, ours=ours)
    pending_job.heard(status_of(""), 103.0, pupil)
    assert pending_job.told(verdict_of("0822"), 105.0, pupil)
    assert pending_job.reviewed
    assert not pending_job.told(verdict_of("0822"), 106.0, pupil)
    pending_job.heard(status_of("0822"), 200.0, pupil)
    assert pending_job.told(verdict_of("1221"), 300.0, pupil)
    pending_job.heard(status_of("1221"), 301.0, pupil)
    lesson = [(0.0, 3.0, False, False), (3.0, 5.0, True, False), (5.0, 100.0, False, True), (100.0, 200.0, True, True)]
    assert pupil.taught == (lesson if ours else [])


async def test_provisional_and_final_claims_are_each_told() -> None:
    """While a job is behind two claims, the provisional verdict is told when it comes, and the final one after it."""
    rig = Rig()
    rig.driver.answer = lambda: "" if rig.clock.now < 2 else "0822" if rig.clock.now < 10 else "1221"
    ear = Ear("final")
    async with rig.running():
        rig.poller.listen(TICKET, ear, ours=True)
        await rig.claim("0822", rig.hear)
        await rig.claim("1221", rig.hear)
        await rig.clock.advance(100)
    assert rig.later == [(3, "0822"), (15, "1221")]
    assert ear.heard == ["0822", "1221"]


async def test_a_lie_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """A claim that a final status contradicts is one WARNING, with the job and both codes as fields."""
    rig = Rig()
    rig.driver.answer = lambda: "" if rig.clock.now < 2 else "1221"
    async with rig.running():
        for code in ("1220", "0822"):
            await rig.claim(code)
        await rig.clock.advance(100)
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.__dict__["smile_claim"] == "1220"
    assert record.__dict__["smile_code"] == "1221"


async def test_not_found_counts_as_behind_only_for_those_who_wait() -> None:
    """A job nobody waits for and status does not know is JobNotFound; one that somebody waits for is asked again."""
    rig = Rig()
    rig.driver.answer = lambda: JobNotFound("no", status=404) if rig.clock.now < 3 else "1221"
    ear = Ear("final")
    async with rig.running():
        with pytest.raises(JobNotFound):
            await rig.claim("1221")
        rig.poller.listen(TICKET, ear, ours=True)
        assert await rig.claim("1221") is None
        await rig.clock.advance(10)
    assert ear.heard == ["1221"]


async def test_not_found_counts_as_behind_right_after_our_upload() -> None:
    """A job that this session has just uploaded, and nobody waits for, is asked about again as well."""
    rig = Rig()
    rig.driver.sent.add(TICKET.job_id)
    rig.driver.answer = lambda: JobNotFound("no", status=404) if rig.clock.now < 3 else "1221"
    async with rig.running():
        assert await rig.claim("1221", rig.hear) is None
        await rig.clock.advance(10)
    assert [code for _, code in rig.later] == ["1221"]


async def test_a_defect_in_one_question_costs_one_callback(caplog: pytest.LogCaptureFixture) -> None:
    """A reply that no code of ours can handle is an error for that callback; the session goes on."""
    rig = Rig()

    def defect() -> str:
        raise ZeroDivisionError("a defect")

    rig.driver.answer = defect
    async with rig.running():
        with pytest.raises(UnreadableReply, match="ZeroDivisionError"):
            await rig.claim("1221")
        rig.driver.answer = lambda: "1221"
        assert (await rig.claim("1221")) is not None
    assert "please report it" in caplog.text


async def test_an_error_names_the_job() -> None:
    """Who gets no answer gets the error, with the ticket of the claim."""
    rig = Rig()
    rig.driver.answer = lambda: Unavailable("down")
    async with rig.running():
        with pytest.raises(Unavailable) as caught:
            await rig.claim("1221")
    assert caught.value.ticket == TICKET


async def test_each_who_asked_gets_an_error_of_their_own() -> None:
    """A question that many share and that fails gives each an error that nobody else writes into."""
    rig = Rig()
    rig.driver.latency = 3.0
    rig.driver.answer = lambda: Unavailable("down")
    got: list[SmileError] = []

    async def claim() -> None:
        with pytest.raises(Unavailable, match="down") as caught:
            await rig.claim("1221")
        got.append(caught.value)

    async with rig.running(), anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(claim)
        await rig.clock.advance(4)
    assert len({id(error) for error in got}) == 3
    assert {error.ticket for error in got} == {TICKET}


async def test_leaving_the_session_ends_every_question() -> None:
    """Who waits for an answer gets SessionClosed; the questions to come are dropped without a word."""
    rig = Rig()
    rig.driver.latency = 50.0
    errors: list[SmileError] = []

    async def claim() -> None:
        with pytest.raises(SessionClosed) as caught:
            await rig.claim("1221")
        errors.append(caught.value)

    async with anyio.create_task_group() as tasks:
        async with rig.running():
            tasks.start_soon(claim)
            await rig.clock.advance(1)
        await settle()
    assert len(errors) == 1
    for _ in range(2):
        with pytest.raises(SessionClosed):
            await rig.claim("1221")


async def test_jobs_counted_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attacker with a list of jobs fills no memory: only the latest are counted."""
    monkeypatch.setattr("smile_async.traffic.confirming.COUNTED", 3)
    rig = Rig()
    async with rig.running():
        for number in range(10):
            claim = replace(verdict_of("1221", confirmed=False), ticket=Ticket("ada", f"j{number}", 2))
            await rig.confirmer.confirm(claim)
        assert len(rig.confirmer._spent) == 3


# --- polls and callbacks, in any order and number


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(STORY)), max_size=12), st.booleans())
def test_any_order_of_words_ends_in_the_same_state(words: list[tuple[bool, str]], ours: bool) -> None:
    """Of any interleaving of polls and callbacks that holds the final word, the final word is what remains.

    What is news never repeats itself, and nothing is news after the final word.
    """
    pending_job, rhythm = PendingJob(TICKET, 0.0, ours=ours), Pace().rhythm()
    news = []
    for number, (by_poll, code) in enumerate([*words, (True, "1221")]):
        if by_poll:
            told = pending_job.heard(status_of(code), float(number), rhythm)
        else:
            told = verdict_of(code) if code and pending_job.told(verdict_of(code), float(number), rhythm) else None
        if told is not None:
            news.append(told.code)
    assert pending_job.verdict is not None
    assert pending_job.verdict.code == "1221"
    assert not pending_job.reviewed
    assert news[-1] == "1221"
    assert news.count("1221") == 1
    assert all(one != other for one, other in pairwise(news))


moments = st.floats(0.5, 60, allow_nan=False).map(lambda value: round(value, 3))
callbacks = st.lists(st.tuples(moments, st.sampled_from(STORY[1:])), max_size=6)


@settings(deadline=None, max_examples=60)
@given(
    turns=st.lists(moments, min_size=3, max_size=3).map(sorted),
    claims=callbacks,
    latency=st.sampled_from([0.0, 0.3, 5.0]),
    pace=st.sampled_from([Pace.fixed(0.7, 3, 2.0), Pace.fixed(20.0, 1, 20.0)]),
)
async def test_polls_and_callbacks_commute(
    turns: list[float], claims: list[tuple[float, str]], latency: float, pace: Pace
) -> None:
    """True, premature, late and lying callbacks, polls fast or slow, replies that overtake each other: one end.

    Every waiter gets the final word once and last, whoever wants the first word gets one, and nothing is left behind.
    """
    rig = Rig(pace)
    rig.driver.latency = latency
    rig.driver.answer = lambda: STORY[sum(rig.clock.now >= turn for turn in turns)]
    ears = {"final": Ear("final"), "decision": Ear("decision")}
    async with rig.running(), anyio.create_task_group() as tasks:
        for ear in ears.values():
            rig.poller.listen(TICKET, ear, ours=True)
        for when, code in sorted(claims):
            await rig.clock.advance(max(0.0, when - rig.clock.now))
            tasks.start_soon(partial(rig.claim, code, rig.hear))
        await rig.clock.advance(2000)
        assert len(rig.poller) == 0
        assert rig.poller.watch_of(TICKET) is None
    assert ears["final"].heard[-1] == "1221"
    assert ears["final"].heard.count("1221") == 1
    assert len(ears["decision"].heard) == 1
    assert not ears["final"].errors


# --- one poller for those who wait and for what callbacks claim


async def test_a_claim_and_a_waiter_share_their_questions() -> None:
    """While status is behind, a job that is waited for too is asked at the sooner of both moments, not at each."""
    rig = Rig(Pace.fixed(4.0, 3, 4.0))
    rig.driver.answer = lambda: "" if rig.clock.now < 24 else "1221"
    ear = Ear("final")
    async with rig.running():
        rig.poller.listen(TICKET, ear, ours=True)
        assert await rig.claim("1221", rig.hear) is None
        await rig.clock.advance(100)
    assert rig.driver.asked == [0, 1, 3, 7, 11, 15, 19, 23, 27]
    assert (ear.heard, rig.later) == (["1221"], [(27, "1221")])


async def test_a_poll_under_way_answers_the_callback() -> None:
    """A callback that comes while its job is being asked about costs no query of its own."""
    rig = Rig(Pace.fixed(2.0, 1, 50.0))
    rig.driver.latency = 3.0
    async with rig.running(), anyio.create_task_group() as tasks:
        rig.poller.listen(TICKET, Ear("final"), ours=True)
        await rig.clock.advance(3)
        tasks.start_soon(rig.claim, "1221", rig.hear)
        await rig.clock.advance(10)
    assert rig.driver.asked == [2]


async def test_a_poll_from_before_the_callback_is_not_the_last_word() -> None:
    """A callback that meets a poll from before the decision is answered by the next query, which leaves at once."""
    rig = Rig(Pace.fixed(2.0, 1, 50.0))
    rig.driver.latency = 3.0
    rig.driver.answer = lambda: "" if rig.clock.now < 3 else "1221"
    got: list[tuple[float, Verdict | None]] = []

    async def claim() -> None:
        got.append((rig.clock.now, await rig.claim("1221")))

    async with rig.running(), anyio.create_task_group() as tasks:
        rig.poller.listen(TICKET, Ear("final"), ours=True)
        await rig.clock.advance(3)
        tasks.start_soon(claim)
        await rig.clock.advance(5)
        assert [(when, verdict and verdict.code) for when, verdict in got] == [(3, "1221")]
        assert rig.driver.asked == [2, 5]


async def test_callbacks_that_meet_queries_do_not_double_them() -> None:
    """Callbacks that keep coming while a job is asked about cause five queries at once and then one a second."""
    rig = Rig(Pace.fixed(2.0, 1, 50.0))
    rig.driver.latency = 0.1
    rig.driver.answer = lambda: ""
    async with rig.running(), anyio.create_task_group() as tasks:
        rig.poller.listen(TICKET, Ear("final"), ours=True)
        for _ in range(1200):
            tasks.start_soon(rig.claim, "1221", rig.hear)
            await rig.clock.advance(0.05)
        assert 60 <= len(rig.driver.asked) <= 60 + QUERIES[0] + 2
        await rig.clock.advance(1)


@pytest.mark.parametrize("gaps", [(0.01, 0.2, 0.1), (0.13, 0.4), (0.9, 0.05, 0.35)])
async def test_what_is_asked_again_counts_as_well(gaps: tuple[float, ...]) -> None:
    """Callbacks that come in no rhythm do not add their queries to those by which their likes are followed up."""
    rig = Rig()
    rig.driver.answer = lambda: ""
    async with rig.running(), anyio.create_task_group() as tasks:
        rig.poller.listen(TICKET, Ear("final"), ours=True)
        while rig.clock.now < 100:
            for gap in gaps:
                tasks.start_soon(rig.claim, "1221", rig.hear)
                await rig.clock.advance(gap)
        assert 50 <= len(rig.driver.asked) <= 100 + QUERIES[0] + 2


async def test_nobody_is_pending_because_of_a_claim() -> None:
    """What callbacks claim of jobs that nobody waits for is in no figure, and takes no job off the list of given up."""
    rig = Rig()
    rig.driver.sent.add(TICKET.job_id)
    rig.driver.answer = lambda: "" if rig.clock.now < 20 else "1221"
    async with rig.running():
        assert await rig.claim("1221", rig.hear) is None
        assert (len(rig.poller), rig.poller.pending) == (0, 0)
        ear = Ear("final")
        ear.deadline = 5.0
        rig.poller.listen(TICKET, ear, ours=False)
        assert (len(rig.poller), rig.poller.pending) == (1, 1)
        await rig.clock.advance(10)
        assert len(ear.errors) == 1
        assert (len(rig.poller), rig.poller.pending) == (0, 1)
        await rig.clock.advance(30)
    assert (rig.poller.pending, rig.later) == (0, [(31, "1221")])


async def test_who_begins_to_wait_under_a_claim_is_asked_for_at_once() -> None:
    """A job that only callbacks have made known is new to the first who waits: asked now, aged from now, and heard."""
    rig = Rig()
    rig.driver.answer = lambda: "0822" if rig.clock.now < 290 else "1221"
    ear = Ear("decision")
    async with rig.running():
        assert await rig.claim("1221", rig.hear) is None
        await rig.clock.advance(200)
        rig.poller.listen(TICKET, ear, ours=False)
        await rig.clock.advance(0)
        assert rig.driver.asked[-1] == 200
        assert ear.heard == ["0822"]
        await rig.clock.advance(1000)
    assert [code for _, code in rig.later] == ["1221"]


# --- the budgets


async def test_jobs_nobody_waits_for_share_one_budget() -> None:
    """Forged callbacks for made-up jobs cause so many queries and no more; jobs that are waited for do not notice."""
    rig = Rig()
    rig.driver.answer = lambda: JobNotFound("no", status=404)
    refusals = 0
    async with rig.running():
        for number in range(600):
            claim = replace(verdict_of("1221", confirmed=False), ticket=Ticket("ada", f"made-up-{number}", 2))
            with pytest.raises((JobNotFound, Unavailable)) as caught:
                await rig.confirmer.confirm(claim)
            assert caught.value.ticket == claim.ticket
            refusals += isinstance(caught.value, Unavailable) and caught.value.retryable
            await rig.clock.advance(0.0015)
        at_once, gap = STRANGERS
        assert len(rig.driver.asked) == 600 - refusals <= at_once + 0.9 / gap + 1
        rig.driver.answer = lambda: "1221"
        rig.poller.listen(TICKET, Ear("final"), ours=True)
        assert (await rig.claim("1221")) is not None
        await rig.clock.advance(gap)
        stranger = replace(verdict_of("1221", confirmed=False), ticket=Ticket("ada", "j2", 2))
        assert (await rig.confirmer.confirm(stranger)) is not None


async def test_true_callbacks_cost_the_shared_budget_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that only receives callbacks confirms any number of true ones, and runs out of lies."""
    monkeypatch.setattr("smile_async.traffic.confirming.STRANGERS", (3, 1e6))
    rig = Rig()

    def claim(number: int, code: str) -> Verdict:
        return replace(verdict_of(code, confirmed=False), ticket=Ticket("ada", f"j{number}", 2))

    async with rig.running():
        await rig.clock.advance(1)
        for number in range(50):
            assert (await rig.confirmer.confirm(claim(number, "1221"))) is not None
        for number in range(50, 53):
            await rig.confirmer.confirm(claim(number, "1220"))
        with pytest.raises(Unavailable):
            await rig.confirmer.confirm(claim(53, "1221"))


async def test_hints_without_end_cause_few_queries() -> None:
    """Unconfirmed callbacks hurry the pending poll no oftener than confirmed ones may ask."""
    rig = Rig()
    rig.driver.answer = lambda: ""
    async with rig.running():
        rig.confirmer.hint(verdict_of("1221", confirmed=False))
        rig.poller.listen(TICKET, Ear("final"), ours=True)
        for _ in range(400):
            rig.confirmer.hint(verdict_of("1221", confirmed=False))
            await rig.clock.advance(0.025)
    assert len(rig.driver.asked) <= QUERIES[0] + 10 / QUERIES[1] + 1
