"""one_request.py, endpoints.py, records.py and the judging of a reply: played without an event loop."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ground_support import KEY, NOW, PARTNER, signed, stamp_of
from hypothesis import given
from hypothesis import strategies as st

from smile_async import Decision, IdInfo, Job, Product, Ticket, Verdict
from smile_async.errors import (
    ForgedReply,
    IdNumberBlocked,
    JobExists,
    JobNotFound,
    NotAuthorized,
    RateLimited,
    SmileError,
    StaleReply,
    SubmissionUnknown,
    Unavailable,
)
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE
from smile_async.jobs.verdict import JobStatus
from smile_async.protocol.signature import Secret, SignedStamp, Signer
from smile_async.protocol.steps import ATTEMPTS, FORGETFUL_FOR, Ask, Fault, Now, Pause, Reach, Request, Sent, Wait
from smile_async.protocol.v1.endpoints import ENDPOINTS, request_body
from smile_async.protocol.v1.judging import judge_reply
from smile_async.protocol.v1.one_request import INSISTED_FOR, OneRequest, forgetful_for, submission_of
from smile_async.protocol.v1.records import read_record
from smile_async.protocol.v1.replies import read_object
from smile_async.protocol.v1.submission import Upload

INFO = IdInfo("NG", "BVN", "007")
PARAMS = {"user_id": "ada", "job_id": "j"}
SIGNER = Signer(PARTNER, Secret(KEY))
STAMP = SignedStamp("T", "S")


def enhanced(**more: Any) -> Job:
    """A job that may be repeated."""
    return Job.enhanced_kyc("ada", INFO, job_id="j", **more)


def basic() -> Job:
    """A job that is never repeated."""
    return Job.basic_kyc("ada", INFO, job_id="j")


def lost() -> Fault:
    """It left, and nothing came back."""
    return Fault(Unavailable("no answer"), Sent.AMBIGUOUS, transient=True)


def exists() -> Fault:
    """2215."""
    return Fault(JobExists("used before", status=400, code="2215"), Sent.ANSWERED)


def missing() -> Fault:
    """2304."""
    return Fault(JobNotFound("no such job", status=404, code="2304"), Sent.ANSWERED)


def unsent() -> Fault:
    """Nothing left."""
    return Fault(Unavailable("no connection"), Sent.UNSENT, transient=True)


def result(kind: int = 5, at: float = NOW + 1, code: str = "1012", **record: Any) -> JobStatus:
    """What status says of a job under our ids."""
    about = Ticket("ada", "j", kind, "9")
    found = {"Country": "NG", "IDType": "BVN", "IDNumber": "007", **record}
    verdict = Verdict(
        Decision.APPROVED, True, code, "", about, confirmed=True, timestamp=stamp_of(at) if at else "", record=found
    )
    return JobStatus(about, "2302", complete=True, verdict=verdict, raw={"timestamp": stamp_of(NOW)})


WORKING = JobStatus(Ticket("ada", "j", 5), "2302", complete=False)
REPLY = Verdict(Decision.APPROVED, True, "1012", "", Ticket("ada", "j", 5, "9", Product.ENHANCED_KYC), "reply", True)


#: A moment of the driver's scale at which it is NOW.
BEGUN = 40.0


class Played:
    """A story played to its end: its requests, questions and pauses, the seconds that passed, and how it ended."""

    def __init__(self, story: Upload, requests: list[Any], status: Callable[[float], Any], patience: float = 1e6):
        self.story, self.told, self.passed = story, "", 0.0
        self.error: SmileError | None = None
        self.fault: Fault | None = None
        steps, answer = story.steps(), None
        try:
            step = next(steps)
            while True:
                answer = None
                if isinstance(step, Now):
                    answer = BEGUN
                elif isinstance(step, Wait):
                    answer = self.passed + step.seconds < patience
                    self.passed += step.seconds if answer else 0
                elif isinstance(step, Pause):
                    self.told += "p"
                elif isinstance(step, Ask):
                    assert step.ticket.job_type == UNKNOWN_JOB_TYPE
                    self.told += "a"
                    answer = status(self.passed)
                else:
                    assert isinstance(step, Request)
                    self.told += "R"
                    answer = requests.pop(0)
                step = steps.throw(answer) if isinstance(answer, Fault) else steps.send(answer)
        except StopIteration as end:
            self.ticket = end.value
        except Fault as fault:
            self.fault, self.error = fault, fault.error


def never(_: float) -> Fault:
    """Status does not know the job."""
    return missing()


def test_one_answer_ends_it() -> None:
    """The reply is the verdict; nothing else is asked."""
    played = Played(OneRequest(enhanced()), [REPLY], never)
    assert (played.told, played.ticket, played.story.known) == ("R", REPLY.ticket, REPLY)
    later = Played(OneRequest(enhanced(), later=True), [None], never)
    assert (later.told, later.ticket, later.story.known) == ("R", enhanced().ticket, None)


@pytest.mark.parametrize("fault", [exists, lambda: Fault(IdNumberBlocked("no", status=429), Sent.ANSWERED)])
@pytest.mark.parametrize("job", [enhanced, basic])
def test_a_plain_no_is_a_no(job: Callable[[], Job], fault: Callable[[], Fault]) -> None:
    """2215 and 2222 to a first attempt end it: nothing is asked, nothing was reached."""
    said = fault()
    played = Played(OneRequest(job()), [said], never)
    assert (played.told, played.error, played.story.reach) == ("R", said.error, Reach.NOTHING)


def test_what_did_not_leave_is_sent_again() -> None:
    """So is what was turned away for now, three times in all; nothing may have been taken."""
    busy = Fault(RateLimited("later", status=429), Sent.ANSWERED, transient=True, throttled=True)
    assert Played(OneRequest(basic()), [unsent(), busy, REPLY], never).told == "RpRpR"
    played = Played(OneRequest(basic()), [unsent() for _ in range(ATTEMPTS)], never)
    assert (played.told, played.story.left) == ("RpRpR", False)
    assert isinstance(played.error, Unavailable)


def test_a_lost_reply_whose_result_is_ours() -> None:
    """A result that is younger than our attempt and about what we sent is ours, judged by our product."""
    played = Played(OneRequest(basic()), [lost()], lambda _: result(code="1020"))
    assert played.told == "Ra"
    assert played.story.known is not None
    assert (played.story.known.decision, played.ticket.product) == (Decision.APPROVED, Product.BASIC_KYC)
    assert played.ticket.smile_job_id == "9"
    unnamed = result(Country=None, IDType=None, IDNumber=None)
    assert Played(OneRequest(enhanced()), [lost()], lambda _: unnamed).error is None


@pytest.mark.parametrize(
    "old",
    [
        result(at=NOW - 1),
        result(at=NOW - 0.002),
        result(at=0),
        result(IDNumber="008"),
        result(Country="KE"),
        result(IDType="NIN"),
        result(kind=2),
        result(kind=7),
    ],
)
@pytest.mark.parametrize("job", [enhanced, basic])
def test_a_lost_reply_whose_result_is_not_ours(job: Callable[[], Job], old: JobStatus) -> None:
    """An older result, one about another number or of another job type: JobExists, nothing is sent again."""
    played = Played(OneRequest(job()), [lost()], lambda _: old)
    assert played.told == "Ra"
    assert isinstance(played.error, JobExists)
    assert played.story.known is None


def test_a_job_that_is_not_known_is_insisted_on_for_a_minute() -> None:
    """Then the same job_id is sent once more, and no third time."""
    played = Played(OneRequest(enhanced()), [lost(), REPLY], never)
    assert (played.told.count("R"), played.passed) == (2, INSISTED_FOR)
    assert INSISTED_FOR == 60
    assert played.error is None
    twice = Played(OneRequest(enhanced()), [lost(), lost()], never)
    assert twice.told.count("R") == 2
    assert isinstance(twice.error, SubmissionUnknown)
    assert twice.fault is not None
    assert twice.fault.transient


def test_out_of_time_it_is_sent_once_more_at_once() -> None:
    """Patience that ends within the minute leaves one more attempt."""
    played = Played(OneRequest(enhanced()), [lost(), REPLY], never, patience=5.0)
    assert (played.told.count("R"), played.error) == (2, None)
    assert played.passed < 5


def test_exists_after_our_own_attempt() -> None:
    """2215 to the second attempt: our own result is taken, without one nobody can tell, an old one is another's."""
    late = Played(OneRequest(enhanced()), [lost(), exists()], lambda at: result() if at >= 60 else missing())
    assert late.error is None
    silent = Played(OneRequest(enhanced()), [lost(), exists()], never)
    assert isinstance(silent.error, SubmissionUnknown)
    assert silent.fault is not None
    assert not silent.fault.transient
    tries = iter([missing()] * 17 + [result(at=NOW - 9)])
    assert isinstance(Played(OneRequest(enhanced()), [lost(), exists()], lambda _: next(tries)).error, JobExists)


def test_what_nobody_can_tell_is_not_repeated() -> None:
    """A product whose job_id may be good for two bills is asked about for ten seconds and given up."""
    played = Played(OneRequest(basic()), [lost()], never)
    assert (played.told.count("R"), played.passed) == (1, 10)
    assert isinstance(played.error, SubmissionUnknown)
    assert played.fault is not None
    assert not played.fault.transient
    working = Played(OneRequest(basic()), [lost()], lambda _: WORKING)
    assert isinstance(working.error, SubmissionUnknown)


@pytest.mark.parametrize("job", [enhanced, basic])
def test_a_status_that_is_refused_tells_nothing(job: Callable[[], Job]) -> None:
    """A no to the question is no answer about the job: unknown, and not sent again."""
    refused = Fault(NotAuthorized("no", status=400, code="2405"), Sent.ANSWERED)
    played = Played(OneRequest(job()), [lost()], lambda _: refused)
    assert (played.told, type(played.error)) == ("Ra", SubmissionUnknown)


def test_a_status_that_is_down_is_asked_again() -> None:
    """A passing fault of the question costs time alone."""
    tries = iter([lost(), lost(), lost(), result()])
    assert Played(OneRequest(basic()), [lost()], lambda _: next(tries)).error is None


def test_a_forged_reply_ends_it() -> None:
    """Neither asked about nor sent again: and its ticket stays, for it may have been taken."""
    forged = Fault(ForgedReply("not signed"), Sent.AMBIGUOUS)
    played = Played(OneRequest(enhanced()), [forged], never)
    assert (played.told, played.error, played.story.left) == ("R", forged.error, True)


def test_an_unsigned_reply_is_confirmed_if_it_can_be() -> None:
    """One status query: its verdict if that is ours, else what the reply said, unconfirmed."""
    unsigned = Verdict(Decision.APPROVED, True, "1012", "", REPLY.ticket, "reply", False)
    for status, confirmed in ((result(), True), (missing(), False), (result(at=1), False), (WORKING, False)):
        played = Played(OneRequest(enhanced()), [unsigned], lambda _, said=status: said)  # type: ignore[misc]
        assert (played.told, played.error) == ("Ra", None)
        assert played.story.known is not None
        assert played.story.known.confirmed is confirmed


def test_a_resumed_story_asks_first() -> None:
    """What an earlier call may have sent is asked about before anything is sent, from the time of that call on."""
    for at, error in ((NOW - 50, None), (NOW - 101, JobExists)):
        story = OneRequest(basic())
        story.resume(Reach.RESERVED, BEGUN - 100)
        played = Played(story, [], lambda _, at=at: result(at=at, code="1020"))  # type: ignore[misc]
        assert (played.told, type(played.error)) == ("a", error or type(None))
    other = OneRequest(basic())
    other.resume(Reach.RESERVED, BEGUN - 100)
    assert isinstance(Played(other, [], never).error, SubmissionUnknown)


@pytest.mark.parametrize("job", [enhanced, basic])
@pytest.mark.parametrize("at", [NOW - 1_000, NOW, NOW + 1])
def test_a_story_of_nobody_knows_when_takes_no_result_and_calls_nobody_foreign(
    job: Callable[[], Job], at: float
) -> None:
    """What was sent before the machine began anew has no age: whatever is found is unknown, and nothing is sent."""
    story = OneRequest(job())
    story.resume(Reach.RESERVED)
    played = Played(story, [], lambda _: result(at=at))
    assert (played.told, type(played.error), story.known) == ("a", SubmissionUnknown, None)
    assert played.fault is not None
    assert not played.fault.transient


def test_a_reply_without_a_moment_dates_nothing() -> None:
    """Where nobody knows when our attempt was made, by the server's clock, no result is taken for ours."""
    undated = replace(result(), raw={})
    assert isinstance(Played(OneRequest(basic()), [lost()], lambda _: undated).error, SubmissionUnknown)
    story = OneRequest(basic())
    story.since = BEGUN
    assert Played(story, [lost()], lambda _: result(code="1020")).error is None


def test_how_long_status_may_not_know_it() -> None:
    """A minute where the authority may be at work and a job_id is good for one job; a moment for all others."""
    assert forgetful_for(enhanced().product) == INSISTED_FOR
    assert forgetful_for(basic().product) == FORGETFUL_FOR
    assert forgetful_for(Job.register("ada", "a.jpg").product) == FORGETFUL_FOR


def test_who_is_late_hears_what_may_be_done() -> None:
    """Cut short, a product that is never repeated is unknown; another may be called again."""
    late = {}
    for job in (enhanced(), basic(), Job.register("ada", "a.jpg")):
        story = submission_of(job)
        story.resume(Reach.RESERVED)
        late[str(job.product)] = (type(story.late("late")), story.late("late").retryable)
    assert late == {
        "enhanced_kyc": (Unavailable, True),
        "basic_kyc": (SubmissionUnknown, False),
        "smartselfie": (Unavailable, True),
    }
    assert type(OneRequest(basic()).late("late")) is Unavailable


ANSWERS = st.sampled_from(["lost", "unsent", "exists", "reply"])


@given(st.lists(ANSWERS, min_size=6, max_size=6), st.sampled_from([enhanced, basic]), st.booleans())
def test_no_weather_makes_two_bills(answers: list[str], job: Callable[[], Job], recorded: bool) -> None:
    """Of requests that may have been taken there is one, or two of a product that refuses the second itself."""
    makers: dict[str, Callable[[], Any]] = {"lost": lost, "unsent": unsent, "exists": exists, "reply": lambda: REPLY}
    faults = [makers[answer]() for answer in answers]
    played = Played(OneRequest(job()), faults, lambda _: result() if recorded else missing())
    sent = answers[: played.told.count("R")]
    taken = [answer for answer in sent if answer in ("lost", "reply")]
    assert len(taken) <= (2 if job is enhanced else 1)
    assert (played.error is None) == (played.story.known is not None)
    if isinstance(played.error, JobExists):
        assert "lost" not in sent


# --- what goes out


@pytest.mark.parametrize("name", ["enhanced_kyc", "basic_kyc", "business_verification"])
def test_id_fields_stand_at_the_top(name: str) -> None:
    """Beside the signature, with the ids in partner_params; nothing extra takes the place of what signs it."""
    info = IdInfo("NG", "BVN", "007", dob="1990-01-31", extra={"card_number": "1", "signature": "x", "partner_id": "y"})
    job = Job.of(name, "ada", id_info=info, job_id="j", consent={"consented": True}, partner_params={"shop": "9"})
    assert job.product is not None
    body = json.loads(request_body(job, ENDPOINTS[job.product], partner_id="001", stamp=STAMP, callback_url=""))
    assert body == {
        "country": "NG",
        "id_type": "BVN",
        "id_number": "007",
        "dob": "1990-01-31",
        "card_number": "1",
        "consent_information": {"consented": True},
        "partner_params": {**PARAMS, "shop": "9", "job_type": job.job_type},
        "partner_id": "001",
        "signature": "S",
        "timestamp": "T",
        "source_sdk": "rest_api",
        "source_sdk_version": "0.1.0",
    }


def test_an_aml_check_has_its_ids_at_the_top() -> None:
    """So the docs say; the partner's own params stand alone."""
    job = Job.aml_check("ada", "Ada Obi", ["NG"], birth_year=1990, job_id="j", callback_url="https://shop.example/cb")
    body = json.loads(request_body(job, ENDPOINTS[Product.AML_CHECK], partner_id="1", stamp=STAMP, callback_url="x"))
    assert {
        name: body[name] for name in ("full_name", "countries", "birth_year", "partner_params", "callback_url")
    } == {
        "full_name": "Ada Obi",
        "countries": ["NG"],
        "birth_year": "1990",
        "partner_params": {},
        "callback_url": "https://shop.example/cb",
    }
    assert {name: body[name] for name in ("user_id", "job_id", "job_type")} == {**PARAMS, "job_type": 10}


def test_each_product_of_one_request_has_an_endpoint() -> None:
    """Those that can be submitted have two paths."""
    for product, endpoint in ENDPOINTS.items():
        assert bool(endpoint.later) == product.spec.asynchronous


# --- what comes back


def reply(**changes: Any) -> Verdict | None:
    """The reply to an Enhanced KYC, with *changes*."""
    fields = {"ResultCode": "1012", "SmileJobID": "9", "PartnerParams": {**PARAMS, "job_type": "5"}, **changes}
    return judge_reply(read_object(signed(fields), "it"), enhanced().ticket, SIGNER, NOW)


def test_a_signed_reply_is_confirmed() -> None:
    """It is the result of our own request: approved, final, with its record."""
    said = reply(FullName="Ada Obi", DOB="Not Available")
    assert said is not None
    assert (said.approved, said.final, said.source, said.record) == (True, True, "reply", {"FullName": "Ada Obi"})
    assert (said.ticket.product, said.ticket.smile_job_id) == (Product.ENHANCED_KYC, "9")
    assert reply(ResultCode=None) is None


def test_a_reply_of_another_or_old_is_forged() -> None:
    """Another's ids, another type, a stale signature."""
    for changes in ({"PartnerParams": {**PARAMS, "user_id": "eve"}}, {"PartnerParams": {**PARAMS, "job_type": 7}}):
        with pytest.raises(ForgedReply):
            reply(**changes)
    with pytest.raises(StaleReply):
        judge_reply(read_object(signed({"ResultCode": "1012"}, at=NOW - 999), "it"), enhanced().ticket, SIGNER, NOW)
    with pytest.raises(ForgedReply):
        judge_reply({"ResultCode": "1012", "timestamp": stamp_of(NOW)}, enhanced().ticket, SIGNER, NOW)


def test_a_reply_without_a_signature_opens_no_door() -> None:
    """Told, not confirmed."""
    said = judge_reply({"ResultCode": "1012", "PartnerParams": PARAMS}, enhanced().ticket, SIGNER, NOW)
    assert said is not None
    assert (said.decision, said.confirmed, said.approved) == (Decision.APPROVED, False, False)


def test_a_record_has_no_words_for_nothing() -> None:
    """What stands for nothing is left out on every level; photos stay text, what is of the job is no record."""
    photo = "/9j/" + "A" * 100
    told = {
        "ResultCode": "1012",
        "PartnerParams": {},
        "Photo": photo,
        "DOB": "NaN-NaN-NaN",
        "Address": " ",
        "Gender": None,
        "company_information": {"tax_id": "N/A", "legal_name": "ACME"},
        "people": [{"name": "Ada", "addresses": ["N/A", "Lagos"]}, "Not Available"],
        "IDNumberPreviouslyRegistered": False,
    }
    assert read_record(told) == {
        "Photo": photo,
        "company_information": {"legal_name": "ACME"},
        "people": [{"name": "Ada", "addresses": ["Lagos"]}],
        "IDNumberPreviouslyRegistered": False,
    }
    assert read_record({"ResultCode": "0820"}) == {}
    deep: Any = "N/A"
    for _ in range(500):
        deep = [deep]
    assert read_record({"FullData": deep}) == {"FullData": deep}
