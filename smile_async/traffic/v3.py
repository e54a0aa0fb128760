"""V3 as a session speaks it: a token for each request, one multipart POST for a job, one GET for its status.

Submissions of up to 4.5 MB go over a pool of HTTP/1.1 connections of their own, as zips do: a large body over HTTP/2
costs three times as much in Python, and stalls the queries behind it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from smile_async.errors import SmileError, UnreadableReply
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.protocol.bodies import read_object
from smile_async.protocol.callback_urls import webhook_url_of
from smile_async.protocol.signature import Secret
from smile_async.protocol.steps import Ask, Call, Fault, Request, Sent
from smile_async.protocol.submission import Submission
from smile_async.protocol.v3 import requests, services
from smile_async.protocol.v3.endpoints import ENDPOINTS
from smile_async.protocol.v3.judging import judge_status, judge_submission
from smile_async.protocol.v3.needs import Rules, check
from smile_async.protocol.v3.refusals import refusal
from smile_async.protocol.v3.signature import HeaderSigner
from smile_async.protocol.v3.submission import OneSubmission
from smile_async.protocol.v3.tokens import Scope, Token, read_token
from smile_async.protocol.v3.webhooks import Webhook, judge_webhook
from smile_async.settings import Settings
from smile_async.timing.breaker import Asker
from smile_async.timing.clock import Clock
from smile_async.timing.server_clock import ServerClock
from smile_async.traffic.dialect import Dialect, Leg, Lists, asker
from smile_async.traffic.origin import HOLD, Errand, Origin, Parked
from smile_async.traffic.payload import Payload
from smile_async.traffic.tokens import Tokens
from smile_async.transport.engine import API_SECONDS, Body, Reply, Watched

__all__ = ["V3"]

#: Seconds after which a gateway gives up an answer at once, at the latest (v3/wire.md §6: AWS's own 504).
AT_ONCE_SECONDS = 30.0


class V3(Dialect):
    """The second API, over its origin and the one to which submissions go."""

    api = "v3"
    doubles = True
    lists: Lists = services

    def __init__(
        self, settings: Settings, api: Origin, uploads: Origin, clock: Clock, spawn: Callable[..., None]
    ) -> None:
        self._settings = settings
        self.origins = (api, uploads)
        self._api = api
        self._uploads = uploads
        self._clock = clock
        self._rules = Rules(
            settings.consent,
            settings.callback_url,
            most_bytes=settings.most_bytes,
            plain_callbacks=settings.insecure_callbacks,
        )
        self.signer = settings.signer
        key, *previous = self.signer.keys
        self._key = key
        self._webhook_signer = HeaderSigner(self.signer.partner_id, key, previous)
        self.partner_id = requests.partner_id_as_sent(self.signer.partner_id)
        self._seed = self.signer.seal(b"multipart")
        self._tokens = Tokens(self._fetched, spawn, clock)
        self.server_clock = ServerClock(clock)
        self.hold: Callable[[], float] = lambda: HOLD

    def check(self, job: Job) -> None:
        """Raise InvalidJob for what V3 would refuse."""
        check(job, self._rules, self.server_clock.now())

    def submission(self, job: Job, *, later: bool = False) -> Submission:
        """The story of *job*'s one request."""
        return OneSubmission(job, later=later)

    def may_ask(self, ticket: Ticket) -> bool:
        """Whether the job's TypeID is known: before that only a webhook can tell."""
        return ticket.smile_job_id is not None

    def parked(self, job: Job) -> Parked | None:
        """Where *job* had better wait without its pictures, None if it may go on its way."""
        return self._uploads.parked(asker(Request(), job))

    async def perform(self, step: Leg, whose: Job | Ticket | None, payload: Payload | None, deadline: float) -> Any:
        """Make one attempt at *step*, and answer it. Raises Fault."""
        who = asker(step, whose)
        origin = self._uploads if isinstance(step, Request) else self._api
        try:
            if isinstance(step, Ask):
                return await self._ask(step, who, deadline)
            if isinstance(step, Call):
                return await self._look_up(step, who, deadline)
            assert isinstance(step, Request) and payload is not None  # noqa: S101, PT018 - V3 has no others
            return await self._submit(step, payload, who, deadline)
        except Fault as fault:
            raise origin.told_of(fault, who) from None

    async def _submit(self, step: Request, payload: Payload, who: Asker, deadline: float) -> Ticket | Verdict:
        job = payload.job
        assert job.product is not None  # noqa: S101 - `check` saw it
        endpoint = ENDPOINTS[job.product]
        per_job = self._settings.tokens == "per_job"
        hold = self.hold() if payload.pictures else float("inf")
        # Its reply says what time it is, and so comes before what names the time.
        await self._token(requests.scope_of(endpoint, job.user_id, per_job=per_job), who, deadline, hold)
        contents = [picture.content for picture in payload.pictures]
        try:
            call = requests.submission_call(
                *(job, contents, self._rules, self.signer, self.server_clock.at_least()),
                # Whoever hangs up on an answer at once never hears of the job, not even by webhook.
                later=step.later or deadline - self._clock.monotonic() < AT_ONCE_SECONDS,
                per_job=per_job,
            )
        except SmileError as error:
            raise Fault(error.with_traceback(None), Sent.UNSENT) from None
        finally:
            del contents
        reply = await self._sent(self._uploads, call, Errand(who, call.about, deadline, hold), job, step.leaves)
        return judge_submission(
            *(job, endpoint, (reply.status, reply.headers, reply.body), call.about),
            signer=self._webhook_signer,
            now=self.server_clock.now(),
            sync=call.path == endpoint.sync,
            asked=self._wish(reply),
        )

    async def _ask(self, ask: Ask, who: Asker, deadline: float) -> JobStatus:
        try:
            call = requests.status_call(ask.ticket)
        except SmileError as error:
            raise Fault(error.with_traceback(None), Sent.UNSENT) from None
        reply = await self._sent(self._api, call, Errand(who, call.about, deadline, again=True))
        return judge_status(reply.status, reply.body, ask.ticket, call.about, self._wish(reply))

    async def _look_up(self, lookup: Call, who: Asker, deadline: float) -> dict[str, Any]:
        call = requests.lookup_call(lookup, self._seed)
        reply = await self._sent(self._api, call, Errand(who, call.about, deadline))
        if reply.status not in (200, 202):
            raise refusal(reply.status, reply.body, call.about, self._wish(reply))
        try:
            found = read_object(reply.body, f"the {call.about} reply")
        except UnreadableReply as error:
            raise Fault(error.with_traceback(None), Sent.ANSWERED) from None
        if any(name in found for name in lookup.wanted):
            return found
        raise Fault(UnreadableReply(f"the {call.about} reply holds no {lookup.wanted[0]}"), Sent.ANSWERED)

    async def _sent(
        self,
        origin: Origin,
        call: requests.Call,
        errand: Errand,
        job: Job | None = None,
        leaves: Callable[[], object] | None = None,
    ) -> Reply:
        """The reply to *call*, with a token; once more with another if the first was refused: nothing was taken."""
        url = Secret(self._settings.base_url + call.path)

        def body() -> bytes | Body:
            whole = call.body or b""
            return whole if leaves is None else Watched(whole, leaves)

        for last in (False, True):
            token = None if call.scope is None else await self._token(call.scope, errand.asker, errand.deadline)
            headers = call.headers(self.partner_id, None if token is None else token.secret)
            reply = await origin.send(call.method, url, headers, body, errand)
            self._hear(origin, reply, call.about, job)
            if reply.status != 401 or token is None or call.scope is None or last:
                break
            self._tokens.refused(call.scope, token)
        return reply

    async def _token(self, scope: Scope, who: Asker, deadline: float, hold: float = float("inf")) -> Token:
        """A token; in an outage of those, pictures wait for it no longer than *hold*. Raises Fault."""
        who = who._replace(leg="token")
        parked = self._api.parked(who)
        until = deadline if parked is None else min(deadline, self._clock.monotonic() + hold)
        try:
            return await self._tokens.get(scope, who, until)
        except Fault as fault:
            if until < deadline and self._clock.monotonic() >= until:
                raise Parked(partial(self._token_came, scope, who)) from None
            raise self._api.told_of(fault, who) from None

    async def _token_came(self, scope: Scope, who: Asker, deadline: float) -> None:
        """Return once a job that waits for its token without its pictures may fetch them again. Raises Fault."""
        while True:
            try:
                await self._token(scope, who, deadline)
            except Fault as fault:
                if self._clock.monotonic() >= deadline:
                    raise
                if fault.outage:
                    continue
            return

    async def _fetched(self, scope: Scope, asker: Asker, company: Sequence[Asker]) -> Token:
        call, asked_at = requests.token_call(scope, self._seed), self._clock.monotonic()
        headers = requests.token_headers(call, self.partner_id, self._key)
        errand = Errand(asker, call.about, asked_at + API_SECONDS, company=company)
        url, body = Secret(self._settings.base_url + call.path), call.body or b""
        reply = await self._api.send(call.method, url, headers, lambda: body, errand)
        self._hear(self._api, reply, call.about)
        if reply.status != 200:
            raise refusal(reply.status, reply.body, call.about, self._wish(reply))
        try:
            return read_token(reply.body, asked_at)
        except UnreadableReply as error:
            raise Fault(error.with_traceback(None), Sent.ANSWERED) from None

    def _hear(self, origin: Origin, reply: Reply, about: str, job: Job | None = None) -> None:
        self.server_clock.hear(reply.headers.get("date", ""))
        # Not for a refusal that is about one id number.
        if reply.status in (429, 503) and refusal(reply.status, reply.body, about, job=job).throttled:
            origin.limiter.close_for(self._wish(reply))

    def _wish(self, reply: Reply) -> float | None:
        return self.server_clock.wish(reply.headers)

    def expect_callbacks(self) -> None:
        """Nothing to remember: no request of ours is signed."""

    def judge(self, body: bytes, headers: Mapping[str, str]) -> Webhook:
        """What a webhook says. Raises ForgedReply, StaleReply or UnreadableReply."""
        return judge_webhook(headers, body, self._webhook_signer, self.server_clock.now())

    def url_for(self, base_url: str, job_id: str) -> str:
        """*base_url* with the job_id, this moment, and a token of the two."""
        return webhook_url_of(base_url, self.signer, job_id, self.server_clock.at_least())
