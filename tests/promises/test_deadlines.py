"""Patience bounds every public await, whatever the peer does not do (guarantee G5)."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from fault_proxy import FaultProxy, Trouble
from street import ENGINES, Pictures, session_of

from smile_async import Failed, Job, Limits, SmileSession
from smile_async.errors import SmileError, StillPending, Unavailable
from smile_async.ledger.rows import Begun
from smile_async.protocol.steps import Reach
from smile_async.sandbox import RunningSandbox

engines = pytest.mark.parametrize("http", ENGINES)
PATIENCE = 0.5
#: G5 allows one second more; the rest is for a busy machine.
BOUND = PATIENCE + 2.5

TROUBLES = {
    "never reads": lambda: Trouble("accept", "silence", times=None),
    "silent after the handshake": lambda: Trouble("request", "silence", after=1, times=None),
    "drips one byte a second": lambda: Trouble("reply", "drip", times=None),
}


@asynccontextmanager
async def bad_peer(running: RunningSandbox, trouble: str, http: str) -> AsyncIterator[SmileSession]:
    """A session whose API port behaves like that; leaving it is timed as well."""
    port = int(running.base_url.rsplit(":", 1)[1].split("/")[0])
    async with FaultProxy(port, TROUBLES[trouble]()) as proxy:
        session = session_of(running, http=http, base_url=f"https://127.0.0.1:{proxy.port}/v1")
        await session.__aenter__()
        try:
            yield session
        finally:
            started = time.monotonic()
            await session.__aexit__(None, None, None)
            assert time.monotonic() - started < BOUND


@engines
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_every_call_ends_in_time(
    http: str, trouble: str, running: RunningSandbox, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """verify, submit, wait, status, follow and stream end within patience, in an error that tells the truth."""
    monkeypatch.setattr("smile_async.session.STATUS_SECONDS", PATIENCE)
    monkeypatch.setattr("smile_async.traffic.stream.SUBMIT_SECONDS", PATIENCE)
    monkeypatch.setattr("smile_async.traffic.poller.QUERY_SECONDS", PATIENCE)
    job = pictures.job()

    async def follow() -> None:
        async with session.follow(job.ticket, patience=PATIENCE) as verdicts:
            async for _ in verdicts:
                pass

    async def stream() -> None:
        async with session.stream([pictures.job()], patience=PATIENCE) as outcomes:
            (outcome,) = [each async for each in outcomes]
        assert isinstance(outcome, Failed)
        raise outcome.error

    async with bad_peer(running, trouble, http) as session:
        calls: dict[str, Any] = {
            "verify": session.verify(pictures.job(), patience=PATIENCE),
            "submit": session.submit(pictures.job(), patience=PATIENCE),
            "wait": session.wait(job.ticket, patience=PATIENCE),
            "status": session.status(job.ticket),
            "follow": follow(),
            "stream": stream(),
        }
        ends: dict[str, tuple[float, BaseException | None]] = {}

        async def timed(name: str, call: Any) -> None:
            started = time.monotonic()
            end: BaseException | None = None
            try:
                await call
            except SmileError as error:
                end = error
            ends[name] = time.monotonic() - started, end

        async with anyio.create_task_group() as tasks:
            for name, call in calls.items():
                tasks.start_soon(timed, name, call)
    for name, (took, end) in ends.items():
        assert took < BOUND, f"{name} took {took:.1f} s"
        assert isinstance(end, StillPending if name in ("wait", "follow") else Unavailable), f"{name}: {end!r}"
        assert end.ticket is not None or end.retryable, name
    assert len(ends) == len(calls)


@engines
@pytest.mark.parametrize("trouble", ["never reads", "drips one byte a second"])
async def test_an_upload_ends_in_time(http: str, trouble: str, running: RunningSandbox, pictures: Pictures) -> None:
    """Storage that never reads the zip, or drips its reply, costs no more than patience; the error has the ticket."""
    port = int(running.storage_url.rsplit(":", 1)[1])
    async with FaultProxy(port, TROUBLES[trouble]()) as proxy, session_of(running, http=http) as session:

        def lead(reply: dict[str, Any]) -> None:
            reply["upload_url"] = reply["upload_url"].replace(f":{port}/", f":{proxy.port}/")

        running.sandbox.fault("upload", tamper=lead, times=None)
        job = pictures.filed()
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await session.verify(job, patience=PATIENCE)
        assert time.monotonic() - started < BOUND
        assert caught.value.ticket is not None
        assert caught.value.ticket.smile_job_id == running.sandbox.jobs[job.job_id].smile_job_id
        assert caught.value.retryable


async def test_patience_covers_the_queue(running: RunningSandbox, pictures: Pictures) -> None:
    """Who gets no upload place, no turn at the limiter or no second of `jobs_per_second` in time is told so, unsent."""
    running.sandbox.fault("put", delay=30)
    limits = Limits(uploads=1)
    async with session_of(running, limits=limits) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(_ignored, session, pictures)
        await anyio.sleep(0.2)
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await session.verify(pictures.job(), patience=PATIENCE)
        assert time.monotonic() - started < BOUND
        assert (caught.value.ticket, caught.value.retryable) == (None, True)
        tasks.cancel_scope.cancel()
    running.sandbox.mend()
    running.sandbox.fault("upload", status=503, headers={"Retry-After": "60"})
    async with session_of(running) as session:
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await session.verify(pictures.job(), patience=PATIENCE)
        assert caught.value.retryable
        with pytest.raises(Unavailable) as caught:
            await session.verify(pictures.job(), patience=PATIENCE)
        assert time.monotonic() - started < BOUND + PATIENCE
        assert (caught.value.ticket, caught.value.retryable) == (None, True)


async def _ignored(session: SmileSession, pictures: Pictures) -> None:
    await session.submit(pictures.job())


async def test_no_deadline_is_needed_to_leave(running: RunningSandbox, pictures: Pictures, tmp_path: Path) -> None:
    """Leaving a session whose calls hang ends at once, and they end with it."""
    running.sandbox.fault("upload", delay=30)
    ends: list[BaseException] = []

    async def call() -> None:
        try:
            await session.wait(pictures.job().ticket)
        except SmileError as error:
            ends.append(error)

    running.sandbox.fault("job_status", delay=30)
    session = session_of(running)
    await session.__aenter__()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.sleep(0.1)
        started = time.monotonic()
        await session.__aexit__(None, None, None)
        assert time.monotonic() - started < BOUND
    assert len(ends) == 1


class SilentLedger:
    """A ledger whose database says nothing any more, from the first call or from the mark before the PUT."""

    def __init__(self, silent_from: str) -> None:
        self._silent = {"begin": ("begin", "mark"), "mark": ("mark",)}[silent_from]

    async def begin(self, job: Job, digest: bytes) -> Any:
        """Perhaps on record."""
        if "begin" in self._silent:
            await anyio.sleep_forever()
        return Begun(1, Reach.NOTHING)

    async def mark(self, *_: object) -> None:
        """Never on record."""
        await anyio.sleep_forever()

    def failed(self, *_: object, **__: object) -> None:
        """Noted."""


@pytest.mark.parametrize("silent_from", ["begin", "mark"])
async def test_a_silent_ledger_costs_no_more_than_patience(
    silent_from: str, running: RunningSandbox, pictures: Pictures
) -> None:
    """Verify and stream end in time with a ledger that never answers; the ticket says whether anything left."""
    async with session_of(running) as session:
        session.sender._ledger = SilentLedger(silent_from)  # type: ignore[assignment]
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await session.verify(pictures.job(), patience=PATIENCE)
        assert time.monotonic() - started < BOUND
        assert caught.value.retryable
        assert (caught.value.ticket is None) == (silent_from == "begin")
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 1
