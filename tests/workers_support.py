"""What the tests of workers share: a server, a fresh ledger for each test, and crews of workers at test speed."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import sqlalchemy as sa
from postgres import Postgres
from street import Pictures, session_of

from smile_async.batch import Planner, Row
from smile_async.errors import LedgerFailed
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.ledger.chunks import Chunks, Held
from smile_async.ledger.schema import chunks
from smile_async.sandbox import RunningSandbox
from smile_async.workers import Queue, Worker

#: What `batch run` tells workers unless a test says otherwise.
TOLD = {"until": "decision", "patience": 60.0, "rate": None}


def fresh(server: Postgres) -> str:
    """The URL of a database nobody has used."""
    return server.database(f"ledger_{uuid.uuid4().hex}")


def url_of(ledger: Ledger) -> str:
    """Where *ledger* is."""
    return ledger.database.conninfo()


def registrations(pictures: Pictures, number: int, **params: str) -> list[Row]:
    """So many rows of a manifest, of which every fifth is rejected."""
    return [
        Row(n + 2, f"u{n}", f"u{n}", pictures.selfie_path, job_type=4, params={"sandbox_result": _result(n), **params})
        for n in range(number)
    ]


def _result(number: int) -> str:
    return "0" if number % 5 else "1"


async def planned(ledger: Ledger, rows: Sequence[Row], chunk_jobs: int = 10, name: str = "b", **told: Any) -> list[int]:
    """The chunks of a batch of *rows*, on record but in no queue."""
    number = await Batches(ledger).start(name, {**TOLD, **told})
    planner = Planner(ledger, name, number, chunk_jobs=chunk_jobs)
    source, made = iter(rows), []
    while (work := await planner.next(source)) is not None:
        made += work.chunks
    return made


async def chunk_rows(ledger: Ledger) -> dict[int, dict[str, Any]]:
    """Every chunk as the ledger has it."""
    async with ledger.reading() as connection:
        return {row["id"]: dict(row) for row in (await connection.execute(sa.select(chunks))).mappings()}


async def change_chunk(ledger: Ledger, chunk: int, **values: Any) -> None:
    """Write over a chunk, as time or a fault would."""
    async with ledger.writing() as connection:
        await connection.execute(chunks.update().where(chunks.c.id == chunk).values(**values))


async def run_sql(ledger: Ledger, text: str) -> list[Any]:
    """What *text* gives."""
    async with ledger.writing() as connection:
        found = await connection.execute(sa.text(text))
        return list(found) if found.returns_rows else []


async def claimed(ledger: Ledger, chunk: int, holder: str = "w", lease: float = 60.0) -> Held:
    """A chunk that must be free."""
    held = await Chunks(ledger, holder, lease).claim(chunk)
    assert held is not None
    return held


@asynccontextmanager
async def a_worker(running: RunningSandbox, url: str, **more: Any) -> AsyncIterator[Worker]:
    """A worker with ledger, queue and session of its own, that works until the block is left."""
    session = {name: more.pop(name) for name in ("clock", "in_thread", "limits", "pace") if name in more}
    until_empty = more.pop("until_empty", False)
    async with (
        Ledger(url, delay=0.002) as ledger,
        Queue(ledger) as queue,
        session_of(running, ledger=ledger, **session) as opened,
    ):
        worker = Worker(opened, ledger, queue, **{"drain": 5.0, **more})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_working, worker, until_empty)
            yield worker
            worker.stop()


async def _working(worker: Worker, until_empty: bool) -> None:
    await worker.work(until_empty=until_empty)


async def all_done(ledger: Ledger, patience: float = 45.0) -> None:
    """Wait until no chunk is open."""
    async with asyncio.timeout(patience):
        while await _left(ledger):  # noqa: ASYNC110 - others do the work, in other processes too
            await asyncio.sleep(0.05)


async def _left(ledger: Ledger) -> int:
    try:
        return await Chunks(ledger).still_open()
    except LedgerFailed:
        return 1
