"""Jobs of V3 whose answers get lost, and webhooks of anybody in any order, in every mixture hypothesis can think of.

The story of a submission, its URL, what is remembered and what ties a webhook to a ticket are the library's own; the
provider and the time are played.
"""

from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from v3_client_support import ME, NIN

from smile_async import Job, SmileError, Ticket, Verdict
from smile_async.errors import JobNotFound, SubmissionUnknown, Unavailable
from smile_async.jobs.verdict import JobStatus
from smile_async.protocol.callback_urls import address_in, webhook_url_of
from smile_async.protocol.signature import Secret, Signer
from smile_async.protocol.steps import Ask, Fault, Now, Reach, Request, Sent
from smile_async.protocol.v3.judging import judge_status
from smile_async.protocol.v3.submission import OneSubmission
from smile_async.protocol.v3.type_id import made_at
from smile_async.protocol.v3.webhooks import Webhook
from smile_async.sandbox.v3.type_ids import fresh
from smile_async.traffic.binding import Binder
from smile_async.traffic.taken import Taken

SIGNER = Signer("085", Secret("a-key"))
BEGAN = 1_767_323_045.0
#: Our jobs, each by its user; a user may have jobs that are not ours.
OURS = [("ada", "a1"), ("ada", "a2"), ("eve", "e1")]
HAPPENINGS = [
    "ok",
    "ok",
    "lost on its way",
    *["its answer is lost"] * 4,
    "refused",
    "not sent",
    "cancelled",
    "nonsense",
]
WORDS = ["clear", "block", "attention", "error"]


@dataclass
class Made:
    """A job at the provider's; *url*: the query of the one it was given, *whose*: ours that it came of."""

    type_id: str
    user_id: str
    word: str
    url: str = ""
    whose: tuple[str, str] | None = None


class Provider:
    """What is asked of a driver, a poller and a ledger, answered from what the provider and we know."""

    def __init__(self) -> None:
        self.jobs: list[Made] = []
        self.up = True

    # The driver.

    async def query(self, ask: Ask, _deadline: float) -> JobStatus:
        if not self.up:
            raise Fault(Unavailable("away"), Sent.AMBIGUOUS, transient=True)
        job = next((job for job in self.jobs if job.type_id == ask.ticket.smile_job_id), None)
        if job is None:
            return judge_status(404, b"", ask.ticket, "/status")
        said = {"status": job.word, "job_id": job.type_id, "user_id": job.user_id}
        return judge_status(202 if job.word == "processing" else 200, orjson.dumps(said), ask.ticket, "/status")

    # The poller.

    def watch_of(self, _ticket: Ticket) -> None:
        return None

    def ticket_of(self, _type_id: str) -> None:
        return None

    def named(self, _ticket: Ticket) -> None:
        """Nobody waits."""

    def hear(self, verdict: Verdict) -> None:
        assert verdict.confirmed

    def monotonic(self) -> float:
        return 0.0


class Books:
    """A ledger: what was begun, and what was accepted."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Ticket] = {}

    def accepted(self, ticket: Ticket) -> None:
        if (ticket.user_id, ticket.job_id) in self.rows:
            self.rows[ticket.user_id, ticket.job_id] = ticket

    async def find(self, user_id: str, job_id: str) -> Ticket | None:
        return self.rows.get((user_id, job_id))

    async def flush(self) -> None:
        """All is on record at once."""

    async def named(self, type_id: str) -> Ticket | None:
        return next((ticket for ticket in self.rows.values() if ticket.smile_job_id == type_id), None)


class LostAndFound(RuleBasedStateMachine):
    """Three jobs, submitted, lost, told of by whomever, over restarts with and without a ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGAN
        self.provider = Provider()
        self.books: Books | None = Books()
        self.sent_at: dict[tuple[str, str], float] = {}
        self.begin()

    def begin(self) -> None:
        """A process, which remembers what its ledger does."""
        self.taken = Taken()
        self.reach = dict.fromkeys(self.books.rows if self.books else (), Reach.RESERVED)
        told: Any = (self.provider, self.provider, self.provider, self.taken, self.books)
        self.binder = Binder(*told)

    def known(self, whose: tuple[str, str]) -> Ticket | None:
        """Our ticket with its TypeID, as a sender finds it."""
        found = (self.books.rows.get(whose) if self.books else None) or (self.taken.of(*whose) or (None,))[0]
        return found if found is not None and found.smile_job_id else None

    @rule(seconds=st.sampled_from([0.0004, 1.0, 400.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule(keeps=st.sampled_from([True] * 9 + [False]))
    def restart(self, keeps: bool) -> None:
        """The process begins anew, with its ledger, or after the one without it has come to an end."""
        if not keeps or self.books is None:
            return self.forget()
        return self.begin()

    def forget(self) -> None:
        """From here on without a ledger: what was sent may be sent again, and the provider makes two jobs of it."""
        self.books = None
        for job in self.provider.jobs:
            job.whose = None
        self.sent_at.clear()
        self.begin()

    @rule(user_id=st.sampled_from(["ada", "eve"]), word=st.sampled_from(WORDS))
    def elsewhere(self, user_id: str, word: str) -> None:
        """Somebody else makes a job of one of our users."""
        self.provider.jobs.append(Made(fresh("job", self.now), user_id, word))

    @rule(whose=st.sampled_from(OURS), happening=st.sampled_from(HAPPENINGS), word=st.sampled_from(WORDS))
    def submit(self, whose: tuple[str, str], happening: str, word: str) -> None:
        """We call, or call again."""
        if self.known(whose):
            return
        submission = OneSubmission(Job.enhanced_kyc(whose[0], NIN, person=ME, job_id=whose[1]))
        submission.resume(self.reach.get(whose, Reach.NOTHING))
        if self.books is not None:
            self.books.rows.setdefault(whose, submission.ticket)
        lost_before = submission.reach > Reach.NOTHING
        end = self.walked(submission, happening, word)
        if isinstance(end, SubmissionUnknown):
            assert end.ticket is not None
            assert not end.retryable
        else:
            assert not lost_before
        if isinstance(end, Ticket):
            self.taken.note(end)
            if self.books is not None:
                self.books.accepted(end)
        if submission.reach is Reach.NOTHING and self.books is not None and not self.known(whose):
            del self.books.rows[whose]
        self.reach[whose] = submission.reach

    def walked(self, submission: OneSubmission, happening: str, word: str) -> Ticket | SmileError | None:
        """How it ends; None: the caller has gone."""
        try:
            return self.walk(submission, happening, word)
        except Fault as fault:
            return fault.error
        except GeneratorExit:
            return None

    def walk(self, submission: OneSubmission, happening: str, word: str) -> Ticket:
        """Drive it to its end; what happens, happens to the first request, the second is answered."""
        steps, value, fault = submission.steps(), None, None
        while True:
            try:
                step = steps.send(value) if fault is None else steps.throw(fault)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            value, fault = None, None
            if isinstance(step, Now):
                value = self.now
            elif isinstance(step, Request):
                if happening != "not sent":
                    step.leaves()
                try:
                    value = self.request(submission, happening, word)
                except Fault as told:
                    fault = told
                happening = "ok"

    def request(self, submission: OneSubmission, happening: str, word: str) -> Any:
        """What becomes of one request."""
        job = submission.job
        if happening == "not sent":
            raise Fault(Unavailable("no route"), Sent.UNSENT, transient=True)
        if happening == "refused":
            raise Fault(Unavailable("429"), Sent.ANSWERED, transient=True, throttled=True)
        whose = (job.user_id, job.job_id)
        url = webhook_url_of("https://shop.example/", SIGNER, job.job_id, self.now, job.user_id).partition("?")[2]
        self.sent_at[whose] = self.now
        made = Made(fresh("job", self.now), job.user_id, word, url, whose)
        if happening != "lost on its way":
            self.provider.jobs.append(made)
        if happening == "cancelled":
            raise GeneratorExit
        if happening != "ok":
            raise Fault(Unavailable(happening), Sent.AMBIGUOUS, transient=happening != "nonsense")
        return replace(submission.ticket, smile_job_id=made.type_id)

    @rule(
        data=st.data(),
        up=st.sampled_from([True, True, True, False]),
        word=st.sampled_from([*WORDS, "processing", "escalated"]),
    )
    def webhook(self, data: st.DataObject, up: bool, word: str) -> None:
        """One comes, about any job, to any URL that has leaked or to none, in the name of anybody, saying anything."""
        if not self.provider.jobs:
            return
        job = data.draw(st.sampled_from(self.provider.jobs))
        url = data.draw(st.sampled_from(["", *(other.url for other in self.provider.jobs if other.url)]))
        user_id = data.draw(st.sampled_from([*[job.user_id] * 6, "ada", "eve"]))
        named = data.draw(st.sampled_from([None, *(job_id for _, job_id in OURS)]))
        hook = Webhook(job.type_id, user_id, word, "now", job_id=named)
        self.provider.up, bound = up, self.bound()
        said = self.placed(hook, url)
        self.provider.up = True
        if isinstance(said, Verdict):
            assert not said.confirmed or said.code == job.word
            assert said.ticket.smile_job_id == job.type_id
            assert said.ticket.user_id == job.user_id
        if not up:
            assert self.bound() == bound

    @rule(data=st.data(), older=st.sampled_from([0.0, 0.002, 400.0]))
    def impostor(self, data: st.DataObject, older: float) -> None:
        """Another job's name comes to the URL of one that is lost: somebody has both, and a signature."""
        dark = [job for job in self.provider.jobs if job.whose and not self.known(job.whose)]
        if not dark:
            return
        job = data.draw(st.sampled_from(dark))
        if older:
            # One that was cleared before ours was sent.
            made = fresh("job", self.sent_at[job.whose] - older)  # type: ignore[index]
            self.provider.jobs.insert(0, Made(made, job.user_id, "clear"))
        other = self.provider.jobs[0] if older else data.draw(st.sampled_from(self.provider.jobs))
        said = self.placed(Webhook(other.type_id, other.user_id, other.word, "now"), job.url)
        assert other.user_id == job.user_id or not isinstance(said, Verdict) or not said.confirmed

    @rule(data=st.data())
    def true_webhook(self, data: st.DataObject) -> None:
        """The provider's own, of one of our jobs, to its URL: it counts, and completes what was lost."""
        ours = [job for job in self.provider.jobs if job.whose and not self.taken_from(job)]
        if not ours:
            return
        job = data.draw(st.sampled_from(ours))
        said = self.placed(Webhook(job.type_id, job.user_id, job.word, "now", job_id=job.whose[1]), job.url)  # type: ignore[index]
        assert isinstance(said, Verdict), said
        assert said.code == job.word
        assert self.known(job.whose).smile_job_id == job.type_id  # type: ignore[union-attr, arg-type]

    def taken_from(self, job: Made) -> bool:
        """Whether a webhook to a URL that leaked has tied this user's jobs to each other's tickets."""
        ticket = self.known(job.whose)  # type: ignore[arg-type]
        stolen = ticket is not None and ticket.smile_job_id != job.type_id
        return stolen or any(whose != job.whose and job.type_id == bound for whose, bound in self.bound().items())

    def placed(self, hook: Webhook, url: str) -> Verdict | Unavailable | JobNotFound | None:
        """What the binder makes of it."""
        try:
            return _now(self.binder.place(hook, address_in(url, SIGNER, hook.user_id), lambda _job_id: True))
        except (Unavailable, JobNotFound) as error:
            return error

    def bound(self) -> dict[tuple[str, str], str]:
        """The TypeIDs of our jobs."""
        return {whose: ticket.smile_job_id or "" for whose in OURS if (ticket := self.known(whose))}

    @invariant()
    def nothing_is_sent_twice(self) -> None:
        made = [job.whose for job in self.provider.jobs if job.whose is not None]
        assert len(made) == len(set(made))

    @invariant()
    def each_ticket_has_a_job_of_its_own(self) -> None:
        bound = self.bound()
        assert len(bound) == len({*bound.values()})
        for whose, type_id in bound.items():
            job = next(job for job in self.provider.jobs if job.type_id == type_id)
            assert job.user_id == whose[0]
            if whose in self.sent_at:
                assert (made_at(type_id) or 0.0) >= int(self.sent_at[whose] * 1_000) / 1_000

    @invariant()
    def who_is_in_the_dark_is_on_record(self) -> None:
        for job in self.provider.jobs:
            assert job.whose is None or self.books is None or job.whose in self.books.rows


def _now(work: Coroutine[Any, Any, Any]) -> Any:
    """The end of *work*, which waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


TestLostAndFound = pytest.mark.filterwarnings("error")(LostAndFound.TestCase)
TestLostAndFound.settings = settings(max_examples=150, stateful_step_count=30, deadline=None, derandomize=True)
