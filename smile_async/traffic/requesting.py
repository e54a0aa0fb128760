"""Perform the one request of a product without pictures, and read its answer: one call is one attempt."""

from dataclasses import replace

from smile_async.errors import ForgedReply, SmileError, UnreadableReply
from smile_async.jobs.job import Job
from smile_async.jobs.verdict import Verdict
from smile_async.log import log
from smile_async.protocol.steps import Fault, Request, Sent
from smile_async.protocol.v1.endpoints import ENDPOINTS, request_body
from smile_async.protocol.v1.judging import judge_reply
from smile_async.protocol.v1.replies import Complaint, complaint_in, read_complaint, read_object
from smile_async.traffic.caller import Caller
from smile_async.traffic.dialect import asker
from smile_async.traffic.origin import Errand
from smile_async.transport.engine import Reply, Watched

__all__ = ["Requester"]


class Requester:
    """Carries the requests of one session."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def send(self, step: Request, job: Job, deadline: float) -> Verdict | None:
        """The verdict of *job*, or None if it is to come later. Raises Fault."""
        assert job.product is not None  # noqa: S101 - only a product is known to be asked so
        endpoint, settings = ENDPOINTS[job.product], self._caller.settings
        path = endpoint.later if step.later else endpoint.path

        def body() -> Watched:
            said = request_body(
                job,
                endpoint,
                partner_id=settings.signer.partner_id,
                stamp=self._caller.stamp(),
                callback_url=settings.callback_url,
            )
            return Watched(said, step.leaves)

        about = f"{path} for job {job.job_id} of user {job.user_id}"
        # The base URL ends in the version of most calls; some of these have another.
        url = settings.base_url.removesuffix("/v1") + path
        reply = await self._caller.send(url, body, Errand(asker(step, job), about, deadline))
        if reply.status != 200:
            raise self._refusal(reply, read_complaint(reply.body), job, about)
        return self._read(reply, job, about, later=step.later)

    def _refusal(self, reply: Reply, complaint: Complaint, job: Job, about: str) -> Fault:
        return self._caller.refused(reply, about, replace(complaint, message=job.hidden_in(complaint.message)))

    def _read(self, reply: Reply, job: Job, about: str, *, later: bool) -> Verdict | None:
        try:
            found = read_object(reply.body, f"the reply of {about}")
            complaint = complaint_in(found)
            if complaint.code and "ResultCode" not in found:
                raise self._refusal(reply, complaint, job, about)
            verdict = judge_reply(found, job.ticket, self._caller.signer, self._caller.server_clock.now())
            if verdict is None and not (later and found.get("success") in (True, "true")):
                raise UnreadableReply(f"the reply of {about} holds no result")
        except SmileError as error:
            failure = error.with_traceback(None)
            if isinstance(failure, ForgedReply):
                failure.ticket = job.ticket
            raise Fault(failure, Sent.AMBIGUOUS) from None
        if verdict is not None and not verdict.confirmed:
            log.warning("the reply of %s carries no signature: /job_status is asked", about)
        return verdict
