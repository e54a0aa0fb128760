"""The queue: Procrastinate's tables in the ledger's database, through which chunk numbers reach workers.

Only the number of a chunk travels in it; no id of a person, no path, no key.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import anyio
import sqlalchemy as sa

from smile_async.batch.queue import SWEPT
from smile_async.errors import BadConfiguration, LedgerFailed
from smile_async.ledger import Ledger
from smile_async.ledger.chunks import Chunks
from smile_async.ledger.database import NO_IDLING, words_of
from smile_async.ledger.failpoints import failpoint

try:
    import procrastinate
    import psycopg
    import psycopg_pool
    from procrastinate import exceptions, jobs
except ImportError as missing:  # pragma: no cover - the tests have the extra
    raise BadConfiguration(f"the package {missing.name} is missing: run  pip install 'smile-async[workers]'") from None

__all__ = ["Queue"]

NAME = "smile-async"
TASK = "smile_async.chunk"
#: Seconds between looks for deliveries that have become due; new ones are announced.
LOOK = 1.0
#: Seconds to wait for a connection.
CONNECT = 10.0
#: Key of the advisory lock under which Procrastinate's tables are made.
_MAKING = 0x736D696C66
#: The partial index over queueing_lock serves this.
_NOT_QUEUED = sa.text(
    "NOT EXISTS (SELECT 1 FROM procrastinate_jobs q WHERE q.queueing_lock = 'smile-chunk-' || smile_chunks.id"
    " AND q.status = 'todo' AND (q.scheduled_at IS NULL OR q.scheduled_at <= now()))"
)
#: Ends transactions on chunks that wait for a process which was stopped. The server's own timer (NO_IDLING) does not
#: see them after an executemany of psycopg: it sends a Flush after its Sync, and a Flush turns the timer off (seen with
#: psycopg 3.3 on PostgreSQL 15).
_END_IDLERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user
AND xact_start IS NOT NULL AND wait_event = 'ClientRead'
AND state_change < clock_timestamp() - %(idle)s * interval '1 second'
AND pid IN (SELECT pid FROM pg_locks WHERE relation = to_regclass('smile_chunks'))
"""
#: Seconds.
IDLE = 5.0


# They say little that we do not say, and without a handler of their own it would go to standard error.
for _name in ("procrastinate", "psycopg"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


async def _bound(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.execute(NO_IDLING)
    await connection.commit()


class Queue:
    """Chunk numbers on their way to workers; `async with Queue(ledger) as queue:`. Raises BadConfiguration."""

    def __init__(self, ledger: Ledger) -> None:
        self._where = ledger.database.conninfo()
        self._whose = repr(ledger.database)
        self._deliver: Callable[[int], Awaitable[None]] | None = None
        self._app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(
                conninfo=self._where,
                min_size=1,
                max_size=4,
                timeout=CONNECT,
                name="smile-async queue",
                configure=_bound,
            )
        )
        self._task = self._app.task(name=TASK, queue=NAME)(self._delivered)

    def __repr__(self) -> str:
        return f"<Queue in {self._whose}>"

    async def __aenter__(self) -> Self:
        with self._told():
            await self._prepare()
            await self._app.open_async()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(exceptions.ConnectorException):
            await self._app.close_async()

    async def _prepare(self) -> None:
        """Make Procrastinate's tables, unless they are there; two machines may be the first at once."""
        connection = await psycopg.AsyncConnection.connect(self._where, connect_timeout=int(CONNECT))
        async with connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
            found = await (await connection.execute("SELECT to_regclass('procrastinate_jobs')")).fetchone()
            if found == (None,):
                await connection.execute(self._app.schema_manager.get_schema())

    async def _delivered(self, chunk: int) -> None:
        if self._deliver is not None:
            await self._deliver(chunk)

    async def put(self, chunks: Iterable[int], *, after: float = 0.0) -> None:
        """Have each of *chunks* delivered to some worker in *after* seconds. Raises LedgerFailed."""
        for chunk in chunks:
            failpoint("chunk queueing")
            with self._told():
                await self._put(chunk, after)
            failpoint("chunk queued")

    async def _put(self, chunk: int, after: float) -> None:
        lock = f"smile-chunk-{chunk}"
        task = self._task.configure(queueing_lock=lock, schedule_in={"seconds": math.ceil(after)} if after else None)
        with contextlib.suppress(exceptions.AlreadyEnqueued):
            await task.defer_async(chunk=chunk)
            return
        # One that was put off while its reviews went on may be wanted earlier now.
        manager = self._app.job_manager
        for job in await manager.list_jobs_async(queueing_lock=lock, status="todo"):
            if not after and job.scheduled_at is not None and job.id is not None:
                await manager.cancel_job_by_id_async(job.id, delete_job=True)
                with contextlib.suppress(exceptions.AlreadyEnqueued):
                    await task.defer_async(chunk=chunk)

    async def listen(self, deliver: Callable[[int], Awaitable[None]], at_once: int) -> None:
        """Call *deliver* with each chunk that comes, *at_once* at a time, until cancelled. Raises LedgerFailed.

        What is being delivered when this is cancelled, or the database goes away, is cancelled.
        """
        self._deliver = deliver
        # A task of its own: it must be cancelled once, while a scope cancels again and again, and given time to end.
        listening = asyncio.create_task(self._listen(at_once), name="smile_async queue")
        try:
            await asyncio.wait([listening])
        finally:
            with anyio.CancelScope(shield=True):
                while not listening.done():
                    listening.cancel()
                    await asyncio.wait([listening], timeout=CONNECT)
        with self._told():
            listening.result()
        raise LedgerFailed(f"the queue in {self._whose} has ended: see the log of procrastinate", retryable=True)

    async def _listen(self, at_once: int) -> None:
        await self._app.run_worker_async(
            queues=[NAME],
            concurrency=at_once,
            wait=True,
            fetch_job_polling_interval=LOOK,
            shutdown_graceful_timeout=0.0,
            delete_jobs=jobs.DeleteJobCondition.ALWAYS,
            install_signal_handlers=False,
            update_heartbeat_interval=5.0,
        )

    async def restore(self, chunks: Chunks) -> None:
        """Queue again what was lost on the way, or taken along by a worker that died or was stopped; LedgerFailed."""
        with self._told():
            await self._app.connector.execute_query_all_async(_END_IDLERS, idle=IDLE)
            manager = self._app.job_manager
            for job in await manager.get_stalled_jobs(queue=NAME, task_name=TASK):
                if job.id is not None:
                    await manager.finish_job_by_id_async(job.id, jobs.Status.FAILED, delete_job=True)
        await self.put(await chunks.forgotten(SWEPT, _NOT_QUEUED))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong with the database, as our own error and without its secrets."""
        try:
            yield
        except (exceptions.ConnectorException, psycopg.Error, psycopg_pool.PoolTimeout, OSError) as error:
            said = error.__cause__ or error
            text = words_of(said)
        else:
            return
        raise LedgerFailed(f"the queue in {self._whose} can not be used ({text})", retryable=True)
