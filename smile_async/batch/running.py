"""A run of a batch that workers share: the manifest becomes chunks, and whoever works brings them to their end.

The one who reads the manifest is a worker too, so that a batch ends without any other machine. What is shown is counted
in the ledger, since most of the work may be done elsewhere.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial

import anyio

from smile_async.batch import Flaw, Planner, Row, Tally
from smile_async.errors import LedgerFailed, SmileError
from smile_async.ledger import Ledger, State
from smile_async.ledger.batches import Batches
from smile_async.ledger.chunks import Chunks
from smile_async.workers.chunk_run import insist
from smile_async.workers.queue import Queue
from smile_async.workers.worker import GLANCE, Worker

__all__ = ["SharedRun"]

#: Seconds between counts of a batch's rows, and how many times as long as a count takes to leave the database in peace.
COUNT, PEACE = 1.0, 20.0


class SharedRun:
    """One run of batch *name*; `go` (or `plan`) once."""

    def __init__(self, ledger: Ledger, queue: Queue, planner: Planner, name: str) -> None:
        self.tally = Tally()
        #: Why the run ended before its rows did.
        self.trouble: SmileError | None = None
        self._ledger = ledger
        self._queue = queue
        self._planner = planner
        self._name = name
        self._worker: Worker | None = None
        self._stopped = anyio.Event()
        self._before: int | None = None

    @property
    def stopping(self) -> bool:
        """Whether no more rows are read and no more chunks are taken."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Read no more rows, and let our own worker come to its end; others go on."""
        self._stopped.set()
        if self._worker is not None:
            self._worker.stop()

    async def plan(self, rows: Iterator[Row | Flaw]) -> None:
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

    async def go(self, rows: Iterator[Row | Flaw], worker: Worker) -> None:
        """Plan *rows* and drive chunks until all of the batch's are done; `trouble` says what ended it early."""
        self._worker = worker
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._count)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._work, worker)
                try:
                    await self.plan(rows)
                    await self._all_done()
                except LedgerFailed as error:
                    self.trouble = error
                self.stop()
            beside.cancel_scope.cancel()
        self.trouble = self.trouble or worker.trouble

    async def _work(self, worker: Worker) -> None:
        await worker.work()
        self._stopped.set()

    async def _all_done(self) -> None:
        chunks = Chunks(self._ledger)
        while not self.stopping and await insist(partial(chunks.still_open, self._name)) > 0:
            with anyio.move_on_after(GLANCE):
                await self._stopped.wait()

    async def _count(self) -> None:
        batches = Batches(self._ledger)
        while True:
            began = anyio.current_time()
            states = await insist(partial(batches.counts, self._name))
            decisions = await insist(partial(batches.decisions, self._name))
            done, failed = states.get(State.FINAL, 0), states.get(State.FAILED, 0)
            if self._before is None:
                self._before = done + failed
            self.tally.rows = sum(states.values())
            self.tally.done, self.tally.failed = done, failed
            self.tally.fresh = done + failed - self._before
            self.tally.decisions = Counter(decisions)
            await anyio.sleep(max(COUNT, PEACE * (anyio.current_time() - began)))
