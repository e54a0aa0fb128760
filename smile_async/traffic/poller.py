"""The job-status poller: one coroutine that asks about every waiting job when its time has come.

A job that waits is a small object in a heap, not a task, so a hundred thousand of them cost memory for a hundred
thousand small objects. Who waits for a job is a `Listener`; any number may share one `Watch`, and so its polls. The
poller never waits for a listener, only for the clock.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from smile_async.contained import contained, is_ours, quietly
from smile_async.errors import JobNotFound, SmileError, StillPending, UnreadableReply
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, Ticket, same_job
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.limits import Limits
from smile_async.log import log
from smile_async.protocol.steps import Ask, Fault, Sent
from smile_async.timing.clock import Clock
from smile_async.timing.pacing import Eagerness, Rhythm
from smile_async.traffic.driver import Driver
from smile_async.traffic.pending import PendingJob
from smile_async.traffic.schedule import FAR, Schedule
from smile_async.traffic.telemetry import span, waited
from smile_async.traffic.watching import Answer, Claim, Heard, Listener, Watch, falls_short, own_copy, still_pending
from smile_async.transport.engine import API_SECONDS

__all__ = ["Poller"]

#: Jobs out of patience that are counted as pending, the latest of them.
GIVEN_UP = 100_000
#: Seconds for one query that a callback asked for, its retries included.
QUERY_SECONDS = 12.0
#: Seconds, real ones, before the poller goes on after something that should not have happened, and how many times in a
#: row it does: a clock that never works again is the end of the session.
STUMBLE, STUMBLES = 0.1, 5
#: Queries that wait for the end of one user's outage, and seconds until others of that kind come back.
BARRED, PUT_OFF = 16, 1.0


class Poller:
    """Watches jobs for their listeners; `run` is its one coroutine."""

    def __init__(
        self, driver: Driver, rhythm: Rhythm, clock: Clock, limits: Limits, spawn: Callable[..., None]
    ) -> None:
        self._driver = driver
        self._rhythm = rhythm
        self._schedule = Schedule(driver.dialect, rhythm, Eagerness(rhythm.pace.price, limits.eager_polls), clock)
        self._clock = clock
        self._at_once, self._spawn = limits.requests, spawn
        self._watches: dict[tuple[str, str], Watch] = {}
        self._given_up: dict[tuple[str, str], None] = {}
        self._asking = self._barred = 0
        #: Told of every new verdict, whoever waits for it: a ledger writes it down.
        self.on_news: Callable[[Verdict], object] = lambda _verdict: None
        #: Told of each job that is asked about again because of what callbacks claimed before.
        self.on_again: Callable[[Ticket], object] = lambda _ticket: None
        #: Status queries sent so far that have ended, but for those that a callback asked for.
        self.polls = 0

    def __len__(self) -> int:
        return self._schedule.jobs

    @property
    def pending(self) -> int:
        """Jobs without the verdict that was wanted: waited for, or given up when patience was over."""
        return len(self) + len(self._given_up)

    def watch_of(self, ticket: Ticket) -> Watch | None:
        """The watch of this job, None if nobody waits for it and no callback claims anything of it."""
        return self._watches.get(_key(ticket))

    def ticket_of(self, smile_job_id: str) -> Ticket | None:
        """The ticket of a job that is waited for, by the provider's name for it."""
        tickets = (watch.ticket for watch in self._watches.values())
        return next((ticket for ticket in tickets if ticket.smile_job_id == smile_job_id), None)

    def expect(self, ticket: Ticket) -> None:
        """That job was sent by an earlier session, as a ledger has it."""
        self._driver.expect(ticket)

    def expects(self, ticket: Ticket) -> bool:
        """Whether it is no news that this job is not known: it was sent just now, or called back and is waited for."""
        watch = self.watch_of(ticket)
        return bool(watch and watch.claim and watch.listeners) or self._driver.expects(ticket)

    def listen(
        self,
        ticket: Ticket,
        listener: Listener,
        *,
        ours: bool,
        history: bool = False,
        image_links: bool = False,
        known: Verdict | None = None,
        upload: object = None,
    ) -> None:
        """Let *listener* hear of this job; *ours* if its zip was uploaded just now by this session.

        *known*: the latest verdict, from a ledger. *upload*: what the spans of queries are linked to.
        """
        self._driver.dialect.check_ticket(ticket)
        ticket = self._driver.known(ticket)
        listener.ticket, listener.history, listener.image_links = ticket, history, image_links
        if known is not None and known.final and not falls_short(known, listener) and _key(ticket) not in self._watches:
            # The reply to a request said it: nothing is waited for.
            self._given_up.pop(_key(ticket), None)
            listener.told(known)
            return
        now = self._clock.monotonic()
        watch = self._watches.setdefault(_key(ticket), Watch(ticket, now))
        first = not watch.listeners
        if first:
            self._given_up.pop(_key(ticket), None)
            # Whatever callbacks have been asking about before, it is news to the first who waits.
            PendingJob.__init__(watch, ticket, now, ours=ours)
        else:
            watch.join(ticket)
        watch.upload = upload or watch.upload
        if known is not None:
            watch.advance(known)
        wanting = watch.verdict is not None and falls_short(watch.verdict, listener)
        if wanting or watch.verdict is None or not listener.told(watch.verdict):
            listener.watch = watch
            watch.listeners += (listener,)
            self._schedule.jobs += first
            self._schedule.expect(listener)
            if wanting:
                self.hurry(ticket)
        self._schedule.plan(watch, sooner=True)
        self._forget_if_idle(watch)

    def leave(self, listener: Listener) -> None:
        """Let *listener* hear no more; the others go on."""
        watch, listener.watch = listener.watch, None
        if watch is None:
            return
        self._schedule.release(listener)
        watch.listeners = tuple(other for other in watch.listeners if other is not listener)
        self._schedule.jobs -= not watch.listeners
        self._forget_if_idle(watch)

    def claim(self, said: Verdict, later: Heard | None, *, at_once: bool, anew: bool = False) -> Answer | None:
        """Ask about a job sooner, because of what a callback *said*; *later* hears when status has caught up.

        *at_once*: ask now; the answer is then for the caller. *anew*: ask again at once if a query that has been under
        way since before the callback came does not know yet.
        """
        now = self._clock.monotonic()
        ticket = said.ticket
        if ticket.api is None:
            # Neither the job's type nor its SmileJobID is taken from a callback: they would choose the code's meaning.
            ticket = Ticket(ticket.user_id, ticket.job_id, UNKNOWN_JOB_TYPE)
        watch = self._watches.setdefault(_key(ticket), Watch(ticket, now))
        claim = watch.claim = watch.claim or Claim(now)
        answer = claim.ask(said, later, now if anew else 0.0) if at_once else None
        if answer is None:
            claim.keep(said, later, now)
        self._schedule.plan(watch)
        return answer

    def hear(self, verdict: Verdict) -> None:
        """Take a confirmed verdict from elsewhere (a bus): wake who waits, and put off the pending poll."""
        watch = self.watch_of(verdict.ticket)
        if watch is not None and not same_job(watch.ticket, verdict.ticket):
            # Asked about without what is known of it here: our own question decides.
            self.hurry(verdict.ticket)
            return
        if verdict.on_the_way:
            return
        self._given_up.pop(_key(verdict.ticket), None)
        quietly(self.on_news, verdict)
        if watch is None:
            return
        if falls_short(verdict, watch):
            self.hurry(verdict.ticket)
        elif watch.told(verdict, self._clock.monotonic(), self._rhythm):
            self._spread(watch, verdict)
            self._schedule.plan(watch)

    def named(self, ticket: Ticket) -> None:
        """Take note of the provider's name for a job, which somebody may wait for."""
        watch = self.watch_of(ticket)
        if watch is not None:
            watch.ticket = replace(watch.ticket, smile_job_id=ticket.smile_job_id, api=ticket.api)
            self._schedule.plan(watch)

    def hurry(self, ticket: Ticket) -> None:
        """Ask about this job now, if anybody waits for it."""
        watch = self.watch_of(ticket)
        if watch is not None and not watch.asking and self._driver.dialect.may_ask(watch.ticket):
            self._schedule.ask_at(watch, self._clock.monotonic())

    async def run(self) -> None:
        """Poll until cancelled; the queries are tasks of their own. Raises what goes wrong STUMBLES times in a row."""
        stumbled = 0
        while True:
            error = await contained(self._poll)
            stumbled = stumbled + 1 if error is not None else 0
            if error is None:
                continue
            if stumbled == STUMBLES:
                raise error
            # A clock that fails, say: the jobs that wait are not to pay for it.
            log.error("the poller stumbled (%s) and goes on", type(error).__name__, exc_info=error)
            await asyncio.sleep(STUMBLE)

    async def _poll(self) -> None:
        while (late := self._schedule.next_late()) is not None:
            self._expire(late)
        while self._asking < self._at_once and (watch := self._schedule.next_due()) is not None:
            # Where one user's queries wait for an outage's end, others' need not: a few of his stand for all.
            barred = self._driver.dialect.bars(watch.ticket)
            if barred and self._barred >= BARRED:
                self._schedule.ask_at(watch, self._clock.monotonic() + PUT_OFF)
                continue
            watch.asking = True
            self._barred += barred
            self._asking += not barred
            self._spawn(self._ask, watch, barred)
        await self._schedule.sleep(may_ask=self._asking < self._at_once)

    async def _ask(self, watch: Watch, barred: bool) -> None:
        asked_at = self._clock.monotonic()
        claimed = watch.claim is not None
        if watch.claim is not None and watch.claim.due > 0.0:
            self.on_again(watch.ticket)
        query, seconds = (self._driver.query, QUERY_SECONDS) if claimed else (self._driver.ask, API_SECONDS)
        ask = Ask(watch.ticket, watch.history, watch.image_links)
        try:
            with span("poll", watch.upload, job_id=watch.ticket.job_id):
                status = await query(ask, asked_at + seconds)
        except Fault as fault:
            self.polls += not (claimed or _got_no_turn(fault))
            self._missed(watch, fault, asked_at)
        except BaseException as error:
            # One odd reply must not end the waiting for all other jobs, and a transport may raise what it likes.
            if is_ours(error):
                raise
            self.polls += not claimed
            log.exception("a reply about job %s could not be handled: please report it", watch.ticket.job_id)
            odd = UnreadableReply(f"the /job_status reply could not be handled ({type(error).__name__})")
            self._missed(watch, Fault(odd, Sent.ANSWERED), asked_at)
        else:
            self.polls += not claimed
            if not falls_short(ask, watch):
                self._answered(watch, status, asked_at)
        finally:
            self._barred -= barred
            self._asking -= not barred
            watch.asking = False
            self._schedule.plan(watch)
            if falls_short(ask, watch):
                self.hurry(watch.ticket)
            self._schedule.wake()

    def _answered(self, watch: Watch, status: JobStatus, asked_at: float) -> None:
        verdict = None if watch.claim is None else watch.claim.settled(status)
        status = status if verdict is None else replace(status, verdict=verdict)
        news = watch.heard(status, asked_at, self._rhythm)
        if news is not None:
            self._given_up.pop(_key(watch.ticket), None)
            quietly(self.on_news, news)
            self._spread(watch, news)
        elif (whole := watch.whole(status)) is not None:
            for listener in watch.listeners:
                # Who came when the word was known, and wants more than the word.
                if (listener.history or listener.image_links) and listener.told(whole):
                    self.leave(listener)
        self._answer_claim(watch, verdict, asked_at)

    def _missed(self, watch: Watch, fault: Fault, asked_at: float) -> None:
        # A query that got no turn, or met an outage, says nothing that is not known already.
        if not (fault.outage or fault.hurried or _got_no_turn(fault)):
            watch.missed(self._clock.monotonic() - asked_at)
        unknown_yet = isinstance(fault.error, JobNotFound) and self.expects(watch.ticket)
        self._answer_claim(watch, None if unknown_yet else fault.error, asked_at)
        if fault.transient or unknown_yet:
            log.debug("poll of job %s failed: %s", watch.ticket.job_id, fault.error)
            return
        self._fail(watch, fault.error)

    def _answer_claim(self, watch: Watch, found: Verdict | SmileError | None, asked_at: float = FAR) -> None:
        if watch.claim is None:
            return
        for heard in watch.claim.answer(found, watch.ticket.job_id, self._clock.monotonic(), asked_at):
            quietly(self._spawn, heard, found)
        if not watch.claim:
            watch.claim = None
            self._forget_if_idle(watch)

    def _spread(self, watch: Watch, verdict: Verdict) -> None:
        if watch.ours:
            quietly(waited, self._clock.monotonic() - watch.since, str(verdict.decision))
        for listener in watch.listeners:
            if listener.told(verdict):
                self.leave(listener)

    def _fail(self, watch: Watch, error: SmileError) -> None:
        for listener in watch.listeners:
            self.leave(listener)
            quietly(listener.tell, own_copy(error, watch.ticket))

    def _expire(self, listener: Listener) -> None:
        watch = listener.watch
        if watch is None:
            return
        waited_for = self._clock.monotonic() - watch.since
        error = StillPending(still_pending(watch.ticket, waited_for, watch.strange), ticket=watch.ticket)
        error.verdict = watch.verdict
        self.leave(listener)
        if not watch.listeners:
            self._given_up[_key(watch.ticket)] = None
            if len(self._given_up) > GIVEN_UP:
                del self._given_up[next(iter(self._given_up))]
        quietly(listener.tell, error)

    def _forget_if_idle(self, watch: Watch) -> None:
        if not watch.listeners and watch.claim is None:
            self._schedule.forget(watch)
            self._watches.pop(_key(watch.ticket), None)

    def fail_all(self, make: Callable[[Ticket], SmileError]) -> None:
        """Tell everybody that nothing will come any more."""
        for watch in tuple(self._watches.values()):
            error = make(watch.ticket)
            self._answer_claim(watch, error)
            self._fail(watch, error)


def _got_no_turn(fault: Fault) -> bool:
    return fault.throttled and fault.sent is Sent.UNSENT


def _key(ticket: Ticket) -> tuple[str, str]:
    return ticket.user_id, ticket.job_id
