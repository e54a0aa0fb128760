"""Jobs through real gateways: the rows of the table, and a run that is counted and timed."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from gateways import haproxy, nginx, tinyproxy
from ground_support import jpeg
from street import session_of, until

from smile_async import Finished, Job, Pace
from smile_async.sandbox import RunningSandbox, Sandbox
from smile_async.transport.pool import Pool

__all__ = ["ONE_REQUEST", "ROWS", "STRAIGHT", "Report", "Row", "run"]

#: Gives what a session must be told to go this way; *often*: how many times more often than usual things go wrong.
Way = Callable[[RunningSandbox, Path, int], AbstractAsyncContextManager[dict[str, Any]]]


@dataclass
class Report:
    """What came of a run; seconds."""

    approved: int = 0
    #: Jobs that the provider has more than once.
    doubled: int = 0
    seconds: float = 0.0
    requests: int = 0
    retries: int = 0
    slowest: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        told = f"{self.approved} approved in {self.seconds:.1f} s, {self.requests} requests, {self.retries} retries"
        return f"{told}, slowest {self.slowest:.2f} s{f', {dict(self.failures)}' if self.failures else ''}"


@dataclass(frozen=True)
class Row:
    """A way to the sandbox; seconds until a job is decided, and between polls; whether it fails for a while.

    *holds*: seconds for which the gateway itself keeps each upload.
    """

    name: str
    way: Way
    latency: float = 0.02
    gap: float = 0.1
    outage: bool = False
    holds: float = 0.0


#: tinyproxy writes 2,048 bytes at a time without TCP_NODELAY: what is left of an upload waits for an acknowledgement,
#: which Linux delays for so long (seen with strace).
_NAGLE = 0.04


@asynccontextmanager
async def _straight(running: RunningSandbox, _folder: Path, _often: int) -> AsyncIterator[dict[str, Any]]:
    yield {}


@asynccontextmanager
async def _few_requests(running: RunningSandbox, folder: Path, often: int) -> AsyncIterator[dict[str, Any]]:
    settings = f"keepalive_requests {100 // often}; http2_max_concurrent_streams 8;"
    async with nginx(running, folder, settings) as gateway:
        yield {"base_url": gateway.base_url}


@asynccontextmanager
async def _one_request(running: RunningSandbox, folder: Path, _often: int) -> AsyncIterator[dict[str, Any]]:
    async with nginx(running, folder, "keepalive_requests 1;") as gateway:
        yield {"base_url": gateway.base_url}


@asynccontextmanager
async def _reloads(running: RunningSandbox, folder: Path, often: int) -> AsyncIterator[dict[str, Any]]:
    async with nginx(running, folder) as gateway, gateway.reloading(1.0 / often):
        yield {"base_url": gateway.base_url}


@asynccontextmanager
async def _idle(running: RunningSandbox, folder: Path, _often: int) -> AsyncIterator[dict[str, Any]]:
    async with nginx(running, folder, "keepalive_timeout 1s;") as gateway:
        yield {"base_url": gateway.base_url}


@asynccontextmanager
async def _haproxy(running: RunningSandbox, folder: Path, _often: int) -> AsyncIterator[dict[str, Any]]:
    async with haproxy(running, folder) as gateway:
        yield {"base_url": gateway.base_url}


@asynccontextmanager
async def _httpclose(running: RunningSandbox, folder: Path, _often: int) -> AsyncIterator[dict[str, Any]]:
    async with haproxy(running, folder, "option httpclose") as gateway:
        yield {"base_url": gateway.base_url}


@contextmanager
def _variables(**named: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.pop("NO_PROXY", None)
    os.environ.update(named)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@asynccontextmanager
async def _connect(running: RunningSandbox, folder: Path, _often: int) -> AsyncIterator[dict[str, Any]]:
    async with tinyproxy(folder, "me secret") as gateway:
        with _variables(HTTPS_PROXY=f"http://me:secret@127.0.0.1:{gateway.port}"):
            yield {"trust_env": True}


async def _in_full_flow(running: RunningSandbox, often: int) -> None:
    """Until every session sends: at its beginning and at its end too few requests fail to be known as an outage."""
    await until(lambda: len(running.sandbox.jobs) >= 150 // often)


@asynccontextmanager
async def _bad_gateway(running: RunningSandbox, folder: Path, often: int) -> AsyncIterator[dict[str, Any]]:
    async def burst() -> None:
        await _in_full_flow(running, often)
        async with gateway.down():
            await asyncio.sleep(0.5)

    async with nginx(running, folder) as gateway:
        task = asyncio.create_task(burst(), name="scripted connection")
        yield {"base_url": gateway.base_url}
        await task


@asynccontextmanager
async def _dying(running: RunningSandbox, folder: Path, often: int) -> AsyncIterator[dict[str, Any]]:
    async def death() -> None:
        await _in_full_flow(running, often)
        await gateway.stop()
        await asyncio.sleep(0.5)
        await gateway.start()

    async with tinyproxy(folder, "me secret") as gateway:
        with _variables(HTTPS_PROXY=f"http://me:secret@127.0.0.1:{gateway.port}"):
            task = asyncio.create_task(death(), name="scripted connection")
            yield {"trust_env": True}
            await task


STRAIGHT = Row("no gateway", _straight)
ONE_REQUEST = Row("nginx, one request a connection", _one_request)
ROWS = (
    Row("nginx, 100 requests a connection, 8 streams", _few_requests),
    Row("nginx, reloaded every second", _reloads),
    Row("nginx, idle for 1 s at most, polled after 2.6 s", _idle, latency=2.5, gap=2.6),
    Row("haproxy, 10 streams, HTTP/1.1 behind it", _haproxy),
    Row("haproxy, option httpclose", _httpclose),
    Row("tinyproxy, CONNECT with a password", _connect, holds=_NAGLE),
    Row("nginx, half a second of 502", _bad_gateway, outage=True),
    Row("tinyproxy, dead for half a second", _dying, outage=True, holds=_NAGLE),
)


@asynccontextmanager
async def _counted(report: Report) -> AsyncIterator[None]:
    """Count every request of the block, and time it."""
    send = Pool.send

    async def sending(self: Pool, *given: Any) -> Any:
        report.requests += 1
        began = time.monotonic()
        try:
            return await send(self, *given)
        finally:
            report.slowest = max(report.slowest, time.monotonic() - began)

    Pool.send = sending  # type: ignore[method-assign]
    try:
        yield
    finally:
        Pool.send = send  # type: ignore[method-assign]


async def run(row: Row, folder: Path, jobs: int, *engines: str, often: int = 1) -> Report:
    """*jobs* through sessions on *engines*, all at once, each with as many of the jobs."""
    report = Report()
    async with (
        Sandbox.serve(latency=row.latency, decode=False) as running,
        row.way(running, folder, often) as settings,
        _counted(report),
    ):
        running.sandbox.enroll("ada")
        settings["pace"] = Pace.fixed(row.gap, 1, row.gap)
        began = time.monotonic()
        each = [_stream(running, jobs // len(engines), report, http=http, **settings) for http in engines]
        ids = await asyncio.gather(*each)
        report.seconds = time.monotonic() - began
        report.doubled = sum(running.sandbox.count(job_id) > 1 for job_id in chain(*ids))
    return report


async def _stream(running: RunningSandbox, jobs: int, report: Report, **settings: Any) -> list[str]:
    selfie = jpeg(body=b"x" * 2_000)
    ids: list[str] = []

    def source() -> Iterator[Job]:
        for _ in range(jobs):
            job = Job.authenticate("ada", selfie)
            ids.append(job.job_id)
            yield job

    async with session_of(running, **settings) as session:
        async with session.stream(source()) as outcomes:
            async for outcome in outcomes:
                if isinstance(outcome, Finished):
                    report.approved += outcome.verdict.approved
                else:
                    report.failures[f"{type(outcome.error).__name__} {str(outcome.error)[-60:]}"] += 1
        report.retries += session.stats.retries
    return ids
