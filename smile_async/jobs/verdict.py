"""A status reply or a callback becomes a verdict, and a code becomes a decision.

Three rules keep impostors out. A code that the table does not know for this job type is UNKNOWN, never approved. The
provider's `job_success` is not looked at, because it was seen to be false on passed jobs and may be true on provisional
ones (protocol.md §6). And a reply must speak of the job that was asked about, because its signature does not bind it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import orjson

from smile_async.errors import ForgedReply, StaleReply, UnreadableReply
from smile_async.jobs.codes import MEANINGS, CodeMeaning, Decision
from smile_async.jobs.job import UNKNOWN_JOB_TYPE, Ticket
from smile_async.jobs.job import job_type as as_job_type
from smile_async.protocol.signature import Signer, parse_timestamp
from smile_async.protocol.v1.wire import NO_ZIP_YET, ResultBody, read_result, read_status

__all__ = ["FRESH_FOR", "JobStatus", "Verdict", "classify", "explain", "judge_callback", "judge_status"]

#: Seconds a signed timestamp may lie from now, either way; partners' own choice, none is published (protocol.md §2.2).
FRESH_FOR = 300.0

Source = Literal["poll", "callback"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Smile ID says about a job; let a user in on `verdict.approved` and on nothing else.

    `confirmed` is true only for what came in a signed `/job_status` reply: a callback's signature does not cover its
    body. `final` is false while a human review may still overturn it. `confidence` is 0 to 100 or None. `raw`,
    `image_links` and `history` hold what came, personal data and presigned links included, and show in no repr.
    """

    decision: Decision
    final: bool
    code: str
    text: str
    ticket: Ticket
    source: Source = "poll"
    confirmed: bool = False
    confidence: float | None = None
    #: The provider's own time of this result, as it came; "" if there was none.
    timestamp: str = ""
    actions: Mapping[str, str] = field(default_factory=dict)
    image_links: Mapping[str, str] = field(default_factory=dict, repr=False)
    history: "tuple[Verdict, ...]" = field(default=(), repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def approved(self) -> bool:
        """Confirmed by a status query, and approved: the only test that should open a door."""
        return self.confirmed and self.decision is Decision.APPROVED

    def to_json(self) -> str:
        """One line of JSON for your own bus or database; without `raw`, history and links."""
        return orjson.dumps(
            {
                "decision": self.decision,
                "final": self.final,
                "code": self.code,
                "text": self.text,
                "ticket": self.ticket.to_dict(),
                "source": self.source,
                "confirmed": self.confirmed,
                "confidence": self.confidence,
                "timestamp": self.timestamp,
                "actions": dict(self.actions),
            }
        ).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The verdict that `to_json` wrote, never `confirmed`: whoever gives it to `session.deliver` gets it confirmed.

        Raises UnreadableReply if it is none.
        """
        try:
            found = orjson.loads(text)
            return cls(
                decision=Decision(found["decision"]),
                final=found["final"] is True,
                code=str(found["code"]),
                text=str(found["text"]),
                ticket=Ticket.from_json(found["ticket"]),
                source="callback" if found["source"] == "callback" else "poll",
                confidence=None if found["confidence"] is None else float(found["confidence"]),
                timestamp=str(found["timestamp"]),
                actions={str(name): str(said) for name, said in found["actions"].items()},
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnreadableReply(f"not a verdict ({type(error).__name__}): give what to_json() wrote") from None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One signed answer of `/job_status`: how far a job is.

    `code` is the call's own code (2302, 2314 …), `complete` the provider's job_complete, `verdict` None while there is
    no result, `waiting_for_zip` true while the images have not arrived.
    """

    ticket: Ticket
    code: str
    complete: bool
    verdict: Verdict | None = None
    history: tuple[Verdict, ...] = field(default=(), repr=False)
    image_links: Mapping[str, str] = field(default_factory=dict, repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def waiting_for_zip(self) -> bool:
        """Whether the provider says that it has no zip for this job (code 2314)."""
        return self.code == NO_ZIP_YET


_BY_CODE: dict[str, list[CodeMeaning]] = {}
for _meaning in MEANINGS:
    _BY_CODE.setdefault(_meaning.code, []).append(_meaning)


def explain(code: str | int) -> list[CodeMeaning]:
    """Everything known of *code*, a meaning for each group of job types; empty for an unknown code."""
    return list(_BY_CODE.get(_normal(code), ()))


def classify(code: str | int, job_type: int | str) -> Decision:
    """What *code* means for a job of *job_type*; UNKNOWN, never an exception, for a pair the table does not hold."""
    meaning = _meaning_of(_normal(code), job_type)
    return Decision.UNKNOWN if meaning is None else meaning.decision


def _normal(code: object) -> str:
    if isinstance(code, bool) or not isinstance(code, str | int):
        return ""
    return str(code).strip().zfill(4)


def _meaning_of(code: str, job_type: int | str) -> CodeMeaning | None:
    number = _as_type(job_type)
    if number is None:
        return None
    for meaning in _BY_CODE.get(code, ()):
        # 2xxx are codes of calls: whatever job they stand beside, they are errors of the call, not verdicts.
        if meaning.job_types is None or number in meaning.job_types or code.startswith("2"):
            return meaning
    return None


def judge_status(body: bytes, ticket: Ticket, signer: Signer, now: float) -> JobStatus:
    """What a `/job_status` reply says of *ticket*, if it can be believed at *now* (seconds since 1970, server's time).

    Raises UnreadableReply, ForgedReply (not signed by a known key, or about another job) or StaleReply.
    """
    status, raw = read_status(body)
    _believe(status.timestamp, status.signature, signer, now, FRESH_FOR)
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
    return JobStatus(ticket, status.code or "", status.job_complete, verdict, past, status.image_links, raw)


def judge_callback(body: bytes, signer: Signer, now: float, tolerance: float = FRESH_FOR) -> Verdict:
    """The unconfirmed verdict in a callback's *body*, if one of the keys signed its timestamp lately.

    Raises UnreadableReply, ForgedReply or StaleReply.
    """
    result, raw = read_result(body)
    _believe(result.timestamp, result.signature, signer, now, tolerance)
    params = result.partner_params
    try:
        ticket = Ticket.from_json({**params, "smile_job_id": result.smile_job_id})
    except ValueError:
        raise UnreadableReply("the callback's PartnerParams name no user_id, job_id and job_type") from None
    verdict = _verdict(result, ticket, complete=False, confirmed=False, source="callback", raw=raw)
    if verdict is None:
        raise UnreadableReply("the callback has no ResultCode")
    return verdict


def _believe(timestamp: str | None, signature: str | None, signer: Signer, now: float, tolerance: float) -> None:
    if not timestamp or not signature:
        raise ForgedReply("the reply carries no signature")
    if not signer.confirms(timestamp, signature):
        raise ForgedReply("the reply's signature was made with another key or for another timestamp")
    said = parse_timestamp(timestamp)
    if said is None:
        raise StaleReply("the reply's timestamp has no zone or no date that can be read")
    if not abs(now - said) <= tolerance:
        raise StaleReply(f"the reply was signed {abs(now - said):.0f} s away from now, more than {tolerance:.0f} s")


def _same_job(result: ResultBody, ticket: Ticket) -> Ticket:
    params = result.partner_params
    if result.code is None and not params:
        return ticket
    if params.get("user_id") != ticket.user_id or params.get("job_id") != ticket.job_id:
        raise ForgedReply(f"the reply speaks of another job than {ticket.job_id} of user {ticket.user_id}")
    said = params.get("job_type")
    kind = ticket.job_type
    if kind == UNKNOWN_JOB_TYPE:
        kind = _as_type(said) or kind
    elif said is not None and _as_type(said) != kind:
        raise ForgedReply(f"the reply gives job {ticket.job_id} another job type than {int(ticket.job_type)}")
    number = ticket.smile_job_id or result.smile_job_id
    if result.smile_job_id not in (None, number):
        raise ForgedReply(f"the reply gives job {ticket.job_id} another SmileJobID")
    # The same object while nothing is new: a hundred thousand jobs may wait with theirs.
    known = (ticket.job_type, ticket.smile_job_id) == (kind, number)
    return ticket if known else Ticket(ticket.user_id, ticket.job_id, kind, number)


def _subject(item: ResultBody, asked: Ticket) -> Ticket:
    """The job that an item of a history is about: by one page of the docs, any of this user's (protocol.md §6)."""
    try:
        return Ticket.from_json({**asked.to_dict(), **item.partner_params, "smile_job_id": item.smile_job_id})
    except ValueError:
        return asked


def _as_type(said: object) -> int | None:
    try:
        return as_job_type(said)
    except ValueError:
        return None


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
    meaning = _meaning_of(result.code, ticket.job_type)
    decision = meaning.decision if meaning else Decision.UNKNOWN
    final = meaning.final if meaning else None
    return Verdict(
        decision=decision,
        # A code whose finality no source tells ends with the job, but nothing makes a provisional word the last one.
        final=(complete and decision is not Decision.PROVISIONAL) if final is None else final,
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
    )
