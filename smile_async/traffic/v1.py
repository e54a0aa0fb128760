"""v1 as a session speaks it: signed bodies, a zip to the storage, signed answers."""

from collections.abc import Callable, Mapping
from typing import Any

from smile_async.errors import ForgedReply, InvalidJob
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict
from smile_async.protocol.apis import product_flaw
from smile_async.protocol.callback_urls import callback_url_of
from smile_async.protocol.steps import Ask, Call, Fault, Prepare, Put, Request
from smile_async.protocol.submission import Submission
from smile_async.protocol.v1 import account
from smile_async.protocol.v1.judging import judge_callback
from smile_async.protocol.v1.one_request import forgetful_for, submission_of
from smile_async.settings import Settings
from smile_async.timing.clock import Clock
from smile_async.traffic.caller import Caller
from smile_async.traffic.dialect import Dialect, Leg, Lists, asker
from smile_async.traffic.legs import Legs
from smile_async.traffic.origin import HOLD, Origin, Parked
from smile_async.traffic.payload import Payload
from smile_async.traffic.requesting import Requester
from smile_async.urls import url_flaw

__all__ = ["V1"]


class V1(Dialect):
    """The first API, over its origin and the storage's."""

    api = "v1"
    doubles = False
    lists: Lists = account

    def __init__(self, settings: Settings, api: Origin, storage: Origin, clock: Clock) -> None:
        self._settings = settings
        self.origins = (api, storage)
        self.signer = settings.signer
        self.partner_id = self.signer.partner_id
        self._api = api
        self._storage = storage
        self._caller = Caller(settings, api, clock)
        self._legs = Legs(self._caller, storage)
        self._requester = Requester(self._caller)
        self.server_clock = self._caller.server_clock
        self.hold: Callable[[], float] = lambda: HOLD

    def check(self, job: Job) -> None:
        """Raise InvalidJob for a product of V3's, or a callback_url over which this session lets no result travel."""
        why = product_flaw(job.product, self.api)
        flaw = url_flaw(job.callback_url, plain=self._settings.insecure_callbacks) if job.callback_url else ""
        why = why or (f"callback_url {flaw}" if flaw else "")
        if why:
            raise InvalidJob(f"job {job.job_id} of user {job.user_id}: {why}", job=job)

    def submission(self, job: Job, *, later: bool = False) -> Submission:
        """The story of *job*'s submission. Raises InvalidJob for one that can not come *later*."""
        if later and job.product is not None and not job.product.spec.asynchronous:
            about = f"job {job.job_id} of user {job.user_id}"
            raise InvalidJob(f"{about}: {job.product.spec.title} has no asynchronous form: use verify", job=job)
        return submission_of(job, later=later)

    def may_ask(self, ticket: Ticket) -> bool:  # noqa: ARG002 - V3 needs it
        """Always: our own names are the provider's."""
        return True

    def forgetful_for(self, ticket: Ticket) -> float:
        """Seconds for which /job_status may not know the job once it was accepted."""
        return forgetful_for(ticket.product)

    def parked(self, job: Job) -> Parked | None:
        """Where *job* had better wait without its pictures, None if it may go on its way."""
        return self._api.parked(asker(Prepare(), job))

    async def perform(self, step: Leg, whose: Job | Ticket | None, payload: Payload | None, deadline: float) -> Any:
        """Make one attempt at *step*, and answer it. Raises Fault."""
        legs = self._legs
        pictures = payload is not None and bool(payload.pictures)
        hold = self.hold() if pictures else float("inf")
        try:
            if isinstance(step, Ask):
                return await legs.ask(step, deadline, hold)
            if isinstance(step, Call):
                return await legs.look_up(step, deadline)
            assert payload is not None  # noqa: S101 - queries alone need none
            if isinstance(step, Prepare):
                return await legs.prepare(payload, deadline, hold, retry=step.retry)
            if isinstance(step, Request):
                return await self._requester.send(step, payload.job, deadline)
            return await legs.put(payload, step.slot, deadline, hold)
        except Fault as fault:
            origin = self._storage if isinstance(step, Put) else self._api
            raise origin.told_of(fault, asker(step, whose)) from None

    def expect_callbacks(self) -> None:
        """Remember the timestamps that are signed from now on, so that `judge` can refuse them when they come back."""
        self._caller.remember_stamps()

    def judge(self, body: bytes, headers: Mapping[str, str]) -> Verdict:  # noqa: ARG002 - V3 needs them
        """What a callback says. Raises ForgedReply (our own signature included), StaleReply or UnreadableReply."""
        claim = judge_callback(body, self.signer, self.server_clock.now())
        if self._caller.has_signed(claim.timestamp):
            raise ForgedReply("the callback carries a signature that we made ourselves")
        return claim

    def url_for(self, base_url: str, job_id: str) -> str:
        """*base_url* with the unguessable token of *job_id*."""
        return callback_url_of(base_url, self.signer, job_id)
