"""A status reply, the reply of a synchronous endpoint, or a webhook becomes a verdict, if it can be believed.

Status replies carry no signature: TLS is the proof, and they must name the ids that were asked about. Only HTTP 200
with one of four words is a verdict; a word that nobody knows is pending, and is shown to whoever runs out of patience.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from smile_async.errors import ForgedReply, SmileError, UnreadableReply
from smile_async.jobs.codes import Decision
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import JobStatus, Source, Verdict
from smile_async.protocol.bodies import read_object
from smile_async.protocol.steps import Fault, Sent
from smile_async.protocol.v3.endpoints import Endpoint
from smile_async.protocol.v3.refusals import refusal
from smile_async.protocol.v3.replies import named, read_accepted, read_status, text_of, user_in, word_of
from smile_async.protocol.v3.signature import FRESH_FOR, HeaderSigner
from smile_async.protocol.v3.type_id import FITTING

__all__ = ["DECISIONS", "judge_status", "judge_submission", "read_claims", "verdict_of"]

#: The four words that end a job (v3/wire.md §5), and the one of servers before July 2026, which hid theirs in a text.
DECISIONS: Mapping[str, Decision] = {
    "clear": Decision.APPROVED,
    "attention": Decision.ATTENTION,
    "block": Decision.REJECTED,
    "error": Decision.ERROR,
    "complete": Decision.UNKNOWN,
}
#: What a result says of the person and of the job besides its status.
_RECORD = ("id_fields", "user_provided_info", "additional_documents", "people", "no_of_persons_found", "antifraud")


def judge_status(status: int, body: bytes, ticket: Ticket, about: str, asked: float | None = None) -> JobStatus:
    """What a reply of `/status` says of *ticket*. Raises Fault: JobNotFound for 404, whatever its body."""
    if status not in (200, 202):
        raise refusal(status, body, about, asked)
    try:
        found = read_status(body)
        if found.type_id is None or found.user_id is None:
            raise UnreadableReply("the /status reply does not name the job and its user")
        if (found.type_id, found.user_id) != (ticket.smile_job_id, ticket.user_id):
            raise ForgedReply(f"the /status reply speaks of another job than {ticket.job_id} of user {ticket.user_id}")
    except SmileError as error:
        raise Fault(error.with_traceback(None), Sent.ANSWERED) from None
    decided = status == 200 and found.word in DECISIONS
    verdict = verdict_of(found.word, found.message, ticket, source="poll", confirmed=True) if decided else None
    raw = {"status": found.word, "job_id": found.type_id, "user_id": found.user_id, "message": found.message}
    return JobStatus(ticket, found.word, decided, verdict, raw=raw)


def verdict_of(word: str, text: str, ticket: Ticket, *, source: Source, confirmed: bool, **more: Any) -> Verdict:
    """The verdict that *word*, one of DECISIONS, says of *ticket*."""
    return Verdict(DECISIONS[word], True, word, text, ticket, source, confirmed, **more)


def judge_submission(
    job: Job,
    endpoint: Endpoint,
    reply: tuple[int, Mapping[str, str], bytes],
    about: str,
    *,
    signer: HeaderSigner,
    now: float,
    sync: bool,
    asked: float | None = None,
) -> Ticket | Verdict:
    """What the *reply* (HTTP status, headers by their names in lower case, body) to *job*'s one request brought.

    A Ticket with its TypeID, or, of a *sync* endpoint that was in time, the verdict. Raises Fault, with a ticket if the
    job is known to live: what is AMBIGUOUS may have been taken.
    """
    status, headers, body = reply
    ticket = replace(job.ticket, api="v3")
    try:
        if sync and status == 200:
            return _of_the_moment(headers, body, ticket, signer, now)
        name = headers.get("smileid-job-id", "")
        if sync and FITTING.fullmatch(name) and (status == 500 or (status in (408, 424, 504) and not endpoint.keyed)):
            # The authority was too slow or away: the job lives, and its status will tell.
            return named(ticket, name, user_in(headers), "the reply to the submission")
        if status in (200, 201, 202):
            return read_accepted(body, ticket)
    except SmileError as error:
        failure = error.with_traceback(None)
        failure.ticket = ticket
        raise Fault(failure, Sent.AMBIGUOUS) from None
    if sync and status == 424:
        status = 504
    raise refusal(status, body, about, asked, job=job)


def _of_the_moment(
    headers: Mapping[str, str], body: bytes, ticket: Ticket, signer: HeaderSigner, now: float
) -> Verdict:
    """The verdict in a synchronous reply: confirmed if it is signed, and names our user and a job."""
    timestamp, signature = headers.get("response-timestamp", ""), headers.get("response-signature", "")
    if timestamp or signature:
        signer.check(timestamp, signature, now, FRESH_FOR)
    found = read_object(body, "the reply")
    ticket = named(ticket, headers.get("smileid-job-id"), user_in(headers), "the reply")
    word = word_of(found.get("status"))
    if word is None or word not in DECISIONS:
        raise UnreadableReply("the reply names no status that ends a job")
    told = read_claims(found)
    links = told.pop("image_links", None)
    return verdict_of(
        *(word, text_of(found.get("message")) or "", ticket),
        source="reply",
        confirmed=bool(signature) and headers.get("user-id") is not None,
        reason=told.pop("reason", None),
        timestamp=text_of(found.get("completed_at")) or "",
        record=told,
        image_links=links,
        raw=found,
    )


def read_claims(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a webhook's body says besides its status: reason, links, and all about the person, without what is null."""
    told: dict[str, Any] = {name: found[name] for name in _RECORD if found.get(name) not in (None, [], {})}
    links = found.get("image_links")
    if isinstance(links, Mapping):
        told["image_links"] = {str(name): link for name, link in links.items() if isinstance(link, str)}
    reason = word_of(found.get("reason"))
    return told if reason is None else {**told, "reason": reason}
