"""A week of jobs through one place: days with outages, nights with a kill, and one outcome for each job.

The wire is left out, so that a hundred thousand jobs take minutes: requests go straight to the sandbox, or are lost.
"""

import asyncio
import contextvars
import gc
import logging
import random
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from ground_support import jpeg
from simulator.chance import seeded, sweep
from simulator.clock import LoopClock
from simulator.loop import Process, SimLoop

from smile_async import Finished, Job, Limits, SmileError, SmileSession
from smile_async.ledger import Ledger
from smile_async.sandbox import Sandbox

__all__ = ["week"]

WEEK = 604_800.0
#: Seconds of an outage each day, and between two kills.
OUTAGE, LIFE = 600.0, 61_000.0
#: Requests that are lost, before or after they had effect.
LOST = 0.001
SELFIE = jpeg(comment="a week", body=b"x" * 400)


class Direct(httpx.AsyncBaseTransport):
    """Straight to the sandbox, but for what is lost."""

    def __init__(self, loop: SimLoop, sandbox: Sandbox, luck: random.Random) -> None:
        self._loop = loop
        self._luck = luck
        self._inner = httpx.ASGITransport(sandbox.app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.02)
        if (self._loop.now + 40_000.0) % 86_400.0 < OUTAGE:
            return httpx.Response(502)
        if self._luck.random() < LOST:
            raise httpx.ReadError("lost")
        response = await self._inner.handle_async_request(request)
        if self._luck.random() < LOST:
            raise httpx.ReadError("lost")
        return response


class Office:
    """Who wants the jobs: what is open is asked for again by the next process."""

    def __init__(self, loop: SimLoop, sandbox: Sandbox, folder: Path, jobs: int) -> None:
        self.loop = loop
        self.sandbox = sandbox
        self.luck = random.Random("a week")
        self.clock = LoopClock(loop)
        self.ledger = folder / "ledger"
        self.jobs = jobs
        self.begun = 0
        self.open: dict[str, int] = {}
        self.ends: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.lives = 0
        self.graves: list[Process] = []

    def job(self, number: int) -> Job:
        """Job *number*: nine of ten are approved at once, one in twenty is reviewed for two hours."""
        result = "1" if number % 10 == 3 else "2" if number % 20 == 7 else "0"
        job_id = str(uuid.UUID(int=number + 1, version=4))
        return Job.register(f"user-{number}", SELFIE, job_id=job_id, partner_params={"sandbox_result": result})

    async def source(self) -> AsyncIterator[Job]:
        """What was left open, then what is new, evenly over the week."""
        for number in list(self.open.values()):
            yield self.job(number)
        while self.begun < self.jobs:
            await asyncio.sleep(max(0.0, self.begun * WEEK / self.jobs - self.loop.now))
            job = self.job(self.begun)
            self.open[job.job_id] = self.begun
            self.begun += 1
            yield job

    async def live(self) -> None:
        """One process after another, each dropped after a while, until nothing is open."""
        while self.open or self.begun < self.jobs:
            process = Process(f"office.{self.lives}")
            self.graves.append(process)
            self.lives += 1
            ended = asyncio.Event()
            self.loop.dropped = lambda _process, ended=ended: ended.set()  # type: ignore[misc]
            task = self.loop.spawn(process, self._work(process), "office")
            task.add_done_callback(lambda _task, ended=ended: ended.set(), context=contextvars.Context())  # type: ignore[misc]
            self.loop.call_later(self.luck.uniform(0.3, 1.0) * LIFE, self.loop.drop, process)
            await ended.wait()
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise task.exception()  # type: ignore[misc]
            await asyncio.sleep(5.0)

    async def _work(self, process: Process) -> None:
        ledger = Ledger(self.ledger, clock=self.clock)
        process.closers += [ledger.database.release]
        transport = Direct(self.loop, self.sandbox, self.luck)
        account = (self.sandbox.partner_id, self.sandbox.api_key)
        async with (
            ledger,
            SmileSession(
                *account,
                base_url="https://smile.test/v1",
                http=transport,
                ledger=ledger,
                clock=self.clock,
                in_thread=_at_once,
                limits=Limits(pending=200_000),
            ) as session,
        ):
            while self.open or self.begun < self.jobs:
                async with session.stream(self.source(), "final", 20_000.0) as outcomes:
                    async for outcome in outcomes:
                        self._ended(outcome)

    def _ended(self, outcome: Any) -> None:
        job_id = outcome.job.job_id
        if not isinstance(outcome, Finished):
            self.errors[type(outcome.error).__name__] += 1
            return
        if self.open.pop(job_id, None) is None:
            self.wrong.append(f"a second outcome of {job_id}")
        record = self.sandbox.jobs[job_id]
        if outcome.verdict.code != record.code or not outcome.verdict.final:
            self.wrong.append(f"{job_id}: {outcome.verdict.code}, the provider says {record.code}")
        self.ends[str(outcome.verdict.decision)] += 1


async def _at_once(work: Any, *args: Any) -> Any:
    return work(*args)


def week(jobs: int) -> int:
    """A week of so many *jobs*: a line of the report; how many promises were broken."""
    began = time.monotonic()
    logging.getLogger("smile_async").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="smile-week-") as folder:
        loop = SimLoop()
        with seeded("a week", loop):
            clock = LoopClock(loop)
            sandbox = Sandbox(
                "001",
                "simulated-key",
                clock=clock,
                decode=False,
                console=False,
                latency=6.0,
                review=7_200.0,
                image_memory=0,
            )
            # Nobody replays a week, and without it the memory would not last.
            gc.enable()
            office = Office(loop, sandbox, Path(folder), jobs)
            loop.dropped = lambda _process: None
            try:
                loop.run_until_complete(office.live())
            except SmileError as error:
                office.wrong.append(repr(error))
        doubled = sum(record.submissions != 1 or record.processed > 1 for record in sandbox.jobs.values())
        late = sorted(loop.tasks_of(office.graves[-1]), key=hash)
        if doubled or len(sandbox.jobs) != jobs or office.ends.total() != jobs or late:
            office.wrong.append(f"{doubled} doubled, {len(sandbox.jobs)} provider jobs, {len(late)} tasks left")
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.set_exception_handler(lambda _loop, _context: None)
        for grave in office.graves:
            for close in grave.closers:
                close()
        sweep()
    print(
        f"{'FAIL' if office.wrong else 'ok  '} a week of {jobs} jobs in {office.lives} lives: {dict(office.ends)},"
        f" on the way {dict(office.errors)}; {loop.now / 86_400:.2f} days in {time.monotonic() - began:.0f} s"
        f" {office.wrong[:3] or ''}",
        flush=True,
    )
    return len(office.wrong)
