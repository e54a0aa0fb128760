"""Bring one job to Smile ID: wait for a place, read its pictures, walk its story, remember how far it came.

The places bound the memory: nothing else in a session holds image content. What is remembered of a submission that was
cut short is a digest of its pictures, so that calling again with the same job resumes it, while another selfie under
the same job_id is refused by Smile ID as it should be.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio

from smile_async.errors import (
    BadConfiguration,
    InvalidJob,
    JobExists,
    LedgerFailed,
    Refused,
    SmileError,
    SubmissionUnknown,
    Unavailable,
    UnreadableReply,
)
from smile_async.jobs.job import Job
from smile_async.jobs.product import Family, Product
from smile_async.jobs.ticket import Ticket
from smile_async.limits import Limits
from smile_async.log import log
from smile_async.protocol.steps import Fault, Reach, Sent
from smile_async.protocol.submission import Submission
from smile_async.timing.clock import Clock
from smile_async.traffic.driver import Driver
from smile_async.traffic.origin import HOLD, Parked
from smile_async.traffic.payload import Payload, read
from smile_async.traffic.readers import InThread, Readers
from smile_async.traffic.taken import request_of
from smile_async.traffic.telemetry import link_to, span
from smile_async.transport.limiter import RateLimiter

if TYPE_CHECKING:
    from smile_async.ledger import Ledger

__all__ = ["Sender", "ledger_of"]

Key = tuple[str, str]
Whose = tuple[int | Product, bytes, bytes]
_CURE = "call again with the same job, or raise patience (or the Limits, if this is so for many jobs)"

#: Bytes; glibc gives freed blocks back to the kernel above a size that it learns from the largest block ever freed
#: (mallopt(3), M_MMAP_THRESHOLD). One of this size, never written to, saves a usual zip 110 page faults: 0.2 ms. Each
#: thread's arena keeps up to twice as much: with 4 MiB a long stream held 15 MB more, with 1 MiB it faulted again.
LARGEST_BLOCK = 2_097_152

#: Seconds; requests have the same deadline, and know better whether anything has left: they are to speak first.
GRACE = 0.6
#: Threads that read pictures from here, and as many from elsewhere: those that hang are left behind, and count.
THREADS = 64

#: Frames that prove a living person; V3 takes no other number (wire.md §12), v1 takes all and says nothing of it.
LIVENESS_FRAMES = range(6, 9)

#: Unfinished submissions that are remembered, the newest of them: 10,000 of about 300 bytes.
REMEMBERED = 10_000


class _Lane:
    """Jobs whose pictures are read, or were and wait for a place: those that come from one kind of source."""

    def __init__(self, at_once: int, in_thread: InThread | None) -> None:
        self._readers = Readers(max(THREADS, at_once))
        self.in_thread = in_thread or self._readers
        self.turns = anyio.Semaphore(at_once, fast_acquire=True)
        self.close = self._readers.close


class _Turn(asyncio.Event):
    """Set when a call that sends a job has come to its end; whether another call with the same job waits for that."""

    awaited = False


class Sender:
    """Uploads jobs, `Limits.uploads` at a time and at most `Limits.jobs_per_second`."""

    def __init__(
        self,
        driver: Driver,
        limits: Limits,
        clock: Clock,
        ledger: "Ledger | None" = None,
        in_thread: InThread | None = None,
    ) -> None:
        self._ledger = ledger
        self._driver = driver
        self._seal = driver.dialect.signer.seal
        self.submission = driver.dialect.submission
        self._clock = clock
        self._here = _Lane(limits.uploads, in_thread)
        self._elsewhere = _Lane(limits.uploads, in_thread)
        self._places = anyio.Semaphore(limits.uploads, fast_acquire=True)
        driver.dialect.hold = lambda: 0.0 if len(self._sending) > limits.uploads else HOLD
        self._rate = RateLimiter(limits.jobs_per_second, clock)
        self._unfinished: OrderedDict[Key, tuple[Whose, Reach, float | None]] = OrderedDict()
        #: Jobs on their way, and what is set when each has come to an end.
        self._sending: dict[Key, _Turn] = {}
        #: Whether somebody was told that his liveness frames prove nothing.
        self._warned = False
        #: Called with each job that is to be sent.
        self.on_job: Callable[[Job], object] | None = None
        #: Jobs accepted so far.
        self.submitted = 0
        bytes(LARGEST_BLOCK)

    def close(self) -> None:
        """Read no more."""
        self._here.close()
        self._elsewhere.close()

    async def send(self, submission: Submission, deadline: float) -> Ticket:
        """The ticket of the accepted job, before *deadline* (monotonic seconds); raises any SmileError, explained.

        Cancelling abandons the request under way; `submission` then says how far the job may have come.
        """
        self._look_at_frames(submission.job)
        if self.on_job is not None:
            self.on_job(submission.job)
        try:
            self._fits(submission)
            with anyio.move_on_after(max(0.0, deadline - self._clock.monotonic() + GRACE)):
                return await self._alone(submission, deadline)
            raise self._late(submission)
        except SmileError as error:
            unknown = isinstance(error, SubmissionUnknown)
            if unknown and (taken := self._driver.taken.of(submission.job.user_id, submission.job.job_id)):
                # Its webhook has come meanwhile.
                submission.recalled = True
                return taken[0]
            error.job = error.job or submission.job
            if submission.left or submission.job.may_have_left:
                error.ticket = submission.ticket
            raise
        finally:
            if submission.left:
                submission.job.note_that_it_left()

    def _fits(self, submission: Submission) -> None:
        try:
            self._driver.dialect.check(submission.job)
        except InvalidJob as error:
            self._note_failure(submission, error)
            raise

    def _look_at_frames(self, job: Job) -> None:
        frames = len(job.liveness)
        if frames and frames not in LIVENESS_FRAMES and not self._warned:
            self._warned = True
            log.warning(
                "job %s has %d liveness frames: liveness is judged by 6 to 8 (said once in a session)",
                job.job_id,
                frames,
            )

    def _late(self, submission: Submission) -> SmileError:
        whose = f"job {submission.job.job_id} of user {submission.job.user_id}"
        outage = self.outage and f", in {self.outage}"
        why = f"{submission.stage} before its patience was over{outage}"
        late = submission.late(f"{whose}: {why}: {_CURE}")
        self._note_failure(submission, late)
        return late

    @property
    def outage(self) -> str:
        """What there is to say of an outage under way, "" if there is none."""
        return self._driver.dialect.outage

    @property
    def stopped(self) -> bool:
        """Whether an outage keeps everybody's jobs from being sent."""
        return self._driver.dialect.stopped

    @property
    def under_way(self) -> int:
        """Jobs on their way to Smile ID."""
        return len(self._sending)

    async def _alone(self, submission: Submission, deadline: float) -> Ticket:
        """Who sends the same job meanwhile, by a double click, comes to its end first: then there is one to resume."""
        key = (submission.job.user_id, submission.job.job_id)
        while (other := self._sending.get(key)) is not None:
            submission.stage = "another call was still sending it"
            other.awaited = True
            await other.wait()
        ended = self._sending[key] = _Turn()
        try:
            return await self._sent(submission, deadline)
        finally:
            del self._sending[key]
            ended.set()

    async def _sent(self, submission: Submission, deadline: float) -> Ticket:
        if submission.job.family is Family.REQUEST:
            # No place: those bound the pictures in memory.
            submission.stage = "it did not get its turn"
            await self._rate.turn()
            end = await self._begun(submission, Payload(submission.job, (), self._seal), deadline)
        else:
            end = await self._tried(submission, deadline)
        while isinstance(end, Parked):
            submission.stage = "smile id did not take it"
            submission.aside()
            try:
                await end.hope(deadline)
            except Fault as fault:
                error = self._failed(submission, fault)
            else:
                end = await self._tried(submission, deadline, again=True)
                continue
            raise error
        return end

    async def _tried(self, submission: Submission, deadline: float, *, again: bool = False) -> Ticket | Parked:
        payload = await self._loaded(submission, again=again)
        # As for a new call with the same job: it is resumed if these are the same pictures.
        submission.reach = Reach.NOTHING
        try:
            if (parked := self._driver.dialect.parked(submission.job)) is not None:
                return parked
            return await self._begun(submission, payload, deadline)
        finally:
            self._places.release()

    async def _begun(self, submission: Submission, payload: Payload, deadline: float) -> Ticket | Parked:
        if self._ledger is not None:
            known = await self._recalled(self._ledger, submission, payload)
        else:
            known = self._driver.dialect.doubles and self._repeats(submission, payload)
        if known:
            return submission.ticket
        return await self._walk(submission, payload, deadline)

    def _repeats(self, submission: Submission, payload: Payload) -> bool:
        """Whether the API has taken this very request from this session. Raises JobExists if it was another."""
        key = (submission.job.user_id, submission.job.job_id)
        ticket, request = self._driver.taken.of(*key) or (None, None)
        lost = self._unfinished.get(key)
        # Of a job that a webhook alone told of nobody knows whose pictures it has.
        same = request == request_of(payload) if request is not None else lost is not None and lost[0] == payload.whose
        if (ticket or lost) and not same:
            why = "this session knows of another request under this job_id: give a new job its own"
            raise JobExists(f"job {key[1]} of user {key[0]}: {why}", status=409)
        if ticket is not None:
            submission.ticket, submission.recalled = ticket, True
        return ticket is not None

    def known(self, ticket: Ticket) -> Ticket:
        """*ticket* of a job of this session's, with all that the session has heard of its names."""
        dialect = self._driver.dialect
        return self._driver.known(replace(ticket, api=dialect.api if dialect.doubles else None))

    async def _loaded(self, submission: Submission, *, again: bool) -> Payload:
        """The pictures, and a place to send them from: as many jobs again as have one may be read ahead.

        A storage that hangs holds up the jobs whose pictures it has, and no others.
        """
        job = submission.job
        lane = self._elsewhere if any(image.uri for image in job.images) else self._here
        submission.stage = "its pictures were not read"
        async with lane.turns:
            hashed = self._ledger is not None or (job.user_id, job.job_id) in self._unfinished
            try:
                payload = await lane.in_thread(read, job, hashed, self._seal)
            except InvalidJob as error:
                self._note_failure(submission, error)
                raise
            submission.stage = "no upload place was free"
            await self._place(again=again)
        return payload

    async def _place(self, *, again: bool = False) -> None:
        if self._places.value and (again or not self._rate.gap):
            # As nearly always in a stream, which has as many workers as there are places.
            self._places.acquire_nowait()
            return
        await self._places.acquire()
        try:
            # Last: turns that were taken before a place was free would be used up all at once.
            if not again:
                await self._rate.turn()
        except BaseException:
            self._places.release()
            raise

    async def _recalled(self, ledger: "Ledger", submission: Submission, payload: Payload) -> bool:
        """Whether the job was accepted before; if not, it is durably on record now that it is about to be sent."""
        submission.stage = "the ledger did not write it down"
        # Read first: the age is counted later, so what comes of it lies before the attempt, never after.
        asked_at = self._clock.monotonic()
        known = await ledger.begin(submission.job, payload.digest())
        submission.attempt = known.attempt
        if known.ticket is not None:
            submission.ticket, submission.known, submission.recalled = known.ticket, known.verdict, True
        submission.resume(known.reach, None if known.age is None else asked_at - known.age)
        return known.ticket is not None

    async def _walk(self, submission: Submission, payload: Payload, deadline: float) -> Ticket | Parked:
        self._resume(submission, payload)
        job = submission.job
        submission.stage = "smile id did not take it"
        try:
            with span(str(job.family), job_id=job.job_id, job_type=int(job.job_type)) as begun:
                submission.trace = link_to(begun)
                before_put = None if self._ledger is None else partial(self._about_to_put, self._ledger, submission)
                ticket = await self._driver.walk(submission, payload, deadline, before_put)
        except Fault as fault:
            self._remember(submission, payload)
            if isinstance(fault, Parked):
                # The frames in it hold the pictures.
                return fault.with_traceback(None)
            error = self._failed(submission, fault)
        except BaseException:
            self._remember(submission, payload)
            if self._driver.dialect.doubles and submission.reach is Reach.NOTHING:
                # Or else the ledger would go on saying that nobody can tell.
                whose = f"job {job.job_id} of user {job.user_id}"
                self._note_failure(submission, Unavailable(f"{whose} was given up before it left", retryable=True))
            raise
        else:
            self.submitted += 1
            if self._driver.dialect.doubles:
                self._driver.taken.note(ticket, request_of(payload))
            elif self._ledger is None and self._sending[job.user_id, job.job_id].awaited:
                # A second click asks what has become of the first.
                self._remember(submission, payload)
            if self._ledger is not None:
                self._ledger.accepted(ticket)
                if submission.known is not None:
                    self._ledger.heard(submission.known)
            return ticket
        raise error

    async def _about_to_put(self, ledger: "Ledger", submission: Submission) -> None:
        """A zip must not leave before it is on record: only then may a zip that is found there be ours."""
        assert submission.attempt is not None  # noqa: S101 - it has begun
        submission.stage = "the ledger did not write it down"
        try:
            await ledger.mark(submission.ticket, Reach.UPLOADED, submission.attempt)
        except LedgerFailed as error:
            raise Fault(error, Sent.UNSENT) from None
        submission.stage = "the storage did not take it"

    def _failed(self, submission: Submission, fault: Fault) -> SmileError:
        error = fault.error
        unsent = fault.sent is Sent.UNSENT and not isinstance(error, (InvalidJob, Refused, UnreadableReply))
        error.retryable = fault.transient or fault.expired or unsent
        self._note_failure(submission, error)
        return error.with_traceback(None)

    def _note_failure(self, submission: Submission, error: SmileError) -> None:
        if self._ledger is not None and not isinstance(error, LedgerFailed):
            self._ledger.failed(submission.ticket, error, submission.reach, attempt=submission.attempt)

    def _resume(self, submission: Submission, payload: Payload) -> None:
        key = (submission.job.user_id, submission.job.job_id)
        known = self._unfinished.get(key)
        # Other pictures under the same job_id are another person's attempt: Smile ID will say 2215, and so shall we.
        if known is not None and known[0] == payload.whose:
            submission.resume(*known[1:])
            del self._unfinished[key]

    def _remember(self, submission: Submission, payload: Payload) -> None:
        # Where nobody can be asked, a ledger's word alone counts: it also has it of who accepts that there be two.
        if submission.reach > Reach.NOTHING and not (self._ledger is not None and self._driver.dialect.doubles):
            key = (submission.job.user_id, submission.job.job_id)
            self._unfinished[key] = (payload.whose, submission.reach, submission.since)
            if len(self._unfinished) > REMEMBERED:
                self._unfinished.popitem(last=False)


def ledger_of(given: object) -> "Ledger | None":
    """The ledger; the extra is imported only by who uses it."""
    if given is None:
        return None
    try:
        from smile_async.ledger import as_ledger  # noqa: PLC0415 - see above
    except ImportError as missing:
        raise BadConfiguration(str(missing)) from None
    return as_ledger(given)
