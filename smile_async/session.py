"""The session manager: one object that carries any number of jobs over one shared pool.

It puts the parts together and says what each call means; how a job travels is the sender's and driver's business, how
long it waits the poller's.
"""

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, Unpack

import anyio
import anyio.to_thread

from smile_async.contained import contained
from smile_async.errors import (
    BadConfiguration,
    InvalidJob,
    SessionClosed,
    SmileError,
    StillPending,
    SubmissionUnknown,
    UnreadableReply,
    WrongLoop,
)
from smile_async.jobs.job import Job
from smile_async.jobs.person import Consent
from smile_async.jobs.ticket import Ticket, checked_ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.limits import Limits, Stats
from smile_async.log import log
from smile_async.protocol.signature import Secret, secrets_of
from smile_async.protocol.steps import Ask, Fault
from smile_async.protocol.submission import Submission
from smile_async.protocol.v1.account import token_call
from smile_async.protocol.v3.requests import replay_call
from smile_async.settings import Options, Settings, checked_flag, environment_settings, named_as_told
from smile_async.timing.clock import Clock, SystemClock
from smile_async.timing.pacing import Pace
from smile_async.traffic.account import Catalogue, replayed, web_token
from smile_async.traffic.binding import Binder
from smile_async.traffic.confirming import Confirmer
from smile_async.traffic.driver import Driver
from smile_async.traffic.origin import Origin
from smile_async.traffic.poller import Poller
from smile_async.traffic.readers import InThread
from smile_async.traffic.sender import Sender, ledger_of
from smile_async.traffic.stream import Stream
from smile_async.traffic.tasks import TaskHost
from smile_async.traffic.telemetry import ended
from smile_async.traffic.v1 import V1
from smile_async.traffic.v3 import V3
from smile_async.traffic.waiting import Follow, Waiter, checked_patience, checked_price, checked_until
from smile_async.traffic.watching import Until
from smile_async.transport.engine import API_SECONDS, UPLOAD_SECONDS
from smile_async.transport.engines import engine_factory
from smile_async.transport.pool import Pool
from smile_async.transport.tls import tls_context
from smile_async.undivided import undivided
from smile_async.urls import asleep, url_flaw

if TYPE_CHECKING:
    from smile_async.ledger import Ledger

__all__ = ["SmileSession"]


#: Seconds a caller waits by default: the official Python SDK gives up after 74 (wire.md §8).
PATIENCE = 120.0
#: Seconds for one `status` call with its retries.
STATUS_SECONDS = 60.0
#: Seconds for each thing that a session closes when it is left.
CLOSE_SECONDS = 5.0


class SmileSession:
    """An async client of Smile ID for one partner: `async with SmileSession(partner_id, api_key) as session:`.

    *environment* is "sandbox" (the default) or "production"; or else *base_url* (ends in /v1) names another server.
    *callback_url*: where Smile ID posts results, unless the job says otherwise; https, or with *insecure_callbacks*
    http, outside of production. *ca_file*: PEM of the CAs to trust instead of the system's; off loopback pyreqwest can
    only add to those, and refuses it. *http*: "httpx", "httpx2", "pyreqwest", an `httpx.AsyncBaseTransport` or a
    factory of such, which bring CAs and proxies of their own. *upload_hosts*: hosts that presigned URLs may name; pin
    your account's. *previous_api_keys* are still believed in replies. *trust_env*: use the proxies of the environment,
    but for hosts that NO_PROXY names. *ledger*: a path, a postgresql:// URL or a `Ledger`: jobs then survive the
    process. *api*: "v1", or "v3" (then *base_url* ends in /v3), whose jobs need a `Person` and a `Consent`; *consent*
    is that of jobs that name none. *tokens*: "shared", or "per_job": V3's are then bound to a job's product and user.
    Raises BadConfiguration. Bound to one event loop, safe for any number of its tasks.
    """

    def __init__(
        self,
        partner_id: str,
        api_key: str | Secret,
        *,
        environment: str | None = None,
        base_url: str | None = None,
        callback_url: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        http: Any = "httpx",
        limits: Limits = Limits(),  # noqa: B008 - frozen
        pace: Pace = Pace(),  # noqa: B008 - frozen
        ledger: "Ledger | str | os.PathLike[str] | None" = None,
        upload_hosts: str | Sequence[str] | None = None,
        previous_api_keys: Sequence[str | Secret] = (),
        trust_env: bool = False,
        insecure_callbacks: bool = False,
        clock: Clock | None = None,
        in_thread: InThread | None = None,
        api: str = "v1",
        consent: Consent | None = None,
        tokens: str = "shared",
    ) -> None:
        # Wrapped first: no frame of a later traceback may hold a key.
        key, previous = Secret(api_key), secrets_of(previous_api_keys)
        del api_key, previous_api_keys
        for knobs, kind in ((limits, Limits), (pace, Pace)):
            if not isinstance(knobs, kind):
                raise BadConfiguration(f"{kind.__name__.lower()} is {type(knobs).__name__}: give {kind.__name__}(…)")
        self.limits = limits
        self._settings = Settings.checked(
            partner_id=partner_id,
            api_key=key,
            previous_api_keys=previous,
            environment=environment,
            base_url=base_url,
            callback_url=callback_url,
            upload_hosts=upload_hosts,
            insecure_callbacks=insecure_callbacks,
            api=api,
            consent=consent,
            tokens=tokens,
            most_bytes=limits.submission_bytes,
        )
        self._ca_file = None if ca_file is None else os.fspath(ca_file)
        if self._ca_file is not None and not os.path.isfile(self._ca_file):  # noqa: PTH113 - may be bytes-free text
            raise BadConfiguration(f"ca_file {self._ca_file!r} is not a file: give a PEM file of CA certificates")
        proxies = checked_flag("trust_env", trust_env)
        factory, sharded = engine_factory(
            http, ca_file=self._ca_file, trust_env=proxies, base_url=self._settings.base_url
        )
        self._needs_tls = isinstance(http, str)
        self._clock = clock or SystemClock()
        self._api = Pool(factory, http2=True, sharded=sharded)
        self._storage = Pool(factory, http2=False, sharded=False)
        origin = partial(Origin, clock=self._clock, under_way=self._under_way)
        self._origins = (
            origin(f"smile id at {self.server}", self._api, limits.requests, API_SECONDS),
            origin(
                *("the storage" if api == "v1" else f"smile id at {self.server}", self._storage, limits.uploads),
                UPLOAD_SECONDS,
            ),
        )
        self.host = TaskHost(self._end, self._close)
        told = (self._settings, *self._origins, self._clock)
        self._driver = Driver(V1(*told) if api == "v1" else V3(*told, self.host.spawn), self._clock)
        self._ledger = ledger_of(ledger)
        self.sender = Sender(self._driver, limits, self._clock, self._ledger, in_thread)
        #: What a second is worth to a person who waits: until the first verdict, and after it.
        self._person = (max(pace.person, pace.price), pace.price)
        self.poller = Poller(self._driver, pace.rhythm(), self._clock, limits, self.host.spawn)
        if self._ledger is not None:
            self.poller.on_news = self._ledger.heard
        binder = Binder(self._driver, self.poller, self._clock, self._driver.taken, self._ledger)
        self.confirmer = Confirmer(self._driver, self.poller, self.host, self._clock, binder)
        #: What Smile ID can look up, and what of it this partner may use.
        self.catalogue = Catalogue(self._driver, self.host, self._clock)
        self.sender.on_job = self.catalogue.look_at
        self._finished = self._failed = 0

    @classmethod
    def from_env(cls, **told: Unpack[Options]) -> Self:
        """A session from SMILE_PARTNER_ID, SMILE_API_KEY, SMILE_ENVIRONMENT, SMILE_BASE_URL, SMILE_CALLBACK_URL,
        SMILE_INSECURE_CALLBACKS, SMILE_CA_FILE, SMILE_HTTP, SMILE_UPLOAD_HOSTS, SMILE_API, SMILE_CONSENT_URL and
        SMILE_CONSENT_LANGUAGE.

        What is *told* here wins; an `environment` or `base_url` puts variables about another server out of force, or
        is refused where partner id and key would move there alone. Raises BadConfiguration.
        """
        if "api_key" in told:
            told["api_key"] = Secret(told["api_key"])
        with named_as_told(told):
            return cls(**environment_settings(os.environ, told))

    @property
    def server(self) -> str:
        """Which server is meant, for people: `production (api.smileidentity.com)`, or host and port of another."""
        return self._settings.server

    def __repr__(self) -> str:
        if "host" not in vars(self):
            # Refused by __init__: a crash reporter that writes out its frame must not crash in turn.
            return "<SmileSession that could not be made>"
        state = "open" if self.host.open else "closed"
        return f"<SmileSession of partner {self.partner_id} at {self.server}, {state}>"

    @property
    def partner_id(self) -> str:
        """Whose session it is."""
        return self._settings.signer.partner_id

    @property
    def api(self) -> str:
        """Which of Smile ID's APIs it speaks: "v1" or "v3"."""
        return self._settings.api

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SmileSession can not be pickled: make one in each process")

    async def __aenter__(self) -> Self:
        self.host.bind()
        if asleep(self._settings.base_url):
            raise WrongLoop(
                f"the sandbox at {self.server} is served in another event loop, which stands still while this one runs:"
                " let them share one (pytest-asyncio: the same loop_scope for the fixture and the test)"
            )
        if self._needs_tls:
            for http2 in (True, False):
                await anyio.to_thread.run_sync(partial(tls_context, self._ca_file, http2=http2))
        if self._ledger is not None:
            account = f"partner {self._driver.dialect.partner_id} at {self._settings.api_host}"
            await self._ledger.join(account, self._settings.signer.seals, self.api)
        # Nothing is awaited from here on: nobody leaves what was never entered, and so nothing may be left open.
        self.host.start(self.poller.run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await undivided(self.host.aclose)

    def _under_way(self) -> int:
        return self.sender.under_way + len(self.poller)

    def _end(self) -> None:
        for origin in self._origins:
            origin.limiter.shut_for_good()
        self.poller.fail_all(lambda ticket: SessionClosed(self.host.closed_because, ticket=ticket))

    async def _close(self) -> None:
        self.sender.close()
        ledger = [] if self._ledger is None else [self._ledger.leave]
        for close in (*ledger, self._storage.aclose, self._api.aclose):
            with anyio.move_on_after(CLOSE_SECONDS):
                error = await contained(close)
                if error is not None:
                    log.error("the session could not close everything (%s)", type(error).__name__, exc_info=error)

    def now(self) -> float:
        """Seconds of the session clock's monotonic scale."""
        return self._clock.monotonic()

    # What users call.

    async def verify(
        self,
        job: Job,
        until: Until = "decision",
        patience: float = PATIENCE,
        history: bool = False,
        image_links: bool = False,
        *,
        price: float | None = None,
    ) -> Verdict:
        """Submit *job* and wait for its verdict, for at most *patience* seconds in all.

        *until* "decision" takes the first verdict, a provisional one included; "final" waits for the last word.
        *price*: polls that a second of lateness is worth, instead of what `Pace` says of a person who waits. Out of
        patience, StillPending carries the ticket and the job goes on. Raises any SmileError; cancelling stops the
        waiting, not the job: `await session.wait(job.ticket)` finds it again.
        """
        prices = checked_price(price) or self._person
        waiter = Waiter(checked_until(until), self.now() + checked_patience(patience), prices)
        asked = {"history": checked_flag("history", history), "image_links": checked_flag("image_links", image_links)}
        sent = await self._sent(job, waiter.deadline)
        return await self._heard(sent.ticket, waiter, sent=sent, **asked)

    async def submit(self, job: Job, patience: float = PATIENCE) -> Ticket:
        """Bring *job* on its way and return at once; the verdict comes by callback or by `wait`.

        Raises any SmileError: InvalidJob for a product that has no asynchronous form.
        """
        return (await self._sent(job, self.now() + checked_patience(patience), later=True)).ticket

    async def wait(
        self, ticket: Ticket, until: Until = "decision", patience: float = PATIENCE, *, price: float | None = None
    ) -> Verdict:
        """The verdict of a job submitted before, here or elsewhere, within *patience* seconds; else StillPending.

        *price*: as for `verify`.
        """
        prices = checked_price(price) or self._person
        waiter = Waiter(checked_until(until), self.now() + checked_patience(patience), prices)
        return await self._heard(await self._known(ticket), waiter)

    async def status(self, ticket: Ticket, history: bool = False, image_links: bool = False) -> JobStatus:
        """One signed query: how far the job is. Raises JobNotFound, ForgedReply, Unavailable, …"""
        ticket = await self._known(ticket)
        ask = Ask(ticket, checked_flag("history", history), checked_flag("image_links", image_links))
        try:
            return await self._driver.query(ask, self.now() + STATUS_SECONDS)
        except Fault as fault:
            error = fault.error
        error.ticket, error.retryable = ticket, not isinstance(error, SubmissionUnknown)
        raise error.with_traceback(None)

    def stream(
        self,
        jobs: Iterable[Job | Ticket] | AsyncIterable[Job | Ticket],
        until: Until = "decision",
        patience: float = PATIENCE,
        *,
        price: float | None = None,
    ) -> Stream:
        """Many jobs: `async with session.stream(jobs) as outcomes: async for outcome in outcomes: …`.

        Yields Finished or Failed in order of finishing. *jobs* is pulled lazily; a slow reader slows it. Products may
        be mixed, and tickets of jobs submitted before are waited for: `outcome.job` is then None. *patience* counts for
        each job from when it was accepted. *price*: polls that a second of lateness is worth, `Pace.price` by default.
        The source's own error is raised once everything submitted before it has ended. Who leaves the block earlier
        finds in `outcomes.pending` the tickets whose outcomes were not read.
        """
        self.host.check()
        return Stream(
            jobs,
            checked_until(until),
            checked_patience(patience),
            host=self.host,
            sender=self.sender,
            poller=self.poller,
            clock=self._clock,
            limits=self.limits,
            note=self.note,
            prices=checked_price(price),
        )

    def pending(self) -> AsyncIterator[Ticket]:
        """From the ledger, the tickets of jobs that wait for their last word, after a restart too, the oldest first.

        A source for a stream: `async with session.stream(session.pending(), until="final") as outcomes:`. Among them
        are those of a SubmissionUnknown and of uploads that were cut short. Of jobs that may not have arrived
        `/job_status` may know nothing (JobNotFound), or tell of another job of that id: before such a verdict counts,
        compare it with what you sent, or call `verify` with the same job, which does that and settles it in the ledger.
        Raises BadConfiguration for a session without a ledger; reading raises LedgerFailed.
        """
        self.host.check()
        if self._ledger is None:
            raise BadConfiguration("pending() reads a ledger and the session has none: give it ledger=")
        return self._recalled(self._ledger.pending())

    async def _recalled(self, tickets: AsyncIterator[Ticket]) -> AsyncIterator[Ticket]:
        async for ticket in tickets:
            self._driver.expect(ticket)
            yield ticket

    def follow(self, ticket: Ticket, patience: float | None = None, *, price: float | None = None) -> Follow:
        """Each new verdict of one job: `async with session.follow(ticket) as verdicts: async for verdict in verdicts:`.

        Ends after the final one; after *patience* seconds (None: for ever) raises StillPending. *price*: polls that a
        second of lateness is worth (`Pace.price`).
        """
        self.host.check()
        deadline = float("inf") if patience is None else self.now() + checked_patience(patience)
        return Follow(self.poller, self._known, checked_ticket(ticket), deadline, checked_price(price))

    async def web_token(self, user_id: str, job_id: str, product: str, callback_url: str | None = None) -> Secret:
        """A token with which Smile ID's hosted web widget runs this one job; the job exists once its user has finished.

        *product*: "biometric_kyc", "doc_verification", "smartselfie", … *callback_url*: the session's by default. Ask
        for a token each time the widget is opened: how long one lasts is not published. Raises InvalidJob, Refused
        (2217: no such product), Unavailable, UnreadableReply.
        """
        self.host.check()
        if self.api != "v1":
            raise InvalidJob(f"{self.api} has no web tokens: ask with a session of api='v1'")
        call = token_call(user_id, job_id, product, callback_url or self._settings.callback_url)
        why = url_flaw(callback_url, plain=self._settings.insecure_callbacks) if callback_url else ""
        if why:
            raise InvalidJob(f"a web token for job {job_id} of user {user_id}: callback_url {why}")
        return await web_token(self._driver, self._clock, call)

    async def replay(self, ticket: Ticket, callback_url: str | None = None) -> None:
        """Have the webhook of a job sent once more (V3): to the URL that the job has, or to *callback_url*.

        It is the only way to hear reason and fields again after a webhook was missed, and a further one each time.
        Raises InvalidJob for v1, SubmissionUnknown for a ticket without TypeID, Refused (409: not decided yet), …
        """
        self.host.check()
        if self.api == "v1":
            raise InvalidJob("v1 has no replay: ask with a session of api='v3', or use status(ticket, history=True)")
        why = url_flaw(callback_url, plain=self._settings.insecure_callbacks) if callback_url else ""
        if why:
            raise InvalidJob(f"callback_url {why}", ticket=ticket)
        try:
            ticket = await self._known(ticket)
            await replayed(self._driver, self._clock, replay_call(ticket, callback_url))
        except SmileError as error:
            error.ticket = ticket
            raise

    async def deliver(self, verdict: Verdict | bytes) -> Verdict | None:
        """Hand a callback's verdict, or its raw body, to whoever waits for that job in this session.

        What is not confirmed is confirmed by a status query first. Returns what was delivered, or None if status is
        behind and will be asked again. Raises ForgedReply or UnreadableReply for a body, InvalidJob for a
        job of the other API, SmileError without an answer.
        """
        self.host.check()
        if isinstance(verdict, bytes) and self.api != "v1":
            del verdict
            raise UnreadableReply("a webhook is signed in its headers: let a CallbackReceiver take it")
        try:
            claim = await self.confirmer.judge(verdict) if isinstance(verdict, bytes) else verdict
        finally:
            # No frame of a traceback keeps a callback's body.
            del verdict
        if not isinstance(claim, Verdict):
            raise UnreadableReply(f"got {type(claim).__name__}: give a Verdict, or the callback's body as bytes")
        self._driver.dialect.check_ticket(claim.ticket)
        if not claim.confirmed:
            return await self.confirmer.confirm(claim)
        self.poller.hear(claim)
        return claim

    @property
    def stats(self) -> Stats:
        """What this session has done so far, and has in hand."""
        return Stats(
            submitted=self.sender.submitted,
            pending=self.poller.pending,
            finished=self._finished,
            failed=self._failed,
            polls=self.poller.polls,
            retries=self._driver.retries,
            in_flight=self._api.busy + self._storage.busy,
            api_http_version=self._api.version,
            storage_http_version=self._storage.version,
        )

    async def _known(self, ticket: Ticket) -> Ticket:
        """*ticket* with the name that V3 has given its job meanwhile, if this session or its ledger has heard it."""
        self.host.check()
        ticket = checked_ticket(ticket)
        self._driver.dialect.check_ticket(ticket)
        ticket = self._driver.known(ticket)
        if self._ledger is not None and not self._driver.dialect.may_ask(ticket):
            ticket = await self._ledger.find(ticket.user_id, ticket.job_id) or ticket
        return ticket

    async def _sent(self, job: Job, deadline: float, *, later: bool = False) -> Submission:
        if not isinstance(job, Job):
            raise InvalidJob(f"got {type(job).__name__} instead of a Job: use Job.authenticate or Job.register")
        self.host.check(job)
        submission = self.sender.submission(job, later=later)
        try:
            submission.ticket = await self.sender.send(submission, deadline)
            return submission
        except SmileError as error:
            self.note(error.ticket, error)
            raise

    async def _heard(
        self,
        ticket: Ticket,
        waiter: Waiter,
        *,
        sent: Submission | None = None,
        history: bool = False,
        image_links: bool = False,
    ) -> Verdict:
        known, upload, ours = (None, None, False) if sent is None else (sent.known, sent.trace, not sent.recalled)
        asked = {"history": history, "image_links": image_links}
        if self.host.open:
            try:
                self.poller.listen(ticket, waiter, ours=ours, known=known, upload=upload, **asked)
                await waiter.ready.wait()
            finally:
                self.poller.leave(waiter)
        end = waiter.end or SessionClosed(self.host.closed_because, ticket=ticket)
        self.note(ticket, end)
        if isinstance(end, Verdict):
            return end
        end.job = None if sent is None else sent.job.spent()
        raise end

    def note(self, ticket: Ticket | None, end: Verdict | SmileError) -> None:
        """Count how a job ended, and log it; one that is out of patience is still pending."""
        whose = {"smile_job_id": ticket.job_id, "smile_user_id": ticket.user_id} if ticket else {}
        if isinstance(end, Verdict):
            self._finished += 1
            ended(str(end.decision), end.code)
            facts = {**whose, "smile_decision": str(end.decision), "smile_code": end.code, "smile_final": end.final}
            log.info("job %s: %s (%s)", end.ticket.job_id, end.decision, end.code, extra=facts)
            return
        if not isinstance(end, StillPending):
            self._failed += 1
        ended(type(end).__name__)
        log.info("%s: %s", type(end).__name__, end, extra={**whose, "smile_error": type(end).__name__})
