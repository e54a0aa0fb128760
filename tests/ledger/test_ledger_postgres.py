"""The same ledger on PostgreSQL: one code path, several processes, and a database that goes away for a while."""

import asyncio
from typing import Any

import pytest
from ledger_support import DIGEST
from postgres import Postgres
from street import Pictures, session_of, until

from smile_async import Decision, Job, Verdict
from smile_async.batch import Planner, Row, Run
from smile_async.errors import BadConfiguration, InvalidJob
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.protocol.steps import Reach
from smile_async.sandbox import RunningSandbox


async def test_the_life_of_a_job_on_postgresql(server: Postgres) -> None:
    """Intent, mark, ticket and verdict are on record, are found by another process, and are erased."""
    job = Job.authenticate("ada", use_enrolled_image=True)
    async with Ledger(server.url) as one, Ledger(server.url) as two:
        assert (await one.begin(job, DIGEST)).attempt == 1
        await one.mark(job.ticket, Reach.UPLOADED, 1)
        known = await two.begin(job, DIGEST)
        assert known.reach is Reach.UPLOADED
        one.accepted(job.ticket)
        one.heard(Verdict(Decision.APPROVED, True, "0820", "", job.ticket, confirmed=True))
        await one.flush()
        known = await two.begin(job, DIGEST)
        assert known.verdict is not None
        assert known.verdict.approved
        with pytest.raises(InvalidJob, match="have changed"):
            await two.begin(job, b"e" * 32)
        assert await Batches(two).erase("ada") == 1


async def test_no_tables_are_made_where_there_is_no_ledger(server: Postgres) -> None:
    """Whoever wants an existing ledger is told that a mistyped database is none, and leaves no table in it."""
    url = server.database("mistyped")
    for _ in range(2):
        with pytest.raises(BadConfiguration, match="no ledger yet"):
            await Ledger(url, create=False).open()
    async with Ledger(url) as made:
        assert await Batches(made).names() == []
    async with Ledger(url, create=False) as known:
        assert await Batches(known).erase("ada") == 0


async def test_the_same_job_begun_by_two_processes_at_once(server: Postgres) -> None:
    """Two machines that begin the same new jobs at the same moment agree on one row each."""
    jobs = [Job.authenticate("grace", use_enrolled_image=True) for _ in range(50)]
    async with Ledger(server.url) as one, Ledger(server.url) as two:
        answers = await asyncio.gather(*(ledger.begin(job, DIGEST) for job in jobs for ledger in (one, two)))
    assert sorted(answer.attempt for answer in answers) == [1] * 50 + [2] * 50


async def test_two_processes_that_lock_the_same_rows_in_opposite_order(server: Postgres) -> None:
    """Where the database breaks a deadlock, the loser does it again: both end, and each row has two attempts."""
    jobs = [Job.authenticate("lin", use_enrolled_image=True) for _ in range(200)]
    async with Ledger(server.url) as one, Ledger(server.url) as two:
        for _ in range(3):
            begun = await asyncio.gather(
                *(one.begin(job, DIGEST) for job in jobs), *(two.begin(job, DIGEST) for job in reversed(jobs))
            )
    assert [begun[n].attempt + begun[-1 - n].attempt for n in range(200)] == [11] * 200


async def test_a_database_that_restarts_midway(server: Postgres, running: RunningSandbox, pictures: Pictures) -> None:
    """While the database is away the run waits; when it is back every row ends with one job and one verdict."""
    rows: list[Any] = [Row(n, f"k{n}", "ada", pictures.selfie_path) for n in range(120)]
    async with Ledger(server.url) as ledger, session_of(running, ledger=ledger) as session:
        number = await Batches(ledger).start("b", {})
        run = Run(session, ledger, Planner(ledger, "b", number))
        going = asyncio.create_task(run.go(iter(rows)))
        await until(lambda: run.tally.done >= 20, patience=20)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        await going
        assert run.trouble is None
        await ledger.flush()
        assert await Batches(ledger).counts("b") == {"final": 120}
    assert len(running.sandbox.jobs) == 120
    assert all(job.submissions == 1 for job in running.sandbox.jobs.values())
