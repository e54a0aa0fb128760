"""Perform the steps of a conversation: sign each as it leaves, check each answer as it arrives.

One call is one attempt. What went wrong becomes a Fault that says whether anything may have left, whether another
attempt may help, and what the caller should be told; whether to go on is the story's business.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Any

from smile_async.errors import (
    ForgedReply,
    InvalidJob,
    SessionClosed,
    SmileError,
    Unavailable,
    UnreadableReply,
)
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.log import log
from smile_async.protocol.signature import SignedStamp, Signer, Stamps, format_timestamp
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
from smile_async.timing.clock import Clock
from smile_async.timing.server_clock import SKEW_SECONDS, ServerClock
from smile_async.traffic.payload import Payload
from smile_async.traffic.requesting import Requester
from smile_async.transport.engine import API_SECONDS, UPLOAD_SECONDS, NoReply, Reply
from smile_async.transport.limiter import Limiter
from smile_async.transport.pool import Pool
from smile_async.urls import upload_url_flaw, url_flaw

__all__ = ["Driver"]


#: Awaited before an upload.
BeforePut = Callable[[], Awaitable[None]]

_JSON = [("Content-Type", "application/json"), ("Accept", "application/json")]
#: The very type the presigned URL was signed for; S3 answers 403 to any other (wire.md §5.4).
_ZIP = [("Content-Type", "application/zip")]


_OWN_CA = ": for a server, or a proxy, with a CA of its own let ca_file or SMILE_CA_FILE name its certificate"


class Driver:
    """Carries steps to Smile ID and answers back, for one session."""

    def __init__(self, settings: Settings, api: Pool, storage: Pool, limiter: Limiter, clock: Clock) -> None:
        self._settings = settings
        self._api = api
        self._storage = storage
        self._limiter = limiter
        self._clock = clock
        self._budget = RetryBudget()
        self._stamps: Stamps | None = None
        #: When this session's latest jobs were accepted, by job_id, the latest last.
        self._accepted: dict[str, float] = {}
        self.server_clock = ServerClock(clock)
        self._requester = Requester(settings, self.server_clock, self._stamp, self._api_call, self._asked_for)
        #: Attempts beyond the first, so far.
        self.retries = 0

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
        ticket = await self._drive(submission.steps(), submission.job.job_id, payload, deadline, before_put)
        now = self._clock.monotonic()
        self._accepted.pop(ticket.job_id, None)
        self._accepted[ticket.job_id] = now
        while self._accepted[oldest := next(iter(self._accepted))] < now - FORGETFUL_FOR:
            del self._accepted[oldest]
        return ticket

    def has_just_sent(self, ticket: Ticket) -> bool:
        """Whether this session uploaded that job so lately that /job_status may not know it yet."""
        return self._clock.monotonic() - self._accepted.get(ticket.job_id, float("-inf")) < FORGETFUL_FOR

    async def query(self, ask: Ask, deadline: float) -> JobStatus:
        """*ask*, again after passing faults, before *deadline*. Raises Fault."""
        status: JobStatus = await self._drive(insist(ask), ask.ticket.job_id, None, deadline)
        return status

    async def call(self, call: Call, deadline: float) -> dict[str, Any]:
        """What is asked for in *call*, again after passing faults, before *deadline*. Raises Fault."""
        found: dict[str, Any] = await self._drive(insist(call), "", None, deadline)
        return found

    async def _drive(
        self,
        steps: Conversation[Answer],
        job_id: str,
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
                    taken += await self._pause(step, job_id, deadline)
                elif isinstance(step, Wait):
                    answer = await self._wait(step.seconds, deadline)
                elif isinstance(step, Now):
                    answer = self.server_clock.now()
                elif isinstance(step, Ask | Call):
                    answer = await self._question(step, deadline)
                elif payload is not None:
                    if before_put is not None and isinstance(step, Put):
                        await before_put()
                    answer = await self._send_off(step, payload, deadline)
            except Fault as told:
                fault = told.with_traceback(None)

    async def _send_off(
        self, step: Prepare | Put | Request, payload: Payload, deadline: float
    ) -> Slot | Verdict | None:
        if isinstance(step, Prepare):
            return await self._prepare(payload, deadline, retry=step.retry)
        if isinstance(step, Request):
            return await self._requester.send(step, payload.job, deadline)
        await self._put(payload, step.slot, deadline)
        return None

    async def _pause(self, pause: Pause, job_id: str, deadline: float) -> int:
        fault = pause.fault
        if fault.throttled:
            # The limiter is closed for everybody: waiting in front of it spends neither sleep nor budget here.
            wait = min(fault.retry_after or 0.0, LONGEST_WISH)
        else:
            wait = backoff(pause.attempt - 1, draw=random.random())  # noqa: S311 - jitter, not a secret
        if self._clock.monotonic() + wait >= deadline:
            raise fault
        # One GOAWAY fails up to 80 requests at once: they are charged as the one event that they are.
        free = fault.throttled or fault.echo
        taken = 0 if free else self._budget.take()
        if not (taken or free):
            raise fault
        self.retries += 1
        log.warning(
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
        reply = await self._api_call(where, body, about, deadline)
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
        info = info_json(
            payload.job,
            [(picture.name, picture.inline) for picture in payload.pictures],
            slot,
            partner_id=self.signer.partner_id,
            stamp=self._stamp(),
            callback_url=self._settings.callback_url,
        )
        archive = Archive(info, payload.pictures)
        del info
        about = f"the upload of job {payload.job.job_id} of user {payload.job.user_id}"
        within = self._within(UPLOAD_SECONDS, deadline, about)
        try:
            reply = await self._storage.send("PUT", slot.upload_url.reveal(), _ZIP, archive, within)
        except NoReply as told:
            raise _unheard(told, about) from None
        refused = put_refusal(reply.status, reply.body, about)
        if refused is not None:
            raise refused

    async def ask(self, ask: Ask, deadline: float) -> JobStatus:
        """One signed status query, its answer believed. Raises Fault."""
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
        reply = await self._api_call(f"{self._settings.base_url}/job_status", body, about, deadline)
        if reply.status != 200:
            raise refusal(reply.status, read_complaint(reply.body), about, self._asked_for(reply))
        try:
            return judge_status(reply.body, ticket, self.signer, self.server_clock.now())
        except SmileError as error:
            raise Fault(error.with_traceback(None), Sent.ANSWERED) from None

    async def _question(self, question: Ask | Call, deadline: float) -> JobStatus | dict[str, Any]:
        if isinstance(question, Ask):
            return await self.ask(question, deadline)
        return await self._answer(question, deadline)

    async def _answer(self, call: Call, deadline: float) -> dict[str, Any]:
        def body() -> bytes:
            return account_body(call, partner_id=self.signer.partner_id, stamp=self._stamp())

        url = f"{self._settings.base_url}/{call.path}"
        reply = await self._api_call(url, body if call.signed else None, f"/{call.path}", deadline)
        return read_answer(call, reply.status, reply.body, self._asked_for(reply))

    async def _api_call(self, url: str, body: Any, about: str, deadline: float) -> Reply:
        """Send once; once more if it was refused and the Date shows that we signed with a wrong clock (guarantee G9).

        *body* makes what is posted, each time anew; without one it is a GET. Not after what may have been accepted all
        the same: whether to go on is the story's business.
        """
        before = self.server_clock.skew
        reply = await self._send(url, body, about, deadline)
        moved = abs(self.server_clock.skew - before) >= SKEW_SECONDS
        if not (moved and 400 <= reply.status < 500 and is_answer(reply.status, read_complaint(reply.body).code)):
            return reply
        try:
            return await self._send(url, body, about, deadline)
        except Fault as fault:
            # The first request did leave, though it was refused.
            fault.sent = Sent.ANSWERED if fault.sent is Sent.UNSENT else fault.sent
            raise

    async def _send(self, url: str, body: Any, about: str, deadline: float) -> Reply:
        if not await self._limiter.enter(deadline):
            if self._limiter.shut:
                raise Fault(SessionClosed(f"the session was closed before {about} got its turn"), Sent.UNSENT)
            late = Unavailable(f"{about} did not get its turn in time")
            raise Fault(late, Sent.UNSENT, transient=True, throttled=True)
        well = False
        try:
            within = self._within(API_SECONDS, deadline, about)
            reply = await self._api.send("POST" if body else "GET", url, _JSON, body() if body else b"", within)
            self.server_clock.hear(reply.headers.get("date", ""))
            well = reply.status < 500 and reply.status != 429
            if reply.status == 503 or (reply.status == 429 and read_complaint(reply.body).code != ONE_ID_NUMBER):
                self._limiter.close_for(self._asked_for(reply))
            return reply
        except NoReply as told:
            raise _unheard(told, about) from None
        finally:
            self._limiter.leave(well=well)

    def _within(self, leg: float, deadline: float, about: str) -> float:
        left = deadline - self._clock.monotonic()
        if left <= 0:
            raise Fault(Unavailable(f"no time left for {about}"), Sent.UNSENT, transient=True, throttled=True)
        return min(leg, left)

    def _asked_for(self, reply: Reply) -> float | None:
        said = reply.headers.get("retry-after")
        return None if said is None else retry_after(said, self.server_clock.now())


def _unheard(told: NoReply, about: str) -> Fault:
    """A request without a reply; an oversized one is an answer, but not a readable one."""
    if told.sent is Sent.ANSWERED:
        return Fault(UnreadableReply(f"{about}: {told.why}"), Sent.AMBIGUOUS)
    # The words of each TLS library for a server whose CA is not trusted.
    cure = _OWN_CA if "certificate" in told.why.lower() else ""
    return Fault(Unavailable(f"{about} got no answer ({told.why}){cure}"), told.sent, transient=True, echo=told.echo)
