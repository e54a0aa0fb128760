"""Bring one job to Smile ID: wait for a place, read its pictures, walk its story, remember how far it came.

The places bound the memory: nothing else in a session holds image content. What is remembered of a submission that was
cut short is a digest of its pictures, so that calling again with the same job resumes it, while another selfie under
the same job_id is refused by Smile ID as it should be.
"""

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

import anyio

from smile_async.errors import BadConfiguration, InvalidJob, LedgerFailed, SmileError, Unavailable
from smile_async.jobs.ticket import Ticket
from smile_async.limits import Limits
from smile_async.protocol.steps import Fault, Reach, Sent
from smile_async.protocol.v1.submission import Submission
from smile_async.timing.clock import Clock
from smile_async.traffic.driver import Driver
from smile_async.traffic.payload import Payload, Reader, read_in_thread
from smile_async.traffic.telemetry import span
from smile_async.transport.limiter import RateLimiter

if TYPE_CHECKING:
    from smile_async.ledger import Ledger

__all__ = ["Sender", "ledger_of"]

#: Bytes; glibc gives freed blocks back to the kernel above a size that it learns from the largest block ever freed
#: (mallopt(3), M_MMAP_THRESHOLD). One of this size, never written to, saves a usual zip 110 page faults: 0.2 ms. Each
#: thread's arena keeps up to twice as much: with 4 MiB a long stream held 15 MB more, with 1 MiB it faulted again.
LARGEST_BLOCK = 2_097_152

#: Unfinished submissions that are remembered, the newest of them: 10,000 of about 300 bytes.
REMEMBERED = 10_000


class Sender:
    """Uploads jobs, `Limits.uploads` at a time and at most `Limits.jobs_per_second`."""

    def __init__(
        self,
        driver: Driver,
        limits: Limits,
        clock: Clock,
        ledger: "Ledger | None" = None,
        reader: Reader = read_in_thread,
    ) -> None:
        self._ledger = ledger
        self._driver = driver
        self._reader = reader
        self._clock = clock
        self._places = anyio.Semaphore(limits.uploads, fast_acquire=True)
        self._rate = RateLimiter(limits.jobs_per_second, clock)
        self._unfinished: OrderedDict[tuple[str, str], tuple[bytes, Reach]] = OrderedDict()
        #: Jobs accepted so far.
        self.submitted = 0
        bytes(LARGEST_BLOCK)

    async def send(self, submission: Submission, deadline: float) -> Ticket:
        """The ticket of the accepted job, before *deadline* (monotonic seconds); raises any SmileError, explained.

        Cancelling abandons the request under way; `submission` then says how far the job may have come.
        """
        await self._place(submission, deadline)
        try:
            payload = await self._loaded(submission)
            if self._ledger is not None and await self._recalled(self._ledger, submission, payload, deadline):
                return submission.ticket
            return await self._walk(submission, payload, deadline)
        finally:
            self._places.release()

    async def _place(self, submission: Submission, deadline: float) -> None:
        if self._places.value and not self._rate.gap and self._clock.monotonic() < deadline:
            # As nearly always in a stream, which has as many workers as there are places.
            self._places.acquire_nowait()
            return
        with anyio.move_on_after(deadline - self._clock.monotonic()):
            await self._places.acquire()
            try:
                # Last: turns that were taken before a place was free would be used up all at once.
                await self._rate.turn()
            except BaseException:
                self._places.release()
                raise
            return
        whose = f"job {submission.job.job_id} of user {submission.job.user_id}"
        raise Unavailable(
            f"{whose} got no upload slot in time: raise the Limits, or patience", job=submission.job, retryable=True
        )

    async def _loaded(self, submission: Submission) -> Payload:
        try:
            return await self._reader(submission.job)
        except InvalidJob as error:
            self._note_failure(submission, error)
            raise

    async def _recalled(self, ledger: "Ledger", submission: Submission, payload: Payload, deadline: float) -> bool:
        """Whether the job was accepted before; if not, it is durably on record now that it is about to be sent."""
        with anyio.move_on_after(deadline - self._clock.monotonic()):
            known = await ledger.begin(submission.job, payload.digest())
            if known is None:
                return False
            if known.ticket is not None:
                submission.ticket, submission.known, submission.recalled = known.ticket, known.verdict, True
            submission.resume(known.reach)
            return known.ticket is not None
        whose = f"job {submission.job.job_id} of user {submission.job.user_id}"
        raise LedgerFailed(f"{whose} was not written to the ledger in time: raise patience", retryable=True)

    async def _walk(self, submission: Submission, payload: Payload, deadline: float) -> Ticket:
        self._resume(submission, payload)
        try:
            with span("upload", job_id=submission.job.job_id, job_type=int(submission.job.job_type)):
                before_put = None if self._ledger is None else partial(self._about_to_put, self._ledger, submission)
                ticket = await self._driver.walk(submission, payload, deadline, before_put)
        except Fault as fault:
            self._remember(submission, payload)
            error = _explained(fault, submission)
            self._note_failure(submission, error)
        except BaseException:
            self._remember(submission, payload)
            raise
        else:
            self.submitted += 1
            if self._ledger is not None:
                self._ledger.accepted(ticket)
            return ticket
        raise error

    async def _about_to_put(self, ledger: "Ledger", submission: Submission) -> None:
        """A zip must not leave before it is on record: only then may a zip that is found there be ours."""
        try:
            await ledger.mark(submission.ticket, Reach.UPLOADED)
        except LedgerFailed as error:
            raise Fault(error, Sent.UNSENT) from None

    def _note_failure(self, submission: Submission, error: SmileError) -> None:
        if self._ledger is not None and not isinstance(error, LedgerFailed):
            self._ledger.failed(submission.ticket, error, submission.reach)

    def _resume(self, submission: Submission, payload: Payload) -> None:
        key = (submission.job.user_id, submission.job.job_id)
        known = self._unfinished.get(key)
        # Other pictures under the same job_id are another person's attempt: Smile ID will say 2215, and so shall we.
        if known is not None and known[0] == payload.digest():
            submission.resume(known[1])
            del self._unfinished[key]

    def _remember(self, submission: Submission, payload: Payload) -> None:
        if submission.reach > Reach.NOTHING:
            self._unfinished[submission.job.user_id, submission.job.job_id] = (payload.digest(), submission.reach)
            if len(self._unfinished) > REMEMBERED:
                self._unfinished.popitem(last=False)


def ledger_of(given: object) -> "tuple[Ledger | None, bool]":
    """The ledger, and whether it ends with the session; the extra is imported only by who uses it."""
    if given is None:
        return None, False
    try:
        from smile_async.ledger import as_ledger  # noqa: PLC0415 - see above
    except ImportError as missing:
        raise BadConfiguration(
            f"the package {missing.name} is missing: run  pip install 'smile-async[batch]'"
        ) from None
    return as_ledger(given)


def _explained(fault: Fault, submission: Submission) -> SmileError:
    error = fault.error
    error.job = submission.job
    error.ticket = submission.ticket if submission.left else None
    error.retryable = fault.transient or fault.expired or fault.sent is Sent.UNSENT
    return error.with_traceback(None)
