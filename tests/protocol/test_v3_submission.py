"""submission.py of V3: a request that may have been taken is never sent twice, but for an AML check with its key."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from v3_support import JOBS, TYPE_ID

from smile_async import Decision, Job, JobStatus, Product, Ticket, Verdict
from smile_async.errors import ForgedReply, NotAuthorized, RateLimited, Refused, SubmissionUnknown, Unavailable
from smile_async.protocol.steps import ATTEMPTS, Ask, Fault, Now, Pause, Reach, Request, Sent
from smile_async.protocol.v1.one_request import OneRequest
from smile_async.protocol.v3.judging import verdict_of
from smile_async.protocol.v3.submission import OneSubmission

FACE, AML = JOBS[Product.AUTHENTICATION], JOBS[Product.AML_CHECK]
TAKEN = replace(FACE.ticket, smile_job_id=TYPE_ID, api="v3")
LOST = Fault(Unavailable("silence"), Sent.AMBIGUOUS, transient=True)
UNSENT = Fault(Unavailable("no route"), Sent.UNSENT, transient=True)
SLOW = Fault(RateLimited(status=429), Sent.ANSWERED, transient=True, throttled=True)
NO = Fault(Refused(status=400), Sent.ANSWERED)


def played(submission: OneSubmission, *answers: Any) -> tuple[list[str], Any]:
    """The steps it took while it was given *answers* to its requests, and how it ended."""
    taken, left = [], list(answers)
    steps = submission.steps()
    try:
        step = next(steps)
        while True:
            taken.append(type(step).__name__)
            if isinstance(step, Request | Ask):
                answer = left.pop(0)
                step = steps.throw(answer) if isinstance(answer, Fault) else steps.send(answer)
            else:
                assert isinstance(step, Now | Pause)
                step = steps.send(5.0)
    except StopIteration as end:
        return taken, end.value
    except Fault as fault:
        return taken, fault


def test_a_job_that_is_taken_has_its_ticket() -> None:
    """One request; its ticket has the TypeID, and before, it says that it is V3's."""
    story = OneSubmission(FACE)
    assert (story.ticket.api, story.ticket.smile_job_id, story.since) == ("v3", None, None)
    assert played(story, TAKEN) == (["Now", "Request"], TAKEN)
    assert (story.ticket, story.known, story.since) == (TAKEN, None, 5.0)


def test_a_result_that_came_at_once_is_known() -> None:
    """A synchronous endpoint gives the verdict with the ticket."""
    verdict = Verdict(Decision.APPROVED, True, "clear", "", TAKEN, "reply", confirmed=True)
    story = OneSubmission(FACE, later=True)
    assert played(story, verdict)[1] == TAKEN
    assert (story.known, story.later) == (verdict, True)


@pytest.mark.parametrize("job", [job for job in JOBS.values() if job is not AML], ids=lambda job: str(job.product))
def test_a_lost_answer_is_unknown(job: Job) -> None:
    """Whatever was lost: one request, and an error with the ticket, which is not retryable."""
    story = OneSubmission(job)
    steps, fault = played(story, LOST)
    assert steps == ["Now", "Request"]
    assert isinstance(fault.error, SubmissionUnknown)
    assert (fault.error.ticket, fault.transient, fault.sent) == (replace(job.ticket, api="v3"), False, Sent.ANSWERED)
    assert story.left
    assert story.reach is Reach.UPLOADED
    assert isinstance(story.late("it"), SubmissionUnknown)


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ("clear", (Decision.APPROVED, True, "said")),
        ("block", (Decision.REJECTED, True, None)),
        (None, (Decision.APPROVED, False, "said")),
        (NO, (Decision.APPROVED, False, "said")),
    ],
)
def test_an_unsigned_result_is_asked_about(told: str | Fault | None, known: tuple[Decision, bool, str | None]) -> None:
    """Status decides, once; where it says nothing the verdict stays unconfirmed, and opens no door."""
    story = OneSubmission(JOBS[Product.ENHANCED_KYC])
    unsigned = Verdict(Decision.APPROVED, True, "clear", "", TAKEN, "reply", reason="said")
    found = told if isinstance(told, Fault) else JobStatus(TAKEN, "it", told is not None)
    if isinstance(told, str) and isinstance(found, JobStatus):
        found = replace(found, verdict=verdict_of(told, "", TAKEN, source="poll", confirmed=True))
    steps, ticket = played(story, unsigned, found)
    assert (steps, ticket) == (["Now", "Request", "Ask"], TAKEN)
    assert story.known is not None
    assert (story.known.decision, story.known.confirmed, story.known.reason) == known


@pytest.mark.parametrize("make", [OneSubmission, OneRequest])
def test_a_request_has_left_when_it_says_so(make: type[OneSubmission] | type[OneRequest]) -> None:
    """A story that is broken off while its request waits for a connection has sent nothing."""
    story = make(JOBS[Product.ENHANCED_KYC])
    steps = story.steps()
    assert isinstance(next(steps), Now)
    request = steps.send(5.0)
    assert isinstance(request, Request)
    assert (story.left, story.reach) == (False, Reach.NOTHING)
    assert type(story.late("late")) is Unavailable
    request.leaves()
    assert story.left
    assert story.reach > Reach.NOTHING


def test_a_forged_reply_is_told_as_one() -> None:
    """It has the ticket, and the request is not sent again."""
    forged = Fault(ForgedReply("another user"), Sent.AMBIGUOUS)
    assert played(OneSubmission(FACE), forged) == (["Now", "Request"], forged)


def test_an_outage_costs_no_attempt_and_mends_no_silence() -> None:
    """What can not have left is free; what may have left ends at once, outage or not."""
    away = replace_fault(UNSENT)
    assert played(OneSubmission(FACE), *[away] * 9, TAKEN)[1] == TAKEN
    steps, fault = played(OneSubmission(FACE), replace_fault(LOST))
    assert steps == ["Now", "Request"]
    assert isinstance(fault.error, SubmissionUnknown)


def replace_fault(fault: Fault) -> Fault:
    """The same in an outage."""
    return Fault(fault.error, fault.sent, transient=True, outage=True)


def test_what_did_not_leave_is_sent_again() -> None:
    """So is what the server asked to have later; three times in all, and then what went wrong is told."""
    assert played(OneSubmission(FACE), UNSENT, SLOW, TAKEN)[0] == [
        "Now",
        "Request",
        "Pause",
        "Request",
        "Pause",
        "Request",
    ]
    story = OneSubmission(FACE)
    steps, fault = played(story, *[UNSENT] * ATTEMPTS)
    assert (steps.count("Request"), fault, story.left) == (ATTEMPTS, UNSENT, False)
    assert story.reach is Reach.NOTHING
    assert not isinstance(story.late("it"), SubmissionUnknown)


@pytest.mark.parametrize("refused", [NO, Fault(NotAuthorized(status=401), Sent.ANSWERED)])
def test_a_refusal_ends_it(refused: Fault) -> None:
    """Nothing was queued, though something left."""
    story = OneSubmission(FACE)
    assert played(story, refused) == (["Now", "Request"], refused)
    assert (story.left, story.reach) == (True, Reach.NOTHING)


def test_what_may_have_been_sent_before_is_unknown_at_once() -> None:
    """A ledger, or the session's own memory, knows of an earlier try: not one request more."""
    story = OneSubmission(FACE)
    story.resume(Reach.RESERVED, 3.0)
    steps, fault = played(story)
    assert steps == []
    assert isinstance(fault.error, SubmissionUnknown)
    assert isinstance(story.lost(), SubmissionUnknown)
    assert OneSubmission(FACE).lost() is None
    keyed = OneSubmission(AML)
    keyed.resume(Reach.UPLOADED)
    assert keyed.lost() is None


def test_an_aml_check_is_resumed() -> None:
    """Its key makes two requests one job: after silence it is sent again, also by whoever comes after."""
    story = OneSubmission(AML)
    taken = replace(AML.ticket, smile_job_id=TYPE_ID, api="v3")
    assert played(story, LOST, taken) == (["Now", "Request", "Pause", "Request"], taken)
    again = OneSubmission(AML)
    again.resume(Reach.UPLOADED, 3.0)
    assert played(again, taken) == (["Request"], taken)
    assert again.since == 3.0
    story = OneSubmission(AML)
    steps, fault = played(story, *[LOST] * ATTEMPTS)
    assert (steps.count("Request"), fault) == (ATTEMPTS, LOST)
    assert type(story.late("it")) is Unavailable


def test_a_job_of_no_product_is_never_repeated() -> None:
    """Whatever it is, no key of ours makes it one."""
    assert not OneSubmission(Job("ada", 99, FACE.selfie)).may_repeat


@given(st.lists(st.sampled_from([LOST, UNSENT, SLOW, NO, TAKEN]), min_size=3, max_size=3))
def test_nothing_follows_a_lost_answer(answers: list[Fault | Ticket]) -> None:
    """In any order of faults, at most one request may have been taken."""
    story = OneSubmission(FACE)
    steps, _ = played(story, *answers)
    asked = answers[: steps.count("Request")]
    assert sum(answer is LOST or answer is TAKEN for answer in asked) <= 1
    assert not any(answer is LOST for answer in asked[:-1])
