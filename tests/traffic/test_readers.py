"""Pictures that come late or never: who waits for them waits no longer than patience, and nobody else waits at all."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from street import Pictures, session_of, until

from smile_async import Image, Job, Limits
from smile_async.errors import Unavailable
from smile_async.sandbox import RunningSandbox
from smile_async.traffic.readers import Readers

PATIENCE = 0.5


@pytest.fixture
def silent_storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Every URI hangs until the event is set."""
    end = threading.Event()

    def fetch(_uri: str) -> tuple[bytes, str]:
        end.wait(60)
        return b"", "came too late"

    monkeypatch.setattr("smile_async.traffic.payload.fetch", fetch)
    yield end
    end.set()


async def test_a_picture_that_never_comes_costs_patience_and_nobody_elses(
    silent_storage: threading.Event, running: RunningSandbox, pictures: Pictures
) -> None:
    """Fifty jobs whose pictures hang end in time, unsent; one with its picture at hand passes, and leaving is quick."""
    async with session_of(running, limits=Limits(uploads=4)) as session:
        late = [
            asyncio.create_task(
                session.verify(Job.authenticate("ada", Image.from_uri(f"s3://silent/{n}.jpg")), patience=PATIENCE)
            )
            for n in range(50)
        ]
        await asyncio.sleep(0.05)
        assert (await session.verify(pictures.job(), patience=5)).approved
        started = time.monotonic()
        ends = await asyncio.gather(*late, return_exceptions=True)
        assert time.monotonic() - started < PATIENCE + 2
        for end in ends:
            assert isinstance(end, Unavailable)
            assert (end.ticket, end.retryable) == (None, True)
            assert "its pictures were not read" in str(end)
        assert (await session.verify(pictures.filed(), patience=5)).approved
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 1


async def test_a_failing_picture_is_its_jobs_own(running: RunningSandbox, pictures: Pictures) -> None:
    """What a thread raises reaches who waits for it, and the thread reads on."""
    readers = Readers(1)

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await readers(fail)
    assert await readers(pow, 2, 10) == 1024
    readers.close()


async def test_threads_are_made_as_needed_and_end() -> None:
    """One errand after the other takes one thread, many at once no more than allowed, and none is left after close."""
    readers, before = Readers(3), threading.active_count()
    for _ in range(20):
        await readers(time.sleep, 0)
    assert threading.active_count() == before + 1
    await asyncio.gather(*(readers(time.sleep, 0.01) for _ in range(12)))
    assert threading.active_count() <= before + 3
    readers.close()
    await until(lambda: threading.active_count() == before)


async def test_an_errand_nobody_waits_for_is_not_run() -> None:
    """What was cancelled before its turn is dropped; what was begun is left behind, its result unheard."""
    readers, go, done = Readers(1), threading.Event(), []

    def slow(name: str) -> None:
        go.wait(10)
        done.append(name)

    one, two = (asyncio.create_task(readers(slow, name)) for name in ("one", "two"))
    await asyncio.sleep(0.05)
    for task in (one, two):
        task.cancel()
    await asyncio.wait([one, two])
    go.set()
    await readers(time.sleep, 0)
    readers.close()
    assert done == ["one"]


def test_a_read_that_hangs_does_not_keep_the_interpreter() -> None:
    """A program whose picture never comes ends when its session does."""
    text = """
import asyncio, threading
from smile_async.traffic.readers import Readers
async def main():
    try:
        await asyncio.wait_for(Readers(1)(threading.Event().wait), 0.05)
    except TimeoutError:
        print("late")
asyncio.run(main())
"""
    ended: Any = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout == "late\n"
