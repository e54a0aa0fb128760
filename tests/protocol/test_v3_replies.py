"""replies.py, refusals.py, judging.py of V3: what an answer means, by its HTTP status and the ids it names."""

import json
from dataclasses import replace
from typing import Any

import pytest
from ground_support import NOW
from hypothesis import given
from hypothesis import strategies as st
from v3_support import HEADERS, JOBS, TYPE_ID, said, signed_headers

from smile_async import Decision, Job, Product, Ticket, Verdict
from smile_async.errors import (
    ForgedReply,
    IdNumberBlocked,
    JobNotFound,
    NotAuthorized,
    RateLimited,
    Refused,
    SmileError,
    StaleReply,
    Unavailable,
    UnreadableReply,
    UserNotEnrolled,
)
from smile_async.protocol.steps import Fault, Sent
from smile_async.protocol.v3.endpoints import ENDPOINTS
from smile_async.protocol.v3.judging import judge_status, judge_submission
from smile_async.protocol.v3.refusals import refusal
from smile_async.protocol.v3.replies import complaint_of, read_accepted, read_status, user_in

TICKET = Ticket("ada", "7f3e", 2, TYPE_ID, api="v3")
KYC, AML, FACE = JOBS[Product.ENHANCED_KYC], JOBS[Product.AML_CHECK], JOBS[Product.AUTHENTICATION]
#: What AWS says at 504, and its gateway at 500.
AWS, GATEWAY = b'{"message": "Endpoint request timed out"}', said(status="internal_error", message="no", job_id=None)


def status_of(word: Any, **changes: Any) -> bytes:
    """A status reply about TICKET."""
    fields = {"status": word, "job_id": TYPE_ID, "user_id": "ada", "message": "Job completed", "created_at": "…"}
    return said(**{**fields, **changes})


@pytest.mark.parametrize(
    ("word", "decision"),
    [
        ("clear", Decision.APPROVED),
        ("Clear", Decision.APPROVED),
        ("block", Decision.REJECTED),
        ("attention", Decision.ATTENTION),
        ("error", Decision.ERROR),
        ("complete", Decision.UNKNOWN),
    ],
)
def test_200_and_a_known_word_are_a_verdict(word: str, decision: Decision) -> None:
    """It is final and confirmed, its code is the word, no reason is told; `complete` of old servers decides nothing."""
    told = judge_status(200, status_of(word), TICKET, "it")
    assert (told.complete, told.code, told.ticket) == (True, word.lower(), TICKET)
    verdict = told.verdict
    assert verdict is not None
    assert (verdict.decision, verdict.final, verdict.confirmed) == (decision, True, True)
    assert (verdict.code, verdict.reason, verdict.claims) == (word.lower(), None, {})
    assert (verdict.approved, verdict.on_the_way, verdict.source) == (word.lower() == "clear", False, "poll")


@pytest.mark.parametrize(
    ("status", "word"), [(202, "processing"), (202, "clear"), (200, "processing"), (200, "queued"), (200, "not_found")]
)
def test_all_else_is_pending_and_shown(status: int, word: str) -> None:
    """A word that nobody knows is waited on and told; 202 is never a verdict, whatever it says."""
    told = judge_status(status, status_of(word), TICKET, "it")
    assert (told.complete, told.verdict, told.code) == (False, None, word)


@pytest.mark.parametrize(
    "body",
    [status_of("not_found", user_id="unknown"), b"<html>404</html>", b"", said(status="Not Found", message="Job")],
)
def test_404_is_a_job_that_is_not_known_yet_or_not_at_all(body: bytes) -> None:
    """Whatever its body: whoever asks decides how long that may last."""
    with pytest.raises(Fault) as caught:
        judge_status(404, body, TICKET, "/status of job 7f3e")
    assert isinstance(caught.value.error, JobNotFound)
    assert (caught.value.sent, caught.value.transient) == (Sent.ANSWERED, False)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (status_of("clear", job_id="job_00000000000000000000000000"), ForgedReply),
        (status_of("clear", user_id="bob"), ForgedReply),
        (status_of("clear", user_id=None), UnreadableReply),
        (status_of("clear", job_id=None), UnreadableReply),
        (status_of(None), UnreadableReply),
        (status_of("all is well!"), UnreadableReply),
        (b"<html>", UnreadableReply),
        (b"[]", UnreadableReply),
    ],
)
def test_a_reply_must_speak_of_the_job(body: bytes, kind: type[SmileError]) -> None:
    """Another job's word, or one about nobody, is no verdict."""
    with pytest.raises(Fault) as caught:
        judge_status(200, body, TICKET, "it")
    assert type(caught.value.error) is kind
    assert not caught.value.transient


@given(st.integers(100, 599), st.binary(max_size=200))
def test_no_status_reply_is_too_odd(status: int, body: bytes) -> None:
    """Whatever comes, it is a status, or a Fault; and no approval."""
    try:
        told = judge_status(status, body, TICKET, "it")
    except Fault:
        return
    assert told.verdict is None or not told.verdict.approved


def test_a_user_may_be_a_number() -> None:
    """Some partners' ids are numbers, and come back as such."""
    told = judge_status(200, status_of("clear", user_id=42), replace(TICKET, user_id="42"), "it")
    assert told.verdict is not None


@pytest.mark.parametrize(
    ("status", "body", "job", "kind", "words"),
    [
        (400, said(status="Bad Request", message="consent is required"), FACE, Refused, "consent is required"),
        (
            401,
            said(status="unauthorized", message="Invalid token", job_id=None),
            FACE,
            NotAuthorized,
            "portal's API key",
        ),
        (403, said(status="Forbidden", message="Token is not authorized"), None, NotAuthorized, "Token is not"),
        (402, said(status="Payment Required", message="wallet"), FACE, Refused, "top it up"),
        (404, said(message="User not found"), AML, UserNotEnrolled, "register the user first"),
        (404, b"", FACE, Refused, "no reason given"),
        (409, said(message="still processing"), None, Refused, "wait for its verdict"),
        (413, said(status="request_too_large", message="selfie_image is too large."), FACE, Refused, "shrink"),
        (415, said(error="Unsupported", code="2413"), None, Refused, "2413 Unsupported (HTTP 415)"),
        (429, said(message="Rate limit exceeded. Please try again later."), KYC, RateLimited, "slow down"),
        (429, said(message="This ID number is blocked for too many submissions"), KYC, IdNumberBlocked, "for days"),
        (429, said(message="This ID number is blocked"), FACE, RateLimited, "slow down"),
        (418, said(message=7, status="teapot"), None, Refused, "teapot (HTTP 418)"),
    ],
)
def test_a_4xx_is_an_answer(status: int, body: bytes, job: Job | None, kind: type[Refused], words: str) -> None:
    """Nothing was queued: each shape of body gives its text, its status the error; a passing 429 may be tried again."""
    fault = refusal(status, body, "it", 7.0, job=job)
    assert type(fault.error) is kind
    assert isinstance(fault.error, Refused)
    assert words in str(fault.error)
    assert (fault.error.status, fault.sent) == (status, Sent.ANSWERED)
    assert fault.transient is fault.throttled is (kind is RateLimited)
    if isinstance(fault.error, RateLimited):
        assert fault.error.retry_after == 7.0


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", AWS, GATEWAY, b"<html>"])
def test_a_5xx_is_ambiguous(status: int, body: bytes) -> None:
    """It may come after the job was queued, whoever speaks; a query may be tried again."""
    fault = refusal(status, body, "it", 3.0)
    assert type(fault.error) is Unavailable
    assert (fault.sent, fault.transient, fault.throttled) == (Sent.AMBIGUOUS, True, status == 503)
    assert fault.retry_after == 3.0


@pytest.mark.parametrize("status", [100, 204, 301, 307])
def test_an_answer_that_means_nothing_is_ambiguous(status: int) -> None:
    """Redirects are not followed: the token would go with them."""
    fault = refusal(status, b"", "it")
    assert type(fault.error) is UnreadableReply
    assert (fault.sent, fault.transient) == (Sent.AMBIGUOUS, False)


def test_a_complaint_is_one_printable_line() -> None:
    """What a stranger wrote breaks no log line, and is not long."""
    assert complaint_of(said(message="a\nb\x1b[0m" + "c" * 900)) == "ab[0m" + "c" * 193
    assert complaint_of(said(error="odd", code=2401)) == "2401 odd"
    assert complaint_of(said(status=["x"])) == ""


def brought(job: Job, status: int, body: bytes, *, sync: bool = True, **headers: str) -> Ticket | Verdict:
    """What the reply to *job* brought."""
    assert job.product is not None
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = (status, named, body)
    return judge_submission(job, ENDPOINTS[job.product], reply, "it", signer=HEADERS, now=NOW, sync=sync, asked=4.0)


def accepted(**changes: Any) -> bytes:
    """A 202's body."""
    return said(**{"status": "Accepted", "job_id": TYPE_ID, "user_id": "ada", "message": "queued", **changes})


def test_a_202_gives_the_type_id() -> None:
    """Whatever the case of its word; a server that does not repeat the user is as good."""
    ticket = brought(FACE, 202, accepted(), sync=False)
    assert ticket == replace(FACE.ticket, smile_job_id=TYPE_ID, api="v3")
    assert brought(FACE, 202, said(job_id=TYPE_ID), sync=False) == ticket
    assert brought(KYC, 202, accepted()) == replace(KYC.ticket, smile_job_id=TYPE_ID, api="v3")
    assert Ticket.from_json(ticket.to_json()) == ticket


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (accepted(job_id=None), UnreadableReply),
        (accepted(job_id=""), UnreadableReply),
        (accepted(job_id="../token"), UnreadableReply),
        (accepted(job_id="j" * 101), UnreadableReply),
        (b"OK", UnreadableReply),
        (accepted(user_id="bob"), ForgedReply),
    ],
)
def test_a_202_without_a_job_is_ambiguous(body: bytes, kind: type[SmileError]) -> None:
    """It was taken, but nobody knows as what: never sent again, and the error has the ticket."""
    with pytest.raises(Fault) as caught:
        brought(FACE, 202, body, sync=False)
    assert type(caught.value.error) is kind
    assert (caught.value.sent, caught.value.transient) == (Sent.AMBIGUOUS, False)
    assert caught.value.error.ticket == replace(FACE.ticket, api="v3")


RESULT = {
    "status": "block",
    "message": "Verification failed.",
    "reason": "identifier_not_found",
    "completed_at": "2026-01-02T03:04:05.000Z",
    "id_fields": {"full_name": "Amina"},
    "image_links": {"selfie_image": "https://x.example/presigned", "odd": 7},
    "people": [],
    "antifraud": None,
}


def test_a_synchronous_reply_is_a_verdict() -> None:
    """Signed, and naming our user and the job, it is confirmed, its reason and record too."""
    names = {"smileid_job_id": TYPE_ID, "user_id": "ada"}
    verdict = brought(KYC, 200, json.dumps(RESULT).encode(), **signed_headers(**names))
    assert isinstance(verdict, Verdict)
    assert (verdict.decision, verdict.code, verdict.reason) == (Decision.REJECTED, "block", "identifier_not_found")
    assert (verdict.confirmed, verdict.final, verdict.source) == (True, True, "reply")
    assert verdict.ticket.smile_job_id == TYPE_ID
    assert (verdict.record, verdict.claims) == ({"id_fields": {"full_name": "Amina"}}, {})
    assert verdict.image_links == {"selfie_image": "https://x.example/presigned"}
    assert "Amina" not in repr(verdict)
    clear = brought(AML, 200, said(status="clear"), **signed_headers(**names))
    assert isinstance(clear, Verdict)
    assert clear.approved


@pytest.mark.parametrize("names", [{"user_id": "ada"}, {}])
def test_an_unsigned_or_nameless_synchronous_reply_is_not_confirmed(names: dict[str, str]) -> None:
    """It is asked about before anybody is let in."""
    signed = {} if names else signed_headers()
    verdict = brought(KYC, 200, said(status="clear"), **signed, smileid_job_id=TYPE_ID, **names)
    assert isinstance(verdict, Verdict)
    assert not verdict.approved


@pytest.mark.parametrize(
    ("headers", "body", "kind"),
    [
        (signed_headers(key="another", smileid_job_id=TYPE_ID, user_id="ada"), said(status="clear"), ForgedReply),
        (signed_headers(NOW - 301, smileid_job_id=TYPE_ID, user_id="ada"), said(status="clear"), StaleReply),
        ({"response-timestamp": "2026-01-02T03:04:05Z"}, said(status="clear"), ForgedReply),
        (signed_headers(smileid_job_id=TYPE_ID, user_id="bob"), said(status="clear"), ForgedReply),
        (signed_headers(user_id="ada"), said(status="clear"), UnreadableReply),
        (signed_headers(smileid_job_id=TYPE_ID, user_id="ada"), said(status="processing"), UnreadableReply),
        (signed_headers(smileid_job_id=TYPE_ID, user_id="ada"), said(status=None), UnreadableReply),
        (signed_headers(smileid_job_id=TYPE_ID, user_id="ada"), b"", UnreadableReply),
    ],
)
def test_a_synchronous_reply_may_be_no_verdict(headers: dict[str, str], body: bytes, kind: type[SmileError]) -> None:
    """Forged, old, about another, or none: it is not believed, and not asked for again."""
    with pytest.raises(Fault) as caught:
        brought(KYC, 200, body, **headers)
    assert type(caught.value.error) is kind
    assert caught.value.sent is Sent.AMBIGUOUS
    assert caught.value.error.ticket == replace(KYC.ticket, api="v3")


@pytest.mark.parametrize(
    ("job", "status", "named", "lives"),
    [
        *((KYC, status, True, True) for status in (408, 424, 500, 504)),
        *((KYC, status, False, False) for status in (408, 424, 500, 502, 504)),
        (KYC, 502, True, False),
        (AML, 500, True, True),
        *((AML, status, True, False) for status in (408, 504)),
        *((AML, status, False, False) for status in (408, 500, 503, 504)),
    ],
)
def test_what_a_timeout_means_differs(job: Job, status: int, named: bool, lives: bool) -> None:
    """An id product's job lives on if it has a name; an AML check is to be sent again; all else is ambiguous."""
    headers = {"smileid_job_id": TYPE_ID} if named else {}
    if lives:
        assert brought(job, status, AWS, **headers) == replace(job.ticket, smile_job_id=TYPE_ID, api="v3")
        return
    with pytest.raises(Fault) as caught:
        brought(job, status, AWS, **headers)
    assert type(caught.value.error) is Unavailable
    assert (caught.value.sent, caught.value.transient) == (Sent.AMBIGUOUS, True)


def test_a_job_that_is_not_synchronous_has_no_name_in_a_refusal() -> None:
    """There, a 500 is a lost answer, and a 424 a refusal."""
    with pytest.raises(Fault) as caught:
        brought(FACE, 500, AWS, sync=False, smileid_job_id=TYPE_ID)
    assert caught.value.sent is Sent.AMBIGUOUS
    with pytest.raises(Fault) as caught:
        brought(FACE, 424, AWS, sync=False)
    assert caught.value.sent is Sent.ANSWERED
    with pytest.raises(Fault) as caught:
        brought(KYC, 429, said(message="ID number blocked"))
    assert isinstance(caught.value.error, IdNumberBlocked)


def test_readers_repeat_nothing() -> None:
    """A body that can not be read may hold a token or a face: no message shows it."""
    for read in (read_status, lambda body: read_accepted(body, TICKET)):
        with pytest.raises(UnreadableReply) as caught:
            read(b'{"secret')
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "user_id"),
    [
        ("ada", "ada"),
        ("zo%C3%AB", "zoë"),
        ("zoë".encode().decode("latin-1"), "zoë"),
        ("zoë", "zoë"),
        ("\u0142", "\u0142"),
        ("a%20b", "a%20b"),
        ("100%", "100%"),
        ("%FF", "%FF"),
        (None, None),
    ],
)
def test_a_user_in_a_header(header: str | None, user_id: str | None) -> None:
    """A user_id that is no ASCII is read from a header by either way to write it there, and others as they are."""
    assert user_in({} if header is None else {"user-id": header}) == user_id
