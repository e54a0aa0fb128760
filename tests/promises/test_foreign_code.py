"""An application's code may raise, hang, be cancelled or exit: it costs its own call, and nobody else notices."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from callback_support import post
from street import Pictures, nothing_left, session_of, until

from smile_async import CallbackReceiver, Failed, Finished, Job, SmileSession
from smile_async.errors import SmileError
from smile_async.sandbox import RunningSandbox, Sandbox
from smile_async.testing import callback_body
from smile_async.timing.clock import Event, SystemClock

RAISED: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("a defect of the application's"),
    "CancelledError": asyncio.CancelledError,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
}
WHATS = (*RAISED, "a task of its own that was cancelled", "for ever")


def misbehave(what: str) -> None:
    """Raise what synchronous code can."""
    raise RAISED[what]()  # noqa: RSE102 - a function that makes it


async def misbehave_awaited(what: str) -> None:
    """Raise, hang, or await something that was cancelled."""
    if what == "for ever":
        await asyncio.sleep(3600)
    if what in RAISED:
        misbehave(what)
    inner = asyncio.create_task(asyncio.sleep(3600))
    inner.cancel()
    await inner


@asynccontextmanager
async def unharmed(session: SmileSession, pictures: Pictures) -> AsyncIterator[None]:
    """A bystander waits while the block runs, another comes after it; both get their verdicts, and leaving is quick."""
    async with nothing_left():
        async with session:
            waiting = asyncio.create_task(session.verify(pictures.job("bystander"), patience=20))
            await asyncio.sleep(0)
            yield
            assert (await waiting).approved
            assert session.host.open
            assert (await session.verify(pictures.job("bystander"), patience=20)).approved
            leaving = time.monotonic()
        assert time.monotonic() - leaving < 4


@pytest.fixture
async def town(running: RunningSandbox) -> RunningSandbox:
    """A sandbox that knows a bystander and somebody with a bad application."""
    for user in ("bystander", "bad"):
        running.sandbox.enroll(user)
    return running


@pytest.mark.parametrize("confirm", [True, False])
@pytest.mark.parametrize("what", WHATS)
async def test_a_handler(what: str, confirm: bool, town: RunningSandbox, pictures: Pictures) -> None:
    """Whatever `on_verdict` does, the sender has its answer, waiters their verdict, and the handler a second chance."""
    heard: list[str] = []

    async def on_verdict(verdict: Any) -> None:
        heard.append(verdict.code)
        if len(heard) == 1:
            await misbehave_awaited(what)

    session = session_of(town)
    receiver = CallbackReceiver(session, on_verdict, confirm=confirm)
    async with unharmed(session, pictures):
        ticket = await session.submit(pictures.job("bad"))
        await session.wait(ticket, patience=20)
        about = {"partner_id": town.partner_id, "api_key": town.api_key, "smile_job_id": ticket.smile_job_id}
        for number in (1, 2) if what != "for ever" else (1,):
            body = callback_body("bad", ticket.job_id, code="0820", timestamp=f"{_now(number)}", **about)
            calling = asyncio.create_task(post(receiver, body))
            await until(lambda: len(heard) == number or calling.done())  # noqa: B023
            if what != "for ever":
                assert (await calling)[0] == 200
        if what != "for ever":
            assert heard == ["0820", "0820"]
    await asyncio.wait([calling], timeout=5)


def _now(milliseconds: int) -> str:
    moment = time.time() + milliseconds / 1000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03d}Z"


@pytest.mark.parametrize("kind", ["iterator", "async iterator"])
@pytest.mark.parametrize("what", WHATS)
async def test_a_source(what: str, kind: str, town: RunningSandbox, pictures: Pictures) -> None:
    """What was submitted before a source failed comes to its end, then the reader gets the source's own error."""
    if kind == "iterator" and what not in RAISED:
        pytest.skip("an iterator can not await")

    def source() -> Iterator[Job]:
        yield from (pictures.job("bad") for _ in range(3))
        misbehave(what)

    async def async_source() -> AsyncIterator[Job]:
        for _ in range(3):
            yield pictures.job("bad")
        await misbehave_awaited(what)

    session = session_of(town)
    async with unharmed(session, pictures):
        found: list[Finished | Failed] = []
        wanted = type(RAISED[what]()) if what in RAISED else asyncio.CancelledError
        async with session.stream(source() if kind == "iterator" else async_source()) as outcomes:
            if what == "for ever":
                found += [await anext(outcomes) for _ in range(3)]
            else:
                with pytest.raises(wanted):  # noqa: PT012 - the whole block has to fail
                    async for outcome in outcomes:
                        found.append(outcome)
        assert [isinstance(outcome, Finished) and outcome.verdict.approved for outcome in found] == [True] * 3


class BadTransport(httpx.AsyncBaseTransport):
    """Into the sandbox; it misbehaves for one user's requests."""

    def __init__(self, sandbox: Sandbox, what: str) -> None:
        self._inner = httpx.ASGITransport(sandbox.app)
        self._what = what
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """An answer, unless it is about the user "bad"."""
        if request.method == "POST" and b'"bad"' in await request.aread():
            await misbehave_awaited(self._what)
        return await self._inner.handle_async_request(request)


@pytest.mark.parametrize("what", WHATS)
async def test_a_transport(what: str, pictures: Pictures) -> None:
    """A transport that fails for one job fails that job with a SmileError, alone, in a stream and while polling."""
    sandbox = Sandbox(latency=0.05)
    for user in ("bystander", "bad"):
        sandbox.enroll(user)
    session = SmileSession(
        "001", sandbox.api_key, base_url="https://sandbox.test/v1", http=BadTransport(sandbox, what), **_quick()
    )
    async with unharmed(session, pictures):
        bad = pictures.job("bad")
        with pytest.raises(SmileError):
            await session.verify(bad, patience=0.5)
        with pytest.raises(SmileError):
            await session.wait(bad.ticket, patience=0.3)
        async with session.stream([pictures.job("bystander")]) as outcomes:
            (outcome,) = [each async for each in outcomes]
        assert isinstance(outcome, Finished)


def _quick() -> dict[str, Any]:
    from smile_async import Pace  # noqa: PLC0415 - the one use

    return {"pace": Pace.fixed(0.01, 1, 0.01), "upload_hosts": "sandbox.test"}


@pytest.mark.parametrize("what", RAISED)
async def test_a_logging_filter(what: str, town: RunningSandbox, pictures: Pictures) -> None:
    """A filter that raises at every line of ours decides nothing: jobs end, and so does a session whose poller died."""

    class Bad(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            misbehave(what)
            return True

    bad, logger = Bad(), logging.getLogger("smile_async")
    logger.addFilter(bad)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        session = session_of(town)
        async with unharmed(session, pictures):
            assert (await session.verify(pictures.job("bad"))).approved
        session = session_of(town)
        async with session:
            town.sandbox.fault("job_status", delay=30, times=None)
            waiting = asyncio.create_task(session.wait(pictures.job("bad").ticket))
            await until(lambda: session.poller.pending)
            (poller,) = (task for task in asyncio.all_tasks() if task.get_name() == "smile_async poller")
            poller.cancel()
            with pytest.raises(SmileError):
                await waiting
    finally:
        logger.removeFilter(bad)
        logger.setLevel(level)


class BadClock(SystemClock):
    """The machine's clock, which misbehaves now and then when somebody waits by it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.waits = 0

    async def wait(self, event: Event, timeout: float | None) -> bool:
        """Every fifth call goes wrong."""
        self.waits += 1
        if self.waits % 5 == 2:
            await misbehave_awaited(self._what)
        return await super().wait(event, timeout)


@pytest.mark.parametrize("what", [what for what in WHATS if what != "for ever"])
async def test_a_clock(what: str, town: RunningSandbox, pictures: Pictures) -> None:
    """A clock that fails now and then costs the poller a moment, and no job its verdict."""
    clock = BadClock(what)
    session = session_of(town, clock=clock)
    async with unharmed(session, pictures):
        assert all([(await session.verify(pictures.job("bad"))).approved for _ in range(5)])
    assert clock.waits > 2
