"""Cancelling is safe at every await point: nothing leaks, the connection stays usable, no job is lost."""

import asyncio
import gc
import warnings

import anyio
import pytest

from smile_async.errors import Unavailable
from smile_async.sandbox import RunningSandbox


from fault_proxy import FaultProxy, Trouble
from street import ENGINES, Pictures, session_of, until

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
