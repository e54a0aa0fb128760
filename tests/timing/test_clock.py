import subprocess
import sys
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from hand_clock import HandClock

from smile_async.timing import clock as clocks
from smile_async.timing.clock import SystemClock, between, forward, stamp
from smile_async.timing.virtual_clock import VirtualClock


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


@pytest.mark.skipif(not clocks.BOOT_ID.exists(), reason="the system does not name its boots")
def test_another_process_counts_from_the_same_moment() -> None:
    """A stamp of one process is some seconds old to another of the same boot, whatever the clock was set to."""
    before = stamp(SystemClock())
    script = "from smile_async.timing.clock import SystemClock, stamp; print(stamp(SystemClock()))"
    theirs = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    took, waited = between(before, theirs), between(before, stamp(SystemClock()))
    assert took is not None
    assert waited is not None
    assert 0 < took <= waited < 600


def test_a_stamp_of_another_counter_dates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does that of another boot, of a clock that has no counter, of a system that has no name for its boots."""
    assert between("one 2.5", "one 4.0") == 1.5
    assert between("one 2.5", "other 4.0") is between(None, "one 4.0") is between("", "") is None
    clock = VirtualClock(0.0)
    assert between(stamp(clock), stamp(clock)) == 0
    assert between(stamp(clock), stamp(VirtualClock(0.0))) is None
    monkeypatch.setattr(clocks, "BOOT_ID", tmp_path / "nothing")
    clocks._boot.cache_clear()
    assert stamp(SystemClock()) == ""
    clocks._boot.cache_clear()


def test_a_time_that_is_not_set_back() -> None:
    """It is the clock's, also where that is set ahead; where it is set back the seconds go on as they pass."""
    clock = HandClock()
    now = forward(clock)
    began = now()
    assert began == clock.time()
    clock.offset += 86_400.0
    assert now() == clock.time()
    clock.offset -= 172_800.0
    clock.now += 5.0
    assert now() == began + 86_400.0 + 5.0
