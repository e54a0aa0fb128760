"""What a refusal means: a status and a code become the error a caller sees and the fault a story acts on.

A 5xx may come after the job was accepted, so it is ambiguous; everything that carries a code of its own is an answer.
"""

from typing import Any

from smile_async.errors import (
    AlreadyEnrolled,
    IdNumberBlocked,
    JobExists,
    JobNotFound,
    NotAuthorized,
    RateLimited,
    Refused,
    SmileError,
    Unavailable,
    UnreadableReply,
    UserNotEnrolled,
)
from smile_async.protocol.steps import Fault, Sent
from smile_async.protocol.v1.replies import Complaint

__all__ = ["ONE_ID_NUMBER", "is_answer", "refusal"]

#: "Internal system error" of the three families of calls (wire.md §9), whatever HTTP status it comes with.
_SYSTEM_ERRORS = frozenset({"2201", "2301", "2401"})
#: Request Timeout and Too Early: by their own definition, to be sent again (RFC 9110 §15.5.9, RFC 8470 §5.2).
_PASSING = frozenset({408, 425})
#: One id number was looked up too often: nothing that waiting for a moment, or others waiting, would mend.
ONE_ID_NUMBER = "2222"
_REFUSALS: dict[str, type[Refused]] = {
    ONE_ID_NUMBER: IdNumberBlocked,
    "2204": NotAuthorized,
    "2205": NotAuthorized,
    "2405": NotAuthorized,
    "2207": UserNotEnrolled,
    "2208": UserNotEnrolled,
    "2210": UserNotEnrolled,
    "2211": UserNotEnrolled,
    "2216": UserNotEnrolled,
    "2209": AlreadyEnrolled,
    "2215": JobExists,
    "2304": JobNotFound,
}
#: By code where it tells more than the kind of error does.
_CURES: dict[type[Refused] | str, str] = {
    # "Invalid or missing parameter" as well as "unauthorised" (wire.md §9).
    "2204": "check what the values of partner_params may be; or else partner id, key, environment and the clock",
    IdNumberBlocked: "this id number was looked up too often, and is blocked for days",
    NotAuthorized: "check partner id, key, environment and the clock",
    UserNotEnrolled: "register the user first",
    AlreadyEnrolled: "authenticate instead, or register with allow_new_enroll=True",
    JobExists: "this job_id was used before; give the new selfie a new one",
    JobNotFound: "check user_id, job_id and environment",
    RateLimited: "slow down and call again",
}
_NOT_SMILE_ID = "without a code it may come from a proxy or firewall on the way: check the network and the base_url"


def refusal(status: int, complaint: Complaint, about: str, asked: float | None = None) -> Fault:
    """What a reply of HTTP *status* with this *complaint* means for the request *about* which it speaks.

    *asked*: seconds the server asked to wait (Retry-After), None if it did not.
    """
    if not is_answer(status, complaint.code):
        error: SmileError = Unavailable(f"{about} was answered by HTTP {status} {complaint.code}".rstrip())
        return Fault(error, Sent.AMBIGUOUS, transient=True, throttled=status == 503, retry_after=asked)
    if 300 <= status < 400 or (status < 400 and not complaint.code):
        return Fault(UnreadableReply(f"{about} was answered by HTTP {status} without a code"), Sent.AMBIGUOUS)
    passing = status == 429 and complaint.code != ONE_ID_NUMBER
    kind = _REFUSALS.get(complaint.code, NotAuthorized if status in (401, 403) else Refused)
    kind = RateLimited if passing else kind
    refused = kind(_told(kind, about, status, complaint), **_facts(status, complaint))
    if isinstance(refused, RateLimited):
        refused.retry_after = asked
    return Fault(refused, Sent.ANSWERED, transient=passing, throttled=passing, retry_after=asked)


def is_answer(status: int, code: str) -> bool:
    """Whether a refusal of HTTP *status* with this *code* was made on purpose, so that nothing came of the request."""
    passing = status >= 500 or status in _PASSING
    return code not in _SYSTEM_ERRORS and not (passing and code not in _REFUSALS)


def _facts(status: int, complaint: Complaint) -> dict[str, Any]:
    return {"status": status, "code": complaint.code, "message": complaint.message}


def _told(kind: type[Refused], about: str, status: int, complaint: Complaint) -> str:
    said = f"{complaint.code} {complaint.message}".strip() or "no reason given"
    if not complaint.code and kind is not RateLimited:
        return f"{about} was refused: {said} (HTTP {status}): {_NOT_SMILE_ID}"
    cure = _CURES.get(complaint.code) or _CURES.get(kind, f"see explain({complaint.code!r})")
    return f"smile id refused {about}: {said} (HTTP {status}): {cure}"
