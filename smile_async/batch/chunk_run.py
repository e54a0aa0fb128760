"""Drive one chunk: what is unsent is sent, what is undecided is asked about, and what only waits is put aside.

A job under review takes hours, a worker's lease a minute: once all of a chunk is sent and nothing has been heard for a
while, the chunk is parked, and costs nobody anything until it is due again for one query a job.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import anyio

from smile_async.batch.manifest import Flaw, Row, job_of
from smile_async.batch.orders import Orders
from smile_async.batch.planning import Work, assign
from smile_async.batch.running import Run
from smile_async.errors import InvalidJob, LeaseLost, LedgerFailed, Refused, SmileError, StillPending, Unavailable
from smile_async.jobs.ticket import Ticket
from smile_async.ledger import Ledger
from smile_async.ledger.chunks import Chunks, Held
from smile_async.protocol.steps import Reach
from smile_async.session import SmileSession
from smile_async.workers.queue import Queue

__all__ = ["PARK_AFTER", "ChunkRun", "Ending", "insist"]

#: Seconds after its upload from which an undecided job is not worth a worker's attention.
PARK_AFTER = 60.0
#: Seconds until a parked chunk is looked at for the first time, and the most that doubles to.
FIRST_PARK, LONGEST_PARK = 60.0, 1800.0
#: Status queries of a parked chunk at once.
LOOKS = 16

Found = TypeVar("Found")


class Ending(StrEnum):
    """How a worker's time with a chunk came to an end."""

    DONE = "done"
    PARKED = "parked"
    GIVEN_BACK = "given back"
    LOST = "lost"


async def insist(call: Callable[[], Awaitable[Found]]) -> Found:
    """What *call* gives, again and again while the database is away; the caller's lease says for how long."""
    pause = 0.1
    while True:
        try:
            return await call()
        except LedgerFailed as error:
            if isinstance(error, LeaseLost):
                raise
        await anyio.sleep(pause)
        pause = min(2 * pause, 2.0)


class ChunkRun:
    """One claimed chunk; `go` once. `scope` is cancelled, or runs into its deadline, when the lease is lost."""

    def __init__(
        self,
        session: SmileSession,
        ledger: Ledger,
        queue: Queue,
        chunks: Chunks,
        *,
        held: Held,
        orders: Orders,
        park_after: float = PARK_AFTER,
        drain: float = 30.0,
        turn: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.held = held
        self.scope = anyio.CancelScope()
        self.rows = 0
        #: It is being given back: nobody is to renew it any more.
        self.returning = False
        self._session = session
        self._ledger = ledger
        self._queue = queue
        self._chunks = chunks
        self._orders = orders
        self._plan = _Once()
        self._stopping = False
        self.run = Run(
            session,
            ledger,
            self._plan,
            # What is provisional is parked, or enough: nobody holds a chunk for the length of a review.
            until="decision",
            patience=min(park_after, orders.patience),
            drain=drain,
            turn=turn,
        )

    def stop(self) -> None:
        """Send no more, wait a while for what is under way, and give the chunk back."""
        self._stopping = True
        self.run.stop()

    async def go(self) -> Ending:
        """Do what can be done now. Raises LedgerFailed only if the ledger is beyond use."""
        rows = await insist(partial(self._chunks.rows, self.held.id))
        self.rows = len(rows)
        ids = [row["job_id"] for row in rows]
        self._ledger.guard(ids, self.held.fence)
        try:
            await self._advance(rows)
            return await self._ending()
        except LeaseLost:
            return Ending.LOST
        finally:
            self._ledger.unguard(ids, self.held.fence)

    async def _advance(self, rows: Iterable[Mapping[str, Any]]) -> None:
        work = self._plan.work = self._wanted(rows)
        if self.held.parks:
            await self._look(work.ask)
            work.ask = []
        await self.run.go(iter(()))
        if isinstance(self.run.trouble, LeaseLost):
            raise self.run.trouble
        await insist(self._ledger.flush)

    def _wanted(self, rows: Iterable[Mapping[str, Any]]) -> Work:
        work = Work()
        for record in rows:
            try:
                # Whether to try once more what has failed was decided when the chunk was planned.
                assign(record, partial(job_of, Row.of(record), record["job_id"]), lambda _failed: False, work)
            except InvalidJob as error:
                ticket = Ticket(record["user_id"], record["job_id"], record["job_type"])
                self._ledger.failed(ticket, error.with_traceback(None), Reach.NOTHING)
        return work

    async def _look(self, tickets: Iterable[Ticket]) -> None:
        """Ask once about each job that was undecided when it was parked."""
        waiting = iter(tickets)

        async def look() -> None:
            for ticket in waiting:
                if self._stopping:
                    return
                await self._asked(ticket)

        async with anyio.create_task_group() as tasks:
            for _ in range(LOOKS):
                tasks.start_soon(look)

    async def _asked(self, ticket: Ticket) -> None:
        try:
            status = await self._session.status(ticket)
        except (Unavailable, StillPending):
            return
        except SmileError as error:
            if isinstance(error, Refused):
                self._ledger.failed(ticket, error, Reach.UPLOADED, polled=True)
            return
        if status.verdict is not None:
            await self._session.deliver(status.verdict)

    async def _ending(self) -> Ending:
        held, orders = self.held, self._orders
        unsent, waited = await insist(partial(self._chunks.undecided, held.id, until_final=orders.until == "final"))
        backoff = min(LONGEST_PARK, FIRST_PARK * 2.0**held.parks)
        self.returning = True
        if not unsent and (waited is None or waited >= orders.patience):
            return Ending.DONE if await insist(partial(self._chunks.finish, held)) else Ending.LOST
        if self._stopping or unsent or waited is None or self.run.trouble is not None:
            return await self._back(0.0 if self.run.trouble is None else backoff, Ending.GIVEN_BACK)
        return await self._back(min(backoff, orders.patience - waited), Ending.PARKED)

    async def _back(self, after: float, ending: Ending) -> Ending:
        park = ending is Ending.PARKED
        if not await insist(partial(self._chunks.give_back, self.held, after, park=park)):
            return Ending.LOST
        try:
            await self._queue.put([self.held.id], after=after)
        except LedgerFailed:
            # The sweep will find it.
            return ending
        return ending


class _Once:
    """Hands out one piece of work."""

    def __init__(self) -> None:
        self.work: Work | None = None

    async def next(self, rows: Iterator[Row | Flaw]) -> Work | None:  # noqa: ARG002 - they are in the work already
        work, self.work = self.work, None
        return work
