"""A job as the ledger writes it down, and as it comes back: statements and shapes, no connection.

Every statement says what must be true of the row for it to count, so that notes may come late, twice or in another
order and the row still only moves forward.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import bindparam

from smile_async.errors import InvalidJob, SmileError
from smile_async.jobs.codes import Decision
from smile_async.jobs.job import Job
from smile_async.jobs.product import Product, known_product, product_of
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.ticket import job_type as as_job_type
from smile_async.jobs.verdict import Verdict
from smile_async.ledger.schema import NOW, State, Text, id_info, jobs, storable
from smile_async.protocol.steps import Reach

__all__ = [
    "BY_JOB",
    "BY_NUMBER",
    "FORGET",
    "MARK",
    "NOTES",
    "NO_ERROR",
    "PAGE",
    "RECALL",
    "RESUME",
    "TAKE_OVER",
    "WAITING",
    "Begun",
    "failure_note",
    "judged",
    "new_row",
    "other_person",
    "product_in",
    "ticket_note",
    "verdict_note",
    "verdict_of",
]

_job = jobs.c.job_id == bindparam("b_job")
_user = jobs.c.user_id == bindparam("b_user")
_attempt = bindparam("b_attempt", type_=sa.Integer)
_reach = bindparam("b_reach", type_=sa.Integer)
_number = bindparam("b_number", type_=Text)
#: How far a job may have come does not become less by what somebody knows who came less far.
_furthest = sa.case((jobs.c.reach < _reach, _reach), else_=jobs.c.reach)
#: What a row says of an error, taken back.
NO_ERROR: Mapping[str, Any] = dict.fromkeys(("error", "error_code", "error_text", "retryable"))


def _in(*states: State) -> sa.ColumnElement[bool]:
    # Not IN: a list of parameters can not be part of a statement that is performed for many jobs at once.
    return sa.or_(*(jobs.c.state == state for state in states))


#: Rows of one page when many are read.
PAGE = 2_000
#: What may be with Smile ID and has no last word, a page at a time.
WAITING = (
    sa.select(jobs)
    .where(jobs.c.seq > bindparam("last"), jobs.c.state != State.FINAL, jobs.c.reach > int(Reach.NOTHING))
    .order_by(jobs.c.seq)
    .limit(PAGE)
)

_sent = sa.select(jobs).where(jobs.c.reach > int(Reach.NOTHING)).limit(1)
#: A job that may be with Smile ID, by our name and by the provider's.
BY_JOB = _sent.where(jobs.c.job_id == bindparam("job"), jobs.c.user_id == bindparam("user"))
BY_NUMBER = _sent.where(jobs.c.smile_job_id == bindparam("number"))

#: What `begin` looks at.
RECALL = sa.select(jobs, (NOW - jobs.c.sent_at).label("age")).where(jobs.c.job_id.in_(bindparam("ids", expanding=True)))

#: A row that is there already is being sent (again).
RESUME = (
    jobs.update()
    .where(_job)
    .values(
        state=State.SENDING,
        digest=bindparam("b_digest"),
        id_digest=bindparam("b_seal"),
        reach=_furthest,
        attempts=_attempt,
        sent_at=sa.func.coalesce(jobs.c.sent_at, NOW),
        sent_stamp=bindparam("b_stamp"),
        job_type=bindparam("b_type"),
        product=bindparam("b_product"),
        api=bindparam("b_api"),
    )
)

#: After a last word, and after a failure that no later run gets over, nobody needs to know any more who it was about.
FORGET = id_info.delete().where(
    id_info.c.job_id == bindparam("b_job"),
    sa.exists().where(
        _job, (jobs.c.state == State.FINAL) | ((jobs.c.state == State.FAILED) & jobs.c.retryable.is_(False))
    ),
)

_reaching = jobs.update().values(state=State.SENDING, reach=_furthest)
#: How far the next request may bring a job.
MARK = _reaching.where(_job, jobs.c.state == State.SENDING, jobs.c.attempts == _attempt)
#: The same, for an attempt that was overtaken by others which have ended since: nobody else is sending the job.
TAKE_OVER = _reaching.where(_job, jobs.c.state == State.FAILED, jobs.c.attempts > _attempt)


def _failed(which: sa.ColumnElement[bool], reach: sa.ColumnElement[int] = _furthest) -> sa.Update:
    return (
        jobs.update()
        .where(_job, _user, which)
        .values(
            state=State.FAILED,
            reach=reach,
            error=bindparam("b_error"),
            error_code=bindparam("b_code"),
            error_text=bindparam("b_text"),
            retryable=bindparam("b_retryable"),
        )
    )


#: In the order in which one commit performs them: what came before a verdict is written before it.
NOTES: Mapping[str, sa.Update] = {
    # True whoever brings it, like a verdict: neither asks whose attempt is the latest.
    "ticket": jobs.update()
    .where(_job, _user, _in(State.SENDING, State.FAILED))
    .values(
        state=State.ACCEPTED,
        reach=int(Reach.UPLOADED),
        smile_job_id=sa.func.coalesce(_number, jobs.c.smile_job_id),
        accepted_at=sa.func.coalesce(jobs.c.accepted_at, NOW),
        **NO_ERROR,
    ),
    # RESERVED is written down before the first request leaves: an attempt that began with NOTHING, that nobody has
    # overtaken and that knows of a plain no may take that back, and only that.
    "failure": _failed(
        _in(State.SENDING, State.FAILED) & (jobs.c.attempts == _attempt),
        sa.case(((_reach == int(Reach.NOTHING)) & (jobs.c.reach == int(Reach.RESERVED)), _reach), else_=_furthest),
    ),
    # Of no attempt: no job can be made of the row, or its pictures can not be read.
    "flaw": _failed(_in(State.PLANNED, State.FAILED)),
    # Only the waiting ended, for a job that was accepted.
    "lost": _failed(jobs.c.state == State.ACCEPTED),
    # Not for a job that was never accepted from us: what /job_status says of it may be about somebody else's selfie.
    "verdict": jobs.update()
    .where(
        _job,
        _user,
        jobs.c.accepted_at.is_not(None),
        jobs.c.state != State.FINAL,
        (jobs.c.state != State.PROVISIONAL)
        | (sa.literal(True) == bindparam("b_final"))
        | (jobs.c.code != bindparam("b_code")),
    )
    .values(
        state=bindparam("b_state"),
        decision=bindparam("b_decision"),
        final=bindparam("b_final"),
        code=bindparam("b_code"),
        text=bindparam("b_text"),
        confidence=bindparam("b_confidence"),
        source=bindparam("b_source"),
        timestamp=bindparam("b_timestamp"),
        actions=bindparam("b_actions"),
        smile_job_id=sa.func.coalesce(_number, jobs.c.smile_job_id),
        decided_at=sa.func.coalesce(jobs.c.decided_at, NOW),
        final_at=sa.case((sa.literal(True) == bindparam("b_final"), NOW)),
        **NO_ERROR,
    ),
}


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt to send a job: its number, and how far earlier ones may have come.

    With a ticket the job was accepted before, and nothing is to be sent. *age*: seconds since the first of them was
    made, where anybody can tell.
    """

    attempt: int
    reach: Reach
    ticket: Ticket | None = None
    verdict: Verdict | None = None
    age: float | None = None


def new_row(job: Job, digest: str, seal: str | None, api: str | None, stamp: str) -> dict[str, Any]:
    """The row of a job that is first heard of when it is sent to *api*, at *stamp*; *seal*: of its id fields."""
    return {
        "job_id": job.job_id,
        "user_id": job.user_id,
        "job_type": int(job.job_type),
        "product": job.product,
        "api": api,
        "state": State.SENDING,
        "digest": digest,
        "id_digest": seal,
        "reach": int(Reach.RESERVED),
        "sent_stamp": stamp,
    }


def judged(row: Mapping[Any, Any], job: Job, digest: str, seals: Sequence[str], age: float | None = None) -> Begun:
    """What *row* means for *job* with pictures of *digest*; raises InvalidJob if it is another job's.

    *seals* are those that its id fields may have been written down as, () where nobody knows. *age*: seconds since its
    first attempt.
    """
    whose = f"job {job.job_id} of user {job.user_id}"
    fresh = row["reach"] == Reach.NOTHING
    if row["user_id"] != job.user_id:
        raise InvalidJob(f"{whose}: the ledger has this job_id for another user: give each job its own", job=job)
    if row["job_type"] != int(job.job_type) and not fresh:
        was = row["job_type"]
        raise InvalidJob(f"{whose}: was job type {was} when it was sent: give a new job its own job_id", job=job)
    sent_as = ticket_of(row).product
    if not fresh and job.product is not sent_as is not None:
        raise InvalidJob(f"{whose}: was of {sent_as} when it was sent: give a new job its own job_id", job=job)
    if not fresh and other_person(row, seals):
        about = "id fields" if job.person is None else "person or id fields"
        raise InvalidJob(f"{whose}: its {about} have changed since it was sent: give a new job its own job_id", job=job)
    if not fresh and row["digest"] != digest:
        raise InvalidJob(
            f"{whose}: its pictures have changed since it was sent (sha256 {row['digest']} then, {digest} now): give a"
            " new job its own job_id",
            job=job,
        )
    if row["accepted_at"] is None:
        return Begun(row["attempts"] + 1, Reach(row["reach"]), age=None if fresh else age)
    return Begun(row["attempts"], Reach.UPLOADED, ticket_of(row), verdict_of(row))


def other_person(row: Mapping[Any, Any], seals: Sequence[str]) -> bool:
    """Whether *row* was sent with other id fields than those of *seals*; () where nobody knows."""
    return bool(seals) and (row["id_digest"] or "") not in seals


def ticket_of(row: Mapping[Any, Any]) -> Ticket:
    """The ticket of *row*."""
    ids = (row["user_id"], row["job_id"], as_job_type(row["job_type"]), row["smile_job_id"])
    return Ticket(*ids, product_in(row), row["api"])


def product_in(row: Mapping[Any, Any]) -> Product | None:
    """The product of *row*, None if it is not known here."""
    product = known_product(row["product"])
    # A product's number may have changed hands, among those that are registered by others.
    return product if product is not None and product.spec.job_type == row["job_type"] else product_of(row["job_type"])


def verdict_of(row: Mapping[Any, Any]) -> Verdict | None:
    """The verdict of *row*; confirmed, because only confirmed ones are written down."""
    if row["decision"] is None:
        return None
    return Verdict(
        decision=Decision(row["decision"]),
        final=bool(row["final"]),
        code=row["code"],
        text=row["text"],
        ticket=ticket_of(row),
        source=row["source"],
        confirmed=True,
        confidence=row["confidence"],
        timestamp=row["timestamp"],
        actions=orjson.loads(row["actions"]),
    )


def ticket_note(ticket: Ticket) -> dict[str, Any]:
    """The parameters of a "ticket" note."""
    return {"b_job": ticket.job_id, "b_user": ticket.user_id, "b_number": ticket.smile_job_id}


def verdict_note(verdict: Verdict) -> dict[str, Any]:
    """The parameters of a "verdict" note."""
    return {
        **ticket_note(verdict.ticket),
        "b_state": State.FINAL if verdict.final else State.PROVISIONAL,
        "b_decision": str(verdict.decision),
        "b_final": verdict.final,
        "b_code": verdict.code,
        "b_text": verdict.text,
        "b_confidence": verdict.confidence,
        "b_source": verdict.source,
        "b_timestamp": verdict.timestamp,
        "b_actions": orjson.dumps({storable(name): storable(said) for name, said in verdict.actions.items()}).decode(),
    }


def failure_note(ticket: Ticket, error: SmileError, reach: Reach, attempt: int | None) -> dict[str, Any]:
    """The parameters of a "failure", "flaw" or "lost" note."""
    return {
        "b_job": ticket.job_id,
        "b_user": ticket.user_id,
        "b_attempt": attempt,
        "b_reach": int(reach),
        "b_error": type(error).__name__,
        "b_code": getattr(error, "code", None) or None,
        "b_text": str(error),
        "b_retryable": error.retryable,
    }
