"""The task that writes a ledger: one commit for all that was noted since the last one.

Writes are grouped: whoever must not go on before a row is durable waits for the next commit, which is one for all who
wait, some milliseconds later. What could not be written stays noted and is tried with the next commit; what the
database refuses for what it says is dropped, and keeps nobody else waiting.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from smile_async.errors import LedgerFailed
from smile_async.ledger.database import is_outage, is_passing, words_of
from smile_async.ledger.failpoints import failpoint
from smile_async.ledger.write_batch import Answer, Fence, Intent, Mark, Note, WriteBatch, answer_all, moments, settle
from smile_async.log import log
from smile_async.timing.clock import Clock

__all__ = ["DELAY", "OUTAGE", "GroupCommit"]


#: Seconds a note may wait for others before they are committed together.
DELAY = 0.02
#: One commit in so many waits for its whole delay, to learn how many come in that time. The others go ahead as soon as
#: as many wait: who waits has nobody to wait for, and waiting longer would bring few.
LEARNING = 16
#: Seconds until notes that could not be written, and for which nobody waits, are tried again.
AGAIN = 0.5
#: Seconds a database may be away (a server that restarts, a file that is locked) before what waits for it fails.
OUTAGE = 30.0
#: Seconds without an answer after which a commit counts as lost, and is made again.
SILENCE = 30.0
#: Seconds for what is noted when a ledger is closed.
CLOSING = 4.0
#: Jobs of one commit: below the 32,766 parameters that SQLite takes in one statement.
AT_ONCE = 5_000
#: Notes of a kind, and events, that are kept through an outage, the newest: of a job whose ticket is not among them it
#: is on record that it may have been sent, and the next run asks.
KEPT = 100_000


class GroupCommit:
    """Collects what is to be written, and has *perform* write it; *failed* makes the error for those who wait.

    *perform* is told whether to write one by one. *delay*: seconds to wait for others.
    """

    def __init__(
        self,
        perform: Callable[[WriteBatch, bool], Coroutine[Any, Any, list[Answer]]],
        failed: Callable[[BaseException], LedgerFailed],
        clock: Clock,
        *,
        delay: float,
    ) -> None:
        self._perform = perform
        self._failed = failed
        self._clock = clock
        self._delay = delay
        self._task: asyncio.Task[None] | None = None
        self._group = WriteBatch()
        self._news = asyncio.Event()
        self._full = asyncio.Event()
        self._crowd = 0
        self._closing = False

    def start(self) -> None:
        """Write from now on."""
        self._closing = False
        self._news, self._full = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._write(), name="smile_async ledger")

    async def aclose(self) -> None:
        """Write what is noted, for CLOSING seconds at most, and end."""
        self._closing = True
        self._news.set()
        self._full.set()
        task = self._task
        if task is None:
            return
        await asyncio.wait([task], timeout=CLOSING)
        task.cancel("it was closed")
        await asyncio.wait([task], timeout=CLOSING)
        left, self._group, self._task = self._group, WriteBatch(), None
        self._disappoint(left, TimeoutError("it was closed"))
        lost = sum(map(len, left.notes.values()))
        if lost:
            log.error("the ledger was closed before it could be written: %d notes are lost", lost)

    def intend(self, intent: Intent) -> None:
        """Somebody waits until a job is on record."""
        self._group.intents.append(intent)
        self._somebody_waits()

    def mark(self, mark: Mark) -> None:
        """Somebody waits until a job's reach is on record."""
        self._group.marks.append(mark)
        self._somebody_waits()

    def wait(self, written: "asyncio.Future[None]") -> None:
        """Somebody waits until all that was noted is durable."""
        self._group.waiters.append(written)
        self._somebody_waits()

    def note(self, kind: str, about: dict[str, Any], fence: Fence | None = None) -> None:
        """The parameters of a statement of NOTES; nobody waits for it."""
        if self._task is None:
            log.error("the ledger is closed: what was to be noted of job %s is lost", about["b_job"])
            return
        self._group.notes.setdefault(kind, []).append(Note(about, fence))
        self._news.set()

    def happened(self, event: dict[str, Any]) -> None:
        """A row of the events; it goes along with the next commit."""
        self._group.happened.append(event)

    def _somebody_waits(self) -> None:
        self._news.set()
        if self._group.crowd >= self._crowd:
            self._full.set()

    async def _gather(self, *, learning: bool) -> None:
        """Give others the time to come along: the whole delay, or until as many wait as usually come."""
        if learning:
            await asyncio.sleep(self._delay)
            self._crowd = max(1, self._group.crowd)
            return
        self._full.clear()
        if self._group.crowd >= self._crowd:
            return
        late = asyncio.get_running_loop().call_later(self._delay, self._full.set)
        await self._full.wait()
        late.cancel()

    async def _write(self) -> None:
        commits = 0
        while not self._closing or self._news.is_set():
            await self._news.wait()
            if not self._closing:
                await self._gather(learning=commits % LEARNING == 0)
            commits += 1
            self._news.clear()
            group, self._group = self._group, WriteBatch()
            if len(group.intents) > AT_ONCE:
                self._group.intents, group.intents = group.intents[AT_ONCE:], group.intents[:AT_ONCE]
                self._news.set()
            try:
                answers = await self._committed(group)
            except BaseException as error:
                self._give_back(group, error)
                if not isinstance(error, Exception):
                    raise
            else:
                answer_all(group, answers)
                continue
            if (self._group.notes or self._group.happened) and not self._closing:
                await asyncio.sleep(AGAIN)
                self._news.set()

    async def _committed(self, group: WriteBatch) -> list[Answer]:
        give_up = self._clock.monotonic() + OUTAGE
        pause = 0.05
        singly = False
        while True:
            try:
                answers = await self._answered(group, singly)
                break
            except Exception as error:
                # Or another machine has written the same job at the same moment: then it is found now.
                alone = not singly and not is_outage(error)
                if not alone and (not is_passing(error) or self._clock.monotonic() + pause > give_up):
                    raise
                singly = singly or alone
            if not alone:
                await self._clock.sleep(pause)
                pause = min(2 * pause, 2.0)
        for moment in moments(group):
            failpoint(f"{moment} committed")
        return answers

    async def _answered(self, group: WriteBatch, singly: bool) -> list[Answer]:
        group.leave_out_who_left()
        # In a task of its own: a server that is silent does not let go of who is cancelled.
        task = asyncio.create_task(self._perform(group, singly))
        try:
            await asyncio.wait([task], timeout=SILENCE)
        finally:
            await _abandoned(task)
        if not task.done() or task.cancelled():
            raise TimeoutError(f"no answer in {SILENCE:g} s")
        return task.result()

    def _give_back(self, group: WriteBatch, error: BaseException) -> None:
        # What somebody waited for is only of use to who did.
        self._disappoint(group, error)
        for kind, notes in group.notes.items():
            self._group.notes[kind] = (notes + self._group.notes.get(kind, []))[-KEPT:]
        self._group.happened = (group.happened + self._group.happened)[-KEPT:]
        log.error("the ledger can not be written: %s", words_of(error))

    def _disappoint(self, group: WriteBatch, error: BaseException) -> None:
        for each in group.asked():
            settle(each.answer, self._failed(error))
        for waiter in group.waiters:
            settle(waiter, self._failed(error))


async def _abandoned(task: asyncio.Task[Any]) -> None:
    """Cancel *task*, unless it has ended, until it lets go: the driver asks a server first, who may not answer."""
    for _ in range(8):
        if task.done():
            return
        task.cancel()
        await asyncio.wait([task], timeout=0.25)
