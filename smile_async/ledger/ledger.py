"""The ledger: what was sent, how far it came and what was said of it, written down before it matters.

Whoever must not go on before a row is durable waits for the next commit, and nobody else waits for the disk. A job
whose intent could not be written is not sent.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.lowlevel
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from smile_async.errors import BadConfiguration, LeaseLost, LedgerFailed, SmileError
from smile_async.jobs.job import Job
from smile_async.jobs.product import Family
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict
from smile_async.ledger.database import Database, FileConnection, dialect_insert, words_of
from smile_async.ledger.failpoints import failpoint
from smile_async.ledger.group_commit import DELAY, GroupCommit
from smile_async.ledger.rows import (
    BY_JOB,
    BY_NUMBER,
    PAGE,
    WAITING,
    Begun,
    failure_note,
    ticket_note,
    ticket_of,
    verdict_note,
)
from smile_async.ledger.schema import meta, prepare, take_back
from smile_async.ledger.write_batch import Answer, Fence, Intent, Mark, WriteBatch, commit, perform
from smile_async.protocol.steps import Reach
from smile_async.timing.clock import Clock, SystemClock, forward, stamp
from smile_async.undivided import undivided

__all__ = ["Ledger"]

#: The API of ledgers that do not say which.
FIRST_API = "v1"
#: Seconds for each step of closing, after what was noted is written.
GOODBYE = 2.0

Found = TypeVar("Found")


class Ledger:
    """Jobs that must survive the process: a path (SQLite), or `postgresql://user@host/database`.

    Give it to `SmileSession(ledger=…)`, which opens it, and closes it when no other session shares it any more; or open
    it yourself: `async with Ledger(path) as ledger:`. *delay*: seconds that a write may wait for others. *read_only*:
    look while somebody else writes. *create*: make one where there is none. Opening raises BadConfiguration for what is
    no ledger or one of another version, and LedgerFailed if another process has it.
    """

    def __init__(
        self,
        where: str | os.PathLike[str],
        *,
        delay: float = DELAY,
        read_only: bool = False,
        create: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self.database = Database(where, read_only=read_only, create=create, clock=forward(self._clock))
        self._engine: AsyncEngine | None = None
        self._writer: sa.Engine | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._fences: dict[str, Fence] = {}
        self._seals: Callable[[bytes], Sequence[bytes]] | None = None
        self._api: str | None = None
        self._turn = asyncio.Lock()
        # Not asyncio's, which belongs to a loop for good.
        self._door = anyio.Lock()
        #: Whoever opened it himself, and the sessions that have joined: it closes with the last.
        self._users = 0
        self._commits = GroupCommit(self._perform, self._failed, self._clock, delay=delay)

    def __repr__(self) -> str:
        return f"<Ledger {self.database!r}>"

    @property
    def opened(self) -> bool:
        """Whether it is open."""
        return self._engine is not None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Take the lock, make or check the tables, start writing. Raises BadConfiguration or LedgerFailed."""
        async with self._door:
            if self.opened:
                raise BadConfiguration(
                    "the ledger is open already: give each session a ledger of its own, or share one"
                )
            await self._open_whole()
            self._users = 1

    async def _open_whole(self) -> None:
        if not self.database.is_file:
            await self._open()
            return
        # It is over soon; who cut it short would leave the lock and a connection behind.
        try:
            await undivided(self._open)
        except BaseException:
            await undivided(self._close)
            raise

    async def _open(self) -> None:
        await asyncio.to_thread(self.database.take)
        engine = self.database.engine()
        try:
            async with engine.begin() as connection:
                await connection.run_sync(prepare, write=not self.database.read_only, create=self.database.create)
                if self.database.is_file and not self.database.read_only:
                    await connection.run_sync(take_back)
        except BaseException as error:
            await engine.dispose()
            self.database.release()
            if isinstance(error, SQLAlchemyError):
                kind = LedgerFailed if isinstance(error, sa.exc.OperationalError) else BadConfiguration
                raise kind(f"the ledger {self.database!r} can not be opened: {words_of(error)}") from None
            raise
        self._engine = engine
        self._turn = asyncio.Lock()
        self._writer = self.database.writer()
        self._thread = None if self._writer is None else ThreadPoolExecutor(1, "smile-ledger")
        self._commits.start()

    async def aclose(self) -> None:
        """Write what is noted, and let the next process have the ledger, within seconds even if it can not be used."""
        # It takes no longer than this; who cut it short would leave the lock, a thread and connections behind.
        await undivided(partial(self._leave, everybody=True))

    async def leave(self) -> None:
        """A session that has joined needs it no more: close, within seconds, if nobody else does."""
        await undivided(self._leave)

    async def _leave(self, *, everybody: bool = False) -> None:
        async with self._door:
            self._users = 0 if everybody else max(0, self._users - 1)
            if not self._users:
                await self._close()

    async def _close(self) -> None:
        await self._commits.aclose()
        engine, self._engine = self._engine, None
        if engine is None:
            return
        with anyio.move_on_after(GOODBYE):
            await engine.dispose()
        self.database.hang_up()
        with anyio.move_on_after(GOODBYE):
            await asyncio.shield(self._let_go())
        self._writer = self._thread = None

    def _let_go(self) -> "asyncio.Future[None]":
        """Let the writing thread, where there is one, end what it is about before anybody else may write."""
        loop, writer, thread = asyncio.get_running_loop(), self._writer, self._thread

        def leave() -> None:
            if writer is not None:
                # What was deleted is not to stay behind in the log, which the last to leave removes: a reader may stay.
                with contextlib.suppress(SQLAlchemyError), writer.connect() as connection:
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                writer.dispose()
            self.database.release()

        left = loop.run_in_executor(thread, leave)
        if thread is not None:
            thread.shutdown(wait=False)
        return left

    async def join(
        self, account: str, seals: Callable[[bytes], Sequence[bytes]] | None = None, api: str = FIRST_API
    ) -> None:
        """Serve a session of *account* (partner and host) until it leaves: open, if nobody has, and be that account's.

        *seals*: how its keys seal id fields. *api*: where its jobs go. A verdict of the sandbox must never count in
        production, nor one of V1 in V3. Raises BadConfiguration or LedgerFailed.
        """
        other = None if api == FIRST_API else api
        account += f" ({other})" if other else ""
        async with self._door:
            if not self.opened:
                await self._open_whole()
            self._users += 1
        try:
            await self.speak(api)
            known = await self._known_as("account", account)
            if known != account:
                message = f"the ledger belongs to {known}, not to {account}: use another ledger"
                raise BadConfiguration(message)  # noqa: TRY301 - left below, like after any other failure
        except BaseException:
            await self.leave()
            raise
        self._seals, self._api = seals or self._seals, other

    async def speak(self, api: str) -> None:
        """Keep jobs of *api* alone, also those that are planned before any session came. Raises BadConfiguration."""
        account = await self._known_as("account")
        whose, told, other = (account or "").removesuffix(")").partition(" (")
        # One that an older version made says nothing of it.
        known = await self._known_as("api", other if told else FIRST_API if whose else api)
        if known != api:
            raise BadConfiguration(
                f"the ledger belongs to {whose or 'batches that wait'} by api {known!r}, and this is api {api!r}: use"
                f" another ledger, or that API (--api {known}, SMILE_API={known})"
            )

    async def _known_as(self, name: str, otherwise: str | None = None) -> str | None:
        """What the ledger says of itself under *name*; *otherwise* from now on, where it says nothing."""
        async with self.writing() as connection:
            if otherwise is not None:
                insert = dialect_insert(connection)(meta).on_conflict_do_nothing()
                await connection.execute(insert, {"name": name, "value": otherwise})
            return (await connection.execute(sa.select(meta.c.value).where(meta.c.name == name))).scalar()

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction of one's own, durable when the block is left. Raises LedgerFailed."""
        try:
            # A file takes one writer; a server sorts out its own, and must not make one of us wait for another.
            turn = self._turn if self.database.is_file else contextlib.nullcontext()
            async with turn, self._connected() as connection:
                yield connection
                await connection.commit()
        except SQLAlchemyError as error:
            raise self._failed(error) from None

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to look with. Raises LedgerFailed."""
        try:
            async with self._connected() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._failed(error) from None

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        engine = self._opened_engine()
        if not self.database.is_file:
            async with engine.connect() as connection:
                yield connection
            return
        # Who does one thing after another has no other moment in which he can be cancelled.
        await anyio.lowlevel.checkpoint_if_cancelled()
        whole = FileConnection(engine)
        with anyio.CancelScope(shield=True):
            try:
                yield await whole.start()
            finally:
                if whole.sync_connection is not None:
                    await whole.close()

    async def insist(self, call: Callable[[], Awaitable[Found]], give_up: float = float("inf")) -> Found:
        """What *call* gives: again and again, for *give_up* seconds, while a server is away. Raises LedgerFailed.

        A file is no server: what it refuses it goes on refusing. The same for a lease that is lost.
        """
        until = self._clock.monotonic() + give_up
        pause = 0.1
        while True:
            try:
                return await call()
            except LedgerFailed as error:
                lasting = self.database.is_file or isinstance(error, LeaseLost)
                if lasting or self._clock.monotonic() + pause > until:
                    raise
            await self._clock.sleep(pause)
            pause = min(2 * pause, 2.0)

    async def vacuum(self) -> None:
        """Let nothing that was erased stay behind in free pages or in the write-ahead log (SQLite)."""
        if not self.database.is_file:
            return
        try:
            async with self._turn, self._connected() as connection:
                free = await connection.execution_options(isolation_level="AUTOCOMMIT")
                await free.exec_driver_sql("VACUUM")
                await free.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        except SQLAlchemyError as error:
            raise self._failed(error) from None

    def _opened_engine(self) -> AsyncEngine:
        if self._engine is None:
            raise LedgerFailed("the ledger is not open: use it inside `async with`")
        return self._engine

    def _failed(self, error: BaseException) -> LedgerFailed:
        why = f"the ledger {self.database!r} can not be used ({words_of(error)})"
        return LedgerFailed(f"{why}: nothing that is not on record is sent; mend it and run again", retryable=True)

    # What a worker tells it.

    def guard(self, job_ids: Iterable[str], fence: Fence) -> None:
        """From now on send, and give up, these jobs only while *fence* stands: they are a claimed chunk's."""
        self._fences.update(dict.fromkeys(job_ids, fence))

    def unguard(self, job_ids: Iterable[str], fence: Fence) -> None:
        """These jobs are in hand no more; a later claim's fence stays."""
        for job_id in job_ids:
            if self._fences.get(job_id) == fence:
                del self._fences[job_id]

    # What a session tells it.

    def seals(self, job: Job) -> tuple[str, ...]:
        """What *job*'s id fields may be written down as, in hex, the present key's first; () before a session came."""
        return () if self._seals is None else tuple(seal.hex() for seal in self._seals(job.subject()))

    async def begin(self, job: Job, digest: bytes) -> Begun:
        """Put on record, durably, that *job* is about to be sent: the attempt's number, and what is known of the job.

        Raises InvalidJob if the job_id stands for another user, product, other pictures or id fields, LedgerFailed if
        it can not be written, LeaseLost if it is another worker's by now; then nothing may be sent.
        """
        self._opened_engine()
        answer: asyncio.Future[Begun] = asyncio.get_running_loop().create_future()
        fence = self._fences.get(job.job_id)
        self._commits.intend(Intent(job, digest.hex(), answer, fence, self.seals(job), self._api, stamp(self._clock)))
        failpoint("intent noted")
        return await answer

    async def mark(self, ticket: Ticket, reach: Reach, attempt: int) -> None:
        """Put on record, durably, how far the job may come with the next request.

        Raises what `begin` raises, LedgerFailed also if a later attempt has overtaken this one and goes on.
        """
        self._opened_engine()
        failpoint("upload answered")
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._commits.mark(Mark(ticket.job_id, reach, attempt, answer, self._fences.get(ticket.job_id)))
        await answer

    def accepted(self, ticket: Ticket) -> None:
        """Smile ID has the job and its pictures."""
        failpoint("put answered")
        self._commits.note("ticket", ticket_note(ticket))
        self._happened(ticket, "accepted", ticket.smile_job_id or "")
        failpoint("ticket noted")

    def failed(
        self, ticket: Ticket, error: SmileError, reach: Reach, *, attempt: int | None = None, polled: bool = False
    ) -> None:
        """The *attempt* ended with *error*, or what was to become one; *polled*: the waiting did, for an accepted job.

        Counts only for the job's latest attempt; without a number only where nobody is sending the job.
        """
        kind = "lost" if polled else "flaw" if attempt is None else "failure"
        self._commits.note(kind, failure_note(ticket, error, reach, attempt), self._fences.get(ticket.job_id))
        self._happened(ticket, "failed", type(error).__name__)

    def heard(self, verdict: Verdict) -> None:
        """A confirmed verdict has come."""
        if verdict.confirmed:
            self._commits.note("verdict", verdict_note(verdict))
            self._happened(verdict.ticket, str(verdict.decision), verdict.code)
            failpoint("verdict noted")

    async def pending(self) -> AsyncIterator[Ticket]:
        """The tickets of jobs that may be with Smile ID and are without a last word, the oldest first."""
        await self.flush()
        last = 0
        while True:
            async with self.reading() as connection:
                page = (await connection.execute(WAITING, {"last": last})).mappings().all()
            for row in page:
                ticket = ticket_of(row)
                # Where an upload was only announced, no picture has left; one request may have been answered.
                asked = row["api"] or (ticket.product is not None and ticket.product.spec.family is Family.REQUEST)
                if asked or row["accepted_at"] is not None or row["reach"] == Reach.UPLOADED:
                    yield ticket
            if len(page) < PAGE:
                return
            last = page[-1]["seq"]

    async def find(self, user_id: str, job_id: str) -> Ticket | None:
        """The ticket of a job that may be with Smile ID, None if there is none. Raises LedgerFailed."""
        return await self._one(BY_JOB, job=job_id, user=user_id)

    async def named(self, smile_job_id: str) -> Ticket | None:
        """The ticket of the job that Smile ID calls so, None if there is none. Raises LedgerFailed."""
        return await self._one(BY_NUMBER, number=smile_job_id)

    async def _one(self, query: sa.Select[Any], **given: str) -> Ticket | None:
        async with self.reading() as connection:
            row = (await connection.execute(query, given)).mappings().first()
        return None if row is None else ticket_of(row)

    async def flush(self) -> None:
        """Wait until everything noted so far is durable. Raises LedgerFailed."""
        self._opened_engine()
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._commits.wait(written)
        await written

    def _happened(self, ticket: Ticket, kind: str, detail: str) -> None:
        event = {"job_id": ticket.job_id, "user_id": ticket.user_id, "kind": kind, "detail": detail}
        self._commits.happened(event)

    async def _perform(self, group: WriteBatch, singly: bool) -> list[Answer]:
        async with self._turn:
            if self._writer is not None and self._thread is not None:
                work = partial(commit, self._writer, group, singly=singly)
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
            async with self._opened_engine().begin() as connection:
                return await connection.run_sync(perform, group, shared=True, singly=singly)
