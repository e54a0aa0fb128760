"""Perform the steps of a conversation: sign each as it leaves, check each answer as it arrives.

One call is one attempt. What went wrong becomes a Fault that says whether anything may have left, whether another
attempt may help, and what the caller should be told; whether to go on is the story's business.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Any

from smile_async.errors import ForgedReply, InvalidJob, SmileError, UnreadableReply
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.log import log
from smile_async.protocol.signature import Secret, SignedStamp, Signer, Stamps, format_timestamp
from smile_async.protocol.steps import (
    FORGETFUL_FOR,
    Answer,
    Ask,
    Call,
    Conversation,
    Fault,
    Now,
    Pause,
    Prepare,
    Put,
    Request,
    Sent,
    Slot,
    Step,
    Wait,
    insist,
)
from smile_async.protocol.v1.account import account_body, read_answer
from smile_async.protocol.v1.archive import Archive
from smile_async.protocol.v1.info_json import info_json
from smile_async.protocol.v1.judging import judge_status
from smile_async.protocol.v1.refusals import ONE_ID_NUMBER, is_answer, refusal
from smile_async.protocol.v1.replies import read_complaint, read_slot
from smile_async.protocol.v1.requests import prepare_body, status_body
from smile_async.protocol.v1.storage import put_refusal
from smile_async.protocol.v1.submission import Submission
from smile_async.settings import Settings
from smile_async.timing.backoff import LONGEST_WISH, RetryBudget, backoff, retry_after
from smile_async.timing.breaker import Asker
from smile_async.timing.clock import Clock
from smile_async.timing.server_clock import SKEW_SECONDS, ServerClock
from smile_async.traffic.origin import HOLD, Errand, Origin, Parked
from smile_async.traffic.payload import Payload
from smile_async.traffic.requesting import Requester
from smile_async.transport.engine import Reply
from smile_async.urls import upload_url_flaw, url_flaw

__all__ = ["Driver"]


#: Awaited before an upload.
BeforePut = Callable[[], Awaitable[None]]

_JSON = [("Content-Type", "application/json"), ("Accept", "application/json")]
#: The very type the presigned URL was signed for; S3 answers 403 to any other (wire.md §5.4).
_ZIP = [("Content-Type", "application/zip")]


class Driver:
    """Carries steps to Smile ID and answers back, for one session."""

    def __init__(self, settings: Settings, api: Origin, storage: Origin, clock: Clock) -> None:
        self._settings = settings
        self._api = api
        self._storage = storage
        self._clock = clock
        self._budget = RetryBudget()
        self._stamps: Stamps | None = None
        #: When this session's latest jobs were accepted, by job_id, the latest last.
        self._accepted: dict[str, float] = {}
        self.server_clock = ServerClock(clock)
        self._requester = Requester(settings, self.server_clock, self._stamp, self._api_call, self._asked_for)
        #: Attempts beyond the first, so far.
        self.retries = 0
        #: Seconds that pictures may be kept in front of a closed server, as things stand.
        self.hold: Callable[[], float] = lambda: HOLD

    @property
    def signer(self) -> Signer:
        """Who signs and checks for this partner."""
        return self._settings.signer

    def remember_stamps(self) -> None:
        """Keep the timestamps signed from now on, for as long as they are fresh, so that `has_signed` knows them."""
        self._stamps = self._stamps or Stamps(self._clock.monotonic)

    def has_signed(self, timestamp: str) -> bool:
        """Whether a request of this session carried exactly this *timestamp* lately."""
        return self._stamps is not None and timestamp in self._stamps

    def check(self, job: Job) -> None:
        """Raise InvalidJob for a callback_url over which this session lets no result travel."""
        why = url_flaw(job.callback_url, plain=self._settings.insecure_callbacks) if job.callback_url else ""
        if why:
            raise InvalidJob(f"job {job.job_id} of user {job.user_id}: callback_url {why}", job=job)

    def _stamp(self) -> SignedStamp:
        try:
            text = format_timestamp(self.server_clock.now())
        except SmileError as error:
            raise Fault(error, Sent.UNSENT) from None
        if self._stamps is not None:
            self._stamps.add(text)
        return SignedStamp(text, self.signer.sign(text))

    async def walk(
        self, submission: Submission, payload: Payload, deadline: float, before_put: BeforePut | None = None
    ) -> Ticket:
        """Drive *submission* to its end, before *deadline* (monotonic seconds). Raises Fault.

        *before_put* is awaited before each upload, and may raise Fault to prevent it.
        """
        ticket = await self._drive(submission.steps(), submission.job, payload, deadline, before_put)
        now = self._clock.monotonic()
        self._accepted.pop(ticket.job_id, None)
        self._accepted[ticket.job_id] = now
        while self._accepted[oldest := next(iter(self._accepted))] < now - FORGETFUL_FOR:
            del self._accepted[oldest]
        return ticket

    def has_just_sent(self, ticket: Ticket) -> bool:
        """Whether this session uploaded that job so lately that /job_status may not know it yet."""
        return self._clock.monotonic() - self._accepted.get(ticket.job_id, float("-inf")) < FORGETFUL_FOR

    @property
    def outage(self) -> str:
        """What there is to say of an outage under way, "" if there is none."""
        return self._api.outage or self._storage.outage

    def parked(self, job: Job) -> Parked | None:
        """Where *job* had better wait without its pictures, None if it may go on its way."""
        return self._api.parked(_asker(Prepare(), job))

    async def query(self, ask: Ask, deadline: float) -> JobStatus:
        """*ask*, again after passing faults, before *deadline*. Raises Fault."""
        status: JobStatus = await self._drive(insist(ask), ask.ticket, None, deadline)
        return status

    async def call(self, call: Call, deadline: float) -> dict[str, Any]:
        """What is asked for in *call*, again after passing faults, before *deadline*. Raises Fault."""
        found: dict[str, Any] = await self._drive(insist(call), None, None, deadline)
        return found

    async def _drive(
        self,
        steps: Conversation[Answer],
        whose: Job | Ticket | None,
        payload: Payload | None,
        deadline: float,
        before_put: BeforePut | None = None,
    ) -> Answer:
        answer: Slot | JobStatus | Verdict | dict[str, Any] | float | None = None
        fault: Fault | None = None
        taken = 0
        while True:
            try:
                step = steps.send(answer) if fault is None else steps.throw(fault)
            except StopIteration as end:
                self._budget.give(taken)
                whole: Answer = end.value
                return whole
            answer = fault = None
            try:
                if isinstance(step, Pause):
                    taken += await self._pause(step, whose.job_id if whose else "", deadline)
                elif isinstance(step, Wait):
                    answer = await self._wait(step.seconds, deadline)
                elif isinstance(step, Now):
                    answer = self.server_clock.now()
                else:
                    answer = await self._perform(step, whose, payload, deadline, before_put)
            except Fault as told:
                fault = told.with_traceback(None)

    async def _perform(
        self,
        step: Prepare | Put | Request | Ask | Call,
        whose: Job | Ticket | None,
        payload: Payload | None,
        deadline: float,
        before_put: BeforePut | None = None,
    ) -> Slot | JobStatus | Verdict | dict[str, Any] | None:
        try:
            if isinstance(step, Ask):
                return await self._ask(step, deadline, float("inf") if payload is None else self.hold())
            if isinstance(step, Call):
                return await self._answer(step, deadline)
            assert payload is not None  # noqa: S101 - queries alone need none
            if isinstance(step, Prepare):
                return await self._prepare(payload, deadline, retry=step.retry)
            if isinstance(step, Request):
                return await self._requester.send(step, payload.job, deadline)
            if before_put is not None:
                await before_put()
            await self._put(payload, step.slot, deadline)
            return None
        except Fault as fault:
            origin = self._storage if isinstance(step, Put) else self._api
            raise origin.told_of(fault, _asker(step, whose)) from None

    async def _pause(self, pause: Pause, job_id: str, deadline: float) -> int:
        fault = pause.fault
        if fault.outage:
            wait = 0.0
        elif fault.throttled:
            # The limiter is closed for everybody: waiting in front of it spends neither sleep nor budget here.
            wait = min(fault.retry_after or 0.0, LONGEST_WISH)
        else:
            wait = backoff(pause.attempt - 1, draw=random.random())  # noqa: S311 - jitter, not a secret
        if self._clock.monotonic() + wait >= deadline:
            raise fault
        # One GOAWAY fails up to 80 requests at once: they are charged as the one event that they are.
        free = fault.throttled or fault.echo or fault.outage
        taken = 0 if free else self._budget.take()
        if not (taken or free):
            raise fault
        self.retries += 1
        say = log.debug if fault.outage else log.warning
        say(
            "retry %d%s: %s",
            pause.attempt,
            f" of job {job_id}" if job_id else "",
            fault.error,
            extra={"smile_job_id": job_id, "smile_attempt": pause.attempt, "smile_sent": str(fault.sent)},
        )
        await self._clock.sleep(0 if fault.throttled else wait)
        return taken

    async def _wait(self, seconds: float, deadline: float) -> bool:
        if self._clock.monotonic() + seconds >= deadline:
            return False
        await self._clock.sleep(seconds)
        return True

    async def _prepare(self, payload: Payload, deadline: float, *, retry: bool) -> Slot:
        where = f"{self._settings.base_url}/upload"

        def body() -> bytes:
            return prepare_body(
                payload.job,
                partner_id=self.signer.partner_id,
                stamp=self._stamp(),
                callback_url=self._settings.callback_url,
                retry=retry,
            )

        about = f"/upload for job {payload.job.job_id} of user {payload.job.user_id}"
        errand = Errand(_asker(Prepare(), payload.job), about, deadline, self.hold())
        reply = await self._api_call(where, body, errand)
        if reply.status == 200:
            try:
                slot = read_slot(reply.body)
            except UnreadableReply as error:
                raise Fault(error.with_traceback(None), Sent.AMBIGUOUS) from None
            if isinstance(slot, Slot):
                return self._trusted(slot)
            raise refusal(reply.status, slot, about, self._asked_for(reply))
        raise refusal(reply.status, read_complaint(reply.body), about, self._asked_for(reply))

    def _trusted(self, slot: Slot) -> Slot:
        why = upload_url_flaw(
            slot.upload_url.reveal(), api_host=self._settings.api_host, allowed=self._settings.upload_hosts
        )
        if why:
            raise Fault(ForgedReply(f"no image was sent: {why}"), Sent.AMBIGUOUS)
        return slot

    async def _put(self, payload: Payload, slot: Slot, deadline: float) -> None:
        def body() -> Archive:
            info = info_json(
                payload.job,
                [(picture.name, picture.inline) for picture in payload.pictures],
                slot,
                partner_id=self.signer.partner_id,
                stamp=self._stamp(),
                callback_url=self._settings.callback_url,
            )
            return Archive(info, payload.pictures)

        about = f"the upload of job {payload.job.job_id} of user {payload.job.user_id}"
        errand = Errand(_asker(Put(slot), payload.job), about, deadline, self.hold())
        reply = await self._storage.send("PUT", slot.upload_url, _ZIP, body, errand)
        refused = put_refusal(reply.status, reply.body, about)
        if refused is not None:
            raise refused

    async def ask(self, ask: Ask, deadline: float) -> JobStatus:
        """One signed status query, its answer believed. Raises Fault."""
        status = await self._perform(ask, ask.ticket, None, deadline)
        assert isinstance(status, JobStatus)  # noqa: S101 - the answer to an Ask
        return status

    async def _ask(self, ask: Ask, deadline: float, hold: float) -> JobStatus:
        ticket = ask.ticket

        def body() -> bytes:
            return status_body(
                ticket,
                partner_id=self.signer.partner_id,
                stamp=self._stamp(),
                history=ask.history,
                image_links=ask.image_links,
            )

        about = f"/job_status for job {ticket.job_id} of user {ticket.user_id}"
        errand = Errand(_asker(ask, ticket), about, deadline, hold)
        url = f"{self._settings.base_url}/job_status"
        try:
            reply = await self._api_call(url, body, errand)
        except Fault as fault:
            if not fault.stale:
                raise
            self.retries += 1
            reply = await self._api_call(url, body, errand)
        if reply.status != 200:
            raise refusal(reply.status, read_complaint(reply.body), about, self._asked_for(reply))
        try:
            return judge_status(reply.body, ticket, self.signer, self.server_clock.now())
        except SmileError as error:
            raise Fault(error.with_traceback(None), Sent.ANSWERED) from None

    async def _answer(self, call: Call, deadline: float) -> dict[str, Any]:
        def body() -> bytes:
            return account_body(call, partner_id=self.signer.partner_id, stamp=self._stamp())

        errand = Errand(_asker(call, None), f"/{call.path}", deadline)
        reply = await self._api_call(f"{self._settings.base_url}/{call.path}", body if call.signed else None, errand)
        return read_answer(call, reply.status, reply.body, self._asked_for(reply))

    async def _api_call(self, url: str, body: Callable[[], bytes] | None, errand: Errand) -> Reply:
        """Send once; once more if it was refused and the Date shows that we signed with a wrong clock (guarantee G9).

        *body* makes what is posted, each time anew; without one it is a GET. Not after what may have been accepted all
        the same: whether to go on is the story's business.
        """
        before = self.server_clock.skew
        reply = await self._sent(url, body, errand)
        moved = abs(self.server_clock.skew - before) >= SKEW_SECONDS
        if not (moved and 400 <= reply.status < 500 and is_answer(reply.status, read_complaint(reply.body).code)):
            return reply
        try:
            return await self._sent(url, body, errand)
        except Fault as fault:
            # The first request did leave, though it was refused.
            fault.sent = Sent.ANSWERED if fault.sent is Sent.UNSENT else fault.sent
            raise

    async def _sent(self, url: str, body: Callable[[], bytes] | None, errand: Errand) -> Reply:
        reply = await self._api.send("POST" if body else "GET", Secret(url), _JSON, body or bytes, errand)
        self.server_clock.hear(reply.headers.get("date", ""))
        if reply.status == 503 or (reply.status == 429 and read_complaint(reply.body).code != ONE_ID_NUMBER):
            self._api.limiter.close_for(self._asked_for(reply))
        return reply

    def _asked_for(self, reply: Reply) -> float | None:
        said = reply.headers.get("retry-after")
        return None if said is None else retry_after(said, self.server_clock.now())


def _asker(step: Step, whose: Job | Ticket | None) -> Asker:
    legs: dict[type, str] = {Put: "put", Ask: "job_status", Request: "request", Call: "account"}
    leg = legs.get(type(step), "upload")
    return Asker(leg, whose.user_id, whose.job_id) if whose else Asker(leg, "", "")
