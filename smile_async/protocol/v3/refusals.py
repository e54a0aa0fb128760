"""What a refusal means: an HTTP status becomes the error a caller sees and the fault a story acts on.

A 4xx means that nothing was queued. What else is no answer may come after the job was: it is ambiguous, and for a
submission there is no way to find out, so its story ends with SubmissionUnknown (v3/wire.md §6).
"""

import re

from smile_async.errors import (
    IdNumberBlocked,
    JobNotFound,
    NotAuthorized,
    RateLimited,
    Refused,
    Unavailable,
    UnreadableReply,
    UserNotEnrolled,
)
from smile_async.jobs.job import Job
from smile_async.protocol.steps import Fault, Sent
from smile_async.protocol.v3.replies import complaint_of

__all__ = ["refusal"]

#: Request Timeout and Too Early: by their own definition, to be sent again (RFC 9110 §15.5.9, RFC 8470 §5.2).
_PASSING = frozenset({408, 425})
#: A 429 that is about one id number, and not about how much is asked at once (v3/wire.md §1).
_ONE_NUMBER = re.compile(r"number|blocked|submissions", re.IGNORECASE)
_CURES: dict[type[Refused], str] = {
    NotAuthorized: "check partner id, key (the portal's API key), environment, and what the account may do",
    IdNumberBlocked: "this id number was looked up too often, and is blocked for days",
    RateLimited: "slow down and call again",
    JobNotFound: "check the ticket and the environment",
    UserNotEnrolled: "register the user first",
}
_OTHERS: dict[int, str] = {
    402: "the wallet is empty: top it up",
    409: "the job is still being processed: wait for its verdict",
    413: "shrink the pictures",
}


def refusal(status: int, body: bytes, about: str, asked: float | None = None, *, job: Job | None = None) -> Fault:
    """What a reply of HTTP *status*, which brought nothing that was asked for, means for the request *about*.

    *job*: the one that was submitted, None for any other request. *asked*: seconds the server asked to wait.
    """
    if status >= 500 or status in _PASSING:
        lost = Unavailable(f"{about} was answered by HTTP {status}")
        return Fault(lost, Sent.AMBIGUOUS, transient=True, throttled=status == 503, retry_after=asked)
    if status < 400:
        return Fault(UnreadableReply(f"{about} was answered by HTTP {status}, which means nothing"), Sent.AMBIGUOUS)
    complaint = complaint_of(body)
    kind = _kind(status, complaint, job)
    said = complaint if job is None else job.hidden_in(complaint)
    cure = _CURES.get(kind) or _OTHERS.get(status, "")
    whole = f"smile id refused {about}: {said or 'no reason given'} (HTTP {status})"
    refused = kind(f"{whole}: {cure}" if cure else whole, status=status, message=said)
    if isinstance(refused, RateLimited):
        refused.retry_after = asked
    passing = kind is RateLimited
    return Fault(refused, Sent.ANSWERED, transient=passing, throttled=passing, retry_after=asked)


def _kind(status: int, said: str, job: Job | None) -> type[Refused]:
    if status in (401, 403):
        return NotAuthorized
    if status == 404:
        return JobNotFound if job is None else UserNotEnrolled if job.screening is not None else Refused
    if status == 429:
        by_number = job is not None and job.id_info is not None and _ONE_NUMBER.search(said)
        return IdNumberBlocked if by_number else RateLimited
    return Refused
