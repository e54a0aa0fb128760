"""Calls of every kind, each cancelled at a random moment, and the peace that must follow."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

from street import Pictures

from smile_async import Job, SmileSession
from smile_async.errors import Unavailable
from smile_async.sandbox import Sandbox

__all__ = ["assert_at_rest", "storm"]


async def storm(session: SmileSession, sandbox: Sandbox, pictures: Pictures, cancels: int, rng: random.Random) -> int:
    """Start calls of every kind and cancel each at a random moment; returns how many were cancelled in flight."""
    known = await session.submit(pictures.job())
    cut = 0
    jobs: list[Job] = []
    hurt: list[Unavailable] = []

    def job() -> Job:
        jobs.append(pictures.job())
        return jobs[-1]

    async def stream() -> None:
        async with session.stream(job() for _ in range(3)) as outcomes:
            async for _ in outcomes:
                pass

    async def follow() -> None:
        async with session.follow(known) as verdicts:
            async for _ in verdicts:
                pass

    def call() -> Coroutine[Any, Any, Any]:
        kinds = [lambda: session.verify(job()), lambda: session.submit(job()), lambda: session.wait(known)]
        kinds += [lambda: session.status(known), stream, follow]
        return rng.choice(kinds)()

    async def one() -> int:
        task = asyncio.create_task(call())
        await asyncio.sleep(rng.random() ** 3 * 0.1)
        task.cancel()
        ended = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError):
            # httpcore may break a connection whose request is cancelled while it is written: its neighbours are sent
            # again elsewhere, three times at most, and in such a storm a few meet three broken connections.
            assert isinstance(ended, Unavailable), repr(ended)
            assert ended.retryable
            hurt.append(ended)
        return isinstance(ended, asyncio.CancelledError)

    while cut < cancels:
        cut += sum(await asyncio.gather(*(one() for _ in range(100))))
    assert len(hurt) <= cut // 20, f"{len(hurt)} of {cut}: {hurt[0]!r}"
    # A zip that landed makes a job, cancelled or not: its ticket, which was there from birth, finds it.
    landed = [each for each in jobs if (record := sandbox.jobs.get(each.job_id)) and record.zip_at is not None]
    for each in landed[:20]:
        assert (await session.wait(each.ticket, patience=60)).code == "0820"
    assert all(sandbox.count(each.job_id) <= 1 for each in jobs)
    return cut


def assert_at_rest(session: SmileSession) -> None:
    """Nothing is in flight, nothing waits, nothing is held."""
    limiter = session._origins[0].limiter
    assert session.stats.in_flight == 0
    assert (limiter.busy, len(limiter._waiting)) == (0, 0)
    assert len(session.poller) == 0
    assert session.sender._places.value == session.limits.uploads
    shards = session._api._shards
    assert len(shards) <= 4
    assert sum(shard.busy for shard in shards) == 0
