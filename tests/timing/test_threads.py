"""Virtual time beside databases, threads and sockets: their answers come first, with nothing said by the test."""

import _thread
import asyncio
import hashlib
import socket
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from smile_async import Job, SmileSession
from smile_async.errors import StillPending
from smile_async.sandbox import RunningSandbox
from smile_async.testing import SELFIE
from smile_async.timing import threads, virtual_clock
from smile_async.timing.threads import Threads, place
from smile_async.timing.virtual_clock import VirtualClock, VirtualTimeIsUp
from smile_async.traffic.readers import Readers

linux = pytest.mark.skipif(not threads.TASKS.is_dir(), reason="only Linux says what a thread waits for")


async def moment_of(work: Awaitable[object], clock: VirtualClock | None = None) -> float:
    """The virtual moment at which *work* is done, while somebody sleeps for an hour."""
    clock = clock or VirtualClock(0.0)
    sleeper = asyncio.create_task(clock.sleep(3600))
    await work
    moment = clock.monotonic()
    await sleeper
    assert clock.monotonic() == 3600
    return moment


async def in_raw_thread(work: Callable[[], object]) -> None:
    """A thread that nobody knows; asyncio hears of it at its end."""
    done, loop = asyncio.Event(), asyncio.get_running_loop()

    def run() -> None:
        work()
        loop.call_soon_threadsafe(done.set)

    thread = threading.Thread(target=run)
    thread.start()
    await done.wait()
    thread.join()


async def in_own_executor(work: Callable[[], object]) -> None:
    """An executor of the application's own."""
    with ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, work)


async def in_readers(work: Callable[[], object]) -> None:
    """The threads that read our pictures."""
    readers = Readers(1)
    await readers(work)
    readers.close()


async def in_anyio(work: Callable[[], object]) -> None:
    """A thread of anyio's, counted by a limiter of the application's own."""
    await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))


def spin() -> None:
    """Python code that wants the processor for 50 ms of its time."""
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass


def derive() -> None:
    """Code that wants the processor, and not Python's lock."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)


WORK: dict[str, Callable[[], object]] = {
    "spin": spin,
    "derive": derive,
    "sleep": partial(time.sleep, 0.15),
    "wait": lambda: threading.Event().wait(0.15),
}
WHERE = [asyncio.to_thread, in_own_executor, in_readers, in_anyio, in_raw_thread]


@linux
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("work", list(WORK))
async def test_no_time_passes_while_a_thread_is_at_work(
    where: Callable[[Callable[[], object]], Awaitable[object]], work: str
) -> None:
    """A thread's result comes before anybody has slept, whoever the thread is of and whatever it does."""
    if (where, work) == (in_raw_thread, "wait"):
        pytest.skip("a thread of nobody's that waits for a lock waits for somebody else")
    assert await moment_of(where(WORK[work])) == 0


@linux
async def test_a_thread_that_ends_its_errand_while_it_is_looked_at_was_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a thread says between two questions about it is heard before time passes."""
    go, looking, told = threading.Event(), Threads(0.01), threads._told
    errand = asyncio.create_task(anyio.to_thread.run_sync(go.wait))
    await asyncio.sleep(0.05)
    (worker,) = (
        each for each in threading.enumerate() if each.name.startswith("AnyIO") and each.queue.unfinished_tasks
    )
    looking.at_work()
    await asyncio.sleep(0.05)

    def late(number: int, what: str) -> str:
        said = told(number, what)
        if what == "syscall":
            go.set()
            worker.queue.join()
        return said

    monkeypatch.setattr(threads, "_told", late)
    assert "AnyIO worker thread" in looking.at_work()
    await errand


@linux
async def test_a_database_needs_nothing(tmp_path: Path) -> None:
    """A statement that computes, a commit, and one that waits for a lock of another process end before time passes."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'logins.db'}")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(i) FROM n"

    async def work() -> None:
        async with engine.begin() as connection:
            assert (await connection.execute(sa.text(numbers))).scalar() == 300_000
            await connection.execute(sa.text("CREATE TABLE login (id)"))
        locker = sqlite3.connect(tmp_path / "logins.db", isolation_level=None, check_same_thread=False)
        locker.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.4, locker.close)
        async with engine.begin() as connection:
            await connection.execute(sa.text("INSERT INTO login VALUES (1)"))

    assert await moment_of(work()) == 0
    await engine.dispose()


async def test_a_socket_needs_nothing() -> None:
    """A conversation over a socket is over before time passes, however many turns it has."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)

    async def talk() -> None:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(100):
            writer.write(b"x" * 1000 + b"\n")
            assert await reader.readline()
        writer.close()
        await writer.wait_closed()

    async with server:
        assert await moment_of(talk()) == 0


@pytest.mark.parametrize("engine", ["httpx", "httpx2", "pyreqwest"])
async def test_a_session_on_real_sockets(running: RunningSandbox, tmp_path: Path, engine: str) -> None:
    """A session with a ledger on the served sandbox: jobs come to their end, and patience at its moment."""
    clock = VirtualClock(threshold=0.05)
    running.sandbox.enroll("bob")
    running.sandbox.script("ada", code="0820", after=0)
    running.sandbox.script("bob", code="0822", after=0)
    account: dict[str, Any] = {"base_url": running.base_url, "ca_file": running.ca_file, "http": engine}
    began = clock.monotonic()
    async with SmileSession(
        running.partner_id, running.api_key, clock=clock, ledger=str(tmp_path / "ledger"), **account
    ) as session:
        assert (await session.verify(Job.authenticate("ada", SELFIE))).approved
        assert clock.monotonic() - began < 60
        began = clock.monotonic()
        with pytest.raises(StillPending):
            await session.verify(Job.authenticate("bob", SELFIE), until="final", patience=600)
    assert clock.monotonic() - began == pytest.approx(600, abs=2)


async def test_polling_in_real_time_does_not_stop_the_clock() -> None:
    """A test that looks again and again in real time, beside a socket, sees the moment come that it looks for."""
    clock = VirtualClock(0.0)
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0):
        sleeper = asyncio.create_task(clock.sleep(60))
        while not sleeper.done():  # noqa: ASYNC110 - this is the one
            await asyncio.sleep(0.002)
    assert clock.monotonic() == 60


@pytest.fixture
def accepting() -> Iterator[None]:
    """A thread that waits for a connection, as a server does."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        listener.accept()[0].close()

    thread = threading.Thread(target=accept)
    thread.start()
    yield
    with socket.create_connection(listener.getsockname()):
        thread.join()
    listener.close()


@pytest.mark.usefixtures("accepting")
async def test_a_server_in_a_thread_does_not_stop_the_clock() -> None:
    """A thread that waits for the world is not at work, nor is one with an event loop of its own."""
    clock = VirtualClock(0.0)
    ready = threading.Event()

    async def serve() -> None:
        ready.set()
        await over.wait()

    over = asyncio.Event()
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(loop.run_until_complete, serve())
        ready.wait()
        for _ in range(100):
            await clock.sleep(60)
        loop.call_soon_threadsafe(over.set)
    loop.close()
    assert clock.monotonic() == 6000


async def test_a_thread_that_never_ends_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sleeps beside a thread that waits for what never happens is told of it, and time has not passed."""
    monkeypatch.setattr(virtual_clock, "STUCK", 0.3)
    clock = VirtualClock(0.0)
    begun, never = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1, "hopeful") as pool:
        pool.submit(lambda: (begun.set(), never.wait()))
        # On a busy machine a thread takes its time to come by its name.
        assert begun.wait(20)
        with pytest.raises(VirtualTimeIsUp, match=r"thread 'hopeful_0' at threading\.py:\d+ in wait is at work"):
            await clock.sleep(60)
        never.set()
    assert clock.monotonic() == 0
    await clock.sleep(60)


async def test_a_library_s_thread_that_never_rests_holds_up_time_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread that Python does not know and that wakes all the while, for nothing, is not waited for until the end."""
    monkeypatch.setattr(virtual_clock, "FOREIGN", 0.2)
    monkeypatch.setattr(virtual_clock, "STUCK", 20.0)
    rest = threading.Event()

    def restless() -> None:
        while not rest.is_set():
            time.sleep(0.0003)

    _thread.start_new_thread(restless, ())
    try:
        await VirtualClock(0.0).sleep(60)
    finally:
        rest.set()


async def test_where_no_thread_can_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On another system the threads of pools are known, and what else there is has the threshold."""
    monkeypatch.setattr(threads, "TASKS", tmp_path / "none")
    monkeypatch.setattr(virtual_clock, "SEES_THREADS", False)
    assert await moment_of(in_own_executor(WORK["wait"])) == 0
    assert await moment_of(in_raw_thread(partial(time.sleep, 0.02)), VirtualClock(0.0, threshold=10.0)) == 0


def test_a_thread_that_has_not_begun() -> None:
    """A thread without a frame is at its beginning; nobody else is at work."""
    assert place(None) == "its beginning"
    assert Threads(0.0).at_work() == ""


@linux
def test_a_thread_that_has_just_ended() -> None:
    """Who was there at the last look and is gone was at work until now: it is told once."""
    seen, go_on = Threads(0.0), threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    seen.at_work()
    number = thread.native_id
    go_on.set()
    thread.join()
    while (threads.TASKS / str(number)).exists():
        time.sleep(0.001)
    assert seen.at_work() == "a thread that has just ended"
    assert seen.at_work() != "a thread that has just ended"


async def test_a_transport_that_takes_its_time(running: RunningSandbox) -> None:
    """A reply that is late in real time is waited for, as its socket is still before it."""
    clock = VirtualClock(0.0, threshold=0.5)
    async with httpx.AsyncClient(verify=False) as client:
        running.sandbox.fault("job_status", delay=0.1)
        assert await moment_of(client.post(f"{running.base_url}/job_status", json={}), clock) == 0
