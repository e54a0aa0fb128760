import time

import anyio
import anyio.lowlevel

from smile_async.timing.clock import SystemClock


async def test_the_clock_of_the_machine_tells_its_time() -> None:
    """SystemClock reads the wall clock and the monotonic one."""
    clock = SystemClock()
    assert abs(clock.time() - time.time()) < 5
    assert abs(clock.monotonic() - time.monotonic()) < 5


async def test_waiting_ends_with_the_event() -> None:
    """wait() is True as soon as the event is set, with a timeout or without."""
    clock, event = SystemClock(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.wait, event, None)
        tasks.start_soon(clock.wait, event, 30.0)
        await anyio.lowlevel.checkpoint()
        event.set()
    assert await clock.wait(event, None)
    assert await clock.wait(event, 0.0)


async def test_waiting_ends_with_the_timeout() -> None:
    """wait() is False when the time is over and the event was not set."""
    assert not await SystemClock().wait(anyio.Event(), 0.01)


async def test_sleeping_lets_time_pass() -> None:
    """sleep() takes at least as long as asked for."""
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.009
