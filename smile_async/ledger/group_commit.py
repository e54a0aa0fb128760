"""The task that writes a ledger: one commit for all that was noted since the last one.

Writes are grouped: whoever must not go on before a row is durable waits for the next commit, which is one for all who
wait, some milliseconds later. What could not be written stays noted and is tried with the next commit.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from smile_async.errors import LedgerFailed
from smile_async.ledger.database import words_of
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
#: Seconds a database server may be away (a restart) before what waits for it fails.
OUTAGE = 30.0
#: Jobs of one commit: below the 32,766 parameters that SQLite takes in one statement.
AT_ONCE = 5_000


class GroupCommit:
    """Collects what is to be written, and has *perform* write it; *failed* makes the error for those who wait.

    *delay*: seconds to wait for others. *outage*: seconds for which a commit is tried again.
    """

    def __init__(
        self,
        perform: Callable[[WriteBatch], Awaitable[list[Answer]]],
        failed: Callable[[BaseException], LedgerFailed],
        clock: Clock,
        *,
        delay: float,
        outage: float,
    ) -> None:
        self._perform = perform
        self._failed = failed
        self._clock = clock
        self._delay = delay
        self._outage = outage
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
        """Write what is noted, and end."""
        self._closing = True
        self._news.set()
        self._full.set()
        if self._task is not None:
            await asyncio.wait([self._task])

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
            except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it was
                await self._give_back(group, error)
            else:
                answer_all(group, answers)

    async def _committed(self, group: WriteBatch) -> list[Answer]:
        give_up = self._clock.monotonic() + self._outage
        pause = 0.05
        while True:
            try:
                answers = await self._perform(group)
                break
            except (SQLAlchemyError, OSError) as error:
                # Another machine may have written the same job at the same moment: then it is found the next time.
                passing = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | IntegrityError | OSError)
                if not passing or self._clock.monotonic() + pause > give_up:
                    raise
            await self._clock.sleep(pause)
            pause = min(2 * pause, 2.0)
        for moment in moments(group):
            failpoint(f"{moment} committed")
        return answers

    async def _give_back(self, group: WriteBatch, error: Exception) -> None:
        # What somebody waited for is only of use to who did.
        for each in group.asked():
            settle(each.answer, self._failed(error))
        for waiter in group.waiters:
            settle(waiter, self._failed(error))
        for kind, notes in group.notes.items():
            self._group.notes.setdefault(kind, [])[:0] = notes
        self._group.happened[:0] = group.happened
        log.error("the ledger can not be written: %s", words_of(error))
        if (self._group.notes or self._group.happened) and not self._closing:
            await asyncio.sleep(AGAIN)
            self._news.set()
