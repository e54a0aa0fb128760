"""A status reply, the reply to a product's one request, or a callback becomes a verdict, if it can be believed.

Three rules keep impostors out. A code that the table does not know for this job type is UNKNOWN, never approved. The
provider's `job_success` is not looked at, because it was seen to be false on passed jobs and may be true on provisional
ones (wire.md §6). And a reply must speak of the job that was asked about, because its signature does not bind it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from smile_async.errors import ForgedReply, StaleReply, UnreadableReply
from smile_async.jobs.codes import CodeMeaning, Decision, meaning_of
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, Ticket, known_job_type
from smile_async.jobs.verdict import JobStatus, Source, Verdict
from smile_async.protocol.bodies import holds_too_much
from smile_async.protocol.signature import Signer, parse_timestamp
from smile_async.protocol.v1.records import read_record
from smile_async.protocol.v1.replies import NO_ZIP_YET, ResultBody, read_object, read_result, read_status

__all__ = ["FRESH_FOR", "judge_callback", "judge_reply", "judge_status", "rejudged"]

#: Seconds a signed timestamp may lie from now, either way; partners' own choice, none is published (wire.md §2.2).
FRESH_FOR = 300.0


def judge_status(body: bytes, ticket: Ticket, signer: Signer, now: float) -> JobStatus:
    """What a `/job_status` reply says of *ticket*, if it can be believed at *now* (seconds since 1970, server's time).

    Raises UnreadableReply, ForgedReply (not signed by a known key, or about another job) or StaleReply.
    """
    raw = read_object(body, "the /job_status reply")
    _believe(raw, signer, now, FRESH_FOR)
    status = read_status(raw)
    result = status.result
    if result is not None:
        ticket = _same_job(result, ticket)
    past = tuple(
        verdict
        for item in status.history
        if (verdict := _verdict(item, _subject(item, ticket), complete=False, confirmed=False, source="poll"))
    )
    verdict = None
    if result is not None:
        verdict = _verdict(
            result,
            ticket,
            complete=status.job_complete,
            confirmed=True,
            source="poll",
            raw=raw["result"],
            history=past,
            image_links=status.image_links,
        )
    code = status.code or ""
    return JobStatus(
        ticket,
        code,
        status.job_complete,
        verdict,
        past,
        status.image_links,
        raw,
        waiting_for_zip=code == NO_ZIP_YET,
    )


def judge_reply(found: Mapping[str, Any], ticket: Ticket, signer: Signer, now: float) -> Verdict | None:
    """The verdict in the reply to the one request of *ticket*'s job; None if it holds no result.

    Not confirmed if it carries no signature at all. Raises as `judge_status` does.
    """
    confirmed = bool(found.get("signature"))
    if confirmed:
        _believe(found, signer, now, FRESH_FOR)
    result = read_result(found, "the reply")
    ticket = _same_job(result, ticket)
    return _verdict(result, ticket, complete=True, confirmed=confirmed, source="reply", raw=found)


def rejudged(verdict: Verdict, ticket: Ticket) -> Verdict:
    """*verdict*, which came for a job of a type that was not said, as one of *ticket*'s product."""
    decision, final = _decided(meaning_of(verdict.code, ticket.about), complete=True)
    number = ticket.smile_job_id or verdict.ticket.smile_job_id
    return replace(verdict, ticket=replace(ticket, smile_job_id=number), decision=decision, final=final)


def judge_callback(body: bytes, signer: Signer, now: float, tolerance: float = FRESH_FOR) -> Verdict:
    """The unconfirmed verdict in a callback's *body*, if one of the keys signed its timestamp lately.

    Raises UnreadableReply, ForgedReply or StaleReply.
    """
    if holds_too_much(body):
        raise UnreadableReply("the callback holds more values than any result")
    raw = read_object(body, "the callback")
    _believe(raw, signer, now, tolerance, "the callback")
    result = read_result(raw)
    try:
        ticket = _named(result, {})
    except ValueError:
        raise UnreadableReply("the callback's PartnerParams name no user_id, job_id and job_type") from None
    verdict = _verdict(result, ticket, complete=False, confirmed=False, source="callback", raw=raw)
    if verdict is None:
        raise UnreadableReply("the callback has no ResultCode")
    return verdict


def _believe(raw: Mapping[str, Any], signer: Signer, now: float, tolerance: float, what: str = "the reply") -> None:
    """Before anything else of it is read: whoever has no key can not make that expensive."""
    timestamp, signature = raw.get("timestamp"), raw.get("signature")
    if not (isinstance(timestamp, str) and isinstance(signature, str) and timestamp and signature):
        raise ForgedReply(f"{what} carries no signature")
    if not signer.confirms(timestamp, signature):
        raise ForgedReply(f"{what}'s signature was made with another key or for another timestamp")
    said = parse_timestamp(timestamp)
    if said is None:
        raise StaleReply(f"{what}'s timestamp has no zone or no date that can be read")
    if not abs(now - said) <= tolerance:
        raise StaleReply(f"{what} was signed {abs(now - said):.0f} s away from now, more than {tolerance:.0f} s")


def _same_job(result: ResultBody, ticket: Ticket) -> Ticket:
    params = result.partner_params
    if result.code is None and not params:
        return ticket
    if params.get("user_id") != ticket.user_id or params.get("job_id") != ticket.job_id:
        raise ForgedReply(f"the reply speaks of another job than {ticket.job_id} of user {ticket.user_id}")
    said = params.get("job_type")
    kind = ticket.job_type
    if kind == UNKNOWN_JOB_TYPE:
        kind = known_job_type(said) or kind
    elif said is not None and known_job_type(said) != kind:
        raise ForgedReply(f"the reply gives job {ticket.job_id} another job type than {int(ticket.job_type)}")
    number = ticket.smile_job_id or result.smile_job_id
    if result.smile_job_id not in (None, number):
        raise ForgedReply(f"the reply gives job {ticket.job_id} another SmileJobID")
    # The same object while nothing is new: a hundred thousand jobs may wait with theirs.
    known = (ticket.job_type, ticket.smile_job_id) == (kind, number)
    return ticket if known else replace(ticket, job_type=kind, smile_job_id=number)


def _subject(item: ResultBody, asked: Ticket) -> Ticket:
    """The job that an item of a history is about: by one page of the docs, any of this user's (wire.md §6)."""
    try:
        found = _named(item, asked.to_dict())
    except ValueError:
        return asked
    return replace(found, product=asked.product) if found.job_type == asked.job_type else found


def _named(result: ResultBody, otherwise: Mapping[str, Any]) -> Ticket:
    """The job that *result* names; raises InvalidJob where neither it nor *otherwise* does."""
    params = {**otherwise, **result.partner_params}
    ids: dict[str, Any] = {name: params[name] for name in ("user_id", "job_id", "job_type") if name in params}
    return Ticket.from_json({**ids, "smile_job_id": result.smile_job_id})


def _verdict(
    result: ResultBody,
    ticket: Ticket,
    *,
    complete: bool,
    confirmed: bool,
    source: Source,
    raw: Mapping[str, Any] | None = None,
    history: tuple[Verdict, ...] = (),
    image_links: Mapping[str, str] | None = None,
) -> Verdict | None:
    """None for a result without a code: a message on the way, not a verdict."""
    if result.code is None:
        return None
    meaning = meaning_of(result.code, ticket.about)
    decision, final = _decided(meaning, complete=complete)
    return Verdict(
        decision=decision,
        final=final,
        code=result.code,
        text=result.text or (meaning.text if meaning else ""),
        ticket=ticket,
        source=source,
        confirmed=confirmed,
        confidence=result.confidence,
        timestamp=result.timestamp or "",
        actions=result.actions,
        image_links=image_links or result.image_links,
        history=history,
        raw=raw or {},
        record=read_record(raw or {}),
    )


def _decided(meaning: CodeMeaning | None, *, complete: bool) -> tuple[Decision, bool]:
    decision, final = (meaning.decision, meaning.final) if meaning else (Decision.UNKNOWN, None)
    # A code whose finality no source tells ends with the job, but nothing makes a provisional word the last one.
    return decision, (complete and decision is not Decision.PROVISIONAL) if final is None else final
