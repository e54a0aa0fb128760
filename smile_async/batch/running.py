"""A run of a batch: the manifest becomes chunks, and a worker, with others or alone, brings them to their end.

A ledger in a file has one process, whose chunks wait in memory; one in a database has as many workers as there are
machines, and whoever reads the manifest is one of them. What is shown is counted in the ledger, since most of the work
may be done elsewhere.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import anyio

from smile_async.batch.manifest import Flaw, Row
from smile_async.batch.planning import Planner
from smile_async.batch.queue import ChunkQueue, LocalQueue
from smile_async.batch.worker import CONCURRENCY, GLANCE, Worker
from smile_async.errors import LedgerFailed, SmileError
from smile_async.ledger import Ledger, State
from smile_async.ledger.batches import Batches
from smile_async.ledger.chunks import Chunks
from smile_async.session import SmileSession

__all__ = ["Run", "Tally"]

#: Seconds between counts of a batch's rows, and how many times as long as a count takes to leave the database in peace.
COUNT, PEACE = 1.0, 20.0
#: Seconds between two looks whether others have ended a batch, at most.
LONGEST_GLANCE = 5.0


@dataclass
class Tally:
    """How far a run is; `rows` counts those planned so far, and all of them once `whole`."""

    rows: int = 0
    done: int = 0
    failed: int = 0
    #: Rows whose verdict or failure came in this run.
    fresh: int = 0
    whole: bool = False
    decisions: Counter[str] = field(default_factory=Counter)

    @property
    def pending(self) -> int:
        """Rows that have come to no end yet."""
        return self.rows - self.done - self.failed


class Run:
    """One run of the batch that *planner* plans; `go` once. Without a *session* it only plans, for workers elsewhere.

    *queue*: how chunks reach other workers too. *drain*: seconds that jobs under way get after `stop`.
    """

    def __init__(
        self,
        session: SmileSession | None,
        ledger: Ledger,
        planner: Planner,
        *,
        queue: ChunkQueue | None = None,
        drain: float = 30.0,
    ) -> None:
        self.tally = Tally()
        #: Why the run ended before its rows did.
        self.trouble: SmileError | None = None
        self._ledger = ledger
        self._planner = planner
        self._queue = queue or LocalQueue()
        self._batches, self._chunks = Batches(ledger), Chunks(ledger)
        self._stopped = False
        #: A chunk has ended, or the run is to.
        self._news = anyio.Event()
        self._before: int | None = None
        self._worker: Worker | None = None
        if session is not None:
            alone = max(1, session.limits.pending // planner.chunk_jobs)
            at_once = alone if queue is None else CONCURRENCY
            self._worker = Worker(
                *(session, ledger, self._queue),
                concurrency=at_once,
                drain=drain,
                give_up=True,
                tell=lambda _held, _ending: self._news.set(),
            )

    @property
    def stopping(self) -> bool:
        """Whether no more rows are read and no more chunks are taken."""
        return self._stopped

    def stop(self) -> None:
        """Read no more rows, and let our own worker come to its end; others go on."""
        self._stopped = True
        self._news.set()
        if self._worker is not None:
            self._worker.stop()

    async def go(self, rows: Iterator[Row | Flaw]) -> Tally:
        """Plan *rows*, and drive chunks until all of the batch's are done; `trouble` says what ended it early."""
        try:
            async with anyio.create_task_group() as beside:
                beside.start_soon(self._count_on)
                async with anyio.create_task_group() as tasks:
                    if self._worker is not None:
                        tasks.start_soon(self._work, self._worker)
                    await self._plan_and_wait(rows)
                    self.stop()
                beside.cancel_scope.cancel()
            await self._count()
        except LedgerFailed as error:
            self.trouble = self.trouble or error
        return self.tally

    async def _plan_and_wait(self, rows: Iterator[Row | Flaw]) -> None:
        try:
            await self._plan(rows)
            glance = GLANCE
            while self._worker is not None and not self._stopped:
                self._news = anyio.Event()
                if not await self._left():
                    return
                # Our own worker tells when it has ended a chunk: what others end is seen late by as long as it took.
                with anyio.move_on_after(glance):
                    await self._news.wait()
                glance = min(2 * glance, LONGEST_GLANCE)
        except LedgerFailed as error:
            self.trouble = error

    async def _left(self) -> int:
        return await self._ledger.insist(partial(self._chunks.still_open, self._planner.batch))

    async def _plan(self, rows: Iterator[Row | Flaw]) -> None:
        """Put all rows into chunks, and these into the queue."""
        while not self.stopping:
            work = await self._planner.next(rows)
            if work is None:
                self.tally.whole = True
                return
            self.tally.rows += work.rows
            try:
                await self._queue.put(work.chunks)
            except LedgerFailed:
                # They are in the ledger: the sweep of any worker will find them.
                continue

    async def _work(self, worker: Worker) -> None:
        await worker.work()
        self.trouble = self.trouble or worker.trouble
        self.stop()

    async def _count_on(self) -> None:
        while True:
            began = anyio.current_time()
            with contextlib.suppress(LedgerFailed):
                await self._count()
            await anyio.sleep(max(COUNT, PEACE * (anyio.current_time() - began)))

    async def _count(self) -> None:
        states = await self._batches.counts(self._planner.batch)
        decisions = await self._batches.decisions(self._planner.batch)
        done, failed = states.get(State.FINAL, 0), states.get(State.FAILED, 0)
        if self._before is None:
            self._before = done + failed
        self.tally.rows = sum(states.values())
        self.tally.done, self.tally.failed = done, failed
        self.tally.fresh = done + failed - self._before
        self.tally.decisions = Counter(decisions)
