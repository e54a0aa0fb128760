"""Workers over PostgreSQL: claims, fences, renewals and the sweep, each by itself and all together."""

import asyncio
import contextlib
import threading
import time

import psycopg
import pytest
import sqlalchemy as sa
from street import Pictures, until
from workers_support import (
    a_worker,
    all_done,
    change_chunk,
    chunk_rows,
    claimed,
    planned,
    registrations,
    run_sql,
    url_of,
)

from smile_async.batch import Row, job_of
from smile_async.batch.chunk_run import Ending
from smile_async.errors import LeaseLost, LedgerFailed, Unavailable
from smile_async.ledger import Ledger, database, failpoints
from smile_async.ledger.batches import Batches
from smile_async.ledger.chunks import Chunks
from smile_async.ledger.schema import chunks, events
from smile_async.protocol.steps import Reach
from smile_async.sandbox import RunningSandbox, Sandbox
from smile_async.workers import Queue, queue

DIGEST = b"d" * 32


async def test_a_worker_drives_what_it_finds(ledger: Ledger, running: RunningSandbox, pictures: Pictures) -> None:
    """Chunks that are only on record, in no queue, are swept up and driven: one job and one verdict a row."""
    made = await planned(ledger, registrations(pictures, 35))
    assert len(made) == 4
    async with a_worker(running, url_of(ledger), lease=10.0) as worker:
        await all_done(ledger)
    assert worker.stats.rows == 35
    assert await Batches(ledger).counts("b") == {"final": 35}
    assert len(running.sandbox.jobs) == 35


# Claims and leases.


async def test_only_one_of_many_claims_wins(ledger: Ledger, pictures: Pictures) -> None:
    """Twenty workers that claim a chunk at once: one has it, and the token has risen by one."""
    (chunk,) = await planned(ledger, registrations(pictures, 3))
    held = await asyncio.gather(*(Chunks(ledger, f"w{n}").claim(chunk) for n in range(20)))
    (winner,) = [each for each in held if each is not None]
    assert (winner.token, winner.batch, winner.parks) == (1, "b", 0)
    assert (await chunk_rows(ledger))[chunk]["holder"] in {f"w{n}" for n in range(20)}


async def test_what_can_be_claimed(ledger: Ledger, pictures: Pictures) -> None:
    """A chunk whose lease ran out can be claimed, with a higher token; one that is held, not due or done can not."""
    (chunk,) = await planned(ledger, registrations(pictures, 3))
    chunks = Chunks(ledger, "w", 60.0)
    first = await claimed(ledger, chunk)
    assert await chunks.claim(chunk) is None
    await change_chunk(ledger, chunk, lease_until=0.0)
    second = await claimed(ledger, chunk)
    assert second.token == first.token + 1
    assert not await chunks.give_back(first)
    assert not await chunks.finish(first)
    assert await chunks.give_back(second, after=60.0, park=True)
    assert await chunks.claim(chunk) is None
    await change_chunk(ledger, chunk, due_at=0.0)
    third = await claimed(ledger, chunk)
    assert (third.token, third.parks) == (3, 1)
    assert await chunks.finish(third)
    assert await chunks.claim(chunk) is None
    assert await chunks.claim(10_000) is None


async def test_renewal_keeps_what_is_still_ours(ledger: Ledger, pictures: Pictures) -> None:
    """One statement renews all that is held, and says which chunks have been lost."""
    one, other = await planned(ledger, registrations(pictures, 20))
    mine = [await claimed(ledger, one, "a", 0.2), await claimed(ledger, other, "a", 0.2)]
    await asyncio.sleep(0.3)
    await claimed(ledger, other, "b")
    assert await Chunks(ledger, "a", 60.0).renew(mine) == {one}
    assert await Chunks(ledger, "c").claim(one) is None


async def test_a_renewal_that_meets_a_goodbye_renews_nothing(ledger: Ledger, pictures: Pictures) -> None:
    """A chunk that has been given back, or parked, stays free, though a renewal was on its way."""
    (chunk,) = await planned(ledger, registrations(pictures, 1))
    held = await claimed(ledger, chunk, "a")
    chunks = Chunks(ledger, "a", 60.0)
    assert await chunks.give_back(held, 30.0, park=True)
    assert await chunks.renew([held]) == set()
    assert (await chunk_rows(ledger))[chunk]["lease_until"] is None


async def test_a_lease_is_renewed_for_as_long_as_the_work_takes(ledger: Ledger, pictures: Pictures) -> None:
    """A chunk that takes longer than a lease stays with its worker, though another one is looking for work."""
    (chunk,) = await planned(ledger, registrations(pictures, 5))
    async with (
        Sandbox.serve(latency=5.6) as running,
        a_worker(running, url_of(ledger), lease=5.0),
        a_worker(running, url_of(ledger), lease=5.0),
    ):
        await all_done(ledger)
    assert (await chunk_rows(ledger))[chunk]["token"] == 1


async def test_a_stale_holder_is_refused(ledger: Ledger, pictures: Pictures) -> None:
    """After a newer claim neither an intent nor a mark nor a failure of the old holder counts; its tickets do."""
    (chunk,) = await planned(ledger, registrations(pictures, 2))
    rows = await Chunks(ledger).rows(chunk)
    one, other = (job_of(Row.of(row), row["job_id"]) for row in rows)
    old = await claimed(ledger, chunk, "old")
    ledger.guard([one.job_id, other.job_id], old.fence)
    await ledger.begin(one, DIGEST)
    await ledger.mark(one.ticket, Reach.UPLOADED, 1)
    await change_chunk(ledger, chunk, lease_until=0.0)
    async with Ledger(url_of(ledger), delay=0.0) as second:
        await claimed(second, chunk, "new")
        with pytest.raises(LeaseLost, match="another worker has taken over"):
            await ledger.begin(other, DIGEST)
        with pytest.raises(LeaseLost):
            await ledger.mark(one.ticket, Reach.UPLOADED, 1)
        ledger.failed(one.ticket, Unavailable("gone"), Reach.RESERVED, attempt=1)
        await ledger.flush()
        states = {row["job_id"]: (row["state"], row["reach"]) for row in await Chunks(second).rows(chunk)}
        assert states == {one.job_id: ("sending", Reach.UPLOADED), other.job_id: ("planned", Reach.NOTHING)}
        ledger.accepted(one.ticket)
        await ledger.flush()
        assert (await Chunks(second).rows(chunk))[0]["state"] == "accepted"
        ledger.unguard([one.job_id], (chunk, 99))  # type: ignore[arg-type]
        ledger.unguard([one.job_id, other.job_id], old.fence)
        assert (await ledger.begin(other, DIGEST)).attempt == 1


async def test_a_claim_waits_for_an_intent_under_way(ledger: Ledger, pictures: Pictures) -> None:
    """An intent that is being committed holds the chunk: the next claim comes wholly after it."""
    (chunk,) = await planned(ledger, registrations(pictures, 1))
    (row,) = await Chunks(ledger).rows(chunk)
    held = await claimed(ledger, chunk)
    ledger.guard([row["job_id"]], held.fence)
    committed: list[float] = []
    claiming: list[threading.Thread] = []
    done: list[float] = []

    def claim() -> None:
        with psycopg.connect(url_of(ledger)) as other:
            other.execute("UPDATE smile_chunks SET token = token + 1 WHERE id = %s", (chunk,))
        done.append(time.monotonic())

    def slow(name: str) -> None:
        if name == "intent committing":
            claiming.append(threading.Thread(target=claim))
            claiming[0].start()
            time.sleep(0.3)
            committed.append(time.monotonic())

    failpoints.install(slow)
    try:
        await ledger.begin(job_of(Row.of(row), row["job_id"]), DIGEST)
    finally:
        failpoints.install(None)
    await asyncio.to_thread(claiming[0].join)
    assert committed[0] < done[0]


async def test_the_fence_alone_stops_a_worker(ledger: Ledger, running: RunningSandbox, pictures: Pictures) -> None:
    """A worker that has not noticed that its chunk was claimed away gets no further intent, and leaves the chunk."""
    (chunk,) = await planned(ledger, registrations(pictures, 40), chunk_jobs=40, rate=40.0)
    endings: list[Ending] = []
    async with a_worker(running, url_of(ledger), lease=60.0, tell=lambda _, ending: endings.append(ending)):
        await until(lambda: len(running.sandbox.jobs) >= 5, patience=45)
        await run_sql(ledger, f"UPDATE smile_chunks SET token = token + 1 WHERE id = {chunk}")
        before = await run_sql(ledger, "SELECT count(*) FROM smile_events WHERE kind = 'sending'")
        await until(lambda: bool(endings), patience=45)
    assert endings == [Ending.LOST]
    assert await run_sql(ledger, "SELECT count(*) FROM smile_events WHERE kind = 'sending'") == before


async def test_a_worker_that_loses_its_chunk_stops_at_once(ledger: Ledger, pictures: Pictures) -> None:
    """When somebody else has claimed the chunk, the drive is cut off at the next renewal, and sends nothing more."""
    (chunk,) = await planned(ledger, registrations(pictures, 3))
    endings: list[Ending] = []
    async with (
        Sandbox.serve(latency=30.0) as running,
        a_worker(running, url_of(ledger), lease=5.0, tell=lambda _, ending: endings.append(ending)) as worker,
    ):
        await until(lambda: worker._shift.session.stats.pending == 3, patience=45)
        await run_sql(ledger, f"UPDATE smile_chunks SET token = token + 1, lease_until = 1e12 WHERE id = {chunk}")
        await until(lambda: bool(endings), patience=45)
        assert worker._shift.session.stats.pending == 0
    assert endings == [Ending.LOST]
    assert (await chunk_rows(ledger))[chunk]["done_at"] is None


async def test_a_transaction_that_was_left_open_ends(
    ledger: Ledger, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is stopped in the middle of a transaction keeps nobody from its chunk for longer than seconds."""
    (chunk,) = await planned(ledger, registrations(pictures, 1))
    monkeypatch.setattr(database, "NO_IDLING", database.NO_IDLING.replace("5s", "400ms"))
    with contextlib.suppress(LedgerFailed):
        async with Ledger(url_of(ledger)) as stopped, stopped.writing() as connection:
            await connection.execute(sa.select(chunks.c.id).with_for_update())
            async with asyncio.timeout(10):
                await claimed(ledger, chunk)


async def test_a_transaction_that_the_server_overlooks_ends(
    ledger: Ledger, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is after many rows in one statement, where the server's own timer is off: the sweep of others ends it."""
    (chunk,) = await planned(ledger, registrations(pictures, 1))
    monkeypatch.setattr(queue, "IDLE", 0.2)
    event = {"job_id": "j", "user_id": "u", "kind": "k", "detail": "d"}
    with contextlib.suppress(LedgerFailed):
        async with Ledger(url_of(ledger)) as stopped, stopped.writing() as connection, Queue(ledger) as other:
            await connection.execute(sa.select(chunks.c.id).with_for_update())
            await connection.execute(events.insert(), [event, event])
            await asyncio.sleep(0.3)
            await other.restore(Chunks(ledger))
            async with asyncio.timeout(3):
                await claimed(ledger, chunk)


# The sweep.


@pytest.mark.parametrize(
    "damage",
    [
        "TRUNCATE procrastinate_jobs CASCADE",
        "UPDATE procrastinate_jobs SET status = 'doing'",
        "UPDATE procrastinate_jobs SET scheduled_at = now() + interval '1 hour'",
        "UPDATE procrastinate_jobs SET status = 'failed'",
    ],
)
async def test_the_sweep_repairs_the_queue(
    ledger: Ledger, running: RunningSandbox, pictures: Pictures, damage: str
) -> None:
    """Whatever happens to the rows of the queue, lost, stuck with a dead worker or put off, every chunk is driven."""
    made = await planned(ledger, registrations(pictures, 20))
    async with Queue(ledger) as queue:
        await queue.put(made)
    await run_sql(ledger, damage)
    async with a_worker(running, url_of(ledger), lease=1.0, until_empty=True):
        await all_done(ledger)
    assert await Batches(ledger).counts("b") == {"final": 20}
    assert all(job.submissions == 1 for job in running.sandbox.jobs.values())
    (left,) = (await run_sql(ledger, "SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'"))[0]
    assert left == 0


async def test_a_delivery_that_comes_twice_is_dropped(
    ledger: Ledger, running: RunningSandbox, pictures: Pictures
) -> None:
    """Deliveries of chunks that are done, held or unknown do nothing."""
    (chunk,) = await planned(ledger, registrations(pictures, 5))
    async with a_worker(running, url_of(ledger)) as worker, Queue(ledger) as queue:
        await all_done(ledger)
        await queue.put([chunk, 4711])
        await asyncio.sleep(0.5)
        assert worker.stats.chunks == {Ending.DONE: 1}
    assert len(running.sandbox.jobs) == 5
