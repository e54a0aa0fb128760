"""conversation.py: the life of a job, played without an event loop by a driver that says what it is told to say."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from ground_support import jpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from smile_async.errors import (
    JobExists,
    JobNotFound,
    NotAuthorized,
    RateLimited,
    Unavailable,
    UploadFailed,
)
from smile_async.jobs.codes import Decision
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.protocol.signature import Secret
from smile_async.protocol.steps import (
    ATTEMPTS,
    FORGETFUL_FOR,
    FORGETFUL_GAPS,
    Ask,
    Conversation,
    Fault,
    Pause,
    Prepare,
    Put,
    Reach,
    Sent,
    Slot,
    Step,
    Wait,
    insist,
)
from smile_async.protocol.v1.submission import Upload
from smile_async.timing.pacing import Pace
from smile_async.traffic.pending import PendingJob

NUMBER = "0000000123"
TICKET = Ticket("ada", "7f3e", 2)
NUMBERED = Ticket("ada", "7f3e", 2, NUMBER)


def a_job() -> Job:
    """The one job of these stories."""
    return Job.authenticate("ada", jpeg(), job_id="7f3e")


def slot(number: str | None = NUMBER, url: str = "https://bucket.s3.amazonaws.com/1") -> Slot:
    """A place for the zip."""
    return Slot(Secret(url), number, {})


def approved(code: str = "0820") -> Verdict:
    """A confirmed approval of the job with this ticket."""
    return Verdict(Decision.APPROVED, True, code, "", NUMBERED, confirmed=True)


NO_ZIP = JobStatus(TICKET, "2314", complete=False, waiting_for_zip=True)
WORKING = JobStatus(NUMBERED, "2302", complete=False)
DONE = JobStatus(NUMBERED, "2302", complete=True, verdict=approved())


def unsent() -> Fault:
    """No request left."""
    return Fault(Unavailable("no connection"), Sent.UNSENT, transient=True)


def lost() -> Fault:
    """A request left, and nothing came back."""
    return Fault(Unavailable("no answer"), Sent.AMBIGUOUS, transient=True)


def busy() -> Fault:
    """A clear "later"."""
    return Fault(RateLimited("slow down", status=429), Sent.ANSWERED, transient=True, throttled=True)


def refused() -> Fault:
    """A clear "no"."""
    return Fault(NotAuthorized("no", status=400, code="2205"), Sent.ANSWERED)


def exists() -> Fault:
    """Code 2215."""
    return Fault(JobExists("used before", status=400, code="2215"), Sent.ANSWERED)


def not_found() -> Fault:
    """Code 2304."""
    return Fault(JobNotFound("no such job", status=404, code="2304"), Sent.ANSWERED)


def expired() -> Fault:
    """The storage's 403."""
    return Fault(UploadFailed("too late"), Sent.ANSWERED, expired=True)


def broken() -> Fault:
    """The storage's 400."""
    return Fault(UploadFailed("no"), Sent.ANSWERED)


@dataclass
class Play:
    """What a story did when it was told what it was told."""

    steps: list[Step] = field(default_factory=list)
    ended: Any = None
    fault: Fault | None = None

    @property
    def told(self) -> str:
        """The steps, in short: `prepare`, `prepare!` with retry, `put`, `ask`, `wait`, `pauseN`."""
        return " ".join(_short(step) for step in self.steps)


def _short(step: Step) -> str:
    if isinstance(step, Prepare):
        return "prepare!" if step.retry else "prepare"
    return f"pause{step.attempt}" if isinstance(step, Pause) else type(step).__name__.lower()


#: There is no time left for a Wait, which otherwise has it.
LATE = object()


def play(story: Conversation[Any], *answers: Any) -> Play:
    """Drive *story* with *answers*, a Fault to be thrown or a value to be sent, for each step but pause and wait."""
    played, waiting = Play(), list(answers)
    answer: Any = None
    while True:
        try:
            step = story.throw(answer) if isinstance(answer, Fault) else story.send(answer)
        except StopIteration as end:
            played.ended = end.value
            break
        except Fault as fault:
            played.fault = fault
            break
        played.steps.append(step)
        if isinstance(step, Wait):
            answer = waiting[:1] != [LATE]
            waiting = waiting[not answer :]
        else:
            answer = None if isinstance(step, Pause) else waiting.pop(0)
    assert waiting == [], f"after {played.told!r} nobody asked for the rest"
    return played


def resumed(reach: Reach) -> Upload:
    """A submission that may have come so far before."""
    story = Upload(a_job())
    story.resume(reach)
    return story


def submit(*answers: Any, reach: Reach = Reach.NOTHING) -> tuple[Play, Upload]:
    """Play a whole submission."""
    story = resumed(reach)
    return play(story.steps(), *answers), story


# -- the happy path ---------------------------------------------------------------------------------------------------


def test_the_happy_path() -> None:
    """A job is reserved, its zip is put into the very slot, and what is left is a ticket with Smile's number."""
    place = slot()
    played, story = submit(place, None)
    assert played.told == "prepare put"
    assert isinstance(played.steps[1], Put)
    assert played.steps[1].slot is place
    assert played.ended == story.ticket == NUMBERED
    assert (story.reach, story.left) == (Reach.UPLOADED, True)


def test_a_slot_without_a_number_leaves_the_ticket_as_it_was() -> None:
    """Smile's number is optional: without it the job is found by its own ids."""
    played, _ = submit(slot(None), None)
    assert played.ended == TICKET


def test_before_the_first_step_nothing_has_left() -> None:
    """A submission that was only made has reached nothing; one that resumes has reached what it was told."""
    fresh = Upload(a_job())
    assert (fresh.ticket, fresh.reach, fresh.left) == (TICKET, Reach.NOTHING, False)
    for reach in (Reach.RESERVED, Reach.UPLOADED):
        assert (resumed(reach).reach, resumed(reach).left) == (reach, True)
        # It can be asked about.
        assert resumed(reach).lost() is None


# -- reserving --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [unsent, lost, busy])
def test_a_passing_fault_is_tried_again(fault: Callable[[], Fault]) -> None:
    """Whatever passes, /upload is sent up to three times, each after a pause that knows why."""
    played, _ = submit(fault(), fault(), slot(), None)
    assert played.told == "prepare pause1 prepare pause2 prepare put"
    pause = played.steps[1]
    assert isinstance(pause, Pause)
    assert type(pause.fault.error) is type(fault().error)
    assert played.ended == NUMBERED


@pytest.mark.parametrize(
    ("fault", "reach", "left"),
    [(unsent, Reach.NOTHING, False), (lost, Reach.RESERVED, True), (busy, Reach.NOTHING, True)],
)
def test_attempts_are_bounded_and_the_reach_is_told(fault: Callable[[], Fault], reach: Reach, left: bool) -> None:
    """After three attempts the last fault goes through, and reach and left say how far the job may have come."""
    last = fault()
    played, story = submit(fault(), fault(), last)
    assert played.told == "prepare pause1 prepare pause2 prepare"
    assert played.fault is last
    assert (story.reach, story.left) == (reach, left)


def test_one_lost_request_leaves_its_mark() -> None:
    """Once one request may have arrived, later ones that surely did not change nothing about that."""
    _, story = submit(lost(), unsent(), busy())
    assert (story.reach, story.left) == (Reach.RESERVED, True)
    _, story = submit(unsent(), refused())
    assert (story.reach, story.left) == (Reach.NOTHING, True)


def test_a_clear_no_is_not_asked_again() -> None:
    """A refusal that another attempt can not change goes through at once."""
    played, story = submit(refused())
    assert played.told == "prepare"
    assert isinstance(played.fault, Fault)
    assert isinstance(played.fault.error, NotAuthorized)
    assert (story.reach, story.left) == (Reach.NOTHING, True)


# -- 2215: is it ours? ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [[], [unsent], [busy], [unsent, busy]])
def test_a_job_that_exists_without_our_doing_is_somebody_elses(before: list[Callable[[], Fault]]) -> None:
    """2215 while no request of ours can have made the job is JobExists at once: no question, no upload."""
    played, story = submit(*(fault() for fault in before), exists())
    assert "ask" not in played.told
    assert "put" not in played.told
    assert played.fault is not None
    assert isinstance(played.fault.error, JobExists)
    assert (story.reach, story.left) == (Reach.NOTHING, True)


def test_our_own_lost_request_is_taken_up_again() -> None:
    """After a lost /upload 2215 may be our own job: "no zip yet" gets a fresh URL with retry, and the zip."""
    played, story = submit(lost(), exists(), NO_ZIP, slot(), None)
    assert played.told == "prepare pause1 prepare ask prepare! put"
    assert played.steps[3] == Ask(TICKET)
    assert played.ended == NUMBERED
    assert story.reach is Reach.UPLOADED


OTHER_STATES = [DONE, WORKING, JobStatus(NUMBERED, "", complete=False), JobStatus(NUMBERED, "2301", complete=False)]


@pytest.mark.parametrize("status", OTHER_STATES)
def test_an_impostor_never_gets_an_old_verdict(status: JobStatus) -> None:
    """The job_id of an old approved job, an impostor's selfie and a lost request: the zip that is there is not ours, so
    the story ends with JobExists; neither its ticket's verdict is returned nor a zip sent.
    """
    played, story = submit(lost(), exists(), status)
    assert played.told == "prepare pause1 prepare ask"
    assert played.ended is None
    assert played.fault is not None
    assert isinstance(played.fault.error, JobExists)
    assert story.ticket == TICKET


ASKED_FOR_TEN_SECONDS = " ".join(["ask"] + ["wait ask"] * len(FORGETFUL_GAPS))


def not_known() -> list[Fault]:
    """2304 to all that is asked within ten seconds."""
    return [not_found() for _ in range(len(FORGETFUL_GAPS) + 1)]


@pytest.mark.parametrize("times", [1, 3, len(FORGETFUL_GAPS)])
@pytest.mark.parametrize("before", [Reach.NOTHING, Reach.RESERVED])
def test_our_own_job_may_not_be_known_for_a_moment(times: int, before: Reach) -> None:
    """After our own lost /upload, of this call or an earlier one, 2215 and then 2304 is asked again for ten seconds,
    and what is known by then goes on: nobody calls our job somebody else's.
    """
    first = [lost()] if before is Reach.NOTHING else []
    played, story = submit(*first, exists(), *not_known()[:times], NO_ZIP, slot(), None, reach=before)
    assert played.told.endswith("prepare " + "ask wait " * times + "ask prepare! put")
    assert [step.seconds for step in played.steps if isinstance(step, Wait)] == list(FORGETFUL_GAPS[:times])
    assert (played.ended, story.reach) == (NUMBERED, Reach.UPLOADED)


def test_a_moment_is_ten_seconds() -> None:
    """As long as the poller has patience with a job that was uploaded just now."""
    assert FORGETFUL_FOR == sum(FORGETFUL_GAPS) == 10.0


@pytest.mark.parametrize("reach", [Reach.NOTHING, Reach.RESERVED, Reach.UPLOADED])
@pytest.mark.parametrize("answers", [not_known(), [not_found(), LATE], [not_found(), not_found(), LATE]])
def test_whose_job_it_is_may_stay_unknown(answers: list[Any], reach: Reach) -> None:
    """If /job_status never knows the job, or there is no time to ask it, nothing is sent and nobody is blamed: calling
    again with the same job is safe, may succeed, and begins where this story ended.
    """
    first = [lost()] if reach is Reach.NOTHING else []
    played, story = submit(*first, exists(), *answers, reach=reach)
    if LATE not in answers:
        assert played.told.endswith(f"prepare {ASKED_FOR_TEN_SECONDS}")
    assert "prepare!" not in played.told
    assert played.fault is not None
    assert type(played.fault.error) is Unavailable
    assert str(played.fault.error) == (
        "job 7f3e of user ada exists, but is not known to /job_status yet: call again with the same Job"
    )
    assert (played.fault.transient, played.fault.sent) == (True, Sent.ANSWERED)
    assert (story.reach, story.left) == (max(reach, Reach.RESERVED), True)


def test_a_strangers_job_is_not_insisted_on() -> None:
    """2215 to a first attempt is JobExists at once, and so is a zip that is there and was not sent by us, even if
    /job_status knew nothing of it for a moment.
    """
    assert submit(exists())[0].told == "prepare"
    played, _ = submit(lost(), exists(), not_found(), DONE)
    assert played.told == "prepare pause1 prepare ask wait ask"
    assert played.fault is not None
    assert isinstance(played.fault.error, JobExists)


def test_a_question_that_fails_ends_the_story() -> None:
    """Without an answer whether the zip is there nothing is uploaded; passing faults are asked again, three times."""
    played, story = submit(lost(), exists(), lost(), unsent(), NO_ZIP, slot(), None)
    assert played.told == "prepare pause1 prepare ask pause1 ask pause2 ask prepare! put"
    last = lost()
    played, story = submit(lost(), exists(), lost(), lost(), last)
    assert played.told == "prepare pause1 prepare ask pause1 ask pause2 ask"
    assert played.fault is last
    assert (story.reach, story.left) == (Reach.RESERVED, True)
    played, _ = submit(lost(), exists(), refused())
    assert played.fault is not None
    assert isinstance(played.fault.error, NotAuthorized)


def test_doubts_are_bounded() -> None:
    """A server that keeps saying 2215 and "no zip yet" is not asked for ever; the job may be ours all the same."""
    played, _ = submit(lost(), *([exists(), NO_ZIP] * ATTEMPTS), exists())
    assert played.told == "prepare pause1 prepare ask prepare! ask prepare! ask prepare!"
    assert played.fault is not None
    assert type(played.fault.error) is Unavailable
    assert "exists, but is refused a new upload URL" in str(played.fault.error)
    assert played.fault.transient


# -- resuming ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reach", [Reach.RESERVED, Reach.UPLOADED])
def test_an_earlier_try_is_resumed(reach: Reach) -> None:
    """Where an earlier submission may have reserved the job, 2215 is asked about, and a missing zip is sent."""
    played, story = submit(exists(), NO_ZIP, slot(), None, reach=reach)
    assert played.told == "prepare ask prepare! put"
    assert (played.ended, story.reach) == (NUMBERED, Reach.UPLOADED)


def test_our_own_zip_is_not_sent_twice() -> None:
    """Where an earlier submission may have sent the zip, and it is there, nothing is uploaded again."""
    played, story = submit(exists(), DONE, reach=Reach.UPLOADED)
    assert played.told == "prepare ask"
    assert played.ended == NUMBERED
    assert story.reach is Reach.UPLOADED


def test_a_zip_that_an_earlier_try_can_not_have_sent_is_not_ours() -> None:
    """Where the earlier submission only reserved, a zip that is there is somebody else's."""
    played, _ = submit(exists(), DONE, reach=Reach.RESERVED)
    assert played.fault is not None
    assert isinstance(played.fault.error, JobExists)


def test_a_resumed_job_that_never_arrived_starts_anew() -> None:
    """If nothing of the earlier try arrived, the job is reserved and sent as if it were the first time."""
    played, _ = submit(slot(), None, reach=Reach.RESERVED)
    assert played.told == "prepare put"


# -- putting ----------------------------------------------------------------------------------------------------------


def test_a_zip_that_never_left_is_sent_again_without_a_question() -> None:
    """A PUT that was not sent, or clearly answered "later", is repeated after a pause; nobody needs to be asked."""
    played, story = submit(slot(), unsent(), busy(), None)
    assert played.told == "prepare put pause1 put pause2 put"
    assert story.reach is Reach.UPLOADED


@pytest.mark.parametrize("fault", [unsent, busy, broken])
def test_a_zip_that_surely_did_not_arrive_is_known_not_to_have(fault: Callable[[], Fault]) -> None:
    """If no PUT can have arrived, the reach stays at "reserved"; a clear no is not repeated."""
    count = 1 if fault is broken else ATTEMPTS
    played, story = submit(slot(), *(fault() for _ in range(count)))
    assert played.told.count("put") == count
    assert played.fault is not None
    assert (story.reach, story.ticket) == (Reach.RESERVED, NUMBERED)


@pytest.mark.parametrize("status", [WORKING, DONE])
def test_a_lost_zip_that_landed_is_not_sent_again(status: JobStatus) -> None:
    """A PUT without an answer is asked about before it is repeated: if the zip is there, the story is over."""
    played, story = submit(slot(), lost(), status)
    assert played.told == "prepare put ask"
    assert played.steps[2] == Ask(NUMBERED)
    assert (played.ended, story.reach) == (NUMBERED, Reach.UPLOADED)


def test_a_lost_zip_that_did_not_land_is_sent_again() -> None:
    """If Smile ID has no zip the PUT is repeated, and also if it has not heard of the job after ten seconds."""
    played, _ = submit(slot(), lost(), NO_ZIP, None)
    assert played.told == "prepare put ask pause1 put"
    played, _ = submit(slot(), lost(), *not_known(), None)
    assert played.told == f"prepare put {ASKED_FOR_TEN_SECONDS} pause1 put"


def test_a_lost_zip_that_landed_may_not_be_known_for_a_moment() -> None:
    """2304 right after a lost PUT says nothing: it is asked again, and a zip that is there is not sent twice."""
    played, story = submit(slot(), lost(), not_found(), DONE)
    assert played.told == "prepare put ask wait ask"
    assert (played.ended, story.reach) == (NUMBERED, Reach.UPLOADED)
    played, _ = submit(slot(), unsent(), unsent(), lost(), not_found(), not_found(), DONE)
    assert played.told.endswith("pause2 put ask wait ask wait ask")
    assert played.ended == NUMBERED


def test_every_lost_zip_is_asked_about_the_last_too() -> None:
    """Three lost PUTs are three questions: the last may have landed as well as the first."""
    played, _ = submit(slot(), lost(), NO_ZIP, lost(), NO_ZIP, lost(), DONE)
    assert played.told == "prepare put ask pause1 put ask pause2 put ask"
    assert played.ended == NUMBERED
    last = lost()
    played, story = submit(slot(), lost(), NO_ZIP, lost(), NO_ZIP, last, NO_ZIP)
    assert played.fault is last
    assert story.reach is Reach.UPLOADED


def test_a_lost_zip_of_unknown_fate_is_never_repeated() -> None:
    """If nobody can tell whether the zip is there, it is not sent again, and the reach says that it may be."""
    for answers in ([lost(), lost(), lost()], [refused()]):
        played, story = submit(slot(), lost(), *answers)
        assert played.told.count("put") == 1
        assert played.fault is answers[-1]
        assert story.reach is Reach.UPLOADED


def test_an_expired_url_is_renewed_once() -> None:
    """A URL that is no longer good is replaced by a fresh one for the same job, a second time it is not."""
    fresh = slot(url="https://bucket.s3.amazonaws.com/2")
    played, _ = submit(slot(), expired(), fresh, None)
    assert played.told == "prepare put prepare! put"
    assert isinstance(played.steps[3], Put)
    assert played.steps[3].slot is fresh
    assert played.ended == NUMBERED
    played, story = submit(slot(), expired(), fresh, expired())
    assert played.told == "prepare put prepare! put"
    assert played.fault is not None
    assert isinstance(played.fault.error, UploadFailed)
    assert story.reach is Reach.RESERVED


def test_a_url_that_expires_at_the_last_attempt_is_a_failure() -> None:
    """After two lost PUTs a third into an expired URL is not followed by a renewal that nobody would use."""
    played, _ = submit(slot(), unsent(), unsent(), expired())
    assert played.told == "prepare put pause1 put pause2 put"
    assert played.ended is None
    assert played.fault is not None
    assert isinstance(played.fault.error, UploadFailed)


def test_a_renewal_may_pass_through_doubt_itself() -> None:
    """If the renewal is answered by 2215, our own empty job is recognised and asked for once more."""
    played, _ = submit(slot(), expired(), exists(), NO_ZIP, slot(), None)
    assert played.told == "prepare put prepare! ask prepare! put"
    assert played.ended == NUMBERED


def test_a_late_zip_is_recognised_at_the_renewal() -> None:
    """A lost zip that lands after the question is found when the expired URL is renewed, and not sent again."""
    played, _ = submit(slot(), lost(), NO_ZIP, expired(), exists(), DONE)
    assert played.told == "prepare put ask pause1 put prepare! ask"
    assert played.ended == NUMBERED


def test_a_strangers_zip_at_the_renewal_is_not_ours() -> None:
    """If no zip of ours can have arrived and one is there at the renewal, the story ends with JobExists."""
    played, _ = submit(slot(), expired(), exists(), DONE)
    assert played.told == "prepare put prepare! ask"
    assert played.fault is not None
    assert isinstance(played.fault.error, JobExists)


def test_a_renewal_that_fails_is_a_failure() -> None:
    """If no fresh URL can be had, the fault of the renewal goes through."""
    played, story = submit(slot(), expired(), unsent(), unsent(), unsent())
    assert played.told == "prepare put prepare! pause1 prepare! pause2 prepare!"
    assert played.fault is not None
    assert isinstance(played.fault.error, Unavailable)
    assert (story.reach, story.left) == (Reach.RESERVED, True)


# -- asking -----------------------------------------------------------------------------------------------------------


def test_a_question_may_always_be_repeated() -> None:
    """The very same query is asked again after passing faults, up to three times, and then the fault goes through."""
    step = Ask(TICKET, history=True, image_links=True)
    played = play(insist(step), lost(), busy(), DONE)
    assert played.told == "ask pause1 ask pause2 ask"
    assert {id(asked) for asked in played.steps if isinstance(asked, Ask)} == {id(step)}
    assert played.ended is DONE
    last = lost()
    assert play(insist(step), lost(), lost(), last).fault is last
    assert play(insist(step), refused()).told == "ask"


def test_steps_show_no_url_and_a_fault_is_itself() -> None:
    """A step in a log holds no presigned URL, and two faults are never equal: each is one event."""
    assert "amazonaws" not in repr(Put(slot()))
    assert lost() != lost()


# -- cut short --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "reach"),
    [
        ([], Reach.RESERVED),
        ([unsent()], Reach.NOTHING),
        ([unsent(), None], Reach.RESERVED),
        ([slot()], Reach.UPLOADED),
        ([slot(), unsent()], Reach.RESERVED),
        ([slot(), lost()], Reach.UPLOADED),
        ([slot(), expired()], Reach.RESERVED),
    ],
)
def test_a_story_that_is_cut_short_tells_how_far_it_came(answers: list[Any], reach: Reach) -> None:
    """Closed at any step, reach says what may have arrived by then, and left whether a request may have gone."""
    story = Upload(a_job())
    steps = story.steps()
    next(steps)
    for answer in answers:
        if isinstance(answer, Fault):
            steps.throw(answer)
        else:
            steps.send(answer)
    steps.close()
    assert story.reach is reach
    assert story.left is (reach > Reach.NOTHING)


class World:
    """A provider and a network between it and us, of which a random source says how they fail."""

    def __init__(self, choose: Callable[[list[str]], str], owner: str) -> None:
        self.choose = choose
        #: Who made the job at the provider, and whose zip it has.
        self.owner = "" if owner == "nobody" else "stranger"
        self.zip = "stranger" if owner == "stranger with a zip" else ""
        self.made = 0
        self.late = False
        self.in_doubt = False
        self.sent = False

    def perform(self, step: Step) -> Any:
        """What a driver would answer, or the Fault it would throw."""
        if isinstance(step, Pause):
            return None
        if isinstance(step, Wait):
            return self.choose(["time", "time", "late"]) == "time"
        if self.late and self.choose(["now", "later"]) == "now":
            self.late, self.zip = False, "ours"
        fate = self.choose(["done", "done", "unsent", "lost before", "lost after", "busy", "refused"])
        if fate == "unsent":
            return unsent()
        self.sent = True
        if fate == "lost before":
            return lost()
        if fate in ("busy", "refused"):
            return busy() if fate == "busy" else refused()
        answer = self._prepare(step) if isinstance(step, Prepare) else self._serve(step)
        return lost() if fate == "lost after" else answer

    def _prepare(self, step: Prepare) -> Any:
        if self.owner and not step.retry:
            return exists()
        if not self.owner:
            self.owner = "ours"
            self.made += 1
        return slot()

    def _serve(self, step: Step) -> Any:
        if isinstance(step, Put):
            how = self.choose(["stored", "stored", "late", "expired", "broken"])
            if how in ("expired", "broken"):
                return expired() if how == "expired" else broken()
            self.late, self.zip = how == "late", self.zip or ("" if how == "late" else "ours")
            return lost() if how == "late" else None
        if not self.owner or self.choose(["known", "known", "not yet"]) == "not yet":
            return not_found()
        return WORKING if self.zip else NO_ZIP

    def check_put(self) -> None:
        """A zip may be sent only where none is, or where a repetition of our own can not be told from a first."""
        assert self.zip != "stranger", "a selfie was sent into somebody else's job"
        assert self.zip != "ours" or self.in_doubt, "a zip that is known to be there was sent again"


def tell(story: Upload, world: World, cut: Callable[[], bool]) -> tuple[str, Fault | None]:
    """Play *story* in *world*, perhaps cut short within a step; how it ended."""
    steps = story.steps()
    answer: Any = None
    for _ in range(200):
        try:
            step = steps.throw(answer) if isinstance(answer, Fault) else steps.send(answer)
        except StopIteration:
            return "done", None
        except Fault as fault:
            return "failed", fault
        assert story.left or not world.sent
        if isinstance(step, Put):
            world.check_put()
        answer = world.perform(step)
        if isinstance(step, Put) and isinstance(answer, Fault) and answer.sent is Sent.AMBIGUOUS:
            world.in_doubt = True
        if not isinstance(step, Pause | Wait) and cut():
            world.in_doubt = world.in_doubt or isinstance(step, Put)
            steps.close()
            return "cut", None
    raise AssertionError("the story does not end")


OWNERS = ["nobody", "nobody", "stranger", "stranger with a zip"]


@settings(max_examples=400)
@given(st.data())
def test_whatever_fails_there_is_one_job_and_no_impostor(data: st.DataObject) -> None:
    """In any world of faults, over up to three tries of which each resumes the last: at most one job is made, no zip is
    sent into a stranger's or after ours is known to be there, reach and left never claim less than happened, a story
    that ends well has our zip there, JobExists means a stranger, and every story ends.
    """

    def choose(options: list[str]) -> str:
        return data.draw(st.sampled_from(options))

    world = World(choose, choose(OWNERS))
    reach = Reach.NOTHING
    for _ in range(3):
        world.sent = False
        story = resumed(reach)
        how, fault = tell(story, world, lambda: data.draw(st.integers(0, 9)) == 0)
        assert world.made <= 1
        if world.zip == "ours" or world.late:
            assert story.reach is Reach.UPLOADED
        if world.owner == "ours":
            assert story.reach >= Reach.RESERVED
        assert story.left or not world.sent
        assert story.left == (world.sent or reach > Reach.NOTHING or how == "cut")
        if how == "done":
            assert world.zip == "ours"
            return
        if fault is not None and isinstance(fault.error, JobExists):
            assert world.owner == "stranger"
            assert world.zip != "ours"
        reach = story.reach


# -- pending job ------------------------------------------------------------------------------------------------------


class FakeRhythm:
    """Says what it is told to say, and remembers what it was asked and taught."""

    def __init__(self, wait: float = 2.0) -> None:
        self.wait = wait
        self.asked: list[tuple[int, float, int, bool]] = []
        self.taught: list[tuple[int, float, float, bool, bool]] = []

    def delay(self, job_type: int, age: float, asked: int, reviewed: bool = False, price: float | None = None) -> float:
        self.asked.append((job_type, age, asked, reviewed))
        return self.wait

    def learn(self, job_type: int, after: float, by: float, *, done: bool = True, reviewed: bool = False) -> None:
        self.taught.append((job_type, after, by, done, reviewed))


def said(code: str, decision: Decision = Decision.PROVISIONAL, *, final: bool = False) -> JobStatus:
    """A status with that verdict."""
    word = Verdict(decision, final, code, "", NUMBERED, confirmed=True)
    return JobStatus(NUMBERED, "2302", complete=final, verdict=word)


FINAL = said("1220", Decision.APPROVED, final=True)


def pursue(*, ours: bool = True) -> tuple[PendingJob, Any]:
    """A pending job that begins at second 100, and its rhythm."""
    return PendingJob(TICKET, 100.0, ours=ours), FakeRhythm()


def test_our_own_job_is_asked_about_when_the_rhythm_says() -> None:
    """The next poll of a job we uploaded is where the rhythm puts it, by job type, age and polls so far."""
    pending_job, rhythm = pursue()
    assert pending_job.delay(rhythm, 103.0) == 2.0
    pending_job.heard(NO_ZIP, 103.0, rhythm)
    assert pending_job.delay(rhythm, 104.0) == 2.0
    assert pending_job.delay(rhythm, 99.0) == 2.0
    assert rhythm.asked == [(2, 3.0, 0, False), (2, 4.0, 1, False), (2, 0.0, 1, False)]


def test_a_job_of_unknown_age_is_asked_about_at_once() -> None:
    """Somebody who waits for a ticket may be late already: the first question does not wait, the next ones do."""
    pending_job, rhythm = pursue(ours=False)
    assert pending_job.delay(rhythm, 100.0) == 0.0
    pending_job.heard(NO_ZIP, 100.0, rhythm)
    assert pending_job.delay(rhythm, 100.0) == 2.0
    failing, rhythm = pursue(ours=False)
    failing.missed(0.1)
    assert failing.delay(rhythm, 100.0) > 0.0


def test_failing_polls_spread_out() -> None:
    """Each failure in a row doubles the wait up to a minute, a slow one counts four times, an answer ends it."""
    pending_job, rhythm = pursue()
    waits = []
    for _ in range(8):
        pending_job.missed(0.1)
        waits.append(pending_job.delay(rhythm, 101.0))
    assert waits == [4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]
    slow, _ = pursue()
    slow.missed(10.0)
    assert slow.delay(rhythm, 101.0) == 40.0
    pending_job.heard(NO_ZIP, 110.0, rhythm)
    assert (pending_job.failures, pending_job.latency, pending_job.delay(rhythm, 111.0)) == (0, 0.0, 2.0)
    rhythm.wait = 300.0
    pending_job.missed(0.1)
    assert pending_job.delay(rhythm, 111.0) == 300.0


def test_a_job_whose_polls_fail_is_one_job() -> None:
    """However often the first polls of a few jobs fail, the next job is still among the first, and polled early."""
    rhythm = Pace().rhythm()
    for _ in range(8):
        unlucky = PendingJob(TICKET, 100.0, ours=True)
        for _ in range(9):
            unlucky.delay(rhythm, 100.0)
            unlucky.missed(0.1)
    assert PendingJob(TICKET, 200.0, ours=True).delay(rhythm, 200.0) == Pace().floor


def test_news_is_told_once() -> None:
    """A verdict is news once: the same provisional word again is none, another one is, and so is the final one."""
    pending_job, rhythm = pursue()
    answers = [NO_ZIP, said("0822"), said("0822"), said("0824"), FINAL]
    heard = [pending_job.heard(status, 101.0, rhythm) for status in answers]
    assert [word and word.code for word in heard] == [None, "0822", None, "0824", "1220"]
    assert pending_job.ticket == NUMBERED
    assert pending_job.asked == 5


def test_a_final_word_stays() -> None:
    """After a final verdict neither an old provisional nor another final one moves anything."""
    pending_job, rhythm = pursue()
    assert pending_job.heard(FINAL, 101.0, rhythm) is FINAL.verdict
    for late in (said("0822"), said("1221", Decision.REJECTED, final=True), FINAL):
        assert late.verdict is not None
        assert not pending_job.advance(late.verdict)
        assert pending_job.heard(late, 102.0, rhythm) is None
        assert pending_job.verdict is FINAL.verdict


def test_the_latest_word_may_be_asked_for_whole() -> None:
    """The latest word comes with the history and the links of an answer, whatever else that answer says."""
    links, past = {"selfie_image": "https://x"}, (approved("0822"),)
    for late in (NO_ZIP, said("0822"), said("1220", final=False)):
        pending_job, rhythm = pursue()
        assert pending_job.whole(late) is late.verdict
        pending_job.heard(FINAL, 101.0, rhythm)
        whole = pending_job.whole(replace(late, history=past, image_links=links))
        assert whole is not None
        assert (whole.code, whole.final, whole.history, whole.image_links) == ("1220", True, past, links)
        assert pending_job.whole(FINAL) is FINAL.verdict


ANSWERS = [NO_ZIP, said("0822"), said("0824"), said("0899", Decision.UNKNOWN), FINAL, DONE]


@given(st.lists(st.sampled_from(ANSWERS), max_size=12))
def test_state_only_moves_forward(statuses: list[JobStatus]) -> None:
    """In any order of answers, nothing follows a final verdict, and no news repeats the word before it."""
    pending_job, rhythm = pursue()
    news = [word for status in statuses if (word := pending_job.heard(status, 101.0, rhythm)) is not None]
    assert all(not word.final for word in news[:-1])
    assert all(one.code != other.code for one, other in pairwise(news))
    assert pending_job.verdict == (news[-1] if news else None)
    finals = [status.verdict for status in statuses if status.verdict is not None and status.verdict.final]
    if finals:
        assert pending_job.verdict is finals[0]


def test_a_provisional_word_begins_a_review() -> None:
    """After a provisional verdict a person's is awaited: the rhythm is asked for, and taught, that other wait."""
    pending_job, rhythm = pursue()
    pending_job.heard(NO_ZIP, 102.0, rhythm)
    pending_job.heard(said("0822"), 105.0, rhythm)
    assert pending_job.reviewed
    pending_job.delay(rhythm, 106.0)
    pending_job.heard(said("0822"), 200.0, rhythm)
    pending_job.heard(FINAL, 400.0, rhythm)
    assert not pending_job.reviewed
    assert rhythm.asked[-1] == (2, 6.0, 2, True)
    assert rhythm.taught == [
        (2, 0.0, 2.0, False, False),
        (2, 2.0, 5.0, True, False),
        (2, 5.0, 100.0, False, True),
        (2, 100.0, 300.0, True, True),
    ]


def test_a_verdict_that_comes_unasked_counts_like_an_answer() -> None:
    """What is delivered from outside moves the state, teaches the rhythm and begins or ends a review, once."""
    pending_job, rhythm = pursue()
    provisional, final = said("0822").verdict, FINAL.verdict
    assert provisional is not None
    assert final is not None
    assert pending_job.told(provisional, 103.0, rhythm)
    assert pending_job.reviewed
    assert not pending_job.told(provisional, 104.0, rhythm)
    assert pending_job.told(final, 200.0, rhythm)
    assert (pending_job.verdict, pending_job.reviewed) == (final, False)
    assert not pending_job.told(provisional, 201.0, rhythm)
    assert rhythm.taught == [(2, 0.0, 3.0, True, False), (2, 3.0, 100.0, True, True)]


def test_what_is_known_teaches_nothing_more() -> None:
    """A poll that was under way when the final verdict came, and a verdict of a job not ours, teach nothing."""
    pending_job, rhythm = pursue()
    assert FINAL.verdict is not None
    pending_job.told(FINAL.verdict, 103.0, rhythm)
    assert pending_job.heard(FINAL, 102.0, rhythm) is None
    assert len(rhythm.taught) == 1
    other, rhythm = pursue(ours=False)
    assert other.told(FINAL.verdict, 103.0, rhythm)
    assert rhythm.taught == []


def test_only_our_own_jobs_teach() -> None:
    """A job whose upload we did not see has no age, so it teaches nothing; a clock that jumps back does no harm."""
    pending_job, rhythm = pursue(ours=False)
    pending_job.heard(FINAL, 105.0, rhythm)
    assert rhythm.taught == []
    ours, rhythm = pursue()
    ours.heard(FINAL, 90.0, rhythm)
    assert rhythm.taught == [(2, 0.0, 0.0, True, False)]


def out() -> Fault:
    """Nobody is home, for anybody."""
    return Fault(Unavailable("an outage"), Sent.AMBIGUOUS, transient=True, outage=True)


def test_an_outage_costs_no_attempts() -> None:
    """However often a leg fails in an outage, the job keeps its three attempts, and no zip is sent twice unasked."""
    played = play(Upload(a_job()).steps(), *[out()] * 5, busy(), busy(), busy())
    assert played.told == " ".join(["prepare pause0"] * 5 + ["prepare pause1 prepare pause2 prepare"])
    played = play(Upload(a_job()).steps(), slot(), out(), out(), NO_ZIP, out(), NO_ZIP, None)
    assert played.told == "prepare put ask pause0 ask pause0 put ask pause0 put"
    assert played.fault is None


def unreached() -> Fault:
    """No connection could be made, by anybody."""
    return Fault(Unavailable("refused"), Sent.UNSENT, transient=True, unreached=True)


def test_a_server_that_nobody_reaches_costs_no_attempts() -> None:
    """A leg that can not connect, as nobody can, keeps its three attempts, and waits longer each time."""
    played = play(Upload(a_job()).steps(), *[unreached()] * 4, busy(), out(), busy(), busy())
    told = [*(f"prepare pause{n}" for n in (1, 2, 3, 4, 5, 5, 6)), "prepare"]
    assert played.told == " ".join(told)
