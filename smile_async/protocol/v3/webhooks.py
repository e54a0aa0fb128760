"""A webhook of V3: what may be believed of it, and when it may give a ticket the TypeID that it lacks.

Its signature covers neither body nor ids, so one that was captured authenticates any webhook for five minutes. What it
says is asked of `/status`, and what that does not tell (reason, id fields, links) stays a claim.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from smile_async.errors import UnreadableReply
from smile_async.jobs.ticket import Ticket, id_flaw
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.protocol.bodies import holds_too_much, read_object
from smile_async.protocol.callback_urls import Address
from smile_async.protocol.v3.judging import DECISIONS, read_claims, verdict_of
from smile_async.protocol.v3.needs import JOB_PARAM
from smile_async.protocol.v3.replies import text_of, user_in, word_of
from smile_async.protocol.v3.signature import FRESH_FOR, HeaderSigner
from smile_async.protocol.v3.type_id import FITTING, made_at

__all__ = ["Webhook", "completion_flaw", "judge_webhook"]


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook, none of it confirmed.

    *word*: its status, `processing` too, which is no verdict. *job_id*: ours, as partner_params repeat it. *timestamp*:
    the signed one. *api_version*: as it came, of whatever version.
    """

    type_id: str
    user_id: str
    word: str
    timestamp: str
    message: str = field(default="", repr=False)
    job_id: str | None = None
    api_version: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def decided(self) -> bool:
        """Whether it says how the job ended."""
        return self.word in DECISIONS

    def verdict(self, ticket: Ticket) -> Verdict | None:
        """What it says of *ticket*, unconfirmed; None while it says nothing, as `processing` does."""
        if not self.decided:
            return None
        told = replace(ticket, smile_job_id=self.type_id, api="v3")
        more = {"timestamp": self.timestamp, "claims": self.claims, "raw": self.raw, "reason": self.reason}
        return verdict_of(self.word, self.message, told, source="callback", confirmed=False, **more)

    @property
    def reason(self) -> str | None:
        """Why, as it says."""
        said: str | None = self.claims.get("reason")
        return said


def judge_webhook(
    headers: Mapping[str, str], body: bytes, signer: HeaderSigner, now: float, tolerance: float = FRESH_FOR
) -> Webhook:
    """The webhook of *headers* (by their names in lower case) and *body*, if one of the keys signed it lately.

    Raises ForgedReply, StaleReply or UnreadableReply.
    """
    timestamp = headers.get("response-timestamp", "")
    # Before anything of it is read: whoever has no key can not make that expensive.
    signer.check(timestamp, headers.get("response-signature", ""), now, tolerance)
    if holds_too_much(body):
        raise UnreadableReply("the webhook holds more values than any result")
    found = read_object(body, "the webhook")
    params = found.get("partner_params")
    params = params if isinstance(params, Mapping) else {}
    type_id = headers.get("job-id") or text_of(params.get("job_id")) or ""
    user_id = user_in(headers) or text_of(params.get("user_id")) or ""
    word = word_of(found.get("status"))
    # What is not signed is an attacker's to choose: no log line and no memory of ours takes texts of any length.
    if word is None or not FITTING.fullmatch(type_id) or id_flaw(user_id):
        raise UnreadableReply("the webhook names no status, or no job and user as a real one does")
    ours = text_of(params.get(JOB_PARAM))
    return Webhook(
        *(type_id, user_id, word, timestamp, text_of(found.get("message")) or ""),
        job_id=None if ours is None or id_flaw(ours) else ours,
        api_version=headers.get("api-version", "")[:40],
        claims=read_claims(found),
        raw=found,
    )


def completion_flaw(
    hook: Webhook, ticket: Ticket, status: JobStatus, *, address: Address | None, bound_to: Ticket | None
) -> str:
    """Why *hook* may not give *ticket* its TypeID; "" if it may: then *status*, asked about that TypeID, counts.

    *address*: what the URL proves that it came to. *bound_to*: the ticket that has this TypeID already. Without any of
    these an impostor could use one captured signature, and the TypeID of an older job that was cleared.
    """
    made = made_at(hook.type_id)
    whose = (ticket.user_id, ticket.job_id)
    if address is None or address.job_id != ticket.job_id:
        return "it did not come to the URL that was made for this job"
    rules = (
        (status.ticket.smile_job_id == hook.type_id, "status was asked about another job"),
        (status.ticket.user_id == ticket.user_id, "status names another user for that job"),
        (bound_to is None or (bound_to.user_id, bound_to.job_id) == whose, "that job belongs to another ticket"),
        (ticket.smile_job_id in (None, hook.type_id), "the ticket belongs to another job"),
        (made is not None and round(made * 1_000) >= round(address.since * 1_000), "that job is older"),
    )
    return next((why for kept, why in rules if not kept), "")
