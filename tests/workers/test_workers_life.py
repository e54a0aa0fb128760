"""Batches that workers share, from the manifest to the end: reviews, rates, outages, the command line."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_support import command, write_csv
from postgres import Postgres
from street import Pictures, until
from workers_support import (
    TOLD,
    a_worker,
    all_done,
    change_chunk,
    chunk_rows,
    fresh,
    planned,
    registrations,
    run_sql,
    url_of,
)

from smile_async import Job
from smile_async.batch import Planner, Row, chunk_run, worker
from smile_async.batch.chunk_run import Ending
from smile_async.errors import InvalidJob, NotAuthorized
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.limits import Limits
from smile_async.sandbox import RunningSandbox, Sandbox
from smile_async.timing.clock import SystemClock
from smile_async.traffic.payload import Payload


def undecided(running: RunningSandbox, pictures: Pictures) -> list[Row]:
    """Four rows whose jobs are decided when `decide` says so."""
    for number in range(4):
        running.sandbox.script(f"u{number}", code="0840", after=3600)
    return [Row(n + 2, f"u{n}", f"u{n}", pictures.selfie_path, job_type=4) for n in range(4)]


def decide(running: RunningSandbox) -> None:
    """Approve every job there is."""
    for job_id in running.sandbox.jobs:
        running.sandbox.review(job_id, "0840")


def polls_of(running: RunningSandbox) -> list[int]:
    """How often each job was asked about."""
    return sorted(job.polls for job in running.sandbox.jobs.values())


# Reviews.


async def test_a_review_costs_no_worker(
    ledger: Ledger, running: RunningSandbox, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk under review is parked without a lease, asked about once a job when it is due, and done at the end."""
    monkeypatch.setattr(chunk_run, "FIRST_PARK", 3600.0)
    rows = [Row(n, f"u{n}", f"u{n}", pictures.selfie_path, job_type=4) for n in range(4)]
    for row in rows:
        running.sandbox.script(row.user_id, code="0842")
    (chunk,) = await planned(ledger, rows, until="final")
    endings: list[Ending] = []
    async with a_worker(
        running, url_of(ledger), park_after=0.3, tell=lambda _, ending: endings.append(ending)
    ) as worker:
        await until(lambda: len(endings) == 1, patience=45)
        parked = (await chunk_rows(ledger))[chunk]
        assert (parked["lease_until"], parked["holder"], parked["parks"], parked["done_at"]) == (None, None, 1, None)
        polls = polls_of(running)
        await change_chunk(ledger, chunk, due_at=0.0)
        await worker._queue.put([chunk])
        await until(lambda: len(endings) == 2, patience=45)
        assert polls_of(running) == [asked + 1 for asked in polls]
        for job_id in running.sandbox.jobs:
            running.sandbox.review(job_id, "approve")
        await change_chunk(ledger, chunk, due_at=0.0)
        await worker._queue.put([chunk])
        await all_done(ledger)
    assert endings == [Ending.PARKED, Ending.PARKED, Ending.DONE]
    assert await Batches(ledger).counts("b") == {"final": 4}


async def test_patience_ends_a_chunk_and_another_run_begins_a_new_one(
    ledger: Ledger, running: RunningSandbox, pictures: Pictures
) -> None:
    """Jobs undecided when patience is over stay pending and the chunk is done; the next run asks, and sends nothing."""
    rows = undecided(running, pictures)
    (chunk,) = await planned(ledger, rows, patience=3.0)
    async with a_worker(running, url_of(ledger), until_empty=True):
        await all_done(ledger)
    assert await Batches(ledger).counts("b") == {"accepted": 4}
    (again,) = await planned(ledger, rows)
    assert again != chunk
    decide(running)
    async with a_worker(running, url_of(ledger), until_empty=True):
        await all_done(ledger)
    assert await Batches(ledger).counts("b") == {"final": 4}
    assert [job.prep_uploads for job in running.sandbox.jobs.values()] == [1] * 4


async def test_a_run_makes_a_parked_chunk_due(ledger: Ledger, running: RunningSandbox, pictures: Pictures) -> None:
    """Rows of an open chunk stay in it when the manifest is run again; it is wanted at once, wherever the queue is."""
    rows = registrations(pictures, 4)
    (chunk,) = await planned(ledger, rows)
    await change_chunk(ledger, chunk, due_at=1e12, parks=7)
    assert await planned(ledger, rows) == [chunk]
    assert (await chunk_rows(ledger))[chunk]["parks"] == 0
    async with a_worker(running, url_of(ledger), lease=1.0, until_empty=True):
        await all_done(ledger)


# Rates and outages.


async def test_two_workers_keep_one_rate(ledger: Ledger, running: RunningSandbox, pictures: Pictures) -> None:
    """Two workers together start no more jobs a second than the batch was told."""
    await planned(ledger, registrations(pictures, 50), chunk_jobs=5, rate=25.0)
    both = {"lease": 2.0, "until_empty": True}
    async with a_worker(running, url_of(ledger), **both) as one, a_worker(running, url_of(ledger), **both) as other:
        await all_done(ledger)
    assert min(one.stats.rows, other.stats.rows) > 0
    starts = sorted(job.created_at for job in running.sandbox.jobs.values())
    assert starts[-1] - starts[0] > 49 / 25 - 0.3
    assert all(later - first > 0.5 for first, later in zip(starts, starts[25:], strict=False))


async def test_a_database_that_restarts_under_workers(
    server: Postgres, ledger: Ledger, pictures: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    """While the database is away workers wait; when it is back every row ends with one job and one verdict."""
    await planned(ledger, registrations(pictures, 60), chunk_jobs=5)
    both = {"lease": 3.0, "until_empty": True, "concurrency": 2, "limits": Limits(uploads=4)}
    async with Sandbox.serve(latency=0.2) as running:
        async with a_worker(running, url_of(ledger), **both), a_worker(running, url_of(ledger), **both):
            await until(lambda: len(running.sandbox.jobs) >= 15, patience=45)
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(server.start)
            await all_done(ledger, 30)
        assert await Batches(ledger).counts("b") == {"final": 60}
        assert len(running.sandbox.jobs) == 60
        assert all(job.submissions == 1 for job in running.sandbox.jobs.values())


async def test_a_database_that_restarts_under_a_run(
    server: Postgres,
    tmp_path: Path,
    pictures: Pictures,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`batch run` goes on too, with what it has still to plan, to queue and to drive."""
    rows = [{"user_id": f"u{n}", "selfie": pictures.selfie_path, "job_type": 4} for n in range(80)]
    manifest = write_csv(tmp_path / "m.csv", [{**row, "param.sandbox_result": 0} for row in rows])
    url = fresh(server)
    monkeypatch.setattr("smile_async.batch.planning.PAGE", 8)
    monkeypatch.setitem(worker.Worker.__init__.__kwdefaults__, "lease", 3.0)
    async with Sandbox.serve(latency=0.3) as running:
        running.sandbox.fault("put", delay=0.2, times=None)
        run = asyncio.create_task(command(running, capsys, monkeypatch, "run", manifest, "--ledger", url))
        await until(lambda: len(running.sandbox.jobs) >= 10, patience=45)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        code, said, _ = await run
        assert (code, said["done"], len(running.sandbox.jobs)) == (0, 80, 80)
        assert all(job.submissions == 1 for job in running.sandbox.jobs.values())


async def test_a_worker_waits_for_an_api_that_is_away(
    ledger: Ledger, running: RunningSandbox, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody answers a worker takes no chunk for a while, and no row of its chunk counts as failed."""
    monkeypatch.setattr("smile_async.batch.chunk_run.OUTAGE_JOBS", 2)
    monkeypatch.setattr(worker, "FIRST_PAUSE", 0.2)
    running.sandbox.fault("upload", status=500, times=None)
    await planned(ledger, registrations(pictures, 4), chunk_jobs=2)
    async with a_worker(running, url_of(ledger), lease=5.0, concurrency=1) as patient:
        await until(lambda: patient._pause > 0, patience=20)
        assert patient.trouble is None
    assert set(await Batches(ledger).counts("b")) <= {"planned", "sending"}


async def test_a_wrong_key_ends_a_worker(ledger: Ledger, running: RunningSandbox, pictures: Pictures) -> None:
    """What every chunk would meet ends the worker at once: it gives its chunk back and says why."""
    running.sandbox.fault("upload", status=401, body={"code": "2204", "error": "unauthorized"}, times=None)
    (chunk,) = await planned(ledger, registrations(pictures, 3))
    async with a_worker(running, url_of(ledger), lease=60.0) as worker:
        await until(lambda: worker.stopping, patience=45)
    assert isinstance(worker.trouble, NotAuthorized)
    assert (await chunk_rows(ledger))[chunk]["holder"] is None


async def test_a_stopped_worker_gives_its_leases_back(
    ledger: Ledger, running: RunningSandbox, pictures: Pictures
) -> None:
    """After `stop` and a bounded drain a chunk is anybody's at once, and the next worker asks about what was sent."""
    (chunk,) = await planned(ledger, undecided(running, pictures))
    async with a_worker(running, url_of(ledger), lease=60.0, drain=0.2) as worker:
        await until(lambda: worker._shift.session.stats.pending == 4, patience=45)
    left = (await chunk_rows(ledger))[chunk]
    assert (left["holder"], left["lease_until"], left["done_at"]) == (None, None, None)
    decide(running)
    async with a_worker(running, url_of(ledger), lease=60.0):
        await all_done(ledger)
    assert [job.prep_uploads for job in running.sandbox.jobs.values()] == [1] * 4


async def test_one_worker_without_the_share_and_one_a_day_off(
    ledger: Ledger, running: RunningSandbox, pictures: Pictures
) -> None:
    """Of three workers one can read no picture and one has yesterday's clock: nothing is lost or sent twice."""

    class Yesterday(SystemClock):
        def time(self) -> float:
            return super().time() - 86_400.0

    async def unmounted(_read: Callable[..., Payload], job: Job, *_how: object) -> Payload:
        raise InvalidJob("selfie can not be opened (No such file or directory): check the path", job=job)

    rows = registrations(pictures, 60)
    await planned(ledger, rows, chunk_jobs=5)
    crew: dict[str, Any] = {"lease": 20.0, "until_empty": True, "concurrency": 1}
    async with (
        a_worker(running, url_of(ledger), in_thread=unmounted, **crew),
        a_worker(running, url_of(ledger), clock=Yesterday(), **crew) as late,
        a_worker(running, url_of(ledger), **crew),
    ):
        await all_done(ledger)
    counts = await Batches(ledger).counts("b")
    assert counts.keys() == {"final", "failed"}
    assert late.stats.rows > 0
    number = await Batches(ledger).start("b", {**TOLD})
    assert await Planner(ledger, "b", number, "all", chunk_jobs=60).next(iter(rows)) is not None
    async with a_worker(running, url_of(ledger), lease=20.0, until_empty=True):
        await all_done(ledger)
    assert await Batches(ledger).counts("b") == {"final": 60}
    assert [job.submissions for job in running.sandbox.jobs.values()] == [1] * 60


# A worker process that is stopped, and goes on later.


async def test_a_worker_stopped_past_its_lease_sends_nothing_more(
    ledger: Ledger, running: RunningSandbox, pictures: Pictures
) -> None:
    """SIGSTOP past the lease, another worker finishes the batch, SIGCONT: no new intent, one job for each job_id."""
    rows = registrations(pictures, 40)
    await planned(ledger, rows, chunk_jobs=40, rate=20.0)
    arguments = ["worker", "--ledger", url_of(ledger), "--lease", "1", "--until-empty", "--json"]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "smile_async.cli", *arguments),
        env={**os.environ, **_variables(running)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await until(lambda: len(running.sandbox.jobs) >= 5, patience=60)
    child.send_signal(signal.SIGSTOP)
    await asyncio.sleep(1.2)
    async with a_worker(running, url_of(ledger), lease=5.0):
        await all_done(ledger)
        before = await run_sql(ledger, "SELECT count(*) FROM smile_events WHERE kind = 'sending'")
        child.send_signal(signal.SIGCONT)
        said, _ = await asyncio.wait_for(child.communicate(), 60)
    # Oftener than once where the machine is too slow for leases of a second.
    assert set(json.loads(said)["chunks"]) == {"lost"}
    assert await run_sql(ledger, "SELECT count(*) FROM smile_events WHERE kind = 'sending'") == before
    assert await Batches(ledger).counts("b") == {"final": 40}
    assert [job.submissions for job in running.sandbox.jobs.values()] == [1] * 40
    assert [job.processed for job in running.sandbox.jobs.values()] == [1] * 40


def _variables(running: RunningSandbox) -> dict[str, str]:
    return {
        "SMILE_PARTNER_ID": running.partner_id,
        "SMILE_API_KEY": running.api_key,
        "SMILE_BASE_URL": running.base_url,
        "SMILE_CA_FILE": str(running.ca_file),
    }
