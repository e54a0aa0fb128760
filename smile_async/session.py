"""The session manager: one object that carries any number of selfie jobs over one shared pool.

`SmileSession` is what users touch. It owns the connections, the poller and one host task that holds the task group, so
that entering and leaving may happen in different tasks (as pytest-asyncio fixtures do) and a crash inside becomes an
error for those who wait, never a cancellation of somebody else's task.
"""

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self

import anyio
import anyio.to_thread

from smile_async.clock import Clock, SystemClock
from smile_async.conversation import Ask, Fault, Reach, Submission
from smile_async.courier import Courier
from smile_async.errors import (
    BadConfiguration,
    InvalidJob,
    SessionClosed,
    SmileError,
    StillPending,
    Unavailable,
    WrongLoop,
)
from smile_async.gate import Gate, Pacer
from smile_async.intake import Cargo, load
from smile_async.job import Job, Ticket
from smile_async.pacing import Pace
from smile_async.poller import Listener, Poller, Until
from smile_async.pool import Pool
from smile_async.settings import Limits, Settings, environment_settings
from smile_async.signature import Secret
from smile_async.stream import Failed, Follow, Outcome, Stream
from smile_async.transport import engine_factory, tls_context
from smile_async.verdict import JobStatus, Verdict

__all__ = ["SmileSession", "Stats"]

_log = logging.getLogger("smile_async")
_log.addHandler(logging.NullHandler())

#: Seconds a caller waits by default: the official Python SDK gives up after 74 (protocol.md §8).
PATIENCE = 120.0
#: Seconds for one `status` call with its retries.
STATUS_SECONDS = 60.0
#: Unfinished submissions a session remembers, so that calling again resumes them: 10,000 of about 300 bytes.
REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot of what a session has done and is doing; HTTP versions are "" until a reply has come."""

    submitted: int
    pending: int
    finished: int
    failed: int
    polls: int
    retries: int
    in_flight: int
    api_http_version: str
    storage_http_version: str


class _Waiter(Listener):
    """A task that waits for one verdict."""

    __slots__ = ("error", "ready", "verdict")

    def __init__(self, until: Until, deadline: float) -> None:
        super().__init__(until, deadline)
        self.ready = anyio.Event()
        self.verdict: Verdict | None = None
        self.error: SmileError | None = None

    def tell(self, verdict: Verdict) -> bool:
        if not verdict.final and self.until == "final":
            return False
        self.verdict = verdict
        self.ready.set()
        return True

    def fail(self, error: SmileError) -> None:
        self.error = error
        self.ready.set()


class SmileSession:
    """An async client of Smile ID for one partner: `async with SmileSession(partner_id, api_key) as session:`.

    *environment* is "sandbox" or "production"; *base_url* (ends in /v1) overrides it. *callback_url*: where Smile ID
    posts results, unless the job says otherwise. *ca_file*: PEM of the CAs to trust instead of the system's. *http*:
    "httpx", "httpx2", "pyreqwest", an `httpx.AsyncBaseTransport` or a factory of such. *upload_hosts*: hosts that
    presigned URLs may name; pin your account's. *previous_api_keys* are still believed in replies. *trust_env*: use the
    proxies of the environment. Raises BadConfiguration. Bound to one event loop, safe for any number of its tasks.
    """

    def __init__(
        self,
        partner_id: str,
        api_key: str | Secret,
        *,
        environment: str = "sandbox",
        base_url: str | None = None,
        callback_url: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        http: Any = "httpx",
        limits: Limits = Limits(),  # noqa: B008 - frozen
        pace: Pace = Pace(),  # noqa: B008 - frozen
        ledger: None = None,
        upload_hosts: str | Sequence[str] | None = None,
        previous_api_keys: Sequence[str | Secret] = (),
        trust_env: bool = False,
        clock: Clock | None = None,
    ) -> None:
        # Wrapped first: no frame of a later traceback may hold a key.
        key, previous = Secret(api_key), [Secret(older) for older in previous_api_keys]
        del api_key, previous_api_keys
        if ledger is not None:
            raise BadConfiguration("ledger is not supported by this version: leave it out")
        self.limits = limits
        self._settings = Settings.checked(
            partner_id=partner_id,
            api_key=key,
            previous_api_keys=previous,
            environment=environment,
            base_url=base_url,
            callback_url=callback_url,
            upload_hosts=upload_hosts,
        )
        self._ca_file = None if ca_file is None else os.fspath(ca_file)
        if self._ca_file is not None and not os.path.isfile(self._ca_file):  # noqa: PTH113 - may be bytes-free text
            raise BadConfiguration(f"ca_file {self._ca_file!r} is not a file: give a PEM file of CA certificates")
        factory, sharded = engine_factory(
            http, ca_file=self._ca_file, trust_env=trust_env, base_url=self._settings.base_url
        )
        self._needs_tls = http in ("httpx", "httpx2") if isinstance(http, str) else False
        self._clock = clock or SystemClock()
        self._api = Pool(factory, http2=True, sharded=sharded)
        self._storage = Pool(factory, http2=False, sharded=False)
        self._gate = Gate(limits.requests, self._clock)
        self._pacer = Pacer(limits.jobs_per_second, self._clock)
        self._courier = Courier(self._settings, self._api, self._storage, self._gate, self._clock)
        self.poller = Poller(self._courier, pace.rhythm(), self._clock, limits.requests)
        self._unfinished: OrderedDict[tuple[str, str], tuple[bytes, Reach]] = OrderedDict()
        self._submitted = self._finished = self._failed = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._host: asyncio.Task[None] | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._crash: str = ""

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """A session from SMILE_PARTNER_ID, SMILE_API_KEY, SMILE_ENVIRONMENT, SMILE_BASE_URL, SMILE_CALLBACK_URL,
        SMILE_CA_FILE, SMILE_HTTP and SMILE_UPLOAD_HOSTS; *overrides* win. Raises BadConfiguration.
        """
        if "api_key" in overrides:
            overrides["api_key"] = Secret(overrides["api_key"])
        return cls(**environment_settings(os.environ, overrides))

    def __repr__(self) -> str:
        state = "open" if self._tasks is not None else "closed"
        return f"<SmileSession of partner {self._settings.signer.partner_id} at {self._settings.base_url}, {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SmileSession can not be pickled: make one in each process")

    async def __aenter__(self) -> Self:
        if self._loop is not None:
            raise SessionClosed("a session is entered once: make a new one")
        self._loop = asyncio.get_running_loop()
        if self._needs_tls:
            for http2 in (True, False):
                await anyio.to_thread.run_sync(partial(tls_context, self._ca_file, http2=http2))
        ready = anyio.Event()
        self._stop = anyio.Event()
        self._uploads = anyio.Semaphore(self.limits.uploads, fast_acquire=True)
        self._host = asyncio.create_task(self._live(ready), name="smile_async session")
        await ready.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with anyio.CancelScope(shield=True):
            if self._host is not None:
                await asyncio.wait([self._host])
            await self._storage.aclose()
            await self._api.aclose()

    async def _live(self, ready: anyio.Event) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self.poller.run, tasks)
                ready.set()
                await self._stop.wait()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            self._crash = f": {group.exceptions[0]!r}"
            _log.exception("the session's host task crashed")
        finally:
            self._tasks = None
            self.poller.fail_all(lambda ticket: SessionClosed(self._closed(), ticket=ticket))

    def _closed(self) -> str:
        if self._crash:
            return f"the session has crashed{self._crash}"
        return "the session is not open: use it inside `async with SmileSession(...) as session:`"

    def _check(self) -> None:
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
            raise WrongLoop("the session belongs to another event loop: make one session per loop")
        if self._tasks is None:
            raise SessionClosed(self._closed())

    # What a stream asks of its session.

    def start(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run *task* under the session's host task. Raises SessionClosed or WrongLoop."""
        self._check()
        assert self._tasks is not None  # noqa: S101 - _check has just said so
        self._tasks.start_soon(task)

    def now(self) -> float:
        """Seconds of the session clock's monotonic scale."""
        return self._clock.monotonic()

    async def paced(self) -> None:
        """Wait until `Limits.jobs_per_second` allows another job."""
        await self._pacer.turn()

    def count(self, outcome: Outcome) -> None:
        """Count a stream's outcome, and log it; one that is out of patience is still pending."""
        if isinstance(outcome, Failed):
            self._ended(outcome.ticket, outcome.error)
        else:
            self._ended(outcome.ticket, outcome.verdict)

    async def carry(self, submission: Submission, deadline: float) -> Ticket:
        """Bring a job to Smile ID before *deadline*; its images are in memory from here to the end of this call."""
        self._check()
        job = submission.job
        async with _Slot(self._uploads, deadline - self.now(), job):
            cargo = await load(job)
            key = (job.user_id, job.job_id)
            self._resume(submission, key, cargo)
            try:
                ticket = await self._courier.walk(submission, cargo, deadline)
            except Fault as fault:
                error = self._explained(fault, submission)
                self._remember(submission, key, cargo)
            except BaseException:
                self._remember(submission, key, cargo)
                raise
            else:
                self._submitted += 1
                return ticket
        raise error

    def _resume(self, submission: Submission, key: tuple[str, str], cargo: Cargo) -> None:
        known = self._unfinished.pop(key, None)
        # Other pictures under the same job_id are another person's attempt: Smile ID will say 2215, and so shall we.
        if known is not None and known[0] == cargo.digest():
            submission.reach, submission.left = known[1], True
        elif known is not None:
            self._unfinished[key] = known

    def _remember(self, submission: Submission, key: tuple[str, str], cargo: Cargo) -> None:
        if submission.reach > Reach.NOTHING:
            self._unfinished[key] = (cargo.digest(), submission.reach)
            if len(self._unfinished) > REMEMBERED:
                self._unfinished.popitem(last=False)

    def _explained(self, fault: Fault, submission: Submission) -> SmileError:
        error = fault.error
        error.job = submission.job
        error.ticket = submission.ticket if submission.left else None
        error.retryable = fault.transient or fault.expired
        return error.with_traceback(None)

    # What users call.

    async def verify(
        self,
        job: Job,
        until: Until = "decision",
        patience: float = PATIENCE,
        history: bool = False,
        image_links: bool = False,
    ) -> Verdict:
        """Submit *job* and wait for its verdict, for at most *patience* seconds in all.

        *until* "decision" takes the first verdict, a provisional one included; "final" waits for the last word. Out of
        patience, StillPending carries the ticket and the job goes on. Raises any SmileError; cancelling stops the
        waiting, not the job: `await session.wait(job.ticket)` finds it again.
        """
        deadline = self.now() + patience
        ticket = await self._sent(job, deadline)
        waiter = _Waiter(until, deadline)
        return await self._heard(ticket, waiter, job=job, ours=True, history=history, image_links=image_links)

    async def submit(self, job: Job, patience: float = PATIENCE) -> Ticket:
        """Upload *job* and return at once; the verdict comes by callback or by `wait`. Raises any SmileError."""
        return await self._sent(job, self.now() + patience)

    async def wait(self, ticket: Ticket, until: Until = "decision", patience: float = PATIENCE) -> Verdict:
        """The verdict of a job submitted before, here or elsewhere, within *patience* seconds; else StillPending."""
        self._check()
        return await self._heard(ticket, _Waiter(until, self.now() + patience), job=None, ours=False)

    async def status(self, ticket: Ticket, history: bool = False, image_links: bool = False) -> JobStatus:
        """One signed query: how far the job is. Raises JobNotFound, ForgedReply, Unavailable, …"""
        self._check()
        try:
            return await self._courier.query(Ask(ticket, history, image_links), self.now() + STATUS_SECONDS)
        except Fault as fault:
            error = fault.error
        error.ticket, error.retryable = ticket, True
        raise error.with_traceback(None)

    def stream(
        self,
        jobs: Iterable[Job] | AsyncIterable[Job],
        until: Until = "decision",
        patience: float = PATIENCE,
    ) -> Stream:
        """Many jobs: `async with session.stream(jobs) as outcomes: async for outcome in outcomes: …`.

        Yields Finished or Failed in order of finishing. *jobs* is pulled lazily; a slow reader slows it. *patience*
        counts for each job from its accepted upload. Only the source's own error, once everything submitted before it
        has ended, or cancellation ends the block early; `outcomes.pending` then lists the tickets still open.
        """
        self._check()
        return Stream(self, jobs, until, patience)

    def follow(self, ticket: Ticket, patience: float | None = None) -> Follow:
        """Each new verdict of one job: `async with session.follow(ticket) as verdicts: async for verdict in verdicts:`.

        Ends after the final one; after *patience* seconds (None: for ever) raises StillPending.
        """
        self._check()
        return Follow(self, ticket, float("inf") if patience is None else self.now() + patience)

    @property
    def stats(self) -> Stats:
        """What this session has done so far, and has in hand."""
        return Stats(
            submitted=self._submitted,
            pending=len(self.poller),
            finished=self._finished,
            failed=self._failed,
            polls=self.poller.polls,
            retries=self._courier.retries,
            in_flight=self._api.busy + self._storage.busy,
            api_http_version=_most_seen(self._api.versions),
            storage_http_version=_most_seen(self._storage.versions),
        )

    async def _sent(self, job: Job, deadline: float) -> Ticket:
        self._check()
        if not isinstance(job, Job):
            raise InvalidJob(f"got {type(job).__name__} instead of a Job: use Job.authenticate or Job.register")
        await self.paced()
        try:
            return await self.carry(Submission(job), deadline)
        except SmileError as error:
            self._ended(error.ticket, error)
            raise

    async def _heard(
        self,
        ticket: Ticket,
        waiter: _Waiter,
        *,
        job: Job | None,
        ours: bool,
        history: bool = False,
        image_links: bool = False,
    ) -> Verdict:
        try:
            self._check()
            self.poller.listen(ticket, waiter, ours=ours, history=history, image_links=image_links)
            await waiter.ready.wait()
        finally:
            self.poller.leave(waiter)
        if waiter.verdict is not None:
            self._ended(ticket, waiter.verdict)
            return waiter.verdict
        error = waiter.error or SessionClosed(self._closed(), ticket=ticket)
        error.job = job and job.spent()
        self._ended(ticket, error)
        raise error

    def _ended(self, ticket: Ticket | None, end: Verdict | SmileError) -> None:
        whose = {"smile_job_id": ticket.job_id, "smile_user_id": ticket.user_id} if ticket else {}
        if isinstance(end, Verdict):
            self._finished += 1
            facts = {**whose, "smile_decision": str(end.decision), "smile_code": end.code, "smile_final": end.final}
            _log.info("job %s: %s (%s)", end.ticket.job_id, end.decision, end.code, extra=facts)
            return
        # Out of patience is not an end: the job is pending, and counted so.
        if not isinstance(end, StillPending):
            self._failed += 1
        _log.info("%s: %s", type(end).__name__, end, extra={**whose, "smile_error": type(end).__name__})


class _Slot:
    """A place among the uploads, or Unavailable if none comes free in time."""

    def __init__(self, uploads: anyio.Semaphore, within: float, job: Job) -> None:
        self._uploads = uploads
        self._within = within
        self._job = job

    async def __aenter__(self) -> None:
        with anyio.move_on_after(self._within):
            await self._uploads.acquire()
            return
        whose = f"job {self._job.job_id} of user {self._job.user_id}"
        raise Unavailable(f"{whose} got no upload slot in time: raise Limits.uploads", job=self._job, retryable=True)

    async def __aexit__(self, *_: object) -> None:
        self._uploads.release()


def _most_seen(versions: dict[str, int]) -> str:
    return max(versions, key=versions.__getitem__, default="")
