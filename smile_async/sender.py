"""Bring one job to Smile ID: wait for a place, read its pictures, walk its story, remember how far it came.

The places bound the memory: nothing else in a session holds image content. What is remembered of a submission that was
cut short is a digest of its pictures, so that calling again with the same job resumes it, while another selfie under
the same job_id is refused by Smile ID as it should be.
"""

from collections import OrderedDict

import anyio

from smile_async.clock import Clock
from smile_async.conversation import Fault, Reach, Sent, Submission
from smile_async.courier import Courier
from smile_async.errors import SmileError, Unavailable
from smile_async.gate import Pacer
from smile_async.intake import Cargo, load
from smile_async.job import Ticket
from smile_async.settings import Limits
from smile_async.telemetry import span

__all__ = ["Sender"]

#: Unfinished submissions that are remembered, the newest of them: 10,000 of about 300 bytes.
REMEMBERED = 10_000


class Sender:
    """Uploads jobs, `Limits.uploads` at a time and at most `Limits.jobs_per_second`."""

    def __init__(self, courier: Courier, limits: Limits, clock: Clock) -> None:
        self._courier = courier
        self._clock = clock
        self._places = anyio.Semaphore(limits.uploads, fast_acquire=True)
        self._pacer = Pacer(limits.jobs_per_second, clock)
        self._unfinished: OrderedDict[tuple[str, str], tuple[bytes, Reach]] = OrderedDict()
        #: Jobs accepted so far.
        self.submitted = 0

    async def send(self, submission: Submission, deadline: float) -> Ticket:
        """The ticket of the accepted job, before *deadline* (monotonic seconds); raises any SmileError, explained.

        Cancelling abandons the request under way; `submission` then says how far the job may have come.
        """
        await self._place(submission, deadline)
        try:
            cargo = await load(submission.job)
            return await self._walk(submission, cargo, deadline)
        finally:
            self._places.release()

    async def _place(self, submission: Submission, deadline: float) -> None:
        with anyio.move_on_after(deadline - self._clock.monotonic()):
            await self._pacer.turn()
            await self._places.acquire()
            return
        whose = f"job {submission.job.job_id} of user {submission.job.user_id}"
        raise Unavailable(
            f"{whose} got no upload slot in time: raise the Limits, or patience", job=submission.job, retryable=True
        )

    async def _walk(self, submission: Submission, cargo: Cargo, deadline: float) -> Ticket:
        self._resume(submission, cargo)
        try:
            with span("upload", job_id=submission.job.job_id, job_type=int(submission.job.job_type)):
                ticket = await self._courier.walk(submission, cargo, deadline)
        except Fault as fault:
            self._remember(submission, cargo)
            error = _explained(fault, submission)
        except BaseException:
            self._remember(submission, cargo)
            raise
        else:
            self.submitted += 1
            return ticket
        raise error

    def _resume(self, submission: Submission, cargo: Cargo) -> None:
        key = (submission.job.user_id, submission.job.job_id)
        known = self._unfinished.get(key)
        # Other pictures under the same job_id are another person's attempt: Smile ID will say 2215, and so shall we.
        if known is not None and known[0] == cargo.digest():
            submission.reach, submission.left = known[1], True
            del self._unfinished[key]

    def _remember(self, submission: Submission, cargo: Cargo) -> None:
        if submission.reach > Reach.NOTHING:
            self._unfinished[submission.job.user_id, submission.job.job_id] = (cargo.digest(), submission.reach)
            if len(self._unfinished) > REMEMBERED:
                self._unfinished.popitem(last=False)


def _explained(fault: Fault, submission: Submission) -> SmileError:
    error = fault.error
    error.job = submission.job
    error.ticket = submission.ticket if submission.left else None
    error.retryable = fault.transient or fault.expired or fault.sent is Sent.UNSENT
    return error.with_traceback(None)
