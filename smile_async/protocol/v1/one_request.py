"""The submission of a job without pictures, told as the steps a driver must take: one signed request, and its answer.

Each of them may be billed, so a request that may have arrived is not simply sent again:

* `/job_status` is asked with the same ids. A result counts only if it is not older than our first attempt, by the
  server's clock, and names the country, id type and number that we sent: otherwise somebody else has used this job_id,
  and the story ends with JobExists, never with that job's verdict. Where nobody knows any more how long ago our first
  attempt was made (a ledger's, from before the machine began anew), no result counts, and nobody is called foreign.
* While it is not known there (2304), and the product's job_id is known to be good for one job, we insist for a minute,
  for the authority may be at work, and then send the same job_id once more. Of other products nobody knows whether
  `/job_status` tells of them: they are never sent again.
* 2215 to a first attempt is JobExists. After one of our own that got no answer it may be about that one.
* Where nobody can tell, the story ends with SubmissionUnknown.
"""

import contextlib
import math

from smile_async.errors import ForgedReply, JobExists, JobNotFound, SmileError, SubmissionUnknown
from smile_async.jobs.job import Job
from smile_async.jobs.product import AfterSilence, Family, Product
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.protocol.signature import parse_timestamp
from smile_async.protocol.steps import (
    FORGETFUL_FOR,
    FORGETFUL_GAPS,
    Ask,
    Attempts,
    Conversation,
    Fault,
    Now,
    Reach,
    Sent,
    Wait,
    insist,
)
from smile_async.protocol.submission import SingleRequest, Submission
from smile_async.protocol.v1.judging import rejudged
from smile_async.protocol.v1.submission import Upload

__all__ = ["INSISTED_FOR", "OneRequest", "forgetful_for", "submission_of"]

#: Seconds between questions about a request that the authority may still be answering, and in all: our own choice.
INSISTED_GAPS = (*FORGETFUL_GAPS, *[5.0] * 10)
INSISTED_FOR = sum(INSISTED_GAPS)
#: What a result calls the fields of ours that it repeats (wire.md §13).
_NAMED = {"Country": "country", "IDType": "id_type", "IDNumber": "id_number"}


def forgetful_for(product: Product | None) -> float:
    """Seconds for which /job_status need not know a job of *product* that was taken.

    The authority may be at work on what is answered later.
    """
    return INSISTED_FOR if _may_repeat(product) else FORGETFUL_FOR


def _may_repeat(product: Product | None) -> bool:
    return product is not None and product.spec.after_silence is AfterSilence.REPEAT


class OneRequest(SingleRequest):
    """One such job on its way."""

    farthest = Reach.RESERVED
    __slots__ = ()

    @property
    def may_repeat(self) -> bool:
        """Whether its job_id may be sent again when nobody knows whether it was taken."""
        return _may_repeat(self.job.product)

    def late(self, why: str) -> SmileError:
        """A request that may have been taken is not sent again for having taken too long."""
        if self.reach > Reach.NOTHING and not self.may_repeat:
            return self._unknown().error
        return super().late(why)

    def steps(self) -> Conversation[Ticket]:
        """The whole story, up to the ticket of a job that was taken; its verdict, if it came, is `known`."""
        ask, again, attempts = self.reach > Reach.NOTHING, False, Attempts()
        if self.since is None and not ask:
            self.since = yield Now()
        while True:
            try:
                yield from self._found() if ask else self._sent()
                return self.ticket
            except Fault as fault:
                if ask and (again or not fault.transient):
                    raise
                if ask:
                    ask, again = False, True
                    continue
                ask = fault.sent is Sent.AMBIGUOUS and not isinstance(fault.error, ForgedReply)
                if ask:
                    continue
                pause = attempts.after(fault)
            yield pause

    def _sent(self) -> Conversation[None]:
        """One attempt: the job was taken, or a Fault."""
        before = self.reach
        try:
            verdict: Verdict | None = yield from self.request()
        except Fault as fault:
            if not isinstance(fault.error, JobExists) or before == Reach.NOTHING:
                raise
            verdict = None
            # It may be about our own attempt that got no answer.
            yield from self._found(gaps=(), transient=False)
        if verdict is not None:
            self._keep(verdict)
        if verdict is not None and not verdict.confirmed:
            with contextlib.suppress(Fault):
                yield from self._found(gaps=())

    def _keep(self, verdict: Verdict) -> None:
        self.known, self.ticket = verdict, verdict.ticket

    def _found(self, gaps: tuple[float, ...] | None = None, *, transient: bool | None = None) -> Conversation[None]:
        """Keep our job's result, as `/job_status` tells it; asked again after each of *gaps*.

        Raises a Fault: JobExists for another job's; that it is unknown, *transient* if it may be sent again.
        """
        if gaps is None:
            gaps = INSISTED_GAPS if self.may_repeat else FORGETFUL_GAPS
        # Of no type: it may be a job of any product that has used our job_id.
        asked = Ticket(self.ticket.user_id, self.ticket.job_id, UNKNOWN_JOB_TYPE)
        for gap in (0.0, *gaps):
            if gap and not (yield Wait(gap)):
                break
            try:
                status: JobStatus = yield from insist(Ask(asked))
            except Fault as fault:
                if not (fault.transient or isinstance(fault.error, JobNotFound)):
                    raise self._unknown() from None
                continue
            found = status.verdict
            if found is None or rejudged(found, self.ticket).on_the_way:
                continue
            since = self._since_by((yield Now()), status)
            if since is None:
                raise self._unknown()
            if not self._is_ours(found, since):
                raise self._exists()
            self._keep(rejudged(found, self.ticket))
            return
        raise self._unknown(transient=self.may_repeat if transient is None else transient)

    def _since_by(self, now: float, status: JobStatus) -> float | None:
        """When our first attempt was made, by the clock that signed *status*, which has come *now*.

        No other clock is asked: ours may be days off, and a Date header counts whole seconds and may be a proxy's.
        """
        signed = parse_timestamp(str(status.raw.get("timestamp", "")))
        return None if signed is None or self.since is None else signed - (now - self.since)

    def _is_ours(self, found: Verdict, since: float) -> bool:
        kind, said = found.ticket.job_type, parse_timestamp(found.timestamp)
        if kind not in (UNKNOWN_JOB_TYPE, self.ticket.job_type) or said is None:
            return False
        # Timestamps have milliseconds.
        if said < math.floor(since * 1_000) / 1_000:
            return False
        sent = {} if self.job.id_info is None else self.job.id_info.fields()
        pairs = ((sent.get(ours), found.record.get(theirs)) for theirs, ours in _NAMED.items())
        return all(None in pair or _alike(*pair) for pair in pairs)

    def _exists(self) -> Fault:
        why = f"{self._whose} got no answer, and this job_id was used before: give a new job its own"
        return Fault(JobExists(why, status=200, code="2215"), Sent.ANSWERED)

    def _unknown(self, *, transient: bool = False) -> Fault:
        why = (
            f"{self._whose} got no answer, and nobody can tell whether it was taken: ask session.status(error.ticket)"
            " later and compare what it says with what you sent, or make a new job, which may be a second bill"
        )
        return Fault(SubmissionUnknown(why), Sent.ANSWERED, transient=transient)

    @property
    def _whose(self) -> str:
        return f"job {self.job.job_id} of user {self.job.user_id}"


def submission_of(job: Job, *, later: bool = False) -> Submission:
    """The story of *job*'s submission, by its product; *later*: its result is not waited for."""
    return OneRequest(job, later=later) if job.family is Family.REQUEST else Upload(job)


def _alike(one: object, other: object) -> bool:
    return str(one).strip().casefold() == str(other).strip().casefold()
