"""When which job is asked about, and until when each listener waits.

What a second is worth is said by those who wait: a job is polled for the most eager of them, within what the session
grants. Deadlines stand beside the polls, so that one coroutine sleeps for both.
"""

import asyncio

from smile_async.timing.clock import Clock
from smile_async.timing.pacing import Eagerness, Rhythm
from smile_async.timing.timers import TimerHeap
from smile_async.traffic.dialect import Dialect
from smile_async.traffic.watching import Listener, Watch

__all__ = ["FAR", "Schedule"]


FAR = float("inf")
#: Seconds: polls due within the same few milliseconds leave together, so that timers do not outnumber requests.
COALESCE = 0.01


class Schedule:
    """The next poll of each watch and the deadline of each listener; *dialect* knows whom to ask about."""

    def __init__(self, dialect: Dialect, rhythm: Rhythm, eagerness: Eagerness, clock: Clock) -> None:
        self._dialect = dialect
        self._rhythm = rhythm
        self._eagerness = eagerness
        self._clock = clock
        self._polls: TimerHeap[Watch] = TimerHeap()
        self._deadlines: TimerHeap[Listener] = TimerHeap()
        self._wake = asyncio.Event()
        #: Jobs that somebody waits for.
        self.jobs = 0

    def plan(self, watch: Watch, *, sooner: bool = False) -> None:
        """Ask when its pace says so, if anybody waits, or when a claim does, whichever is sooner.

        *sooner*: not later than planned before, for somebody has joined those who wait.
        """
        if watch.asking or not (watch.listeners or watch.claim):
            return
        now = self._clock.monotonic()
        due = FAR if watch.claim is None else watch.claim.due
        if watch.listeners and self._dialect.may_ask(watch.ticket):
            due = min(due, now + self._delay(watch, now))
        if sooner and watch.entry is not None:
            due = min(due, watch.entry.when)
        self.ask_at(watch, due)

    def _delay(self, watch: Watch, now: float) -> float:
        price = watch.price(self._eagerness.own)
        granted = self._eagerness.granted(price, self.jobs, now - self._dialect.slowed_at)
        delay = watch.delay(self._rhythm, now, granted)
        self._eagerness.waits(delay, price, granted)
        return delay

    def ask_at(self, watch: Watch, when: float) -> None:
        """Ask about this job then, and not when it was planned before."""
        self._polls.cross_out(watch.entry)
        watch.entry = self._polls.add(when, watch)
        self._rouse(when)

    def expect(self, listener: Listener) -> None:
        """Let *listener* wait until its deadline."""
        if listener.deadline < FAR:
            listener.entry = self._deadlines.add(listener.deadline, listener)
            self._rouse(listener.deadline)

    def release(self, listener: Listener) -> None:
        """Its deadline is no longer of interest."""
        self._deadlines.cross_out(listener.entry)

    def forget(self, watch: Watch) -> None:
        """Do not ask about this job."""
        self._polls.cross_out(watch.entry)

    def next_late(self) -> Listener | None:
        """Take a listener whose deadline is over, None if there is none."""
        return self._deadlines.pop_due(self._clock.monotonic())

    def next_due(self) -> Watch | None:
        """Take a job that is to be asked about now, None if there is none."""
        watch = self._polls.pop_due(self._clock.monotonic() + COALESCE)
        if watch is not None:
            watch.entry = None
        return watch

    async def sleep(self, *, may_ask: bool) -> None:
        """Wait until something is due, a poll only if it *may_ask*, or until woken."""
        due = min(self._deadlines.next_at(), self._polls.next_at() if may_ask else FAR)
        self._wake.clear()
        await self._clock.wait(self._wake, max(0.0, due - self._clock.monotonic()) if due < FAR else None)

    def _rouse(self, when: float) -> None:
        if when <= min(self._polls.next_at(), self._deadlines.next_at()):
            self.wake()

    def wake(self) -> None:
        """End a `sleep`: something has become due, or may be asked again."""
        self._wake.set()
