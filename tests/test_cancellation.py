"""Cancelling is safe at every await point: nothing leaks, the connection stays usable, no job is lost."""

import asyncio

import anyio
import pytest

from smile_async.errors import Unavailable
from smile_async.sandbox import RunningSandbox


from street import ENGINES, Pictures, session_of

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
        assert (await session.verify(pictures.job(), patience=10)).approved
