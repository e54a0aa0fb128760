"""The job-status poller: one coroutine that asks about every waiting job when its time has come.

A job that waits is a small object in a heap, not a task, so a hundred thousand of them cost memory for a hundred
thousand small objects. Who waits for a job is a `Listener`; any number may share one `Watch`, and so its polls. The
poller never waits for a listener, only for the clock.
"""

import asyncio
from collections.abc import Callable

from smile_async.contained import contained, quietly
from smile_async.errors import JobNotFound, SmileError, StillPending, UnreadableReply
from smile_async.jobs.ticket import Ticket, same_job
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.log import log
from smile_async.protocol.steps import Ask, Fault, Sent
from smile_async.timing.clock import Clock
from smile_async.timing.pacing import Rhythm
from smile_async.timing.timers import TimerHeap
from smile_async.traffic.driver import Driver
from smile_async.traffic.listening import Listener, Watch, falls_short, own_copy, still_pending
from smile_async.traffic.pending import PendingJob
from smile_async.traffic.telemetry import span, waited
from smile_async.transport.engine import API_SECONDS

__all__ = ["Poller"]


Key = tuple[str, str]

#: Jobs out of patience that are counted as pending, the latest of them.
GIVEN_UP = 100_000
#: Seconds: polls due within the same few milliseconds leave together, so that timers do not outnumber requests.
COALESCE = 0.01
#: Seconds, real ones, before the poller goes on after something that should not have happened.
STUMBLE = 0.1
#: Times in a row; a clock that never works again is the end of the session.
STUMBLES = 5


class Poller:
    """Watches jobs for their listeners; `run` is its one coroutine."""

    def __init__(self, driver: Driver, rhythm: Rhythm, clock: Clock, at_once: int, spawn: Callable[..., None]) -> None:
        self._driver = driver
        self._rhythm = rhythm
        self._clock = clock
        self._at_once = at_once
        self._spawn = spawn
        self._watches: dict[Key, Watch] = {}
        self._polls: TimerHeap[Watch] = TimerHeap()
        self._deadlines: TimerHeap[Listener] = TimerHeap()
        self._given_up: dict[Key, None] = {}
        self._wake = asyncio.Event()
        self._asking = 0
        #: Told of every new verdict, whoever waits for it: a ledger writes it down.
        self.on_news: Callable[[Verdict], None] | None = None
        #: Status queries sent so far by the poller.
        self.polls = 0

    def __len__(self) -> int:
        return len(self._watches)

    @property
    def pending(self) -> int:
        """Jobs without the verdict that was wanted: waited for, or given up when patience was over."""
        return len(self._watches) + len(self._given_up)

    def watch_of(self, ticket: Ticket) -> Watch | None:
        """The watch of this job, None if nobody waits for it."""
        return self._watches.get((ticket.user_id, ticket.job_id))

    def listen(
        self,
        ticket: Ticket,
        listener: Listener,
        *,
        ours: bool,
        history: bool = False,
        image_links: bool = False,
        known: Verdict | None = None,
    ) -> None:
        """Let *listener* hear of this job; *ours* if its zip was uploaded just now by this session.

        *known*: the latest verdict, from a ledger.
        """
        key = (ticket.user_id, ticket.job_id)
        watch = self._watches.get(key)
        now = self._clock.monotonic()
        if watch is None:
            watch = self._watches[key] = Watch(PendingJob(ticket, now, ours=ours))
            self._given_up.pop(key, None)
            self._schedule(watch, now)
        else:
            watch.pending_job.join(ticket)
        listener.ticket = ticket
        listener.history, listener.image_links = history, image_links
        if known is not None:
            watch.pending_job.advance(known)
        known = watch.pending_job.verdict
        wanting = known is not None and falls_short(known, listener)
        if known is not None and not wanting and listener.told(known):
            self._forget_if_idle(watch)
            return
        listener.watch = watch
        watch.listeners += (listener,)
        if listener.deadline < float("inf"):
            listener.entry = self._deadlines.add(listener.deadline, listener)
            self._rouse(listener.deadline)
        if wanting:
            self.hurry(ticket)

    def leave(self, listener: Listener) -> None:
        """Let *listener* hear no more; the others go on."""
        watch, listener.watch = listener.watch, None
        if watch is None:
            return
        self._deadlines.cross_out(listener.entry)
        watch.listeners = tuple(other for other in watch.listeners if other is not listener)
        self._forget_if_idle(watch)

    def hear(self, verdict: Verdict) -> None:
        """Take a confirmed verdict from elsewhere (a callback): wake who waits, and put off the pending poll."""
        watch = self.watch_of(verdict.ticket)
        if watch is not None and not same_job(watch.ticket, verdict.ticket):
            # Asked about without what is known of it here: our own question decides.
            self.hurry(verdict.ticket)
            return
        if self.on_news is not None:
            self.on_news(verdict)
        if watch is None:
            self._given_up.pop((verdict.ticket.user_id, verdict.ticket.job_id), None)
            return
        if falls_short(verdict, watch):
            self.hurry(verdict.ticket)
            return
        if not watch.pending_job.told(verdict, self._clock.monotonic(), self._rhythm):
            return
        self._spread(watch, verdict)
        if watch.listeners and not watch.asking:
            self._schedule(watch, self._clock.monotonic())

    def hurry(self, ticket: Ticket) -> None:
        """Ask about this job now, if anybody waits for it."""
        watch = self.watch_of(ticket)
        if watch is not None and not watch.asking:
            self._polls.cross_out(watch.entry)
            watch.entry = self._polls.add(self._clock.monotonic(), watch)
            self._rouse(0.0)

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
        now = self._clock.monotonic()
        while (late := self._deadlines.pop_due(now)) is not None:
            self._expire(late)
        while self._asking < self._at_once and (watch := self._polls.pop_due(now + COALESCE)) is not None:
            watch.entry = None
            watch.asking = True
            self._asking += 1
            self._spawn(self._ask, watch)
        moments = [self._deadlines.next_at()]
        if self._asking < self._at_once:
            moments.append(self._polls.next_at())
        due = [moment for moment in moments if moment is not None]
        self._wake.clear()
        await self._clock.wait(self._wake, max(0.0, min(due) - self._clock.monotonic()) if due else None)

    async def _ask(self, watch: Watch) -> None:
        asked_at = self._clock.monotonic()
        self.polls += 1
        ask = Ask(watch.ticket, watch.history, watch.image_links)
        try:
            with span("poll", job_id=watch.ticket.job_id):
                status = await self._driver.ask(ask, asked_at + API_SECONDS)
        except Fault as fault:
            self._missed(watch, fault, asked_at)
        except Exception as error:  # noqa: BLE001 - one odd reply must not end the waiting for all other jobs
            log.exception("a reply about job %s could not be handled: please report it", watch.ticket.job_id)
            unreadable = UnreadableReply(f"the /job_status reply could not be handled ({type(error).__name__})")
            self._missed(watch, Fault(unreadable, Sent.ANSWERED), asked_at)
        else:
            if not falls_short(ask, watch):
                self._answered(watch, status, asked_at)
        finally:
            self._asking -= 1
            watch.asking = False
            if watch.listeners:
                self._schedule(watch, self._clock.monotonic())
            if falls_short(ask, watch):
                self.hurry(watch.ticket)
            self._rouse(0.0)

    def _answered(self, watch: Watch, status: JobStatus, asked_at: float) -> None:
        news = watch.pending_job.heard(status, asked_at, self._rhythm)
        if news is not None:
            if self.on_news is not None:
                self.on_news(news)
            self._spread(watch, news)
            return
        whole = watch.pending_job.whole(status)
        for listener in watch.listeners:
            # Who came when the word was known, and wants more than the word.
            if whole is not None and (listener.history or listener.image_links) and listener.told(whole):
                self.leave(listener)

    def _missed(self, watch: Watch, fault: Fault, asked_at: float) -> None:
        # A query that got no turn says nothing about the API that the limiter does not know.
        if not (fault.throttled and fault.sent is Sent.UNSENT):
            watch.pending_job.missed(self._clock.monotonic() - asked_at)
        unknown_yet = isinstance(fault.error, JobNotFound) and self._driver.has_just_sent(watch.ticket)
        if fault.transient or unknown_yet:
            log.debug("poll of job %s failed: %s", watch.ticket.job_id, fault.error)
            return
        for listener in watch.listeners:
            self.leave(listener)
            listener.fail(own_copy(fault.error, watch.ticket))

    def _spread(self, watch: Watch, verdict: Verdict) -> None:
        if watch.pending_job.ours:
            waited(self._clock.monotonic() - watch.pending_job.since, str(verdict.decision))
        for listener in watch.listeners:
            if listener.told(verdict):
                self.leave(listener)

    def _expire(self, listener: Listener) -> None:
        watch = listener.watch
        if watch is None:
            return
        waited = self._clock.monotonic() - watch.pending_job.since
        error = StillPending(still_pending(watch.ticket, waited), ticket=watch.ticket)
        error.verdict = watch.pending_job.verdict
        self.leave(listener)
        if not watch.listeners:
            self._given_up[watch.ticket.user_id, watch.ticket.job_id] = None
            if len(self._given_up) > GIVEN_UP:
                del self._given_up[next(iter(self._given_up))]
        listener.fail(error)

    def _schedule(self, watch: Watch, now: float) -> None:
        self._polls.cross_out(watch.entry)
        when = now + watch.pending_job.delay(self._rhythm, now)
        watch.entry = self._polls.add(when, watch)
        self._rouse(when)

    def _forget_if_idle(self, watch: Watch) -> None:
        if not watch.listeners:
            self._polls.cross_out(watch.entry)
            self._watches.pop((watch.ticket.user_id, watch.ticket.job_id), None)

    def _rouse(self, when: float) -> None:
        """Wake the coroutine if *when* comes before what it sleeps for."""
        firsts = (self._polls.next_at(), self._deadlines.next_at())
        if all(first is None or when <= first for first in firsts):
            self._wake.set()

    def fail_all(self, make: Callable[[Ticket], SmileError]) -> None:
        """Tell every listener that nothing will come any more."""
        for watch in tuple(self._watches.values()):
            for listener in watch.listeners:
                self.leave(listener)
                quietly(listener.fail, make(watch.ticket))
