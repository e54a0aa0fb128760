"""Many jobs through one session: a lazy source on one side, outcomes in order of finishing on the other.

A few workers pull jobs, hold their images for the length of an upload, and leave a listener with the poller. A reader
that stops reading stops the pulling, and nobody else. The workers run under the session's own host task, so that
leaving the block in any way, from any task, ends them before it is left.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.lowlevel

from smile_async.contained import is_ours, quietly
from smile_async.errors import InvalidJob, SessionClosed, SmileError
from smile_async.jobs.job import Job
from smile_async.jobs.product import Family
from smile_async.jobs.ticket import Ticket, checked_ticket
from smile_async.jobs.verdict import Verdict
from smile_async.limits import Limits
from smile_async.log import log
from smile_async.protocol.submission import Submission
from smile_async.timing.clock import Clock
from smile_async.traffic.outcomes import Failed, Finished, Item, Outcome
from smile_async.traffic.poller import Poller
from smile_async.traffic.sender import Sender
from smile_async.traffic.tasks import TaskHost
from smile_async.traffic.watching import Listener, Prices, Until

__all__ = ["Stream"]

_CLOSED = "the session was closed under its stream: see outcomes.pending"
#: Seconds a job of a stream may take to be accepted, patience or not: its own clock starts at its accepted upload.
SUBMIT_SECONDS = 120.0


#: Told of how each job ended.
Note = Callable[[Ticket | None, Verdict | SmileError], None]


class _JobListener(Listener):
    __slots__ = ("job", "stream")

    def __init__(self, stream: "Stream", job: Job | None, deadline: float) -> None:
        super().__init__(stream.until, deadline)
        self.stream = stream
        self.job = job

    @property
    def prices(self) -> Prices | None:
        return self.stream.prices

    def tell(self, end: Verdict | SmileError) -> None:
        if isinstance(end, Verdict):
            self.stream.over(self, Finished(self.job, end.ticket, end))
        else:
            end.job = self.job
            self.stream.over(self, Failed(self.job, end.ticket, end))


class Stream:
    """The outcomes of many jobs; made by `SmileSession.stream`, used once, in `async with`, by one reader."""

    def __init__(
        self,
        jobs: Iterable[Item] | AsyncIterable[Item],
        until: Until,
        patience: float,
        *,
        host: TaskHost,
        sender: Sender,
        poller: Poller,
        clock: Clock,
        limits: Limits,
        note: Note,
        prices: Prices | None = None,
    ) -> None:
        self.until: Until = until
        self.prices = prices
        self._patience = patience
        self._host = host
        self._sender = sender
        self._poller = poller
        self._clock = clock
        self._limits = limits
        self._note = note
        if not isinstance(jobs, Iterable | AsyncIterable):
            raise InvalidJob(f"got {type(jobs).__name__}: give something that yields Job objects")
        self._source: Iterator[Item] | AsyncIterator[Item] = (
            aiter(jobs) if isinstance(jobs, AsyncIterable) else iter(jobs)
        )
        # asyncio's: anyio's locks ask for the current task, and its events are made anew, which is ten times as dear.
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._news = asyncio.Event()
        self._done = asyncio.Event()
        # Made here, so that a block left before its tasks have begun can cancel them.
        self._scope = anyio.CancelScope()
        self._ready: deque[Outcome] = deque()
        self._waiting: set[_JobListener] = set()
        self._sending: set[Submission] = set()
        #: Places for requests without pictures.
        self._asking = asyncio.Semaphore(limits.requests)
        self._dry = False
        self._entered = False
        self._error: BaseException | None = None
        self._cut: list[Ticket] = []
        self._left: list[Ticket] | None = None

    async def __aenter__(self) -> Self:
        if self._entered:
            raise SessionClosed("a stream is entered once: call session.stream(jobs) again")
        self._host.spawn(self._run, on_end=self._end)
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.cancel()
        try:
            with anyio.CancelScope(shield=True):
                await self._done.wait()
        finally:
            # Even if asyncio's own cancellation, which no shield keeps out, comes a second time.
            self._left = self._open
            for listener in tuple(self._waiting):
                self._poller.leave(listener)
            self._waiting.clear()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        if not self._entered:
            raise SessionClosed("not open: `async with session.stream(jobs) as outcomes:`, then read")
        while not self._ready:
            if self._dry and not self._waiting and not self._sending:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            if self._done.is_set() and not self._dry:
                raise SessionClosed(_CLOSED)
            self._news.clear()
            await self._news.wait()
        outcome = self._ready.popleft()
        self._make_room()
        return outcome

    @property
    def pending(self) -> list[Ticket]:
        """The tickets of jobs that may have arrived and have no outcome yet.

        After the block: those left behind, with or without an outcome; what was not read can still be read.
        """
        if self._left is None:
            return self._open
        return [*self._left, *(outcome.ticket for outcome in self._ready if outcome.ticket is not None)]

    @property
    def _open(self) -> list[Ticket]:
        listening = (listener.watch.ticket for listener in self._waiting if listener.watch is not None)
        on_the_way = (submission.ticket for submission in self._sending if submission.left)
        return [*listening, *on_the_way, *self._cut]

    def over(self, listener: _JobListener | None, outcome: Outcome) -> None:
        """Take note of an outcome; never waits for the reader."""
        if listener is not None:
            self._waiting.discard(listener)
        self._ready.append(outcome)
        quietly(self._note, outcome.ticket, outcome.error if isinstance(outcome, Failed) else outcome.verdict)
        self._make_room()
        self._news.set()

    def _make_room(self) -> None:
        if not self._room.is_set() and self._has_room():
            self._room.set()

    def _has_room(self) -> bool:
        pending = len(self._waiting) + len(self._sending)
        # In an outage the jobs at hand ask whether it is over: more would only be read to wait.
        waits = bool(self._sending and self._sender.stopped)
        return not waits and len(self._ready) < self._limits.uploads and pending < self._limits.pending

    async def _run(self) -> None:
        try:
            with self._scope:
                # The block may have been left already.
                await anyio.lowlevel.checkpoint_if_cancelled()
                # asyncio's group for what each job may need: a task costs 7 µs in it, in anyio's 47.
                async with asyncio.TaskGroup() as requests, anyio.create_task_group() as tasks:
                    for _ in range(self._limits.uploads):
                        tasks.start_soon(self._work, requests)
        except Exception as error:  # noqa: BLE001 - a defect of ours ends this stream, not the session
            self._error, self._dry = error, True

    def _end(self) -> None:
        self._cut = [submission.ticket for submission in self._sending if submission.left]
        if self._sending and self._error is None:
            self._error = SessionClosed(_CLOSED)
        self._sending.clear()
        self._done.set()
        self._news.set()

    async def _work(self, requests: asyncio.TaskGroup) -> None:
        while (item := await self._next()) is not None:
            if isinstance(item, Ticket):
                self._listen(item, None)
            elif item.family is Family.UPLOAD:
                submission, free = self._begun(item), asyncio.Event()
                # While one user's jobs wait for an outage's end, others' need not.
                submission.aside = free.set
                requests.create_task(self._send(submission))
                del submission
                await free.wait()
            else:
                # An authority takes its time, and no memory for pictures: the next job need not wait for it.
                submission = self._begun(item)
                await self._asking.acquire()
                requests.create_task(self._ask(submission))
                del submission
            # Neither the job nor its story outlives its upload: they may hold image bytes.
            del item

    def _begun(self, job: Job) -> Submission:
        submission = self._sender.submission(job)
        self._sending.add(submission)
        return submission

    async def _ask(self, submission: Submission) -> None:
        try:
            await self._send(submission)
        finally:
            self._asking.release()

    async def _send(self, submission: Submission) -> None:
        job = submission.job
        try:
            within = max(SUBMIT_SECONDS, self._patience)
            ticket = await self._sender.send(submission, self._clock.monotonic() + within)
        except BaseException as error:
            if is_ours(error):
                raise
            self._sending.discard(submission)
            failure = error if isinstance(error, SmileError) else _unforeseen(error, submission)
            self.over(None, Failed(job, failure.ticket, failure))
            del failure
        else:
            self._sending.discard(submission)
            known, upload = submission.known, submission.trace
            self._listen(ticket, job.spent(), ours=not submission.recalled, known=known, upload=upload)
        finally:
            submission.aside()

    def _listen(self, ticket: Ticket, job: Job | None, **told: Any) -> None:
        listener = _JobListener(self, job, self._clock.monotonic() + self._patience)
        self._waiting.add(listener)
        try:
            self._poller.listen(ticket, listener, **{"ours": False, **told})
        except SmileError as error:
            # A ticket of the other API.
            self.over(listener, Failed(job, ticket, error.with_traceback(None)))
        self._make_room()

    async def _next(self) -> Item | None:
        """The next item of the source, when there is room for it; None at its end."""
        async with self._turn:
            while not self._dry and not self._has_room():
                self._room.clear()
                await self._room.wait()
            if self._dry:
                return None
            try:
                item = await self._pull()
            except BaseException as error:
                if is_ours(error):
                    raise
                # The source's own error, a stray CancelledError included, is the reader's to see.
                self._error, item = error, None
            if item is None:
                self._dry = True
                self._news.set()
            return item

    async def _pull(self) -> Item | None:
        source = self._source
        item = await anext(source, _END) if isinstance(source, AsyncIterator) else next(source, _END)
        if item is _END:
            return None
        if isinstance(item, Ticket):
            return checked_ticket(item)
        if not isinstance(item, Job):
            raise InvalidJob(f"the source gave {type(item).__name__}: it must give Job objects, or tickets")
        return item


def _unforeseen(error: BaseException, submission: Submission) -> SmileError:
    """One job's failure is an outcome, whatever it was."""
    job = submission.job
    log.error("job %s could not be sent: please report it", job.job_id, exc_info=error)
    ticket = submission.ticket if submission.left else None
    return SmileError(f"job {job.job_id} could not be sent ({type(error).__name__})", job=job, ticket=ticket)


_END: Item = object()  # type: ignore[assignment]  # next()'s default, told apart by identity
