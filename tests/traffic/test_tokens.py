"""Tokens of a session: one fetch for each scope and lifetime, and nobody waits behind anybody else's misfortune."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from street import ENGINES, Pictures, until
from v3_client_support import LATENCY, ME, NIN, Street, jobs_of, jwt, v3_session

from smile_async import Job
from smile_async.errors import NotAuthorized, SessionClosed, SmileError, Unavailable, UnreadableReply
from smile_async.protocol.signature import Secret
from smile_async.protocol.steps import Fault, Sent
from smile_async.protocol.v3.tokens import UNBOUND, Scope, Token
from smile_async.sandbox import RunningSandbox
from smile_async.sandbox.v3.tokens import Bound
from smile_async.timing.breaker import Asker
from smile_async.timing.virtual_clock import VirtualClock
from smile_async.traffic.tokens import Tokens

ADA = Asker("token", "ada", "7f3e")
FAR = float("inf")


class Desk:
    """Hands out tokens that live a quarter of an hour, after a second, or what `failing` says instead."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.fetched: list[tuple[float, Scope]] = []
        self.failing: Fault | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.tokens = Tokens(self._fetch, self._spawn, self.clock)

    def _spawn(self, work: Callable[..., Any], *args: object, on_end: Callable[[], object]) -> None:
        task = asyncio.create_task(work(*args))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(lambda _: on_end())

    async def _fetch(self, scope: Scope, asker: Asker, company: Sequence[Asker]) -> Token:
        now = self.clock.monotonic()
        self.fetched.append((now, scope))
        number = len(self.fetched)
        await self.clock.sleep(1.0)
        if self.failing is not None:
            raise self.failing
        return Token(Secret(f"token {number}"), now + 840.0, now + 890.0)

    async def get(self, scope: Scope = UNBOUND, patience: float = FAR) -> str:
        """The text of the token that is given."""
        token = await self.tokens.get(scope, ADA, self.clock.monotonic() + patience)
        return token.secret.reveal()


@pytest.fixture
def desk() -> Desk:
    """A desk of one's own."""
    return Desk()


async def test_one_flight_for_all_of_a_scope(desk: Desk) -> None:
    """However many ask, each scope's token is fetched once in its life, and given to all."""
    other = Scope("enhanced_kyc", "ada")
    told = await asyncio.gather(*(desk.get(scope) for scope in (UNBOUND, other) * 500))
    assert set(told[::2]) == {"token 1"}
    assert set(told[1::2]) == {"token 2"}
    assert desk.fetched == [(0.0, UNBOUND), (0.0, other)]
    await desk.clock.sleep(800.0)
    assert await desk.get() == "token 1"
    assert len(desk.fetched) == 2


async def test_who_comes_when_it_ends_soon_does_not_wait(desk: Desk) -> None:
    """Past its early hour a token is given at once, while another is fetched for those who come later."""
    await desk.get()
    await desk.clock.sleep(845.0)
    before = desk.clock.monotonic()
    assert await asyncio.gather(*(desk.get() for _ in range(100))) == ["token 1"] * 100
    assert desk.clock.monotonic() == before
    await desk.clock.sleep(1.5)
    assert await desk.get() == "token 2"
    assert len(desk.fetched) == 2


async def test_an_early_fetch_that_fails_is_no_storm(desk: Desk) -> None:
    """While a token is good, whoever comes: one that can not be replaced costs a handful of attempts, and nobody."""
    await desk.get()
    desk.failing = Fault(NotAuthorized("no", status=401), Sent.ANSWERED)
    await desk.clock.sleep(830.0)
    for _ in range(550):
        assert await desk.get() == "token 1"
        await desk.clock.sleep(0.1)
    assert 3 < len(desk.fetched) < 15
    desk.failing = None
    await desk.clock.sleep(5.0)
    assert await desk.get() == f"token {len(desk.fetched)}"


async def test_a_failure_is_everybody_s_own(desk: Desk) -> None:
    """One flight fails all who wait for it, each with an error of its own, of something that was not sent; nobody tries
    for them, and the next who asks begins another.
    """
    desk.failing = Fault(Unavailable("/token was answered by HTTP 500"), Sent.AMBIGUOUS, transient=True)
    ends = await asyncio.gather(*(desk.get() for _ in range(50)), return_exceptions=True)
    faults = [end for end in ends if isinstance(end, Fault)]
    assert len({id(fault.error) for fault in faults}) == 50
    assert {(fault.sent, fault.transient) for fault in faults} == {(Sent.UNSENT, True)}
    assert (len(desk.fetched), desk.clock.monotonic()) == (1, 1.0)
    desk.failing = None
    assert await desk.get() == "token 2"


async def test_whoever_leaves_costs_the_others_nothing(desk: Desk) -> None:
    """A caller out of time or cancelled is back at once; the flight that he began goes on for the others."""
    first = asyncio.create_task(desk.get())
    await asyncio.sleep(0)
    second, third = asyncio.create_task(desk.get()), asyncio.create_task(desk.get(patience=0.25))
    await desk.clock.sleep(0.1)
    first.cancel()
    with pytest.raises(Fault) as late:
        await third
    assert desk.clock.monotonic() == 0.25
    assert (late.value.sent, late.value.transient) == (Sent.UNSENT, True)
    assert await second == "token 1"
    assert first.cancelled()
    assert len(desk.fetched) == 1


async def test_a_refused_token_is_replaced_once(desk: Desk) -> None:
    """However many were refused with a token, and however late they say so, it is fetched anew once."""
    token = await desk.tokens.get(UNBOUND, ADA, FAR)

    async def caller(after: float) -> str:
        await desk.clock.sleep(after)
        desk.tokens.refused(UNBOUND, token)
        return await desk.get()

    rng = random.Random(4)
    assert set(await asyncio.gather(*(caller(rng.uniform(0.0, 5.0)) for _ in range(1000)))) == {"token 2"}
    assert len(desk.fetched) == 2


@pytest.mark.parametrize("http", ENGINES)
@pytest.mark.usefixtures("tidy")
async def test_a_storm_of_refusals_is_one_refresh(http: str, running: RunningSandbox) -> None:
    """A crowd of callers whose token the server has forgotten: one fetch, and all are answered."""
    async with v3_session(running, http=http) as session:
        ticket = (await session.verify(Job.enhanced_kyc("ada", NIN, person=ME))).ticket
        running.sandbox.tokens.expire()
        told = await asyncio.gather(*(session.status(ticket) for _ in range(200)))
        assert session.stats.retries == 0
    assert {status.code for status in told} == {"clear"}
    assert running.sandbox.tokens.issued.total() == 2


@pytest.mark.parametrize("http", ENGINES)
async def test_a_token_for_each_job(http: str, running: RunningSandbox, pictures: Pictures) -> None:
    """*tokens* "per_job": submissions carry one that is bound to product and user, all queries share one."""
    async with v3_session(running, http=http, tokens="per_job") as session:
        for job in [*jobs_of(pictures, "kofi"), Job.enhanced_kyc("eve", NIN, person=ME)]:
            assert (await session.verify(job)).approved
    issued = running.sandbox.tokens.issued
    assert set(issued.values()) == {1}
    products = {product for product, user in issued if user == "kofi"}
    assert {(None, None), ("enhanced_kyc", "eve")} <= set(issued)
    assert products >= {"smart_selfie_registration", "smart_selfie_compare", "one_time_aml", "document_verification"}
    assert len(issued) == 10


@asynccontextmanager
async def told(street: Street, body: bytes | None = None, status: int = 200) -> AsyncIterator[Any]:
    """A session whose `/token` answers so."""
    answer = httpx.Response(status, content=body or b"{}")
    street.front.weather = lambda path: answer if path == "/token" else None
    async with street.session() as session:
        yield session


NO_TOKENS: dict[str, tuple[int, bytes, type[SmileError]]] = {
    "401": (401, b'{"status": "Unauthorized", "message": "Invalid credentials", "job_id": null}', NotAuthorized),
    "403": (403, b'{"message": "Forbidden"}', NotAuthorized),
    "garbage": (200, b"<html>", UnreadableReply),
    "no token": (200, b"{}", UnreadableReply),
    "a token that is a number": (200, b'{"token": 7}', UnreadableReply),
    "a token with a line break": (200, b'{"token": "a\\r\\nb"}', UnreadableReply),
    "500": (500, b"", Unavailable),
    "302": (302, b"", UnreadableReply),
}


@pytest.mark.parametrize("name", NO_TOKENS)
async def test_no_token(name: str) -> None:
    """What is no token ends the job before it is sent, in three attempts at most, and an error that names /token."""
    status, body, kind = NO_TOKENS[name]
    street = Street()
    async with told(street, body, status) as session:
        with pytest.raises(kind, match="/token") as caught:
            await session.verify(next(street.jobs(1)))
    assert caught.value.ticket is None
    assert {path for _, path in street.front.asked} == {"/token"}
    assert len(street.front.asked) == (3 if status == 500 else 1)


async def test_a_token_that_does_not_say_how_long_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken to live as long as documented, and used."""
    street = Street()
    monkeypatch.setattr(street.sandbox.tokens, "make", lambda *_: jwt(partner_id="1"))
    monkeypatch.setattr(street.sandbox.tokens, "read", lambda _: Bound())
    async with street.session() as session:
        for job in street.jobs(20):
            assert (await session.verify(job)).approved
            await street.clock.sleep(40.0)
        assert len(street.front.times("/token")) == 1
        await street.clock.sleep(100.0)
        assert (await session.verify(next(street.jobs(1)))).approved
    assert len(street.front.times("/token")) == 2


async def test_a_slow_token_holds_up_nobody_longer_than_his_patience() -> None:
    """While /token does not answer each caller is back in time, and says why; who has the time gets through."""
    street = Street()
    hang = 8.0
    answered = street.front.handle_async_request

    async def slow(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            await street.clock.sleep(hang)
        return await answered(request)

    street.front.handle_async_request = slow  # type: ignore[method-assign]
    async with street.session() as session:
        short = [asyncio.create_task(session.verify(job, patience=3.0)) for job in street.jobs(20)]
        long = [asyncio.create_task(session.verify(job, patience=60.0)) for job in street.jobs(20)]
        for end in await asyncio.gather(*short, return_exceptions=True):
            assert isinstance(end, Unavailable)
            assert (end.retryable, end.ticket) == (True, None)
        assert street.clock.monotonic() <= 4.0
        assert all(verdict.approved for verdict in await asyncio.gather(*long))
    assert len(street.front.times("/token")) == 1
    assert street.clock.monotonic() <= hang + 10 * LATENCY + 1.0


@pytest.mark.usefixtures("tidy")
async def test_the_session_is_closed_meanwhile() -> None:
    """Whoever waits for a token then is told that the session is closed, and that nothing was sent."""
    street = Street()
    gate = asyncio.Event()

    async def hang(request: httpx.Request) -> httpx.Response:
        await gate.wait()
        raise httpx.ConnectError("never")

    street.front.handle_async_request = hang  # type: ignore[method-assign]
    async with street.session() as session:
        calls = [asyncio.create_task(session.verify(job)) for job in street.jobs(10)]
        await until(lambda: session.stats.in_flight == 1)
    for end in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(end, SessionClosed)
        assert end.ticket is None


class Wrong:
    """A clock whose wall time is off."""

    def __init__(self, clock: VirtualClock, off: float) -> None:
        self._clock, self._off = clock, off
        self.monotonic, self.wait, self.sleep = clock.monotonic, clock.wait, clock.sleep

    def time(self) -> float:
        return self._clock.time() + self._off


@pytest.mark.parametrize("off", [-86_400.0, -900.0, 840.0, 86_400.0])
async def test_a_wrong_clock_costs_no_token(off: float) -> None:
    """However wrong the machine's clock, a token is used for its whole life, and consent is dated by the server's."""
    street = Street()
    async with street.session(clock=Wrong(street.clock, off)) as session:
        for job in street.jobs(8):
            assert (await session.verify(job)).approved
            await street.clock.sleep(100.0)
    assert len(street.front.times("/token")) == 1
    assert len(street.sandbox.jobs) == 8
