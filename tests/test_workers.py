"""Workers over PostgreSQL: claims, fences, renewals and the sweep, each by itself and all together."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from postgres import Postgres
from street import Pictures, until
from workers_support import (
    a_server,
    a_worker,
    all_done,
    change_chunk,
    chunk_rows,
    claimed,
    fresh,
    planned,
    registrations,
    run_sql,
)

from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.ledger.chunks import Chunks
from smile_async.sandbox import RunningSandbox
from smile_async.workers import Queue


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL of this module's own."""
    with a_server() as server:
        yield server


@pytest.fixture
async def ledger(server: Postgres) -> AsyncIterator[Ledger]:
    """A ledger in a database of its own."""
    async with Ledger(fresh(server), delay=0.002) as ledger:
        yield ledger


def url_of(ledger: Ledger) -> str:
    """Where *ledger* is."""
    return ledger.place.conninfo()


async def test_a_worker_drives_what_it_finds(ledger: Ledger, running: RunningSandbox, pictures: Pictures) -> None:
    """Chunks that are only on record, in no queue, are swept up and driven: one job and one verdict a row."""
    made = await planned(ledger, registrations(pictures, 35))
    assert len(made) == 4
    async with a_worker(running, url_of(ledger), lease=1.0) as worker:
        await all_done(ledger)
    assert worker.shift.rows == 35
    assert await Batches(ledger).counts("b") == {"final": 35}
    assert len(running.sandbox.jobs) == 35
