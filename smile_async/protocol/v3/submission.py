"""The submission of one job, told as the steps a driver must take: one request, sent once.

The server makes the job's name, takes no key of ours but for AML, and lists no jobs: whether a request that got no
answer was taken, nobody can tell. So its story ends with SubmissionUnknown; a webhook may tell later. A refusal (4xx)
means that nothing was queued, and a request that did not leave is sent again. An AML check is sent again with its key.
"""

import contextlib
from dataclasses import replace

from smile_async.errors import ForgedReply, SmileError, SubmissionUnknown
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict
from smile_async.protocol.steps import Ask, Attempts, Conversation, Fault, Now, Reach, Sent, insist
from smile_async.protocol.submission import SingleRequest
from smile_async.protocol.v3.endpoints import ENDPOINTS

__all__ = ["OneSubmission"]


class OneSubmission(SingleRequest):
    """One job on its way."""

    __slots__ = ()

    def __init__(self, job: Job, *, later: bool = False) -> None:
        super().__init__(job, later=later)
        self.ticket = replace(job.ticket, api="v3")

    @property
    def may_repeat(self) -> bool:
        """Whether it may be sent again when nobody knows whether it was taken: the key makes it one job."""
        return self.job.product is not None and self.job.product in ENDPOINTS and ENDPOINTS[self.job.product].keyed

    def lost(self) -> SmileError | None:
        """A request that may have been taken is not sent again, whatever for."""
        return None if self.reach is Reach.NOTHING or self.may_repeat else self._unknown().error

    def late(self, why: str) -> SmileError:
        """Nor for having taken too long."""
        return self.lost() or super().late(why)

    def steps(self) -> Conversation[Ticket]:
        """The whole story, up to the ticket of a job that was taken; its verdict, if it came, is `known`."""
        if self.lost() is not None:
            raise self._unknown()
        if self.since is None:
            self.since = yield Now()
        attempts = Attempts()
        while True:
            try:
                answer: Ticket | Verdict = yield from self.request()
            except Fault as told:
                fault = told
            else:
                self.ticket = answer.ticket if isinstance(answer, Verdict) else answer
                if isinstance(answer, Verdict):
                    self.known = answer
                    yield from self._confirmed(answer)
                return self.ticket
            if fault.sent is Sent.AMBIGUOUS and not self.may_repeat:
                raise fault if isinstance(fault.error, ForgedReply) else self._unknown()
            yield attempts.after(fault)

    def _confirmed(self, verdict: Verdict) -> Conversation[None]:
        """Ask the status of a *verdict* whose reply carried no signature; what it says wins, if it says anything."""
        if verdict.confirmed:
            return
        with contextlib.suppress(Fault):
            told = (yield from insist(Ask(verdict.ticket))).verdict
            if told is not None:
                self.known = replace(verdict, confirmed=True) if told.code == verdict.code else told

    def _unknown(self) -> Fault:
        whose = f"job {self.job.job_id} of user {self.job.user_id}"
        cure = "wait for its webhook, or make a new job, which may be a second bill"
        lost = SubmissionUnknown(f"{whose} got no answer, and nobody can tell whether it was taken: {cure}")
        lost.ticket = self.ticket
        return Fault(lost, Sent.ANSWERED)
