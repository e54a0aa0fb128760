"""Drive one chunk: what is unsent is sent, what is undecided is asked about, and what only waits is put aside.

A job under review takes hours, a lease a minute: once all of a chunk is sent and nothing has been heard for a while,
the chunk is parked, and costs nobody anything until it is due again for one query a job.

Nothing here remembers a job: the ledger does. Whatever is cut off is found again by who claims the chunk next.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import takewhile
from typing import Any

import anyio

from smile_async.batch.for_each import for_each
from smile_async.batch.manifest import Row, job_of
from smile_async.batch.orders import Orders
from smile_async.batch.queue import ChunkQueue
from smile_async.errors import (
    InvalidJob,
    JobNotFound,
    LeaseLost,
    LedgerFailed,
    NotAuthorized,
    Refused,
    SessionClosed,
    SmileError,
    StillPending,
    SubmissionUnknown,
    Unavailable,
)
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict
from smile_async.ledger import Ledger, State
from smile_async.ledger.chunks import Chunks, Held
from smile_async.ledger.rows import ticket_of
from smile_async.protocol.steps import Reach
from smile_async.session import SmileSession
from smile_async.traffic.outcomes import Failed
from smile_async.traffic.watching import Listener

__all__ = ["PARK_AFTER", "ChunkRun", "Ending", "Shift"]

#: Seconds after its upload from which an undecided job is not worth a worker's attention.
PARK_AFTER = 60.0
#: Seconds until a parked chunk is looked at for the first time, and the most that doubles to.
FIRST_PARK, LONGEST_PARK = 5.0, 1800.0
#: Times that doubles at most: more would overflow before the longest is taken.
DOUBLINGS = 16
#: Status queries at once where a chunk's jobs are asked about.
LOOKS = 16
#: Jobs in a row that got no usable answer, though it is no outage that a session knows: more would only be written
#: down as failed.
OUTAGE_JOBS = 64


class Ending(StrEnum):
    """How a worker's time with a chunk came to an end."""

    DONE = "done"
    PARKED = "parked"
    GIVEN_BACK = "given back"
    LOST = "lost"


@dataclass
class Shift:
    """What the chunk runs of one worker share: how they work, and who gets no answer."""

    session: SmileSession
    ledger: Ledger
    queue: ChunkQueue
    chunks: Chunks
    #: Seconds from its upload for which a job is waited for; seconds for jobs under way after `stop`.
    park_after: float
    drain: float
    #: One chunk at a time is read and sent, the others wait for verdicts: rows and jobs of one are in memory.
    sending: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(1))
    #: Jobs in a row that found nobody at the other end.
    unheard: int = 0


class ChunkRun:
    """One claimed chunk, whose turn to send it is; `go` once. *turn*: awaited before each new job.

    `scope` is cancelled, or runs into its deadline, when the lease is lost.
    """

    def __init__(
        self, shift: Shift, held: Held, orders: Orders, *, turn: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.held = held
        self.scope = anyio.CancelScope()
        #: Verdicts and failures that came in, of those the failures, and the decisions.
        self.rows = self.failed = 0
        self.decisions: Counter[str] = Counter()
        #: It is being given back: nobody is to renew it any more.
        self.returning = False
        #: What every other chunk would meet as well.
        self.trouble: SmileError | None = None
        self._shift = shift
        self._session, self._ledger, self._chunks = shift.session, shift.ledger, shift.chunks
        self._orders = orders
        self._turn = turn
        self._patience = min(shift.park_after, orders.patience)
        self._stopping = False
        self._drained = anyio.CancelScope()
        self._lost = False
        self._has_turn = True
        self._asking: set[_Asked] = set()
        self._quiet = anyio.Event()
        self._begun: dict[str, Mapping[str, Any]] = {}

    def stop(self) -> None:
        """Send no more, wait a while for what is under way, and give the chunk back."""
        if not self._stopping:
            self._stopping = True
            asyncio.get_running_loop().call_later(self._shift.drain, self._drained.cancel)

    async def go(self) -> Ending:
        """Do what can be done now. Raises LedgerFailed only if the ledger is beyond use."""
        ids: list[str] = []
        try:
            rows = await self._ledger.insist(partial(self._chunks.rows, self.held.id))
            ids = [row["job_id"] for row in rows]
            self._ledger.guard(ids, self.held.fence)
            with self._drained:
                await self._advance(rows)
            await self._ledger.insist(self._ledger.flush)
            return Ending.LOST if self._lost else await self._ending()
        finally:
            self.pass_on()
            self._ledger.unguard(ids, self.held.fence)
            for asked in tuple(self._asking):
                self._session.poller.leave(asked)

    def pass_on(self) -> None:
        """Nothing more is sent here: it is another chunk's turn."""
        if self._has_turn:
            self._has_turn = False
            self._shift.sending.release()

    # What each row wants.

    async def _advance(self, rows: list[dict[str, Any]]) -> None:
        # Whether to try once more what has failed was decided when the chunk was planned.
        rows = [row for row in rows if row["state"] not in (State.FINAL, State.FAILED)]
        waiting = [ticket_of(row) for row in rows if row["accepted_at"] is not None]
        sending: list[Job] = []
        doubtful: list[Job] = []
        for row in rows:
            if row["accepted_at"] is None and (job := self._job_of(row)) is not None:
                (doubtful if row["reach"] == Reach.UPLOADED else sending).append(job)
        del rows
        await self._each(doubtful, partial(self._settle, sending=sending, waiting=waiting))
        if not self.held.parks:
            for ticket in waiting:
                self._listen(ticket)
        if sending:
            await self._send(sending)
        self.pass_on()
        if self.held.parks:
            await self._each(waiting, self._look)
        while self._asking:
            self._quiet = anyio.Event()
            await self._quiet.wait()

    def _job_of(self, row: Mapping[str, Any]) -> Job | None:
        try:
            job = job_of(Row.of(row), row["job_id"])
        except InvalidJob as error:
            attempt = row["attempts"] if row["reach"] > Reach.NOTHING else None
            self._ledger.failed(ticket_of(row), error.with_traceback(None), Reach(row["reach"]), attempt=attempt)
            return None
        if row["reach"] > Reach.NOTHING:
            self._begun[job.job_id] = {"reach": Reach(row["reach"]), "attempt": row["attempts"]}
            submission = self._session.sender.submission(job)
            submission.resume(Reach(row["reach"]))
            if (lost := submission.lost()) is not None:
                # Its pictures may be away by now, and are of no use.
                self._ledger.failed(submission.ticket, lost, **self._begun[job.job_id])
                return None
        return job

    async def _send(self, jobs: list[Job]) -> None:
        stream = self._session.stream(self._source(jobs), until="decision", patience=self._patience)
        try:
            async with stream as outcomes:
                async for outcome in outcomes:
                    if isinstance(outcome, Failed):
                        self._ended(outcome.ticket, outcome.error, outcome.job)
                    else:
                        self._ended(outcome.ticket, outcome.verdict)
        except SessionClosed as error:
            # Its jobs stay as they are on record.
            self._in_trouble(error)

    async def _source(self, jobs: list[Job]) -> AsyncIterator[Job]:
        jobs.reverse()
        while jobs and not self._stopping:
            if self._turn is not None:
                await self._turn()
            if not self._stopping:
                yield jobs.pop()
        self.pass_on()

    async def _each(self, which: Iterable[Any], work: Callable[[Any], Awaitable[None]]) -> None:
        """Do *work* for all of *which*, LOOKS at a time, until it is stopped."""
        await for_each(takewhile(lambda _: not self._stopping, which), work, LOOKS)

    # What an earlier claim has sent.

    async def _settle(self, job: Job, sending: list[Job], waiting: list[Ticket]) -> None:
        """Find out whether the pictures have arrived: they may be away by now, and are not needed if so."""
        try:
            status = await self._session.status(job.ticket)
        except (JobNotFound, SubmissionUnknown):
            # Nobody can be asked about a request of V3's that has no TypeID; one with a key may be made again.
            sending.append(job)
        except SmileError as error:
            self._ended(job.ticket, error, job)
        else:
            if status.waiting_for_zip:
                sending.append(job)
                return
            self._ledger.accepted(status.ticket)
            waiting.append(status.ticket)

    def _listen(self, ticket: Ticket) -> None:
        asked = _Asked(self, self._session.now() + self._patience)
        self._asking.add(asked)
        self._session.poller.expect(ticket)
        self._session.poller.listen(ticket, asked, ours=False)

    def answered(self, asked: "_Asked", end: Verdict | SmileError) -> None:
        """A job that was sent earlier has come to an end, or not."""
        self._asking.discard(asked)
        self._quiet.set()
        self._ended(end.ticket, end)

    async def _look(self, ticket: Ticket) -> None:
        """Ask once about a job that was undecided when its chunk was parked."""
        try:
            status = await self._session.status(ticket)
            if status.verdict is not None:
                await self._session.deliver(status.verdict)
        except SmileError as error:
            if isinstance(error, JobNotFound) and self._session.poller.expects(ticket):
                return
            if isinstance(error, Refused | SessionClosed):
                self._ended(ticket, error)
            elif self._session.sender.outage:
                self._in_trouble(error)

    # What becomes of it.

    def _ended(self, ticket: Ticket | None, end: Verdict | SmileError, sent: Job | None = None) -> None:
        """*sent*: the job whose sending has failed."""
        if isinstance(end, LeaseLost):
            self._lost = True
            self.stop()
        if isinstance(end, SessionClosed):
            self._in_trouble(end)
        if isinstance(end, StillPending | SessionClosed) or (isinstance(end, LedgerFailed) and end.retryable):
            # It stays as it is on record.
            return
        self._shift.unheard = self._shift.unheard + 1 if isinstance(end, Unavailable) else 0
        self.rows += 1
        if isinstance(end, Verdict):
            self.decisions[str(end.decision)] += 1
            return
        self.failed += 1
        if sent is not None and sent.job_id in self._begun:
            # Counts only if nothing was begun since: its pictures, say, could not be read again.
            self._ledger.failed(sent.ticket, end, **self._begun[sent.job_id])
        elif sent is not None and isinstance(end, LedgerFailed):
            self._ledger.failed(sent.ticket, end, Reach.NOTHING)
        elif ticket is not None:
            self._ledger.failed(ticket, end, Reach.UPLOADED, polled=True)
        nobody_home = isinstance(end, Unavailable) and bool(self._session.sender.outage)
        if isinstance(end, NotAuthorized) or nobody_home or self._shift.unheard >= OUTAGE_JOBS:
            self._in_trouble(end)

    def _in_trouble(self, error: SmileError) -> None:
        self.trouble = self.trouble or error
        self.stop()

    async def _ending(self) -> Ending:
        held, orders, insist = self.held, self._orders, self._ledger.insist
        if isinstance(self.trouble, Unavailable):
            again = await insist(partial(self._chunks.reopen, held))
            self.rows, self.failed = self.rows - again, self.failed - again
        unsent, waited = await insist(partial(self._chunks.undecided, held.id, until_final=orders.until == "final"))
        backoff = min(LONGEST_PARK, FIRST_PARK * 2.0 ** min(held.parks, DOUBLINGS))
        self.returning = True
        if not unsent and (waited is None or waited >= orders.patience):
            return Ending.DONE if await insist(partial(self._chunks.finish, held)) else Ending.LOST
        if self._stopping and self.trouble is None:
            return await self._back(0.0, Ending.GIVEN_BACK)
        if unsent or waited is None:
            return await self._back(backoff, Ending.GIVEN_BACK)
        return await self._back(min(backoff, orders.patience - waited), Ending.PARKED)

    async def _back(self, after: float, ending: Ending) -> Ending:
        park = ending is Ending.PARKED
        if not await self._ledger.insist(partial(self._chunks.give_back, self.held, after, park=park)):
            return Ending.LOST
        try:
            await self._shift.queue.put([self.held.id], after=after)
        except LedgerFailed:
            # `restore` will find it.
            return ending
        return ending


class _Asked(Listener):
    """Waits for a job that was sent earlier."""

    __slots__ = ("_run",)

    def __init__(self, run: ChunkRun, deadline: float) -> None:
        super().__init__("decision", deadline)
        self._run = run

    def tell(self, end: Verdict | SmileError) -> None:
        self._run.answered(self, end)
