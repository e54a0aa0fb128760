import asyncio
import gc
import logging
import weakref
from typing import Any

import anyio
import pytest
from hand_clock import settle

from smile_async.protocol.steps import Sent
from smile_async.transport import pool
from smile_async.transport.engine import Body, NoReply, Reply
from smile_async.transport.pool import CANCELLED_AT_MOST, REQUESTS_AT_ONCE, REQUESTS_IN_ALL, Pool

URL = "https://api.example/v1/upload"


class FakeEngine:
    """An engine that answers when told to; `answer` is a Reply, or an exception to raise."""

    def __init__(self, http2: bool) -> None:
        self.http2 = http2
        self.go = anyio.Event()
        self.go.set()
        self.answer: Reply | Exception = Reply(200, {}, b"{}", "HTTP/2")
        self.sent = 0
        self.closed = 0
        self.closing_fails = False
        self.closing = anyio.Event()
        self.closing.set()

    async def send(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes | Body) -> Reply:
        self.sent += 1
        await self.go.wait()
        if isinstance(self.answer, NoReply):
            raise NoReply(self.answer.sent, self.answer.why)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def aclose(self) -> None:
        await self.closing.wait()
        self.closed += 1
        if self.closing_fails:
            raise RuntimeError("no")


class Works:
    """Makes fake engines, and keeps them."""

    def __init__(self, *, http2: bool = True, sharded: bool = True) -> None:
        self.engines: list[FakeEngine] = []
        self.pool = Pool(self._make, http2=http2, sharded=sharded)
        self.held = False

    def _make(self, http2: bool) -> FakeEngine:
        engine = FakeEngine(http2)
        if self.held:
            engine.go = anyio.Event()
        self.engines.append(engine)
        return engine

    async def send(self, within: float = 30.0) -> Reply:
        return await self.pool.send("POST", URL, [], b"{}", within)

    def sending(self, count: int) -> list["asyncio.Task[Reply]"]:
        return [asyncio.create_task(self.send()) for _ in range(count)]


async def test_requests_share_one_connection() -> None:
    """Up to eighty at once travel over a single shard; an idle pool has none."""
    works = Works()
    assert works.engines == []
    works.held = True
    sending = works.sending(REQUESTS_AT_ONCE)
    await settle()
    assert (len(works.engines), works.pool.busy) == (1, REQUESTS_AT_ONCE)
    works.engines[0].go.set()
    await asyncio.gather(*sending)
    assert works.pool.busy == 0
    assert works.pool.versions == {"HTTP/2": REQUESTS_AT_ONCE}


async def test_beyond_eighty_another_shard_opens() -> None:
    """The 81st request in flight opens a second shard, and the least loaded one is chosen from then on."""
    works = Works()
    works.held = True
    sending = works.sending(REQUESTS_AT_ONCE + 2)
    await settle()
    assert [engine.sent for engine in works.engines] == [REQUESTS_AT_ONCE, 2]
    for engine in works.engines:
        engine.go.set()
    await asyncio.gather(*sending)
    await works.pool.aclose()
    assert [engine.closed for engine in works.engines] == [1, 1]


async def test_a_single_engine_takes_everything() -> None:
    """Not sharded, one engine takes any number of requests and never retires, whatever happens."""
    works = Works(sharded=False)
    works.held = True
    sending = works.sending(3 * REQUESTS_AT_ONCE)
    await settle()
    (engine,) = works.engines
    engine.answer = NoReply(Sent.AMBIGUOUS, "reset")
    engine.go.set()
    assert all(isinstance(end, NoReply) for end in await asyncio.gather(*sending, return_exceptions=True))
    engine.answer = Reply(200, {}, b"", "HTTP/1.1")
    for _ in range(REQUESTS_IN_ALL + 1):
        await works.send()
    assert (len(works.engines), works.pool.retired, engine.closed) == (1, 0, 0)


async def test_an_ambiguous_failure_retires_the_shard(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that broke under a request takes no more and is closed; the next request gets a new one."""
    works = Works()
    await works.send()
    works.engines[0].answer = NoReply(Sent.AMBIGUOUS, "RemoteProtocolError")
    with caplog.at_level(logging.WARNING, "smile_async"), pytest.raises(NoReply):
        await works.send()
    assert works.engines[0].closed == 1
    assert "connection retired (RemoteProtocolError)" in caplog.text
    await works.send()
    assert (len(works.engines), works.pool.retired) == (2, 1)


async def test_all_but_the_first_failure_of_a_connection_are_echoes() -> None:
    """Requests that one broken connection fails together are one event: all but one of them say so."""
    works = Works()
    works.held = True
    sending = works.sending(20)
    await settle()
    works.engines[0].answer = NoReply(Sent.AMBIGUOUS, "GOAWAY")
    works.engines[0].go.set()
    ends = await asyncio.gather(*sending, return_exceptions=True)
    assert sorted(end.echo for end in ends if isinstance(end, NoReply)) == [False] + [True] * 19


async def test_an_engine_that_can_not_be_closed_costs_no_reply(caplog: pytest.LogCaptureFixture) -> None:
    """What a user's transport raises while it is closed is a WARNING; the reply that came counts."""
    works = Works()
    for _ in range(REQUESTS_IN_ALL - 1):
        await works.send()
    works.engines[0].closing_fails = True
    assert (await works.send()).status == 200
    assert "could not be closed (RuntimeError)" in caplog.text


@pytest.mark.parametrize(("sent", "retired"), [(Sent.UNSENT, 0), (Sent.ANSWERED, 1)])
async def test_other_failures(sent: Sent, retired: int) -> None:
    """A refused connection says nothing against the neighbours; what is left of an oversized reply blocks them."""
    works = Works()
    works.held = True
    sending = works.sending(1)
    await settle()
    works.engines[0].answer = NoReply(sent, "so it is")
    works.engines[0].go.set()
    assert isinstance((await asyncio.gather(*sending, return_exceptions=True))[0], NoReply)
    assert works.pool.retired == retired


async def test_a_retired_shard_drains_before_it_closes() -> None:
    """Requests in flight on a shard that retires get their answers; then it is closed, once."""
    works = Works()
    works.held = True
    neighbours = works.sending(3)
    await settle()
    works.engines[0].go, waiting = anyio.Event(), works.engines[0].go
    works.engines[0].go.set()
    works.engines[0].answer = NoReply(Sent.AMBIGUOUS, "GOAWAY")
    with pytest.raises(NoReply):
        await works.send()
    assert works.engines[0].closed == 0
    works.held = False
    await works.send()
    assert works.engines[1].sent == 1
    works.engines[0].answer = Reply(200, {}, b"{}", "HTTP/2")
    waiting.set()
    assert [reply.status for reply in await asyncio.gather(*neighbours)] == [200] * 3
    assert works.engines[0].closed == 1


async def test_whoever_is_cancelled_by_asyncio_while_a_shard_is_closed_goes_when_it_is() -> None:
    """No cancellation, not even asyncio's, leaves a retired connection half closed."""
    works = Works()
    await works.send()
    (engine,) = works.engines
    engine.answer, engine.closing = NoReply(Sent.AMBIGUOUS, "reset"), anyio.Event()
    (last,) = works.sending(1)
    await settle()
    last.cancel()
    await settle()
    assert (last.done(), engine.closed) == (False, 0)
    engine.closing.set()
    await asyncio.wait([last])
    assert (last.cancelled(), engine.closed) == (True, 1)


async def test_cancelled_requests_wear_a_connection_out() -> None:
    """Each cancelled request may leave a stream open: after sixteen the shard retires."""
    works = Works()
    works.held = True
    for number in range(CANCELLED_AT_MOST):
        assert (works.pool.retired, len(works.engines)) == (0, min(number, 1))
        sending = works.sending(1)
        await settle()
        sending[0].cancel()
        await asyncio.wait(sending)
    assert works.pool.retired == 1
    assert works.engines[0].closed == 1
    assert works.pool.busy == 0


async def test_nine_hundred_requests_wear_a_connection_out(caplog: pytest.LogCaptureFixture) -> None:
    """After 900 requests a fresh HTTP/2 connection takes over, before the server says GOAWAY; no cause for alarm."""
    works = Works()
    with caplog.at_level(logging.INFO, "smile_async"):
        for _ in range(REQUESTS_IN_ALL + 1):
            await works.send()
    assert [engine.sent for engine in works.engines] == [REQUESTS_IN_ALL, 1]
    assert works.engines[0].closed == 1
    assert not caplog.records


async def test_http1_connections_do_not_wear_out() -> None:
    """A pool of HTTP/1.1 connections renews them by itself."""
    works = Works(http2=False)
    for _ in range(REQUESTS_IN_ALL + 1):
        await works.send()
    assert len(works.engines) == 1
    assert not works.engines[0].http2


async def test_a_silent_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline in which a connection was heard of by nobody ends the request as ambiguous, and the connection.

    One that was too short to say anything ends the request alone.
    """
    hasty = Works()
    hasty.held = True
    with pytest.raises(NoReply):
        await hasty.send(within=0.02)
    assert hasty.pool.retired == 0
    monkeypatch.setattr(pool, "SILENT_AFTER", 0.01)
    works = Works()
    works.held = True
    with pytest.raises(NoReply, match=r"no answer within 0\.02 s") as caught:
        await works.send(within=0.02)
    assert caught.value.sent is Sent.AMBIGUOUS
    assert (works.pool.retired, works.engines[0].closed) == (1, 1)


async def test_a_deadline_that_a_clock_rounds_down_is_over_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer may fire a hair early: a silent connection is given up, not offered to the next requests."""
    monkeypatch.setattr(pool, "SILENT_AFTER", 0.01)
    readings = iter([100.0])
    monkeypatch.setattr(pool, "monotonic", lambda: next(readings, 100.02 - 1e-9))
    works = Works()
    works.held = True
    with pytest.raises(NoReply, match=r"no answer within 0\.02 s"):
        await works.send(within=0.02)
    assert (works.pool.retired, works.engines[0].closed) == (1, 1)


async def overtaken(works: Works) -> "asyncio.Task[Reply]":
    """A request that gets no answer, and leaves before another one that gets its own."""
    await works.send()
    (engine,) = works.engines
    engine.go = anyio.Event()
    slow = asyncio.create_task(works.send(within=0.05))
    await settle()
    engine.go = anyio.Event()
    engine.go.set()
    await works.send()
    return slow


async def test_a_slow_request_on_a_lively_connection_is_no_reason() -> None:
    """If others were answered meanwhile, one deadline is that request's own affair."""
    works = Works()
    slow = await overtaken(works)
    with pytest.raises(NoReply):
        await slow
    assert works.pool.retired == 0


async def test_a_connection_that_fell_silent_meanwhile_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """That somebody was answered just after a request left does not speak for a connection that then said nothing."""
    now = [100.0]

    def ticking() -> float:
        now[0] += 0.01
        return now[0]

    monkeypatch.setattr(pool, "monotonic", ticking)
    works = Works()
    lost = await overtaken(works)
    now[0] += pool.SILENT_AFTER
    with pytest.raises(NoReply):
        await lost
    assert works.pool.retired == 1


async def test_closing_ends_the_pool() -> None:
    """A closed pool closes its connections and opens no other: a late retry is unsent."""
    works = Works()
    await works.send()
    await works.pool.aclose()
    await works.pool.aclose()
    assert works.engines[0].closed == 1
    with pytest.raises(NoReply, match="closed") as caught:
        await works.send()
    assert caught.value.sent is Sent.UNSENT
    assert len(works.engines) == 1


async def test_what_is_in_flight_when_the_pool_closes_ends_in_peace() -> None:
    """A request that fails because its connection was closed under it retires nothing twice."""
    works = Works()
    works.held = True
    sending = works.sending(1)
    await settle()
    await works.pool.aclose()
    works.engines[0].answer = NoReply(Sent.AMBIGUOUS, "closed")
    works.engines[0].go.set()
    assert isinstance((await asyncio.gather(*sending, return_exceptions=True))[0], NoReply)
    assert (works.pool.retired, works.engines[0].closed) == (0, 1)


async def test_a_retired_engine_is_forgotten() -> None:
    """The pool keeps no reference to connections it has given up."""
    works = Works()
    await works.send()
    works.engines[0].answer = NoReply(Sent.AMBIGUOUS, "reset")
    with pytest.raises(NoReply):
        await works.send()
    gone: Any = weakref.ref(works.engines.pop())
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("first", ["the request's", "the application's"])
async def test_two_deadlines_at_once_are_no_stray_cancellation(first: str) -> None:
    """While a request that is out of time ends, its caller's own scope may end as well: it is the one that catches."""
    works = Works()

    async def leaves_slowly(*_: Any) -> Reply:
        try:
            await asyncio.sleep(60)
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(0.1)
        raise AssertionError

    works.held = True
    sending = asyncio.create_task(works.send())
    await settle()
    works.engines[0].send = leaves_slowly  # type: ignore[method-assign]
    within, outer = (0.01, 0.05) if first == "the request's" else (0.05, 0.01)
    with anyio.move_on_after(outer) as scope:
        await works.send(within)
    assert scope.cancelled_caught
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    sending.cancel()
    await asyncio.wait({sending})
    await works.pool.aclose()
