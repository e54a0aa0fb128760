"""What the tests of ledgers share: jobs without pictures, verdicts, rows, and a ledger in a file or in PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from smile_async import Decision, Job, Verdict
from smile_async.ledger import Ledger, schema

DIGEST = b"d" * 32


def job_of(job_id: str = "j1", user_id: str = "ada") -> Job:
    """A job that needs no picture."""
    return Job.authenticate(user_id, use_enrolled_image=True, job_id=job_id)


def verdict_of(job: Job, code: str = "0820") -> Verdict:
    """A confirmed verdict."""
    provisional = code == "0822"
    decision = Decision.PROVISIONAL if provisional else Decision.APPROVED
    return Verdict(decision, not provisional, code, "said", job.ticket, confirmed=True, actions={"a": "b"})


async def row_of(ledger: Ledger, job_id: str = "j1") -> dict[str, Any]:
    """The row of a job, once everything noted is written."""
    await ledger.flush()
    async with ledger.reading() as connection:
        found = await connection.execute(sa.select(schema.jobs).where(schema.jobs.c.job_id == job_id))
        return dict(found.mappings().one())


@asynccontextmanager
async def two_at(place: Path | str, **more: Any) -> AsyncIterator[tuple[Ledger, Ledger]]:
    """Two callers' ledgers at *place*: in PostgreSQL as of two processes; a file has one process."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(Ledger(place, delay=0.0, **more))
        yield one, one if isinstance(place, Path) else await stack.enter_async_context(Ledger(place, delay=0.0, **more))
