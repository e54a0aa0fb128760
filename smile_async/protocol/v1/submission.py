"""The life of one job, told as the steps a driver must take; no socket, no clock, no signature.

A `Submission` is a story in two chapters: reserve a place for the zip, put the zip there. Each step is a value the
driver performs and answers, or throws a `Fault` back; the story knows what may be repeated without a second bill:

* `/upload` that may have arrived is sent again with the same job_id. If Smile ID then says 2215, the job may be ours:
  `/job_status` is asked, and only "no zip yet" (2314) lets us go on, with `retry: true`. A zip that this story did not
  send belongs to somebody else's selfie, and the story ends with JobExists, never with that job's verdict.
* A PUT that may have arrived is followed by `/job_status` before it is repeated.
* A URL that has expired is replaced by a fresh one for the same job.

A `Pursuit` is what remains afterwards: a few numbers that say when to ask again, and a verdict that only moves forward.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, TypeVar

from smile_async.errors import JobExists, JobNotFound, SmileError
from smile_async.jobs.job import UNKNOWN_JOB_TYPE, Job, Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.protocol.v1.wire import Slot
from smile_async.timing.pacing import Rhythm, failing_delay

__all__ = ["ATTEMPTS", "Ask", "Fault", "Pause", "Prepare", "Pursuit", "Put", "Reach", "Sent", "Step", "Submission"]

#: Attempts a leg, the first included (guarantee G4).
ATTEMPTS = 3


class Sent(StrEnum):
    """Whose word it is that a step failed; unknown means ambiguous."""

    UNSENT = "unsent"
    AMBIGUOUS = "ambiguous"
    ANSWERED = "answered"


class Reach(IntEnum):
    """How far a job may have come at Smile ID."""

    NOTHING = 0
    RESERVED = 1
    UPLOADED = 2


@dataclass(eq=False)
class Fault(Exception):
    """A step that failed: the error a caller would see, and what a story needs to decide whether to go on."""

    error: SmileError
    sent: Sent
    #: Another attempt may succeed.
    transient: bool = False
    #: The presigned URL is no longer good.
    expired: bool = False
    #: The server asked us to slow down, for so many seconds if it said how long.
    throttled: bool = False
    retry_after: float | None = None
    #: A neighbour on the same connection met the same failure first: the budget for retries has heard of it.
    echo: bool = False


@dataclass(frozen=True, slots=True)
class Prepare:
    """POST /upload; answered by a Slot."""

    retry: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    """PUT the zip into *slot*; answered by None."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Ask:
    """POST /job_status; answered by a JobStatus."""

    ticket: Ticket
    history: bool = False
    image_links: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Back off before attempt number *attempt* (1 is the first retry) because of *fault*; answered by None."""

    attempt: int
    fault: Fault = field(repr=False)


Step = Prepare | Put | Ask | Pause
Answer = TypeVar("Answer")
Conversation = Generator[Step, Any, Answer]


class Submission:
    """One job on its way, and how far it may have come: what a caller must know if it is cut short.

    *reach* is what an earlier, unfinished submission of the same pictures under the same job_id may have reached.
    """

    __slots__ = ("job", "known", "left", "reach", "recalled", "ticket")

    def __init__(self, job: Job, reach: Reach = Reach.NOTHING) -> None:
        self.job = job
        self.ticket: Ticket = job.ticket
        self.reach = reach
        #: Whether any request about this job may have left.
        self.left = reach > Reach.NOTHING
        #: A ledger knows that it was accepted before, and the latest verdict that has come since.
        self.recalled = False
        self.known: Verdict | None = None

    def steps(self) -> Conversation[Ticket]:
        """The whole story, up to the ticket of a job whose zip has arrived; a Fault it can not mend goes through."""
        slot = yield from self._reserved()
        if slot is not None:
            yield from self._uploaded(slot)
        return self.ticket

    def _reserved(self, retry: bool = False) -> Conversation[Slot | None]:
        """A slot, or None if the zip that this story sent has already arrived."""
        attempt = doubted = 0
        while True:
            before, left = self.reach, self.left
            self.reach, self.left = max(before, Reach.RESERVED), True
            try:
                slot: Slot = yield Prepare(retry)
            except Fault as fault:
                if fault.sent is not Sent.AMBIGUOUS:
                    self.reach = before
                if fault.sent is Sent.UNSENT:
                    self.left = left
                if isinstance(fault.error, JobExists) and before > Reach.NOTHING and doubted < ATTEMPTS:
                    if (yield from self._arrived(fault)):
                        return None
                    retry, doubted = True, doubted + 1
                    continue
                attempt += 1
                if not fault.transient or attempt == ATTEMPTS:
                    raise
                pause = Pause(attempt, fault)
            else:
                self._numbered(slot.smile_job_id)
                return slot
            yield pause

    def _arrived(self, exists: Fault) -> Conversation[bool]:
        """Whether our own zip is there already; raises *exists* if the zip that is there is not ours."""
        try:
            status = yield from insist(Ask(self.ticket))
        except Fault as fault:
            if isinstance(fault.error, JobNotFound):
                raise exists from None
            raise
        if status.waiting_for_zip:
            return False
        if self.reach < Reach.UPLOADED:
            raise exists
        self._numbered(status.ticket.smile_job_id)
        return True

    def _uploaded(self, slot: Slot) -> Conversation[None]:
        attempt, renewed = 0, False
        while True:
            attempt += 1
            before, self.reach = self.reach, Reach.UPLOADED
            try:
                yield Put(slot)
                return
            except Fault as fault:
                if fault.sent is not Sent.AMBIGUOUS:
                    self.reach = before
                elif (yield from self._landed()):
                    return
                if attempt == ATTEMPTS or not (fault.transient or (fault.expired and not renewed)):
                    raise
                if fault.expired and not renewed:
                    renewed = True
                    fresh = yield from self._reserved(retry=True)
                    if fresh is None:
                        return
                    slot = fresh
                else:
                    yield Pause(attempt, fault)

    def _landed(self) -> Conversation[bool]:
        """Whether a PUT of which we heard nothing has arrived after all."""
        try:
            status = yield from insist(Ask(self.ticket))
        except Fault as fault:
            if isinstance(fault.error, JobNotFound):
                return False
            raise
        return not status.waiting_for_zip

    def _numbered(self, smile_job_id: str | None) -> None:
        if smile_job_id is not None:
            self.ticket = Ticket(self.ticket.user_id, self.ticket.job_id, self.ticket.job_type, smile_job_id)


def insist(step: Ask) -> Conversation[JobStatus]:
    """Ask, and ask again after a passing fault: a status query may always be repeated."""
    attempt = 1
    while True:
        try:
            status: JobStatus = yield step
            return status
        except Fault as fault:
            if not fault.transient or attempt == ATTEMPTS:
                raise
            yield Pause(attempt, fault)
        attempt += 1


class Pursuit:
    """What is known of a job that is waiting for its verdict: when to ask next, and the latest word.

    *since* is the moment, in seconds of a monotonic clock, from which its age counts: its upload if *ours* (then its
    duration teaches the rhythm), else the moment somebody began to wait.
    """

    __slots__ = ("asked", "failures", "latency", "ours", "reviewed", "seen", "since", "ticket", "verdict")

    def __init__(self, ticket: Ticket, since: float, *, ours: bool) -> None:
        self.ticket = ticket
        self.since = since
        self.ours = ours
        self.verdict: Verdict | None = None
        self.asked = 0
        self.failures = 0
        self.latency = 0.0
        #: When it was last known not to be decided.
        self.seen = since
        #: A provisional verdict was seen: what is awaited now is a person's.
        self.reviewed = False

    def join(self, ticket: Ticket) -> None:
        """Take in what somebody else's *ticket* knows of the job.

        Where two differ before any reply has told, neither counts: the reply is judged for each who waits.
        """
        mine, asked = self.ticket, self.asked
        kinds, numbers = {mine.job_type, ticket.job_type}, {mine.smile_job_id, ticket.smile_job_id}
        kind = _agreed(kinds - {UNKNOWN_JOB_TYPE}, mine.job_type if asked else UNKNOWN_JOB_TYPE)
        number = _agreed(numbers - {None}, mine.smile_job_id if asked else None)
        if (kind, number) != (mine.job_type, mine.smile_job_id):
            self.ticket = Ticket(mine.user_id, mine.job_id, kind, number)

    def delay(self, rhythm: Rhythm, now: float) -> float:
        """Seconds from *now* until the next poll."""
        if not self.asked and not self.ours and not self.failures:
            return 0.0
        age = max(0.0, now - self.since)
        wait = rhythm.delay(int(self.ticket.job_type), age, self.asked, self.reviewed)
        return failing_delay(self.failures, wait, latency=self.latency)

    def heard(self, status: JobStatus, asked_at: float, rhythm: Rhythm) -> Verdict | None:
        """Take in the answer to a query that left at *asked_at*; returns its verdict if it is news."""
        self.failures, self.latency = 0, 0.0
        self.asked += 1
        self.ticket = status.ticket
        if self.ours and not (self.verdict is not None and self.verdict.final):
            self._teach(status.verdict, asked_at, rhythm)
        self.seen = asked_at
        if status.verdict is None or not self.advance(status.verdict):
            return None
        self.reviewed = not status.verdict.final
        return status.verdict

    def told(self, verdict: Verdict, now: float, rhythm: Rhythm) -> bool:
        """Take in a verdict that came unasked at *now*; False if it is old news."""
        if not self.advance(verdict):
            return False
        # Were only polls to teach, the rhythm would hear of none but the slow jobs.
        if self.ours:
            self._teach(verdict, now, rhythm)
        self.seen = now
        self.reviewed = not verdict.final
        return True

    def advance(self, verdict: Verdict) -> bool:
        """Move forward to *verdict*; False if it is old news: a final word stays, and the same word counts once."""
        known = self.verdict
        if known is not None and (known.final or (not verdict.final and known.code == verdict.code)):
            return False
        self.verdict = verdict
        return True

    def missed(self, latency: float) -> None:
        """Take note of a query that failed after *latency* seconds."""
        self.failures += 1
        self.latency = latency

    def _teach(self, verdict: Verdict | None, asked_at: float, rhythm: Rhythm) -> None:
        done = verdict is not None and (verdict.final or not self.reviewed)
        after, by = max(0.0, self.seen - self.since), max(0.0, asked_at - self.since)
        rhythm.learn(int(self.ticket.job_type), after, by, done=done, reviewed=self.reviewed)


def _agreed(said: set[Any], otherwise: Any) -> Any:
    return said.pop() if len(said) == 1 else otherwise
