"""A server that takes connections and never says a word: where patience ends before anything was written, nothing left.

The gate accepts TCP and answers no ClientHello; when it opens, what was sent to it meanwhile goes on.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ledger_support import row_of
from street import ENGINES, Pictures, session_of, until
from v3_client_support import ME, NIN, made_of, v3_session

from smile_async import Job, SmileSession, Ticket
from smile_async.errors import JobNotFound, SmileError, Unavailable
from smile_async.ledger import Ledger, State
from smile_async.sandbox import RunningSandbox

pytestmark = pytest.mark.usefixtures("tidy")
#: What is held at the gate; tokens go over a connection of their own.
LEGS = ("token", "submit", "lookup", "v1 lookup")
#: Real seconds, in which all legs of all engines at once come as far as their gates.
PATIENCE = 2.5
#: What no provider knows.
NOBODYS = Ticket("ada", "j", 2, "job_01kdyak3see9zcsy4sgw9w3tv1", api="v3")


class Gate:
    """In front of *target*: holds every connection but the first *passing* ones until it opens."""

    def __init__(self, target: int, passing: int) -> None:
        self.opened = asyncio.Event()
        #: Connections that are or were held, with their ClientHello.
        self.held = 0
        self._target, self._passing = target, passing
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """The port to come to."""
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("scripted connection")
        self._tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await self._live(reader, writer)
        writer.transport.abort()

    async def _live(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = b""
        if self._passing > 0:
            self._passing -= 1
        else:
            hello = await reader.read(1 << 16)
            self.held += 1
            await self.opened.wait()
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        forth.write(hello)
        ways = ((reader, forth), (back, writer))
        both = [asyncio.create_task(_pipe(*way), name="scripted connection") for way in ways]
        self._tasks.update(both)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forth.transport.abort()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(1 << 16):
            sink.write(piece)
            await sink.drain()


def job_for(leg: str, http: str, pictures: Pictures) -> Job:
    """One of those that must not be sent twice."""
    told: dict[str, Any] = {"job_id": f"{leg} by {http}"}
    if leg == "v1 lookup":
        return Job.basic_kyc("ada", NIN, **told)
    if leg == "lookup":
        return Job.enhanced_kyc("ada", NIN, person=ME, **told)
    return Job.register(f"eve-{http}-{leg}", pictures.selfie, liveness=pictures.liveness[:6], person=ME, **told)


async def of_each(cell: Callable[[str, str], Awaitable[None]], legs: tuple[str, ...] = LEGS) -> None:
    """Every leg with every engine, all at once: each waits for time or for its own gate."""
    cells = [*product(legs, ENGINES)]
    ends = await asyncio.gather(*(cell(*each) for each in cells), return_exceptions=True)
    assert {each: end for each, end in zip(cells, ends, strict=True) if end is not None} == {}


@asynccontextmanager
async def gated(running: RunningSandbox, leg: str, http: str, **more: Any) -> AsyncIterator[tuple[Gate, SmileSession]]:
    """A session that comes to a gate; of V3's submissions their token has passed it."""
    v1 = leg == "v1 lookup"
    url = running.base_url if v1 else running.base_url_v3
    port = urlsplit(url).port
    assert port is not None
    known = leg in ("submit", "lookup")
    gate = Gate(port, passing=int(known))
    async with gate.serving() as held:
        told = {"base_url": url.replace(f":{port}/", f":{held}/"), "http": http, **more}
        async with (session_of if v1 else v3_session)(running, **told) as session:
            if known:
                with pytest.raises(JobNotFound):
                    await session.status(NOBODYS)
            yield gate, session


def sent_of(running: RunningSandbox, job: Job) -> int:
    """How many jobs the provider has made of it."""
    return len(made_of(running.sandbox, job.job_id)) or running.sandbox.count(job.job_id)


async def afterwards(gate: Gate, session: SmileSession, running: RunningSandbox, job: Job) -> None:
    """Open the gate: what was given up stays away, and the same job is sent once."""
    assert gate.held
    gate.opened.set()
    await asyncio.sleep(0.3)
    assert sent_of(running, job) == 0
    verdict = await session.verify(job, patience=60.0)
    assert verdict.final
    assert sent_of(running, job) == 1


async def leave(gate: Gate, session: SmileSession, job: Job) -> None:
    """Call, and be cancelled once the gate has a ClientHello."""
    call = asyncio.create_task(session.verify(job, patience=60.0))
    await until(lambda: gate.held)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_handshake_that_hangs_is_unsent(running: RunningSandbox, pictures: Pictures) -> None:
    """Patience ends before a ClientHello is answered: retryable, without a ticket, and nothing comes of it later."""

    async def cell(leg: str, http: str) -> None:
        job = job_for(leg, http, pictures)
        async with gated(running, leg, http) as (gate, session):
            with pytest.raises(SmileError) as caught:
                await session.verify(job, patience=PATIENCE)
            assert (type(caught.value), caught.value.ticket, caught.value.retryable) == (Unavailable, None, True)
            await afterwards(gate, session, running, job)

    await of_each(cell)


async def test_a_caller_who_leaves_during_the_handshake_has_sent_nothing(
    running: RunningSandbox, pictures: Pictures
) -> None:
    """Cancelled meanwhile, calling again with the same job sends it, and nothing comes of the first call."""

    async def cell(leg: str, http: str) -> None:
        job = job_for(leg, http, pictures)
        async with gated(running, leg, http) as (gate, session):
            await leave(gate, session, job)
            await afterwards(gate, session, running, job)

    await of_each(cell)


async def test_a_ledger_does_not_doubt_what_never_left(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """The row of a job that was given up in its handshake may be tried again, and is not among the pending ones."""

    async def cell(leg: str, http: str) -> None:
        job = job_for(leg, http, pictures)
        async with Ledger(tmp_path / http) as ledger, gated(running, leg, http, ledger=ledger) as (gate, session):
            await leave(gate, session, job)
            row = await row_of(ledger, job.job_id)
            wanted = (State.FAILED, "Unavailable", True, 0)
            assert (row["state"], row["error"], row["retryable"], row["reach"]) == wanted
            assert [ticket async for ticket in session.pending()] == []
            await afterwards(gate, session, running, job)

    await of_each(cell, ("submit",))


async def test_a_connect_that_hangs_is_unsent(running: RunningSandbox, pictures: Pictures) -> None:
    """The same where not even TCP is answered: a listener whose queue is full drops what comes."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(3):
            queued = stack.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex(("127.0.0.1", port))
        await asyncio.sleep(0.05)

        async def cell(leg: str, http: str) -> None:
            async with session_of(running, base_url=f"https://127.0.0.1:{port}/v1", http=http) as session:
                with pytest.raises(Unavailable) as caught:
                    await session.verify(job_for(leg, http, pictures), patience=1.0)
                assert (caught.value.ticket, caught.value.retryable) == (None, True)

        await of_each(cell, ("v1 lookup",))
