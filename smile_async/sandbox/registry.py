"""The account's books: its jobs, its enrolled users, and what was scripted for them.

All changes happen here, between two awaits, so that concurrent requests for one job_id can never create two jobs.
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from .authorities import lookup_code
from .inspection import Inspection
from .records import JobRecord, Message
from .requests import IdRequest, PrepUpload, Refusal
from .scripts import Script
from .settings import Settings
from .state_file import StateFile
from .v3.records import V3Job

__all__ = ["Registry"]


#: What a registration has come to as long as its user counts as enrolled.
_ENROLLED = ("approved", "attention", "provisional")


_Job = TypeVar("_Job", bound=JobRecord)


class Registry:
    """The books of one partner account."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = settings.clock
        self._begin()
        self._state_file = StateFile(Path(settings.state) if settings.state is not None else None)
        for key, saved in self._state_file.open().items():
            self._restore(key, saved)
        settings.ensure_key()
        self._state_file.write("api_key", settings.api_key)

    def _begin(self) -> None:
        self.jobs: dict[str, JobRecord] = {}
        #: The ids of jobs that were reviewed since somebody emptied this.
        self.revised: dict[str, None] = {}
        self.scripts: dict[str, Script] = {}
        #: Users whose jobs were refused because nobody said what they come to (`scripted_only`).
        self.unscripted: dict[str, None] = {}
        #: Jobs of V3 by the idempotency key they came with; how many there are about each id number.
        self.keyed: dict[str, V3Job] = {}
        self.numbers: Counter[str] = Counter()
        self._by_ref: dict[str, JobRecord] = {}
        self._enrolments: dict[str, list[JobRecord]] = {}
        self._enrolled: dict[str, None] = {}  # in the order they came
        self._frauds: set[str] = set()

    def reset(self) -> None:
        """Forget every job, user and script, on disk too; a job still on its way in comes to nothing."""
        self._begin()
        self._state_file.clear()
        self._state_file.write("api_key", self._settings.api_key)

    def _restore(self, key: str, saved: object) -> None:
        if key == "api_key" and isinstance(saved, str):
            self._settings.api_key = self._settings.api_key or saved
        elif key.startswith("user:"):
            if saved:
                self._enrolled[key.removeprefix("user:")] = None
        elif key.startswith("fraud:"):
            self._note_fraud(key.removeprefix("fraud:"), is_fraud=bool(saved))
        elif isinstance(saved, dict):
            kind = V3Job if saved.get("api") == "v3" else JobRecord
            self._add(kind.restore(saved, self._clock))

    def save(self, job: JobRecord) -> None:
        """Remember a job as it is now, unless it was forgotten."""
        if self.jobs.get(job.job_id) is job:
            self._state_file.write(f"job:{job.job_id}", job)

    def enroll(self, user_id: str) -> None:
        """Make *user_id* an enrolled user."""
        self._enrolled[user_id] = None
        self._state_file.write(f"user:{user_id}", True)

    def forget(self, user_id: str) -> bool:
        """Make *user_id* a stranger, as if never enrolled; whether there was anything to forget."""
        known = self.enrolled(user_id)
        if self._enrolled.pop(user_id, self) is not self:
            self._state_file.write(f"user:{user_id}", False)
        for job in self._enrolments.get(user_id, ()):
            if job.decision in _ENROLLED:
                job.forgotten = True
                self.save(job)
        return known

    def known(self, user_id: str) -> bool:
        """Whether anything is known of *user_id*: an enrolment or a job."""
        return self.enrolled(user_id) or any(job.user_id == user_id for job in self.jobs.values())

    def report_fraud(self, user_id: str, *, is_fraud: bool) -> None:
        """Flag *user_id* as a fraud, or clear them."""
        self._note_fraud(user_id, is_fraud=is_fraud)
        self._state_file.write(f"fraud:{user_id}", is_fraud)

    def _note_fraud(self, user_id: str, *, is_fraud: bool) -> None:
        (self._frauds.add if is_fraud else self._frauds.discard)(user_id)

    def fraud(self, user_id: str) -> bool:
        """Whether *user_id* was flagged as a fraud."""
        return user_id in self._frauds

    def enrolled_users(self, limit: int) -> list[str]:
        """At most *limit* enrolled users: those enrolled by hand, newest first, then by a recent registration."""
        recent = islice(reversed(self._enrolments), 10 * limit)  # a load test must not make this slow
        users = dict.fromkeys(chain(reversed(self._enrolled), filter(self.enrolled, recent)))
        return list(islice(users, limit))

    def enrolled(self, user_id: str) -> bool:
        """Whether *user_id* is enrolled as of now: by hand, or by a registration that is at least provisional."""
        return user_id in self._enrolled or any(
            not job.forgotten and job.decision in _ENROLLED for job in self._enrolments.get(user_id, ())
        )

    def by_ref(self, ref_id: str) -> JobRecord | None:
        """The job whose upload URLs carry *ref_id*."""
        return self._by_ref.get(ref_id)

    def prepare(self, prep: PrepUpload) -> JobRecord:
        """The job an /upload call is about: a new one, or on `retry` the one that still waits for its zip.

        Raises `Refusal` 2215, 2209, 2210 or, `scripted_only`, 9999; nothing is created then.
        """
        job = self.jobs.get(prep.job_id)
        if job is not None:
            same = (job.user_id, job.kind) == (prep.user_id, prep.product)
            if not prep.retry or not same or job.arrived_at is not None:
                raise _exists(job)
            job.prep_uploads += 1
            return job
        product, enrolled = prep.product, self.enrolled(prep.user_id)
        reuses = product.reuses and prep.use_enrolled_image
        if product.enrols and enrolled and not (prep.allow_new_enroll or reuses):
            raise Refusal("2209", "wrong user id: a user is already enrolled under it")
        if (product.enrolled or reuses) and not enrolled:
            raise Refusal("2210", "no enrolled user found under this user id")
        return self._create(prep, reuses=reuses)

    def look_up(self, asked: IdRequest, *, later: bool) -> JobRecord:
        """The job that the one request *asked* makes, decided at once; *later*: only its callback and status tell.

        Raises `Refusal` 2215, 2210 or, `scripted_only`, 9999.
        """
        job = self.jobs.get(asked.job_id)
        if job is not None:
            same = (job.user_id, job.kind) == (asked.user_id, asked.product)
            if not same or not (self._late(job) or job.product in self._settings.run_again):
                raise _exists(job)
            job.submissions += 1
        elif asked.id_info.get("search_existing_user") and not self.enrolled(asked.user_id):
            raise Refusal("2210", "no enrolled user found under this user id")
        else:
            job = self._create(asked)
        job.id_info, job.partner_params = asked.id_info, asked.partner_params
        job.plan = self._plan(job, self._clock.time())
        if not later:
            job.notified = len(job.plan)  # the reply tells, and no callback besides
        self.save(job)
        return job

    def recorded(self, job: JobRecord) -> bool:
        """Whether /job_status knows *job* by now."""
        return not self._late(job) and job.product not in self._settings.without_status

    def _late(self, job: JobRecord) -> bool:
        return bool(job.kind.path) and self._clock.time() < job.created_at + self._settings.recorded_after

    def _create(self, prep: PrepUpload | IdRequest, *, reuses: bool = False) -> JobRecord:
        if complaint := self.complaint(prep.user_id, told=prep.partner_params.get("sandbox_result") is not None):
            raise Refusal("9999", complaint)
        job = self.enter(
            JobRecord,
            user_id=prep.user_id,
            job_id=prep.job_id,
            product=prep.product.name,
            job_type=prep.product.job_type,
            partner_params=prep.partner_params,
            callback_url=prep.callback_url,
            use_enrolled_image=reuses,
        )
        self.save(job)
        return job

    def complaint(self, user_id: str, *, told: bool) -> str:
        """Why jobs of *user_id* are not taken, if nobody must come to what nobody said; *told*: it was said."""
        if not self._settings.scripted_only or told or user_id in self.scripts:
            return ""
        self.unscripted[user_id] = None
        return f"the test has not said what jobs of {user_id!r} come to: script() them first"

    def enter(self, kind: type[_Job], **what: Any) -> _Job:
        """A new job of these fields, entered but not yet saved."""
        number = f"{len(self.jobs) + 1:010}"
        ref_id = f"{self._settings.partner_id}-{number}-{secrets.token_hex(12)}"
        job = kind(smile_job_id=number, ref_id=ref_id, created_at=self._clock.time(), _clock=self._clock, **what)
        self._add(job)
        return job

    def _add(self, job: JobRecord) -> None:
        self.jobs[job.job_id] = job
        self._by_ref[job.ref_id] = job
        if isinstance(job, V3Job) and job.key:
            self.keyed[job.key] = job
        if job.kind.enrols:
            self._enrolments.setdefault(job.user_id, []).append(job)

    def land(self, job: JobRecord, size: int) -> bool:
        """Note that a zip of *size* bytes arrived; whether it is the first, the one that counts."""
        job.uploads += 1
        if job.zip_at is not None:
            return False
        job.zip_at, job.zip_bytes = self._clock.time(), size
        return True

    def decide(self, job: JobRecord, found: Inspection) -> None:
        """Fix what *job* will come to, now that its zip was read."""
        job.processed += 1
        job.images = [record for record, _ in found.images]
        job.id_info, job.complaint = found.id_info, found.complaint
        arrived = self._clock.time() if job.zip_at is None else job.zip_at
        if found.code is not None:
            job.plan = [Message(arrived + self._settings.latency, found.code)]
        else:
            job.plan = self._plan(job, arrived)
        self.save(job)

    def _plan(self, job: JobRecord, arrived: float) -> list[Message]:
        forced = job.partner_params.get("sandbox_result")
        return self.plan(job, arrived, _codes(job, forced), forced=forced is not None)

    def plan(self, job: JobRecord, arrived: float, codes: Sequence[str], *, forced: bool) -> list[Message]:
        """What *job* comes to, and when: *codes*, unless a script says otherwise and they are not *forced*."""
        script = self.scripts.get(job.user_id)
        first = arrived + self._settings.latency
        if not forced and script is not None:
            plan = _scripted(job, script, first if script.after is None else arrived + script.after)
        else:
            plan = [Message(first, code) for code in codes]
        undecided = not plan or job.decides(plan[-1].code) == "provisional"
        if undecided and self._settings.review is not None:
            last = plan[-1].at if plan else first
            plan.append(Message(last + self._settings.review, job.kind.human["approve"]))
        return plan

    def review(self, job: JobRecord, code: str) -> None:
        """Let *code* be the result of *job* from now on, instead of what was planned for later."""
        job.plan = [*reversed(job.history), Message(self._clock.time(), code)]
        self.revised[job.job_id] = None
        self.save(job)


def _codes(job: JobRecord, forced: str | None) -> list[str]:
    """What *job* comes to, one after the other, by its number and by sandbox_result "0", "1" or "2"."""
    product = job.kind
    said = {None: product.approved, "0": product.approved, "1": product.rejected, "2": product.provisional}[forced]
    if product.path:
        return [said if forced and said else lookup_code(job.id_info, product.approved)]
    looked_up = lookup_code(job.id_info, "1012") if product.looks_up and product.asks(job.id_info) else ""
    return [looked_up] if looked_up not in ("", "1012") else [code for code in (looked_up, said) if code]


def _exists(job: JobRecord) -> Refusal:
    job.refusals.append("2215")
    # The text is Smile's own (wire.md §4).
    return Refusal("2215", "Job already exists. Did you mean to set the retry flag to true?")


def _scripted(job: JobRecord, script: Script, first: float) -> list[Message]:
    plan = [Message(first, job.said(script.code))]
    for seconds, code in script.then:
        plan.append(Message(plan[-1].at + seconds, job.said(code)))
    return plan
