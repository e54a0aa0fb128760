"""Drive a conversation to its end: have each step performed, back off where the story says so, bear outages.

What went wrong becomes a Fault that says whether anything may have left, whether another
attempt may help, and what the caller should be told; whether to go on is the story's business.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Any

from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.log import log
from smile_async.protocol.steps import (
    Answer,
    Ask,
    Call,
    Conversation,
    Fault,
    Now,
    Pause,
    Put,
    Slot,
    Wait,
    insist,
)
from smile_async.protocol.submission import Submission
from smile_async.timing.backoff import LONGEST_WISH, RetryBudget, backoff
from smile_async.timing.breaker import LONGEST_PAUSE
from smile_async.timing.clock import Clock
from smile_async.traffic.dialect import Dialect
from smile_async.traffic.payload import Payload
from smile_async.traffic.taken import Taken

__all__ = ["Driver"]


#: Awaited before an upload.
BeforePut = Callable[[], Awaitable[None]]


class Driver:
    """Carries steps to Smile ID and answers back, for one session."""

    def __init__(self, dialect: Dialect, clock: Clock) -> None:
        self.dialect = dialect
        self._clock = clock
        self._budget = RetryBudget()
        #: Until when /job_status need not know the latest jobs, by job_id, the latest last.
        self._expected: dict[str, float] = {}
        self._retries = 0
        #: Of an API that names jobs itself, those it has taken.
        self.taken = Taken()

    @property
    def retries(self) -> int:
        """Attempts beyond the first, so far."""
        return self._retries + self.dialect.repeats

    async def walk(
        self, submission: Submission, payload: Payload, deadline: float, before_put: BeforePut | None = None
    ) -> Ticket:
        """Drive *submission* to its end, before *deadline* (monotonic seconds). Raises Fault.

        *before_put* is awaited before each upload, and may raise Fault to prevent it.
        """
        ticket = await self._drive(submission.steps(), submission.job, payload, deadline, before_put)
        self.expect(ticket)
        return ticket

    def expect(self, ticket: Ticket) -> None:
        """That job was sent, now or by an earlier session: for a moment from now /job_status need not know it."""
        now = self._clock.monotonic()
        self._expected.pop(ticket.job_id, None)
        self._expected[ticket.job_id] = now + self.dialect.forgetful_for(ticket)
        while self._expected[oldest := next(iter(self._expected))] < now:
            del self._expected[oldest]

    def expects(self, ticket: Ticket) -> bool:
        """Whether that job was sent so lately that /job_status may not know it yet."""
        return self._clock.monotonic() < self._expected.get(ticket.job_id, float("-inf"))

    def known(self, ticket: Ticket) -> Ticket:
        """*ticket*, with the name that the API gave its job in the meantime."""
        taken = None if self.dialect.may_ask(ticket) else self.taken.of(ticket.user_id, ticket.job_id)
        return ticket if taken is None else taken[0]

    async def query(self, ask: Ask, deadline: float) -> JobStatus:
        """*ask*, again after passing faults, before *deadline*. Raises Fault."""
        status: JobStatus = await self._drive(insist(ask), ask.ticket, None, deadline)
        return status

    async def ask(self, ask: Ask, deadline: float) -> JobStatus:
        """One signed status query, its answer believed. Raises Fault."""
        status = await self.dialect.perform(ask, ask.ticket, None, deadline)
        assert isinstance(status, JobStatus)  # noqa: S101 - the answer to an Ask
        return status

    async def call(self, call: Call, deadline: float) -> dict[str, Any]:
        """What is asked for in *call*, again after passing faults, before *deadline*. Raises Fault."""
        found: dict[str, Any] = await self._drive(insist(call), None, None, deadline)
        return found

    async def _drive(
        self,
        steps: Conversation[Answer],
        whose: Job | Ticket | None,
        payload: Payload | None,
        deadline: float,
        before_put: BeforePut | None = None,
    ) -> Answer:
        answer: Slot | JobStatus | Verdict | dict[str, Any] | float | None = None
        fault: Fault | None = None
        taken = 0
        while True:
            try:
                step = steps.send(answer) if fault is None else steps.throw(fault)
            except StopIteration as end:
                self._budget.give(taken)
                whole: Answer = end.value
                return whole
            answer = fault = None
            try:
                if isinstance(step, Pause):
                    taken += await self._pause(step, whose.job_id if whose else "", deadline)
                elif isinstance(step, Wait):
                    answer = await self._wait(step.seconds, deadline)
                elif isinstance(step, Now):
                    answer = self._clock.monotonic()
                else:
                    if isinstance(step, Put) and before_put is not None:
                        await before_put()
                    answer = await self.dialect.perform(step, whose, payload, deadline)
            except Fault as told:
                fault = told.with_traceback(None)

    async def _pause(self, pause: Pause, job_id: str, deadline: float) -> int:
        fault = pause.fault
        if fault.outage:
            wait = 0.0
        elif fault.throttled:
            # The limiter is closed for everybody: waiting in front of it spends neither sleep nor budget here.
            wait = min(fault.retry_after or 0.0, LONGEST_WISH)
        else:
            wait = backoff(pause.attempt - 1, cap=LONGEST_PAUSE, draw=random.random())  # noqa: S311 - jitter, not a secret
        if self._clock.monotonic() + wait >= deadline:
            raise fault
        # One GOAWAY fails up to 80 requests at once: they are charged as the one event that they are.
        free = fault.throttled or fault.echo or fault.outage or fault.unreached
        taken = 0 if free else self._budget.take()
        if not (taken or free):
            raise fault
        self._retries += 1
        say = log.debug if fault.outage or fault.unreached else log.warning
        say(
            "retry %d%s: %s",
            pause.attempt,
            f" of job {job_id}" if job_id else "",
            fault.error,
            extra={"smile_job_id": job_id, "smile_attempt": pause.attempt, "smile_sent": str(fault.sent)},
        )
        await self._clock.sleep(0 if fault.throttled else wait)
        return taken

    async def _wait(self, seconds: float, deadline: float) -> bool:
        if self._clock.monotonic() + seconds >= deadline:
            return False
        await self._clock.sleep(seconds)
        return True
