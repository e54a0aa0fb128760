"""Send jobs in children of the nursery under two troubles at once, and kill each child where the plan says.

Each life's exit status: 0 all jobs had their verdicts, 3 one had an error of ours.

A life: `jobs` (job_ids), `troubles`, `point` where the child kills itself.
"""

import asyncio
import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from callback_support import post

from smile_async import CallbackReceiver, Job, SmileError, SmileSession, Verdict
from smile_async.ledger import failpoints
from smile_async.testing import callback_body

#: Seconds for which a file is in somebody else's hands.
SILENCE = 0.3


async def cancelled(_verdict: Verdict) -> None:
    """A handler whose own task was cancelled."""
    raise asyncio.CancelledError


def lock(ledger: Path) -> None:
    """The write lock of the ledger in somebody else's hands for a while."""
    with contextlib.closing(sqlite3.connect(ledger, isolation_level=None, timeout=5.0)) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(SILENCE)
        other.execute("ROLLBACK")


@contextlib.asynccontextmanager
async def calling_back(session: SmileSession, job: Job) -> AsyncIterator[None]:
    """A callback comes as soon as somebody waits for the job, and its handler dies."""
    receiver = CallbackReceiver(session, cancelled)
    account = {"partner_id": os.environ["SMILE_PARTNER_ID"], "api_key": os.environ["SMILE_API_KEY"]}

    async def call() -> None:
        while session.poller.watch_of(job.ticket) is None:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)
        await post(receiver, callback_body(job.user_id, job.job_id, job_type=4, code="0840", **account))

    calling = asyncio.create_task(call())
    try:
        yield
    finally:
        calling.cancel()
        await asyncio.wait([calling])


async def sent(session: SmileSession, job_id: str, picture: Path, troubles: list[str]) -> bool:
    """Whether the job had its verdict."""
    job = Job.register(f"user-{job_id}", picture, job_id=job_id)
    calls = 2 if "a double click" in troubles else 1
    async with contextlib.AsyncExitStack() as stack:
        if "a handler dies" in troubles:
            await stack.enter_async_context(calling_back(session, job))
        ends = await asyncio.gather(*(session.verify(job) for _ in range(calls)), return_exceptions=True)
    for end in ends:
        if not isinstance(end, Verdict | SmileError):
            raise end
    return all(isinstance(end, Verdict) and end.approved for end in ends)


async def live(life: dict[str, Any], folder: Path) -> int:
    """All jobs of a life."""
    ledger, picture = folder / "ledger", folder / "selfie.jpg"
    troubles = life["troubles"]
    if "the share is away" in troubles:
        picture = folder / "away.jpg"
    async with SmileSession.from_env(ledger=ledger) as session:
        if "the database is silent" in troubles:
            threading.Thread(target=lock, args=(ledger,), daemon=True).start()
        well = await asyncio.gather(*(sent(session, job_id, picture, troubles) for job_id in life["jobs"]))
    return 0 if all(well) else 3


def child(life: dict[str, Any], folder: Path) -> None:
    """The child: never returns."""

    def hook(name: str) -> None:
        if name == life.get("point"):
            os.kill(os.getpid(), signal.SIGKILL)

    failpoints.install(hook)
    status = 70
    try:
        status = asyncio.run(live(life, folder))
    finally:
        os._exit(status)


def perform(plan: list[dict[str, Any]], folder: Path) -> list[int]:
    """The exit status of each life."""
    statuses = []
    for life in plan:
        born = os.fork()
        if born == 0:
            child(life, folder)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(born, 0)[1]))
    return statuses
