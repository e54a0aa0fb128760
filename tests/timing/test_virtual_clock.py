"""The clock that jumps: hours pass in no time, always in the same order, and never while anybody is at work."""

import asyncio
import re
import time

import anyio
import httpx
import pytest
import uvloop

from smile_async import Job, SmileSession
from smile_async.errors import SessionClosed
from smile_async.sandbox import Sandbox
from smile_async.testing import SELFIE
from smile_async.timing import virtual_clock
from smile_async.timing.virtual_clock import VirtualClock, VirtualTimeIsUp


async def test_a_sleep_takes_no_time_but_passes() -> None:
    """Two hours of sleep move both scales by two hours, to the second."""
    clock = VirtualClock(1000.0)
    began = clock.time()
    await clock.sleep(7200)
    assert (began, clock.time(), clock.monotonic()) == (1000.0, 8200.0, 7200.0)
    assert repr(clock) == "<VirtualClock, 7200 s after its start>"


def test_it_starts_now() -> None:
    """Unless told otherwise the clock starts at this machine's time, so that what it dates is fresh to everybody."""
    before = time.time()
    assert before <= VirtualClock().time() <= time.time()


async def test_sleepers_wake_in_order_and_one_at_a_time() -> None:
    """Whoever waits for the earliest moment wakes first; at equal moments, who came first; and sees that very time."""
    clock = VirtualClock(0.0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.monotonic()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper, "slow", 10)
        tasks.start_soon(sleeper, "first", 2, 2, 2)
        tasks.start_soon(sleeper, "second", 2, 4)
    assert woken == [("first", 2), ("second", 2), ("first", 4), ("second", 6), ("first", 6), ("slow", 10)]


async def test_an_event_ends_a_wait_before_its_time() -> None:
    """A set event wakes at once, and the moment nobody waits for any more is not jumped to."""
    clock = VirtualClock(0.0)
    event = anyio.Event()
    got: list[bool] = []

    async def wait() -> None:
        got.append(await clock.wait(event, 1_000_000))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await clock.sleep(5)
        event.set()
    await clock.sleep(5)
    assert (got, clock.monotonic()) == ([True], 10)


@pytest.mark.parametrize("timeout", [None, float("inf")])
async def test_a_wait_without_end(timeout: float | None) -> None:
    """Without a timeout only the event ends the wait."""
    clock = VirtualClock(0.0)
    event = anyio.Event()
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await clock.wait(event, timeout)
    assert clock.monotonic() == 0


@pytest.mark.parametrize("timeout", [0, -1])
async def test_no_time_is_no_time(timeout: float) -> None:
    """A wait of nothing, or less, only lets others run, and says whether the event is set."""
    clock = VirtualClock(0.0)
    event = anyio.Event()
    assert not await clock.wait(event, timeout)
    event.set()
    assert await clock.wait(event, timeout)
    assert await clock.wait(event, 5)
    assert clock.monotonic() == 0


async def test_cancelling_a_sleeper_leaves_no_timer() -> None:
    """A sleeper that is cancelled does not make the clock jump later."""
    clock = VirtualClock(0.0)
    sleeper = asyncio.create_task(clock.sleep(1000))
    await asyncio.sleep(0)
    sleeper.cancel()
    await asyncio.wait([sleeper])
    await asyncio.sleep(0.01)
    assert clock.monotonic() == 0
    await clock.sleep(1)
    assert clock.monotonic() == 1


async def test_no_time_passes_while_it_is_held() -> None:
    """Within hold(), which nests, everybody waits; afterwards time goes on by itself."""
    clock = VirtualClock(0.0)
    sleeper = asyncio.create_task(clock.sleep(60))
    with clock.hold():
        with clock.hold():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        assert not sleeper.done()
    await sleeper
    assert clock.monotonic() == 60


async def test_no_time_passes_while_tasks_have_something_to_do() -> None:
    """A long chain of wake-ups without a pause is finished before the clock moves."""
    clock = VirtualClock(0.0)

    async def chain() -> float:
        for _ in range(2000):
            await asyncio.sleep(0)
        return clock.monotonic()

    at, _ = await asyncio.gather(chain(), clock.sleep(60))
    assert at == 0


async def test_a_loop_that_spins_does_not_stop_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who spins until a moment that only the clock can bring gets it in the end."""
    monkeypatch.setattr(virtual_clock, "PATIENT_TURNS", 100)
    clock = VirtualClock(0.0)
    sleeper = asyncio.create_task(clock.sleep(60))
    while not sleeper.done():  # noqa: ASYNC110 - this is the one
        await asyncio.sleep(0)
    assert clock.monotonic() == 60


async def test_what_never_happens_is_not_waited_for() -> None:
    """At its horizon the clock refuses to go on, and says who waits, and where, instead of spinning for ever."""
    clock = VirtualClock(0.0, horizon=3600)
    await clock.sleep(3000)
    other = asyncio.create_task(clock.sleep(2000), name="other")
    endless = asyncio.create_task(anyio.Event().wait(), name="endless")
    with pytest.raises(VirtualTimeIsUp, match="3600 s have passed") as caught:
        await clock.sleep(1000)
    asleep, _, endlessly = str(caught.value).partition("waiting without a limit:")
    assert "test_virtual_clock.py" in asleep
    assert re.search(r"other … virtual_clock\.py:\d+ in sleep until 5000 s", asleep)
    assert "endless " in endlessly
    for task in (other, endless):
        task.cancel()
    await asyncio.wait([other, endless])
    assert clock.monotonic() == 3600
    with pytest.raises(VirtualTimeIsUp):
        await clock.sleep(1)


async def test_the_horizon_fails_who_waits_for_a_job_that_is_never_decided(
    smile_session: SmileSession,
    smile_sandbox: Sandbox,
    smile_clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A test that waits for a review nobody makes ends with an error that names the cause, not with a hang."""
    monkeypatch.setattr(smile_clock, "_horizon", 100_000.0)
    smile_sandbox.enroll("ada")
    smile_sandbox.script("ada", code="0822", after=1)
    ticket = await smile_session.submit(Job.authenticate("ada", SELFIE))
    with pytest.raises(SessionClosed, match="VirtualTimeIsUp"):
        await smile_session.wait(ticket, until="final", patience=1e9)
    assert "this waits for what never happens" in caplog.text


def test_one_loop_after_another() -> None:
    """A clock may go on in a second event loop; what slept in the first is forgotten with it."""
    clock = VirtualClock(0.0)

    async def leave_somebody_asleep() -> None:
        sleeper = asyncio.create_task(clock.sleep(5000))
        await asyncio.sleep(0)
        with clock.hold():
            await asyncio.sleep(0)
        sleeper.cancel()

    async def again() -> None:
        await clock.sleep(60)

    asyncio.run(leave_somebody_asleep())
    asyncio.run(again())
    assert clock.monotonic() == 60


def test_a_stale_look_at_another_loop_does_nothing() -> None:
    """A callback that an earlier loop still holds moves nobody's time."""
    clock = VirtualClock(0.0)
    asyncio.run(clock.sleep(1))
    other = asyncio.new_event_loop()
    clock._look(other)
    other.close()
    assert clock.monotonic() == 1


async def told(threshold: float = 0.01) -> list[tuple[str, float, int]]:
    """How twenty jobs fare with a sandbox, a slow review and callbacks, step by step."""
    clock = VirtualClock(1_767_323_045.0, threshold=threshold)
    sandbox = Sandbox(clock=clock)
    story: list[tuple[str, float, int]] = []
    transport = httpx.ASGITransport(sandbox.app)

    async def one(number: int) -> None:
        user = f"user-{number}"
        sandbox.enroll(user)
        sandbox.script(user, code="0822", after=number % 7, then=[(60 * number, "1220")])
        verdict = await session.verify(Job.authenticate(user, SELFIE, job_id=user), until="final", patience=20_000)
        story.append((verdict.ticket.job_id, clock.monotonic(), sandbox.jobs[user].polls))

    async with (
        SmileSession(
            "001", sandbox.api_key, base_url="https://sandbox.test/v1", http=transport, clock=clock
        ) as session,
        anyio.create_task_group() as tasks,
    ):
        for number in range(20):
            tasks.start_soon(one, number)
    return story


def by_job(story: list[tuple[str, float, int]]) -> list[str]:
    """The jobs of the story, by name."""
    return sorted(job for job, _, _ in story)


def test_the_same_story_every_time() -> None:
    """Twenty jobs whose pictures are read by threads, reviewed for up to twenty minutes: all come to their end."""
    first = asyncio.run(told())
    assert by_job(first) == sorted(f"user-{number}" for number in range(20))
    assert 19 * 60 < max(at for _, at, _ in first) < 19 * 60 + 1200


def test_on_a_loop_that_does_not_show_its_queue() -> None:
    """Where the loop shows no queue and no sockets, as uvloop, the threshold stands for idleness: the same story."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert by_job(runner.run(told(threshold=0.001))) == sorted(f"user-{number}" for number in range(20))
