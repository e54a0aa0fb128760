"""A worker: claims chunks of any batch in the ledger and drives them through one session, on this or any machine.

Whatever happens to it, the ledger stays right: its claims run out by themselves, and its jobs are written under the
token of the claim. So it needs no goodbye; a clean stop only spares the others the wait for its leases.
"""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from smile_async.batch.chunk_run import PARK_AFTER, ChunkRun, Ending, Shift
from smile_async.batch.orders import Orders
from smile_async.batch.queue import ChunkQueue
from smile_async.batch.rate import SharedRateLimiter
from smile_async.contained import contained, is_ours, quietly
from smile_async.errors import LedgerFailed, NotAuthorized, SessionClosed, SmileError
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.ledger.chunks import Chunks, Held
from smile_async.log import log
from smile_async.session import SmileSession

__all__ = ["CONCURRENCY", "GLANCE", "Worker", "WorkerStats"]

#: Chunks at once, where workers share them.
CONCURRENCY = 4
#: Seconds a claim lasts unless it is renewed.
LEASE = 60.0
#: Seconds until a chunk is anybody's again whose run failed by a defect.
AFTER_DEFECT = 60.0
#: What every other chunk meets as well, however long one waits.
LASTING = (NotAuthorized, SessionClosed)
#: Seconds between looks whether anything is left to do.
GLANCE = 0.5
#: Seconds to take no chunk after the API could not be reached, and the most that doubles to.
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 600.0
#: Seconds that leases may take to be given back once the jobs under way have had their time.
GOODBYE = 10.0


@dataclass
class WorkerStats:
    """What a worker has done so far."""

    chunks: Counter[Ending] = field(default_factory=Counter)
    #: Verdicts and failures that came to this worker.
    rows: int = 0
    failed: int = 0
    decisions: Counter[str] = field(default_factory=Counter)


class Worker:
    """Drives chunks until it is stopped; `work` once, inside the session, the ledger and the queue.

    *concurrency*: chunks at once. *lease*: seconds a claim lasts without renewal. *park_after*: seconds from its upload
    for which a job is waited for. *drain*: seconds that jobs under way get after `stop`. *give_up*: end, with
    `trouble`, when the API can not be reached, rather than wait for it. *tell* hears how each chunk ended.
    """

    def __init__(
        self,
        session: SmileSession,
        ledger: Ledger,
        queue: ChunkQueue,
        *,
        concurrency: int = CONCURRENCY,
        lease: float = LEASE,
        park_after: float = PARK_AFTER,
        drain: float = 30.0,
        give_up: bool = False,
        tell: Callable[[Held, Ending], None] = lambda _held, _ending: None,
    ) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.stats = WorkerStats()
        #: Why it ended before it was told to.
        self.trouble: SmileError | None = None
        self._ledger = ledger
        self._queue = queue
        self._chunks = Chunks(ledger, self.name, lease)
        self._shift = Shift(session, ledger, queue, self._chunks, park_after, drain)
        self._concurrency = concurrency
        self._lease = lease
        self._give_up = give_up
        self._tell = tell
        self._stopped = anyio.Event()
        self._places = anyio.Semaphore(concurrency)
        self._drives: dict[int, ChunkRun] = {}
        self._driving: TaskGroup | None = None
        self._turnstiles: dict[tuple[str, float], SharedRateLimiter] = {}
        self._pause = 0.0
        self._paused_until = 0.0

    @property
    def stopping(self) -> bool:
        """Whether no more chunks are taken."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Take no more chunks, give jobs under way at most *drain* seconds, then give the leases back."""
        if self.stopping:
            return
        self._stopped.set()
        for drive in self._drives.values():
            drive.stop()
        if self._driving is not None:
            # A signal's handler is no task, in which alone anyio knows its loop.
            now = asyncio.get_running_loop().time()
            self._driving.cancel_scope.deadline = now + self._shift.drain + GOODBYE

    async def work(self, *, until_empty: bool = False) -> WorkerStats:
        """Drive chunks until `stop`; *until_empty*: or until no chunk is open. `trouble` says what ended it early."""
        async with anyio.create_task_group() as upkeep:
            upkeep.start_soon(self._renew)
            async with anyio.create_task_group() as self._driving, anyio.create_task_group() as getting:
                getting.start_soon(self._listen)
                getting.start_soon(self._sweep)
                if until_empty:
                    getting.start_soon(self._watch)
                await self._stopped.wait()
                getting.cancel_scope.cancel()
            upkeep.cancel_scope.cancel()
        return self.stats

    # How chunks come.

    async def _listen(self) -> None:
        while True:
            try:
                await self._queue.listen(self._delivered, self._concurrency)
            except LedgerFailed as error:
                log.warning("%s; trying again", error)
            await anyio.sleep(1.0)

    async def _sweep(self) -> None:
        """Let the queue take up what it has lost: nothing depends on what it holds (`queue`)."""
        while True:
            try:
                with anyio.move_on_after(self._lease):
                    await self._queue.restore(self._chunks)
            except LedgerFailed as error:
                log.debug("no sweep: %s", error)
            await anyio.sleep(self._lease / 2)

    async def _watch(self) -> None:
        while True:
            await anyio.sleep(GLANCE)
            if not self._drives and not await self._ledger.insist(self._chunks.still_open):
                self.stop()

    async def _delivered(self, chunk: int) -> None:
        """Drive *chunk* in a task of our own: whoever delivers may go away while we work."""
        if self._driving is None or self.stopping:
            return
        ended = anyio.Event()
        self._driving.start_soon(self._take, chunk, ended)
        await ended.wait()

    # What happens to them.

    async def _take(self, chunk: int, ended: anyio.Event) -> None:
        try:
            error = await contained(self._taken, chunk)
            if error is not None:
                log.error("chunk %d could not be claimed (%s)", chunk, type(error).__name__, exc_info=error)
        finally:
            ended.set()

    async def _taken(self, chunk: int) -> None:
        async with self._places:
            await self._rested()
            await self._shift.sending.acquire()
            drive = None
            try:
                drive = await self._claimed(chunk)
            finally:
                if drive is None:
                    self._shift.sending.release()
            if drive is not None:
                await self._driven(drive)

    async def _rested(self) -> None:
        while not self.stopping and (left := self._paused_until - anyio.current_time()) > 0:
            with anyio.move_on_after(left):
                await self._stopped.wait()

    async def _claimed(self, chunk: int) -> ChunkRun | None:
        """The run of *chunk*, unless it is nobody's to claim."""
        if self.stopping or chunk in self._drives:
            return None
        asked_at = anyio.current_time()
        try:
            held = await self._chunks.claim(chunk)
            if held is None:
                return None
            orders = Orders.of(await Batches(self._ledger).options(held.batch))
        except LedgerFailed as error:
            self._let_go(chunk, error)
            return None
        drive = ChunkRun(self._shift, held, orders, turn=self._turn(held.batch, orders.rate))
        # Our own clock from before the claim was sent: the database's lease can not end earlier.
        drive.scope.deadline = asked_at + self._lease
        return drive

    async def _driven(self, drive: ChunkRun) -> None:
        chunk = drive.held.id
        self._drives[chunk] = drive
        ending = Ending.LOST
        try:
            if self.stopping:
                drive.stop()
            with drive.scope:
                ending = await drive.go()
        except LedgerFailed as error:
            self._let_go(chunk, error)
        except BaseException as error:
            if is_ours(error):
                raise
            # A defect costs this chunk some time, and no other chunk anything.
            log.error("chunk %d failed (%s): please report it", chunk, type(error).__name__, exc_info=error)
            ending = Ending.GIVEN_BACK
            await contained(self._chunks.give_back, drive.held, AFTER_DEFECT)
        finally:
            del self._drives[chunk]
            self._note(drive, ending)

    def _let_go(self, chunk: int, error: LedgerFailed) -> None:
        """Nothing was claimed, or the lease runs out: the sweep will find the chunk, unless the ledger is gone."""
        log.warning("chunk %d was let go: %s", chunk, error)
        if self._ledger.database.is_file:
            self.trouble = self.trouble or error
            self.stop()

    def _turn(self, batch: str, rate: float | None) -> Callable[[], Awaitable[None]] | None:
        if not rate:
            return None
        return self._turnstiles.setdefault((batch, rate), SharedRateLimiter(self._ledger, batch, rate)).turn

    def _note(self, drive: ChunkRun, ending: Ending) -> None:
        self.stats.chunks[ending] += 1
        self.stats.rows += drive.rows
        self.stats.failed += drive.failed
        self.stats.decisions.update(drive.decisions)
        log.info("chunk %d of batch %s: %s", drive.held.id, drive.held.batch, ending)
        quietly(self._tell, drive.held, ending)
        error = drive.trouble
        if error is None:
            self._pause = 0.0
        elif self._give_up or isinstance(error, LASTING):
            self.trouble = self.trouble or error
            self.stop()
        else:
            self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self._pause))
            self._paused_until = anyio.current_time() + self._pause

    async def _renew(self) -> None:
        while True:
            await anyio.sleep(self._lease / 3)
            drives = [drive for drive in self._drives.values() if not drive.returning]
            if not drives:
                continue
            asked_at = anyio.current_time()
            try:
                with anyio.move_on_after(self._lease / 3) as in_time:
                    kept = await self._chunks.renew([drive.held for drive in drives])
            except LedgerFailed as error:
                log.debug("no renewal: %s", error)
                continue
            if in_time.cancelled_caught:
                continue
            for drive in drives:
                if drive.held.id in kept:
                    drive.scope.deadline = asked_at + self._lease
                elif not drive.returning:
                    drive.scope.cancel()
