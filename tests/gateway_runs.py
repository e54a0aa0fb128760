"""Jobs through a gateway, measured: who was approved, how often was asked, and how long the longest request took."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ground_support import jpeg
from street import session_of

from smile_async import Finished, Job, Pace
from smile_async.sandbox import RunningSandbox
from smile_async.transport.pool import Pool


@dataclass
class Report:
    """What came of a run; seconds."""

    approved: int = 0
    doubled: int = 0
    seconds: float = 0.0
    requests: int = 0
    retries: int = 0
    slowest: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def counted(report: Report) -> AsyncIterator[None]:
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


async def stream(running: RunningSandbox, jobs: int, **settings: Any) -> Report:
    """So many jobs through a session with these *settings*, as one stream."""
    selfie = jpeg(body=b"x" * 2_000)
    report = Report()
    ids = []

    def source() -> Any:
        for _ in range(jobs):
            job = Job.authenticate("ada", selfie)
            ids.append(job.job_id)
            yield job

    began = time.monotonic()
    async with counted(report), session_of(running, **settings) as session:
        async with session.stream(source()) as outcomes:
            async for outcome in outcomes:
                if isinstance(outcome, Finished):
                    report.approved += outcome.verdict.approved
                else:
                    report.failures[f"{type(outcome.error).__name__}: {str(outcome.error)[-70:]}"] += 1
        report.retries = session.stats.retries
    report.seconds = time.monotonic() - began
    report.doubled = sum(running.sandbox.count(job_id) != 1 for job_id in ids)
    return report
