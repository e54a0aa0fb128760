"""The submission of one job, told as the steps a driver must take; no socket, no clock, no signature.

An `Upload` is a story in two chapters: reserve a place for the zip, put the zip there. Each step is a value the
driver performs and answers, or throws a `Fault` back; the story knows what may be repeated without a second bill:

* `/upload` that may have arrived is sent again with the same job_id. If Smile ID then says 2215, the job may be ours:
  `/job_status` is asked, and only "no zip yet" (2314) lets us go on, with `retry: true`. A zip that this story did not
  send belongs to somebody else's selfie, and the story ends with JobExists, never with that job's verdict.
* A PUT that may have arrived is followed by `/job_status` before it is repeated.
* `/job_status` may not know a job that was made a moment ago (2304): it is asked for ten seconds. If it still does not,
  nobody can tell whose job it is, and calling again may.
* A URL that has expired is replaced by a fresh one for the same job.
"""

from dataclasses import replace

from smile_async.errors import JobExists, JobNotFound, Unavailable
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import JobStatus
from smile_async.protocol.steps import (
    ATTEMPTS,
    FORGETFUL_GAPS,
    Ask,
    Attempts,
    Conversation,
    Fault,
    Prepare,
    Put,
    Reach,
    Sent,
    Slot,
    Wait,
    insist,
)
from smile_async.protocol.submission import Submission

__all__ = ["Upload"]


class Upload(Submission):
    """A job whose pictures travel in a zip."""

    __slots__ = ()

    def steps(self) -> Conversation[Ticket]:
        """The whole story, up to the ticket of a job whose zip has arrived; a Fault it can not mend goes through."""
        slot = yield from self._reserved()
        if slot is not None:
            yield from self._uploaded(slot)
        return self.ticket

    def _reserved(self, retry: bool = False) -> Conversation[Slot | None]:
        """A slot, or None if the zip that this story sent has already arrived."""
        attempts, doubted = Attempts(), 0
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
                if isinstance(fault.error, JobExists) and before > Reach.NOTHING:
                    if doubted == ATTEMPTS:
                        raise self._doubtful("is refused a new upload URL") from None
                    if (yield from self._arrived(fault)):
                        return None
                    retry, doubted = True, doubted + 1
                    continue
                pause = attempts.after(fault)
            else:
                self._numbered(slot.smile_job_id)
                return slot
            yield pause

    def _arrived(self, exists: Fault) -> Conversation[bool]:
        """Whether our own zip is there already; raises *exists* if the zip that is there is not ours."""
        status = yield from self._status()
        if status is None:
            raise self._doubtful("is not known to /job_status yet")
        if status.waiting_for_zip:
            return False
        if self.reach < Reach.UPLOADED:
            raise exists
        self._numbered(status.ticket.smile_job_id)
        return True

    def _uploaded(self, slot: Slot) -> Conversation[None]:
        attempts, renewed = Attempts(), False
        while True:
            before, self.reach = self.reach, Reach.UPLOADED
            try:
                yield Put(slot)
                return
            except Fault as fault:
                if fault.sent is not Sent.AMBIGUOUS:
                    self.reach = before
                elif (yield from self._landed()):
                    return
                renews = fault.expired and not renewed
                pause = attempts.after(fault, mended=renews)
                if not renews:
                    yield pause
                    continue
                renewed = True
                fresh = yield from self._reserved(retry=True)
                if fresh is None:
                    return
                slot = fresh

    def _landed(self) -> Conversation[bool]:
        """Whether a PUT of which we heard nothing has arrived after all."""
        status = yield from self._status()
        return status is not None and not status.waiting_for_zip

    def _status(self) -> Conversation[JobStatus | None]:
        """What `/job_status` says of a job that must be there; None if it goes on not knowing it."""
        for gap in (0.0, *FORGETFUL_GAPS):
            if gap and not (yield Wait(gap)):
                break
            try:
                status: JobStatus = yield from insist(Ask(self.ticket))
                return status
            except Fault as fault:
                if not isinstance(fault.error, JobNotFound):
                    raise
        return None

    def _doubtful(self, why: str) -> Fault:
        """The end of a story whose job exists and may be our own."""
        whose = f"job {self.job.job_id} of user {self.job.user_id}"
        return Fault(
            Unavailable(f"{whose} exists, but {why}: call again with the same Job"), Sent.ANSWERED, transient=True
        )

    def _numbered(self, smile_job_id: str | None) -> None:
        if smile_job_id is not None:
            self.ticket = replace(self.ticket, smile_job_id=smile_job_id)
