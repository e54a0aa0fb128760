"""The poller in virtual time: hours pass in milliseconds, always in the same order."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hand_clock import HandClock, settle

from smile_async import Decision, JobStatus, Limits, Pace, Ticket, Verdict
from smile_async.errors import (
    ForgedReply,
    JobNotFound,
    SessionClosed,
    SmileError,
    StillPending,
    Unavailable,
    UnreadableReply,
)
from smile_async.protocol.steps import FORGETFUL_FOR, Ask, Fault, Sent
from smile_async.traffic import poller
from smile_async.traffic.poller import Poller
from smile_async.traffic.schedule import COALESCE
from smile_async.traffic.tasks import TaskHost
from smile_async.traffic.watching import Listener, Prices, Until, still_pending

FAR = float("inf")


def ticket_of(number: int = 0) -> Ticket:
    """The ticket of job *number*."""
    return Ticket("ada", f"job-{number}", 2)


def verdict_of(ticket: Ticket, code: str = "0820") -> Verdict:
    """Provisional for 0822, else approved."""
    provisional = code == "0822"
    decision = Decision.PROVISIONAL if provisional else Decision.APPROVED
    return Verdict(decision, not provisional, code, "", ticket, confirmed=True)


def unavailable() -> Fault:
    """A passing fault."""
    return Fault(Unavailable("down"), Sent.AMBIGUOUS, transient=True)


class Ear(Listener):
    """A listener that remembers what it heard, and when."""

    __slots__ = ("clock", "errors", "heard", "prices")

    wants_all = True
    prices: Prices | None

    def __init__(
        self, clock: HandClock, until: Until = "decision", deadline: float = FAR, prices: Prices | None = None
    ) -> None:
        super().__init__(until, deadline)
        self.prices = prices
        self.clock = clock
        self.heard: list[tuple[float, Verdict]] = []
        self.errors: list[SmileError] = []

    def tell(self, end: Verdict | SmileError) -> None:
        if isinstance(end, Verdict):
            self.heard.append((self.clock.now, end))
        else:
            self.errors.append(end)


class AnyTicket:
    """Takes any ticket, and can ask about those that have *named* set, or about all."""

    #: When the server last asked to slow down.
    slowed_at = -FAR

    def check_ticket(self, ticket: Ticket) -> None:
        """Refuse none."""

    def bars(self, ticket: Ticket) -> bool:
        """Nobody's jobs alone are barred."""
        return False

    def may_ask(self, ticket: Ticket) -> bool:
        """Ask about all but what waits for its TypeID."""
        return ticket.api != "v3" or ticket.smile_job_id is not None


class FakeDriver:
    """Answers status queries after *latency* virtual seconds with what `answer` says."""

    def __init__(self, clock: HandClock, latency: float = 0.0) -> None:
        self.clock = clock
        self.dialect = AnyTicket()
        self.latency = latency
        self.asked: list[tuple[float, Ask]] = []
        self.busy = self.most = 0
        #: When these jobs were uploaded by the session.
        self.sent: dict[str, float] = {}
        #: A code, "" for "not yet", a Fault to raise, or any other exception (a defect).
        self.answer: Callable[[Ticket], str | Exception] = lambda _ticket: "0820"
        #: The job that a reply to this ticket is about.
        self.subject: Callable[[Ticket], Ticket] = lambda ticket: ticket

    def known(self, ticket: Ticket) -> Ticket:
        return ticket

    def expects(self, ticket: Ticket) -> bool:
        return self.clock.now - self.sent.get(ticket.job_id, -FAR) < FORGETFUL_FOR

    async def ask(self, ask: Ask, deadline: float) -> JobStatus:
        self.asked.append((self.clock.now, ask))
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            if self.latency:
                await self.clock.sleep(self.latency)
            said = self.answer(ask.ticket)
        finally:
            self.busy -= 1
        if isinstance(said, Exception):
            raise said
        ticket = self.subject(ask.ticket)
        verdict = verdict_of(ticket, said) if said else None
        more: dict[str, Any] = {
            "history": (verdict_of(ticket, "0822"),) if ask.history else (),
            "image_links": {"selfie_image": "https://x"} if ask.image_links else {},
        }
        whole = None if verdict is None else replace(verdict, **more)
        return JobStatus(ticket, "2302", verdict is not None, whole, **more)

    query = ask

    @property
    def times(self) -> list[float]:
        return [when for when, _ in self.asked]


async def nothing() -> None:
    """Nothing to close."""


class Rig:
    def __init__(
        self,
        *,
        at_once: int = 100,
        latency: float = 0.0,
        eager_polls: float = 200.0,
        pace: Pace = Pace.fixed(2.0, 3, 4.0),  # noqa: B008
    ) -> None:
        self.clock = HandClock(now=0.0)
        self.driver = FakeDriver(self.clock, latency)
        whoever: Any = self.driver
        self.host = TaskHost(lambda: None, nothing)
        limits = Limits(requests=at_once, eager_polls=eager_polls)
        self.poller = Poller(whoever, pace.rhythm(), self.clock, limits, self.host.spawn)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.host.bind()
        self.host.start(self.poller.run)
        await settle()
        try:
            yield
        finally:
            await self.host.aclose()

    def ear(self, until: Until = "decision", deadline: float = FAR, prices: Prices | None = None) -> Ear:
        return Ear(self.clock, until, deadline, prices)

    def listen(self, number: int = 0, until: Until = "decision", deadline: float = FAR, *, ours: bool = True) -> Ear:
        ear = self.ear(until, deadline)
        self.poller.listen(ticket_of(number), ear, ours=ours)
        return ear


async def test_polls_follow_the_pace() -> None:
    """A job is polled when its rhythm says so, until its verdict, which reaches its listener; then never again."""
    rig = Rig()
    rig.driver.answer = lambda _ticket: "0820" if rig.clock.now >= 13 else ""
    async with rig.running():
        ear = rig.listen()
        await rig.clock.advance(100)
    assert rig.driver.times == [2, 4, 6, 10, 14]
    assert [(when, verdict.code) for when, verdict in ear.heard] == [(14, "0820")]
    assert len(rig.poller) == 0
    assert rig.poller.polls == 5


async def test_a_job_from_elsewhere_is_asked_about_at_once() -> None:
    """A ticket that was not uploaded just now may long be decided: its first poll does not wait."""
    rig = Rig()
    async with rig.running():
        ear = rig.listen(ours=False)
        await rig.clock.advance(0.1)
    assert rig.driver.times == [0]
    assert ear.heard[0][1].final


async def test_polls_due_together_leave_together() -> None:
    """Jobs due within a few milliseconds wake the poller once."""
    rig = Rig()
    async with rig.running():
        for number in range(5):
            rig.listen(number)
            await rig.clock.advance(COALESCE / 10)
        await rig.clock.advance(10)
    assert len(set(rig.driver.times)) == 1


async def test_no_more_queries_at_once_than_allowed() -> None:
    """Saturated, the poller keeps exactly its number of queries in flight, and all jobs get their answer."""
    rig = Rig(at_once=7, latency=1.0)
    async with rig.running():
        ears = [rig.listen(number) for number in range(50)]
        await rig.clock.advance(20)
    assert rig.driver.most == 7
    assert all(len(ear.heard) == 1 for ear in ears)


async def test_deadlines_hold_while_saturated() -> None:
    """A listener hears of its deadline in time although no query can leave."""
    rig = Rig(at_once=1, latency=1000.0)
    async with rig.running():
        rig.listen(0)
        late = rig.listen(1, deadline=5.0)
        rig.poller.leave(rig.listen(2, deadline=5.0))
        await rig.clock.advance(6)
        (error,) = late.errors
    assert isinstance(error, StillPending)
    assert (error.ticket, error.verdict, error.retryable) == (ticket_of(1), None, False)
    assert "still pending after 5 s (user ada, job job-1): await session.wait(error.ticket)" in str(error)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.00002, "0"), (0.25, "0.25"), (99.0, "99"), (120.5, "120"), (7_200.0, "7200"), (86_400.0, "86400")],
)
def test_how_long_it_was_waited_reads_well(seconds: float, told: str) -> None:
    """Whether it was waited for no time at all or for a day, the message says so in plain digits."""
    assert still_pending(ticket_of(1), seconds).startswith(f"still pending after {told} s (user ada")


async def test_an_expired_listener_knows_the_provisional() -> None:
    """StillPending carries the latest provisional verdict."""
    rig = Rig()
    rig.driver.answer = lambda _ticket: "0822"
    async with rig.running():
        ear = rig.listen(until="final", deadline=9.0)
        await rig.clock.advance(10)
    (error,) = ear.errors
    assert isinstance(error, StillPending)
    assert error.verdict is not None
    assert error.verdict.code == "0822"


async def test_a_provisional_is_news_once_and_polling_goes_on_for_a_final() -> None:
    """until=final waits over a provisional, which is told once however often it is polled."""
    rig = Rig()
    rig.driver.answer = lambda _ticket: "0820" if rig.clock.now > 60 else "0822"
    async with rig.running():
        ear = rig.listen(until="final")
        await rig.clock.advance(200)
    assert [verdict.code for _, verdict in ear.heard] == ["0822", "0820"]
    assert rig.poller.watch_of(ticket_of()) is None


async def test_listeners_share_polls() -> None:
    """Any number of listeners of one job cost the polls of one, and all hear the verdict."""
    rig = Rig()
    rig.driver.answer = lambda _ticket: "0820" if rig.clock.now > 5 else ""
    async with rig.running():
        ears = [rig.listen() for _ in range(100)]
        await rig.clock.advance(10)
    assert len(rig.driver.asked) == 3
    assert all(len(ear.heard) == 1 for ear in ears)


async def test_a_latecomer_hears_what_is_known() -> None:
    """Who listens after a provisional was seen hears it without a poll."""
    rig = Rig()
    rig.driver.answer = lambda _ticket: "0822"
    async with rig.running():
        rig.listen(until="final")
        await rig.clock.advance(3)
        polls = len(rig.driver.asked)
        early, final = rig.listen(until="decision"), rig.listen(until="final")
        assert [verdict.code for _, verdict in early.heard + final.heard] == ["0822", "0822"]
        assert len(rig.driver.asked) == polls


async def test_leaving_stops_the_polls_of_nobody_else() -> None:
    """A listener that leaves does not disturb the others; the last to leave ends the polls."""
    rig = Rig()
    rig.driver.answer = lambda _ticket: ""
    async with rig.running():
        one, two = rig.listen(deadline=50.0), rig.listen()
        await rig.clock.advance(3)
        rig.poller.leave(one)
        rig.poller.leave(one)
        await rig.clock.advance(10)
        asked = len(rig.driver.asked)
        assert asked > 2
        rig.poller.leave(two)
        await rig.clock.advance(100)
        assert len(rig.driver.asked) == asked
        assert len(rig.poller) == 0
    assert not one.errors + two.errors


async def test_leaving_during_a_query_is_safe() -> None:
    """If everybody has left when the answer arrives, it is dropped; who comes back meanwhile starts afresh."""
    rig = Rig(latency=10.0)
    async with rig.running():
        ear = rig.listen(ours=False)
        await rig.clock.advance(1)
        rig.poller.leave(ear)
        again = rig.listen(ours=False)
        await rig.clock.advance(30)
    assert not ear.heard
    assert len(again.heard) == 1
    assert len(rig.driver.asked) == 2
    assert len(rig.poller) == 0


async def test_wishes_of_listeners_add_up() -> None:
    """If one listener wants history and another image links, the shared query asks for both."""
    rig = Rig()
    async with rig.running():
        rig.poller.listen(ticket_of(), rig.ear(), ours=True, history=True)
        rig.poller.listen(ticket_of(), rig.ear(), ours=True, image_links=True)
        rig.poller.listen(ticket_of(), rig.ear(), ours=True)
        await rig.clock.advance(3)
    (_, ask), *_ = rig.driver.asked
    assert (ask.history, ask.image_links) == (True, True)


async def test_passing_faults_are_waited_out() -> None:
    """While the API is down, a job is asked about ever more seldom, and nobody is told; then it goes on."""
    rig = Rig()
    rig.driver.answer = lambda _ticket: unavailable() if rig.clock.now < 60 else "0820"
    async with rig.running():
        ear = rig.listen()
        await rig.clock.advance(300)
    gaps = [after - before for before, after in zip(rig.driver.times, rig.driver.times[1:], strict=False)]
    assert gaps == sorted(gaps)
    assert gaps[-1] > 4 * gaps[0]
    assert len(ear.heard) == 1
    assert not ear.errors


async def test_after_an_outage_polls_are_spread() -> None:
    """Thousands of jobs that failed together are not asked about in one burst by more than the poller's number."""
    rig = Rig(at_once=20, latency=0.5)
    rig.driver.answer = lambda _ticket: unavailable() if rig.clock.now < 30 else "0820"
    async with rig.running():
        ears = [rig.listen(number) for number in range(500)]
        await rig.clock.advance(400)
    assert rig.driver.most == 20
    assert all(len(ear.heard) == 1 for ear in ears)
    after = Counter(int(when) for when in rig.driver.times if when >= 30)
    assert max(after.values()) <= 20 * 2 + 20


async def test_a_fatal_error_reaches_every_listener() -> None:
    """An answer that can not be believed ends the watch; each listener gets an error with the job's ticket."""
    rig = Rig()
    rig.driver.answer = lambda _ticket: Fault(ForgedReply("not signed"), Sent.ANSWERED)
    async with rig.running():
        ears = [rig.listen(), rig.listen(until="final")]
        await rig.clock.advance(10)
    for ear in ears:
        (error,) = ear.errors
        assert isinstance(error, ForgedReply)
        assert error.ticket == ticket_of()
    assert len(rig.driver.asked) == 1
    assert len(rig.poller) == 0


async def test_each_listener_gets_an_error_of_its_own() -> None:
    """Two tasks never raise the same exception object: one would write its job and traceback into the other's."""
    rig = Rig()
    rig.driver.answer = lambda _ticket: Fault(
        JobNotFound("unknown", status=404, code="2304", message="Job not found"), Sent.ANSWERED
    )
    async with rig.running():
        ears = [rig.listen(ours=False) for _ in range(3)]
        await rig.clock.advance(1)
    errors = [ear.errors[0] for ear in ears]
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert isinstance(error, JobNotFound)
        assert (str(error), error.status, error.code, error.message) == ("unknown", 404, "2304", "Job not found")


async def test_a_fresh_upload_may_be_unknown_for_a_while() -> None:
    """Job not found is no news for ten seconds after our own upload, and fatal after that, or for others' tickets."""
    rig = Rig()
    rig.driver.sent[ticket_of(0).job_id] = 0.0
    rig.driver.answer = lambda _ticket: Fault(JobNotFound("unknown", status=404), Sent.ANSWERED)
    async with rig.running():
        ours, theirs = rig.listen(0, ours=False), rig.listen(1, ours=False)
        await rig.clock.advance(1)
        assert isinstance(theirs.errors[0], JobNotFound)
        await rig.clock.advance(FORGETFUL_FOR - 2)
        assert not ours.errors
        await rig.clock.advance(60)
        assert isinstance(ours.errors[0], JobNotFound)


async def test_a_verdict_from_elsewhere_wakes_who_waits() -> None:
    """hear() tells a confirmed verdict to the job's listeners at once; a provisional one puts off the next poll."""
    rig = Rig(pace=Pace.fixed(100.0, 1, 100.0))
    async with rig.running():
        first, last = rig.listen(), rig.listen(until="final")
        await rig.clock.advance(50)
        rig.poller.hear(verdict_of(ticket_of(), "0822"))
        assert first.heard[0][1].code == "0822"
        rig.poller.hear(verdict_of(ticket_of(), "0822"))
        await rig.clock.advance(60)
        assert not rig.driver.asked
        rig.poller.hear(verdict_of(ticket_of(), "1220"))
        assert [verdict.code for _, verdict in last.heard] == ["0822", "1220"]
        rig.poller.hear(verdict_of(ticket_of(), "1220"))
        rig.poller.hear(verdict_of(ticket_of(7)))
        await rig.clock.advance(1000)
    assert not rig.driver.asked


async def test_a_verdict_from_elsewhere_during_a_query_is_not_undone() -> None:
    """A final word heard while a query is under way stays, though the query still says provisional."""
    rig = Rig(latency=10.0)
    rig.driver.answer = lambda _ticket: "0822"
    async with rig.running():
        ear = rig.listen(until="final")
        await rig.clock.advance(5)
        rig.poller.hear(verdict_of(ticket_of(), "0822"))
        rig.poller.hear(verdict_of(ticket_of(), "1220"))
        await rig.clock.advance(50)
    assert [verdict.code for _, verdict in ear.heard] == ["0822", "1220"]
    assert len(rig.driver.asked) == 1


async def test_hurry_asks_now() -> None:
    """hurry() moves the next poll to now, for a job that somebody waits for and nobody asks about."""
    rig = Rig(pace=Pace.fixed(100.0, 1, 100.0), latency=1.0)
    async with rig.running():
        rig.poller.hurry(ticket_of(5))
        rig.listen()
        rig.poller.hurry(ticket_of())
        await rig.clock.advance(0.5)
        rig.poller.hurry(ticket_of())
        await rig.clock.advance(10)
    assert rig.driver.times == [0]


async def test_ten_thousand_watches_are_quick() -> None:
    """10,000 jobs, each polled a few times within an hour, cost a few seconds at most and leave nothing behind."""
    rig = Rig(at_once=300, pace=Pace.fixed(10.0, 1, 30.0))
    rig.driver.answer = lambda _ticket: "0820" if rig.clock.now > 30 else ""
    begun = time.process_time()
    async with rig.running():
        ears = [rig.listen(number, deadline=3600.0) for number in range(10_000)]
        for ear in ears[::10]:
            rig.poller.leave(ear)
        await rig.clock.advance(3600)
    assert sum(len(ear.heard) for ear in ears) == 9_000
    assert len(rig.poller) == 0
    assert not any(ear.errors for ear in ears)
    assert time.process_time() - begun < 20


async def test_fail_all_tells_everybody() -> None:
    """At the session's end every listener hears an error made for its ticket."""
    rig = Rig()
    rig.driver.answer = lambda _ticket: ""
    async with rig.running():
        ears = [rig.listen(number % 3) for number in range(6)]
        await rig.clock.advance(3)
        rig.poller.fail_all(lambda ticket: SessionClosed("over", ticket=ticket))
    assert [ear.errors[0].ticket for ear in ears] == [ticket_of(number % 3) for number in range(6)]
    assert len(rig.poller) == 0


async def test_a_defect_in_one_poll_costs_one_job(caplog: pytest.LogCaptureFixture) -> None:
    """A reply that no code of ours can handle is an error for who waits for that job, and for nobody else."""
    rig = Rig()
    rig.driver.answer = lambda ticket: ZeroDivisionError("a defect") if ticket == ticket_of(0) else "0820"
    async with rig.running():
        struck, spared = rig.listen(0, ours=False), rig.listen(1, ours=False)
        await rig.clock.advance(1)
    assert isinstance(struck.errors[0], UnreadableReply)
    assert struck.errors[0].ticket == ticket_of(0)
    assert spared.heard[0][1].code == "0820"
    assert rig.poller.polls == 2
    assert "please report it" in caplog.text


@pytest.mark.parametrize("stray", [asyncio.CancelledError(), SystemExit(3)], ids=repr)
async def test_what_a_transport_raises_costs_one_job(stray: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """A stray CancelledError or SystemExit out of a query is an error for who waits for that job, once, and logged."""
    rig = Rig()

    def answer(ticket: Ticket) -> str:
        if ticket == ticket_of(0):
            raise stray
        return "0820"

    rig.driver.answer = answer
    async with rig.running():
        struck, spared = rig.listen(0, ours=False), rig.listen(1, ours=False)
        await rig.clock.advance(1)
    assert isinstance(struck.errors[0], UnreadableReply)
    assert spared.heard[0][1].code == "0820"
    assert len(rig.driver.asked) == 2
    assert "please report it" in caplog.text


async def test_what_is_told_can_not_hurt_who_tells(caplog: pytest.LogCaptureFixture) -> None:
    """A ledger, a listener or a metric that raises loses no verdict for the others, and the poller goes on."""

    class Deaf(Ear):
        __slots__ = ()

        def tell(self, end: Verdict | SmileError) -> None:
            raise SystemExit(f"deaf to {type(end).__name__}")

    rig = Rig()
    rig.driver.answer = lambda ticket: Fault(ForgedReply("no"), Sent.ANSWERED) if ticket == ticket_of(2) else "0820"

    def full(_verdict: Verdict) -> None:
        raise OSError("disk full")

    rig.poller.on_news = full
    async with rig.running():
        for number, deadline in ((0, FAR), (1, 1.0), (2, FAR)):
            rig.poller.listen(ticket_of(number), Deaf(rig.clock, "decision", deadline), ours=True)
        ears = [rig.listen(number) for number in range(3)]
        await rig.clock.advance(10)
        rig.poller.hear(verdict_of(ticket_of(3)))
    assert [len(ear.heard) for ear in ears] == [1, 1, 0]
    assert isinstance(ears[2].errors[0], ForgedReply)
    assert len(rig.poller) == 0
    assert [record.levelname for record in caplog.records].count("ERROR") == 6


NUMBERED = [Ticket("ada", "job-0", 2, number) for number in ("1", "2")]


@pytest.mark.parametrize("asked", [False, True], ids=["before any reply", "after one"])
@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
async def test_who_shares_a_watch_is_told_of_its_own_job_only(first: int, second: int, asked: bool) -> None:
    """A verdict that contradicts what a listener's ticket says is ForgedReply for it, and a verdict for the others."""
    rig = Rig(pace=Pace.fixed(10.0, 1, 10.0))
    rig.driver.answer = lambda _ticket: "" if rig.clock.now < 5 else "0820"
    rig.driver.subject = lambda _ticket: NUMBERED[0]
    ears = [rig.ear() for _ in range(3)]
    async with rig.running():
        rig.poller.listen(ticket_of(), ears[2], ours=False)
        if asked:
            await rig.clock.advance(1)
        for number in (first, second):
            rig.poller.listen(NUMBERED[number], ears[number], ours=False)
        await rig.clock.advance(20)
    assert [len(ear.heard) for ear in ears] == [1, 0, 1]
    assert isinstance(ears[1].errors[0], ForgedReply)
    assert ears[1].errors[0].ticket == NUMBERED[1]
    assert len(rig.poller) == 0


async def test_what_one_ticket_knows_is_asked_for_all() -> None:
    """A type and a number that only one ticket knows are checked in the shared query; disputed ones are not."""
    rig = Rig(pace=Pace.fixed(10.0, 1, 10.0))
    async with rig.running():
        for ticket in (Ticket("ada", "job-0", 0), ticket_of(), NUMBERED[0]):
            rig.poller.listen(ticket, rig.ear(), ours=True)
        watch = rig.poller.watch_of(ticket_of())
        assert watch is not None
        assert watch.ticket == NUMBERED[0]
        rig.poller.listen(Ticket("ada", "job-0", 4, "2"), rig.ear(), ours=True)
        assert watch.ticket == Ticket("ada", "job-0", 0)


async def test_a_verdict_from_elsewhere_about_another_job_is_asked_about() -> None:
    """hear() tells nobody, a ledger included, of a verdict with another number than is known: our own query decides."""
    rig = Rig(pace=Pace.fixed(100.0, 1, 100.0))
    news: list[Verdict] = []
    rig.poller.on_news = news.append
    async with rig.running():
        ear = rig.ear()
        rig.poller.listen(NUMBERED[0], ear, ours=True)
        rig.poller.hear(verdict_of(NUMBERED[1]))
        assert not ear.heard
        assert not news
        await rig.clock.advance(1)
    assert rig.driver.times == [0]
    assert [verdict.ticket for _, verdict in ear.heard] == [NUMBERED[0]]


async def test_a_verdict_from_elsewhere_without_what_was_asked_for_is_asked_again() -> None:
    """Who asked for history or links gets them, also if a callback without them comes first."""
    rig = Rig(pace=Pace.fixed(100.0, 1, 100.0))
    async with rig.running():
        ear = rig.ear()
        rig.poller.listen(ticket_of(), ear, ours=True, image_links=True)
        rig.poller.hear(verdict_of(ticket_of()))
        assert not ear.heard
        await rig.clock.advance(1)
    assert rig.driver.asked == [(0, Ask(ticket_of(), image_links=True))]
    assert len(ear.heard) == 1


@pytest.mark.parametrize("said", ["0820", "0822", ""])
async def test_what_is_known_without_what_was_asked_for_is_asked_about(said: str) -> None:
    """Who asked for history and links of a job whose verdict a ledger knows gets them with the answer to one question,
    even one that is behind: what is known is never taken back.
    """
    rig = Rig(pace=Pace.fixed(100.0, 1, 100.0))
    rig.driver.answer = lambda _ticket: said
    known = verdict_of(ticket_of(), "0820")
    async with rig.running():
        ear = rig.ear()
        rig.poller.listen(ticket_of(), ear, ours=False, history=True, image_links=True, known=known)
        assert not ear.heard
        await rig.clock.advance(1)
    assert rig.driver.asked == [(0, Ask(ticket_of(), history=True, image_links=True))]
    ((_, verdict),) = ear.heard
    assert (verdict.code, verdict.final, [past.code for past in verdict.history]) == ("0820", True, ["0822"])
    assert verdict.image_links
    assert len(rig.poller) == 0


async def test_who_comes_while_a_smaller_question_is_out_is_asked_for_at_once() -> None:
    """A question that is out asks for less than a newcomer wants: another follows at once, and each hears once."""
    rig = Rig(latency=1.0, pace=Pace.fixed(100.0, 1, 100.0))
    async with rig.running():
        early, late = rig.listen(ours=False), rig.ear()
        await rig.clock.advance(0.5)
        rig.poller.listen(ticket_of(), late, ours=False, history=True)
        await rig.clock.advance(5)
    assert rig.driver.asked == [(0, Ask(ticket_of())), (1, Ask(ticket_of(), history=True))]
    assert [(when, bool(verdict.history)) for when, verdict in early.heard + late.heard] == [(2, True)] * 2


async def test_a_claim_waits_for_the_question_that_asks_for_enough() -> None:
    """An answer that lacks what a newcomer wants is nobody's, a callback's neither: all have that of the next."""
    rig = Rig(latency=1.0, pace=Pace.fixed(100.0, 1, 100.0))
    async with rig.running():
        early, late = rig.listen(ours=False), rig.ear()
        await rig.clock.advance(0.5)
        rig.poller.listen(ticket_of(), late, ours=False, image_links=True)
        answer = rig.poller.claim(verdict_of(ticket_of()), None, at_once=True)
        assert answer is not None
        await rig.clock.advance(0.6)
        assert not answer.done()
        await rig.clock.advance(5)
        assert answer.result() is late.heard[0][1]
    assert rig.driver.asked == [(0, Ask(ticket_of())), (1, Ask(ticket_of(), image_links=True))]
    assert [(when, verdict.source) for when, verdict in early.heard + late.heard] == [(2, "callback")] * 2
    assert late.heard[0][1].image_links
    assert rig.poller.watch_of(ticket_of()) is None


async def test_what_is_known_stays_though_a_callback_is_behind_it() -> None:
    """Who wants the history of a known final verdict gets it with that verdict, though a callback's answer is older."""
    rig = Rig(latency=1.0, pace=Pace.fixed(100.0, 1, 100.0))
    rig.driver.answer = lambda _ticket: "0822"
    news: list[Verdict] = []
    rig.poller.on_news = news.append
    async with rig.running():
        answer = rig.poller.claim(verdict_of(ticket_of(), "0822"), None, at_once=True)
        ear = rig.ear()
        await rig.clock.advance(0.5)
        rig.poller.listen(ticket_of(), ear, ours=False, history=True, known=verdict_of(ticket_of(), "0820"))
        await rig.clock.advance(5)
        assert answer is not None
        assert answer.result() is not None
    assert [when for when, _ in rig.driver.asked] == [0, 1]
    assert [(when, verdict.code, len(verdict.history)) for when, verdict in ear.heard] == [(2, "0820", 1)]
    assert news == []
    assert rig.poller.watch_of(ticket_of()) is None


async def test_a_provisional_is_told_once_though_somebody_wants_more_of_it() -> None:
    """A follower who has heard the provisional does not hear it again when another asks for the history; a wish that
    leaves with its listener is asked for no more.
    """
    rig = Rig(pace=Pace.fixed(100.0, 1, 100.0))
    rig.driver.answer = lambda _ticket: "0822"
    async with rig.running():
        follower, asker = rig.listen(until="final", ours=False), rig.ear()
        await rig.clock.advance(10)
        rig.poller.listen(ticket_of(), asker, ours=False, history=True)
        await rig.clock.advance(190)
    assert [when for when, _ in follower.heard] == [0]
    assert [(when, bool(verdict.history)) for when, verdict in asker.heard] == [(10, True)]
    assert [(when, ask.history) for when, ask in rig.driver.asked] == [(0, False), (10, True), (110, False)]


@pytest.mark.parametrize("turn", ["none", "too late"])
async def test_a_query_that_got_no_turn_is_no_failure(turn: str) -> None:
    """While the limiter is closed for about as long as a query waits, nobody is failed and nothing is spread out."""
    rig = Rig(pace=Pace.fixed(2.0, 3, 4.0))
    late = Fault(Unavailable("no turn"), Sent.UNSENT, transient=True, throttled=True)
    if turn == "too late":
        late = Fault(Unavailable("no answer within 0.1 s"), Sent.AMBIGUOUS, transient=True, hurried=True)
    rig.driver.answer = lambda _ticket: late if rig.clock.now < 11 else "0820"
    async with rig.running():
        ear = rig.listen()
        await rig.clock.advance(30)
    assert rig.driver.times == [2, 4, 6, 8, 10, 12]
    assert not ear.errors
    assert len(ear.heard) == 1


async def test_a_job_given_up_is_pending_until_more_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs whose patience ran out count as pending, at most so many, until they are waited for again or decided."""
    monkeypatch.setattr(poller, "GIVEN_UP", 2)
    rig = Rig()
    rig.driver.answer = lambda _ticket: ""
    async with rig.running():
        for number in range(4):
            rig.listen(number, deadline=5 + number)
        assert rig.poller.pending == 4
        await rig.clock.advance(20)
        assert (len(rig.poller), rig.poller.pending) == (0, 2)
        rig.poller.hear(verdict_of(ticket_of(3)))
        assert rig.poller.pending == 1
        rig.listen(2)
        assert (len(rig.poller), rig.poller.pending) == (1, 1)


def test_a_listener_is_an_interface() -> None:
    """Listener itself takes no verdict and no error."""
    listener = Listener("final", FAR)
    for end in (verdict_of(ticket_of()), SmileError("x")):
        with pytest.raises(NotImplementedError):
            listener.tell(end)


async def test_expiring_twice_is_nothing() -> None:
    """A listener that has left meanwhile is not told of its deadline."""
    rig = Rig()
    ear = rig.ear(deadline=1.0)
    rig.poller._expire(ear)
    assert not ear.errors


#: What a second is worth to a person until the first verdict, and after it.
PERSON = (4.0, 0.5)


async def experienced(rig: Rig, jobs: int = 200) -> None:
    """Let the poller learn that such jobs take five to thirty seconds."""
    decided = {f"job-{number}": rig.clock.now + 5 + number % 25 for number in range(jobs)}
    rig.driver.answer = lambda ticket: "0820" if rig.clock.now >= decided[ticket.job_id] else ""
    for number in range(jobs):
        rig.poller.listen(ticket_of(number), rig.ear(), ours=True)
    await rig.clock.advance(100.0)
    assert not len(rig.poller)
    rig.driver.answer = lambda _ticket: ""
    rig.driver.asked.clear()


async def gaps_of(rig: Rig, ear: Ear, seconds: float = 40.0) -> list[float]:
    """The gaps between the polls of a new job for which this listener waits."""
    rig.driver.asked.clear()
    rig.poller.listen(ticket_of(7), ear, ours=True)
    await rig.clock.advance(seconds)
    return [later - sooner for sooner, later in pairwise(rig.driver.times)]


async def test_a_person_is_asked_for_more_often_than_a_batch() -> None:
    """Price 4 buys more than twice the polls of price 1/2; a call may name any other; of several the highest counts."""
    counts = []
    for prices in ([None], [(0.5, 0.5)], [PERSON], [(16.0, 16.0)], [(0.125, 0.125)], [None, PERSON]):
        rig = Rig(pace=Pace())
        async with rig.running():
            await experienced(rig)
            for other in prices[1:]:
                rig.poller.listen(ticket_of(7), rig.ear(prices=other), ours=True)
            counts.append(len(await gaps_of(rig, rig.ear(prices=prices[0]))))
    nobody, batch, person, hasty, idle, both = counts
    assert nobody == batch
    assert idle < batch
    assert 2 * batch < person < hasty
    assert abs(both - person) <= 1


async def test_eagerness_ends_with_the_first_verdict() -> None:
    """Who waits for a final verdict is a person until the provisional one came: then a reviewer takes his time."""
    gaps = []
    for prices in (PERSON, (0.5, 0.5), (4.0, 4.0)):
        rig = Rig(pace=Pace())
        async with rig.running():
            rig.driver.answer = lambda _ticket: "0822"
            gaps.append((await gaps_of(rig, rig.ear("final", prices=prices), 3000.0))[:20])
    person, batch, insisting = map(sum, gaps)
    assert person == pytest.approx(batch, rel=0.05)
    assert insisting < 0.6 * batch


async def test_a_person_who_joins_makes_the_next_poll_sooner() -> None:
    """Somebody who waits for a job of a stream is not put off until the stream's next poll, nor puts that off."""
    rig = Rig(pace=Pace())
    async with rig.running():
        await experienced(rig)
        rig.poller.listen(ticket_of(7), rig.ear(), ours=True)
        await rig.clock.advance(150.0)
        watch: Any = rig.poller.watch_of(ticket_of(7))
        # Just after a poll.
        while (planned := watch.entry.when) < rig.clock.now + 25:
            await rig.clock.advance(1.0)
        rig.poller.listen(ticket_of(7), rig.ear(prices=PERSON), ours=False)
        sooner = watch.entry.when
        assert sooner < planned - 5
        for _ in range(50):
            rig.poller.listen(ticket_of(7), rig.ear(prices=PERSON), ours=False)
            await rig.clock.advance(0.01)
        assert watch.entry.when <= sooner


async def test_nobody_is_polled_eagerly_after_a_429() -> None:
    """Once the server asked to slow down, a person's polls are a batch's; later they are a person's again."""
    counts = []
    for prices, slowed in ((PERSON, -FAR), (PERSON, 0.0), ((0.5, 0.5), 0.0), (PERSON, -200.0)):
        rig = Rig(pace=Pace())
        async with rig.running():
            await experienced(rig)
            rig.driver.dialect.slowed_at = rig.clock.now + slowed
            counts.append(len(await gaps_of(rig, rig.ear(prices=prices), 29.0)))
    eager, slow, batch, again = counts
    assert eager == again
    assert batch == slow < eager


@pytest.mark.parametrize("eager_polls", [0.0, 20.0])
async def test_a_crowd_of_people_is_polled_like_a_batch(eager_polls: float) -> None:
    """Three hundred who wait at once cost no more than a batch of as many, plus the bound, and none is forgotten."""
    polls = []
    for prices in (PERSON, (0.5, 0.5)):
        rig = Rig(pace=Pace(), eager_polls=eager_polls, at_once=1000)
        async with rig.running():
            await experienced(rig)
            for number in range(300):
                rig.poller.listen(ticket_of(number), rig.ear(prices=prices), ours=True)
            await rig.clock.advance(30.0)
            polls.append(len(rig.driver.asked))
            asked = Counter(ask.ticket.job_id for _, ask in rig.driver.asked)
            assert len(asked) == 300
            assert max(asked.values()) <= min(asked.values()) + 3
    people, batch = polls
    assert people <= batch + 30 * eager_polls + 5
