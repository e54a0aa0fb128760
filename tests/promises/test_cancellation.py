"""Cancelling is safe at every await point: nothing leaks, the connection stays usable, no job is lost."""

import asyncio
import gc
import random
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import h2_server
import pytest
import trustme
from cancel_storm import assert_at_rest, storm
from fault_proxy import FaultProxy, Trouble
from street import ENGINES, Pictures, nothing_left, others, session_of, until

from smile_async import Limits, Pace
from smile_async.errors import Unavailable
from smile_async.sandbox import RunningSandbox

engines = pytest.mark.parametrize("http", ENGINES)


@engines
async def test_a_deadline_of_ours_is_never_a_cancellation_of_the_callers(
    tidy: None, http: str, running: RunningSandbox, pictures: Pictures
) -> None:
    """A request that hangs beyond patience raises Unavailable, and the session goes on; on every engine."""
    running.sandbox.fault("upload", delay=30)
    async with session_of(running, http=http) as session:
        with pytest.raises(Unavailable):
            await session.verify(pictures.job(), patience=0.3)
        assert (await session.verify(pictures.job(), patience=10)).approved


@engines
async def test_a_cancel_scope_of_the_callers_gets_its_own_cancellation_back(
    tidy: None, http: str, running: RunningSandbox, pictures: Pictures
) -> None:
    """anyio.move_on_after and asyncio.timeout around a call end as they should, on every engine."""
    running.sandbox.fault("upload", delay=30, times=2)
    async with session_of(running, http=http) as session:
        with anyio.move_on_after(0.2) as scope:
            await session.verify(pictures.job())
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await session.verify(pictures.job())
        # On a slow machine a request was cancelled before it arrived, and its fault still waits.
        running.sandbox.mend()
        assert (await session.verify(pictures.job(), patience=10)).approved


@engines
async def test_a_cancelled_handshake_closes_its_socket(
    tidy: None, http: str, running: RunningSandbox, pictures: Pictures
) -> None:
    """A connection whose TLS handshake is cancelled is closed there and then, not by the garbage collector."""
    silent = Trouble("accept", "silence", times=None)
    async with FaultProxy(1, silent) as proxy:
        async with session_of(running, http=http, base_url=f"https://127.0.0.1:{proxy.port}/v1") as session:
            tasks = [asyncio.create_task(session.verify(pictures.job())) for _ in range(5)]
            await until(lambda: proxy.connections > 0)
            await asyncio.sleep(0.1)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            gc.collect()
        assert [str(warning.message) for warning in seen] == []


SEED = 20_261_123


@engines
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_thousand_cancels_in_flight(tidy: None, http: str, running: RunningSandbox, pictures: Pictures) -> None:
    """1,000 calls of every kind, cancelled at random moments over HTTP/2: 100 requests then succeed, nothing leaks."""
    async with nothing_left(), session_of(running, http=http, pace=Pace.fixed(0.02, 1, 0.02)) as session:
        before = asyncio.all_tasks()
        cut = await storm(session, running.sandbox, pictures, 1000, random.Random(SEED))
        assert cut >= 1000
        known = await session.submit(pictures.job())
        replies = await asyncio.gather(*(session.status(known) for _ in range(100)))
        assert all(reply.ticket == known for reply in replies)
        await until(lambda: session.stats.in_flight == 0)
        assert_at_rest(session)
        left = {task.get_name() for task in await others(before) if "granian" not in repr(task)}
        assert not left


@engines
async def test_a_job_whose_zip_may_have_landed_is_found_by_its_ticket(
    tidy: None, http: str, running: RunningSandbox, pictures: Pictures
) -> None:
    """Verify is cancelled while the reply to its PUT is late: wait(job.ticket) finds the job, which was made once."""
    job = pictures.job()
    running.sandbox.fault("put", delay=30, effect=True)
    async with session_of(running, http=http) as session:
        task = asyncio.create_task(session.verify(job))
        await until(lambda: job.job_id in running.sandbox.jobs and running.sandbox.jobs[job.job_id].zip_at is not None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await session.wait(job.ticket, patience=10)).approved
        assert (await session.verify(job, patience=10)).approved
    assert running.sandbox.count(job.job_id) == 1
    assert running.sandbox.jobs[job.job_id].processed == 1


@engines
@pytest.mark.parametrize("streams", [1, 3])
async def test_fewer_streams_than_requests(
    http: str, streams: int, running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """A server that allows 1 or 3 streams at once, from the start: sixty calls share them, and none fails."""
    authority = trustme.CA()
    async with own_server(running, authority, tmp_path, streams=streams, strict=http != "pyreqwest") as (
        server,
        settings,
    ):
        async with session_of(running, http=http, **settings) as session:
            jobs = [pictures.job() for _ in range(60)]
            verdicts = await asyncio.gather(*(session.verify(job, patience=60) for job in jobs))
        assert all(verdict.approved for verdict in verdicts)
        assert server.requests >= 120


@engines
async def test_a_stream_limit_lowered_in_mid_flight(
    http: str, running: RunningSandbox, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server lowers its limit to 2 while forty requests are on their way: each ends well, or may be called again.

    httpcore (httpx) breaks the connection or stalls it until the leg's deadline: forty retries at once are then more
    than the retry budget pays for, and some users see an Unavailable that says `retryable`.
    """
    monkeypatch.setattr("smile_async.session.API_SECONDS", 3.0)
    authority = trustme.CA()
    async with own_server(running, authority, tmp_path) as (server, settings):
        count = 0

        def choose(_path: str, _fields: dict[str, Any]) -> h2_server.Antic | None:
            nonlocal count
            count += 1
            return h2_server.lower_streams(2) if count == 20 else late

        async def late(asking: h2_server.Asking) -> None:
            await asyncio.sleep(0.05)
            await h2_server.honest(asking)

        server.choose = choose
        async with session_of(running, http=http, limits=Limits(uploads=40), **settings) as session:
            jobs = [pictures.job() for _ in range(40)]
            ends = await asyncio.gather(*(session.verify(job, patience=60) for job in jobs), return_exceptions=True)
            failed = [(job, end) for job, end in zip(jobs, ends, strict=True) if isinstance(end, BaseException)]
            assert http == "httpx" or not failed
            for job, error in failed:
                assert isinstance(error, Unavailable)
                assert error.retryable
                assert (await session.verify(job, patience=60)).approved
        assert all(running.sandbox.count(job.job_id) == 1 for job in jobs)


@engines
async def test_a_goaway_under_eighty_requests_fails_none_of_them(
    http: str, running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """One GOAWAY breaks eighty requests at once: all are sent again, for the price of one retry, and end well."""
    authority = trustme.CA()
    async with own_server(running, authority, tmp_path) as (server, settings):
        count = 0

        def choose(_path: str, _fields: dict[str, Any]) -> h2_server.Antic:
            nonlocal count
            count += 1
            return h2_server.goaway(seen=True, work=False) if count == 80 else late if count < 80 else h2_server.honest

        async def late(asking: h2_server.Asking) -> None:
            await asyncio.sleep(0.5)
            await h2_server.honest(asking)

        server.choose = choose
        limits = Limits(uploads=80, requests=80)
        async with session_of(running, http=http, limits=limits, **settings) as session:
            jobs = [pictures.job() for _ in range(80)]
            verdicts = await asyncio.gather(*(session.verify(job, patience=60) for job in jobs))
            assert all(verdict.approved for verdict in verdicts)
            assert session._driver.retries >= 1
        assert all(running.sandbox.count(job.job_id) == 1 for job in jobs)


@asynccontextmanager
async def own_server(
    running: RunningSandbox, authority: trustme.CA, folder: Path, **settings: Any
) -> AsyncIterator[tuple[h2_server.H2Server, dict[str, str]]]:
    """An HTTP/2 server of our own in front of the sandbox, and what a session needs to find it."""
    ca_file = folder / "both.pem"
    ca_file.write_bytes(Path(running.ca_file).read_bytes() + authority.cert_pem.bytes())  # noqa: ASYNC240
    async with h2_server.H2Server(running.sandbox.api_app, h2_server.h2_context(authority), **settings) as server:
        yield server, {"base_url": server.base_url, "ca_file": str(ca_file)}
