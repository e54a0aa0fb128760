"""A database that is silent, locked or full costs whoever waits his patience, and leaving some seconds."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import psycopg
import pytest
import sqlalchemy as sa
from ledger_support import DIGEST, job_of, row_of
from postgres import Postgres
from scripted import ScriptedSmile
from street import Pictures, session_of, sweep
from workers_support import fresh

from smile_async.errors import LedgerFailed, Unavailable
from smile_async.ledger import Ledger, State, database, failpoints, group_commit, schema
from smile_async.ledger.batches import Batches
from smile_async.protocol.steps import Reach

pytestmark = pytest.mark.usefixtures("tidy")

#: Seconds for leaving: what is noted, the driver that lets go, the pool, the thread.
LEAVING = 8.0


@pytest.fixture(autouse=True)
def swept_at_once() -> Iterator[None]:
    """A connection that psycopg was making to a server when that fell silent is left to the garbage collector."""
    yield
    sweep()


@contextlib.asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """The block must not take longer, nor hold the event loop for long."""
    began, worst = time.monotonic(), 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.02)
            worst = max(worst, time.monotonic() - before)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
    assert time.monotonic() - began < seconds
    assert worst < 0.5


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """The write lock of a file in somebody else's hands."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextlib.contextmanager
def rows_locked(url: str) -> Iterator[None]:
    """All rows in the hands of a transaction that is open for long."""
    with psycopg.connect(url) as other:
        other.execute("SELECT * FROM smile_jobs FOR UPDATE")
        yield


async def test_a_server_that_falls_silent_costs_patience_and_no_more(
    server: Postgres, smile: ScriptedSmile, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent between begin and mark: no upload, an error within patience + 1 s, and a session that can be left."""
    leaving = LEAVING - group_commit.CLOSING + 0.5
    monkeypatch.setattr(group_commit, "CLOSING", 0.5)
    url = fresh(server)
    with contextlib.ExitStack() as stack:

        def fall_silent(name: str) -> None:
            if name == "upload answered":
                failpoints.install(None)
                stack.enter_context(server.silent())

        stack.callback(failpoints.install, None)
        async with within(2.0 + 1.0 + leaving), session_of(smile, ledger=url) as session:
            failpoints.install(fall_silent)
            async with within(3.0):
                with pytest.raises(Unavailable, match="the ledger did not write it down") as caught:
                    await session.verify(pictures.job(), patience=2.0)
        assert caught.value.ticket is not None
        assert caught.value.retryable
    assert not smile.asked["put"]


async def test_what_is_lost_by_leaving_a_silent_server_is_said(
    server: Postgres, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Leaving ends in bounded time, tells those who wait, and logs how many notes could not be written."""
    monkeypatch.setattr(group_commit, "CLOSING", 0.5)
    ledger = Ledger(fresh(server), delay=0.0)
    await ledger.open()
    for number in range(3):
        await ledger.begin(job_of(f"j{number}"), DIGEST)
    with server.silent():
        for number in range(3):
            ledger.accepted(job_of(f"j{number}").ticket)
        waiting = asyncio.create_task(ledger.flush())
        async with within(LEAVING - 2):
            # Who leaves is himself in a hurry: nothing may be left open for that.
            with anyio.move_on_after(0.1):
                await ledger.aclose()
            with pytest.raises(LedgerFailed):
                await waiting
    assert not ledger.opened
    assert "3 notes are lost" in caplog.text


async def test_a_server_that_was_silent_is_used_again(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit without an answer is given up and made again, on a connection that works."""
    monkeypatch.setattr(group_commit, "SILENCE", 0.5)
    async with Ledger(fresh(server), delay=0.0) as ledger:
        await ledger.begin(job_of(), DIGEST)
        with server.silent():
            ledger.accepted(job_of().ticket)
            await asyncio.sleep(1.5)
        async with within(10.0):
            assert (await row_of(ledger))["state"] == State.ACCEPTED


@pytest.mark.parametrize("use", ["writing", "reading", "join"])
async def test_who_is_cancelled_leaves_a_silent_server_at_once(server: Postgres, use: str) -> None:
    """Looking, writing and joining can be given up; afterwards the ledger works as before."""
    async with Ledger(fresh(server), delay=0.0) as ledger:

        async def ask() -> None:
            if use == "join":
                await ledger.join("partner 001")
                return
            async with getattr(ledger, use)() as connection:
                await connection.exec_driver_sql("SELECT 1")

        await ask()
        with server.silent():
            async with within(3.0):
                for _ in range(6):
                    with anyio.move_on_after(0.1) as scope:
                        await ask()
                    assert scope.cancelled_caught
        async with within(3.0):
            await asyncio.gather(*(ask() for _ in range(10)))


async def test_rows_that_somebody_has_locked_are_waited_for_within_patience(server: Postgres) -> None:
    """A mark that waits for another's lock can be given up, holds no lock itself, and is made when the lock is gone."""
    url = fresh(server)
    async with Ledger(url, delay=0.0) as ledger:
        await ledger.begin(job_of(), DIGEST)
        with rows_locked(url):
            async with within(1.5):
                with anyio.move_on_after(0.5) as scope:
                    await ledger.mark(job_of().ticket, Reach.UPLOADED, 1)
            assert scope.cancelled_caught
        async with within(8.0):
            await ledger.mark(job_of().ticket, Reach.UPLOADED, 1)
        with psycopg.connect(url, options="-c lock_timeout=500") as other:
            other.execute("SELECT * FROM smile_jobs FOR UPDATE")


async def test_leaving_while_rows_are_locked_is_bounded(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that somebody holds open keeps nobody here, and what was waiting for it holds nothing after."""
    monkeypatch.setattr(group_commit, "CLOSING", 0.5)
    url = fresh(server)
    ledger = Ledger(url, delay=0.0)
    await ledger.open()
    await ledger.begin(job_of(), DIGEST)
    with rows_locked(url):
        ledger.accepted(job_of().ticket)
        await asyncio.sleep(0.1)
        async with within(LEAVING - 2):
            await ledger.aclose()
    with psycopg.connect(url, options="-c lock_timeout=500") as other:
        other.execute("SELECT * FROM smile_jobs FOR UPDATE")


async def test_a_file_that_somebody_locks_costs_patience_and_no_more(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path
) -> None:
    """While a backup tool holds the write lock a call ends within its patience + 1 s; after it all goes on."""
    async with session_of(smile, ledger=tmp_path / "l") as session:
        with locked(tmp_path / "l"):
            async with within(2.0):
                patient = asyncio.create_task(session.verify(pictures.job(), patience=20.0))
                with pytest.raises(Unavailable, match="the ledger did not write it down"):
                    await session.verify(pictures.job(), patience=1.0)
            await asyncio.sleep(1.5)
        assert (await patient).approved


async def test_who_has_given_up_is_not_put_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose caller has left while the file was locked is not begun later, when nobody would send it."""
    monkeypatch.setattr(database, "WRITER_BUSY_SECONDS", 0.05)
    async with Ledger(tmp_path / "l", delay=0.0) as ledger:
        with locked(tmp_path / "l"):
            for job_id in ("j1", "j2"):
                with anyio.move_on_after(0.2) as scope:
                    await ledger.begin(job_of(job_id), DIGEST)
                assert scope.cancelled_caught
            await asyncio.sleep(0.5)
        assert (await ledger.begin(job_of("j2"), DIGEST)).attempt == 1
        async with ledger.reading() as connection:
            assert (await connection.execute(sa.select(schema.jobs.c.job_id))).scalars().all() == ["j2"]


async def test_leaving_a_locked_file_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What can not be written because of another's lock is said, and the ledger can be had again at once."""
    monkeypatch.setattr(group_commit, "CLOSING", 0.5)
    ledger = Ledger(tmp_path / "l", delay=0.0)
    await ledger.open()
    await ledger.begin(job_of(), DIGEST)
    with locked(tmp_path / "l"):
        ledger.accepted(job_of().ticket)
        async with within(LEAVING - 2):
            await ledger.aclose()
    assert "1 notes are lost" in caplog.text
    async with Ledger(tmp_path / "l", delay=0.0) as again:
        assert (await again.begin(job_of(), DIGEST)).attempt == 2


async def test_what_is_noted_after_the_end_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A verdict that comes when the ledger is closed already is not written, and an ERROR names its job."""
    async with Ledger(tmp_path / "l") as ledger:
        pass
    ledger.accepted(job_of().ticket)
    assert "job j1 is lost" in caplog.text


async def test_a_ledger_can_be_left_by_two_at_once(tmp_path: Path) -> None:
    """Closing twice at the same time closes once."""
    ledger = Ledger(tmp_path / "l")
    await ledger.open()
    ledger.accepted(job_of().ticket)
    await asyncio.gather(ledger.aclose(), ledger.aclose())
    async with Ledger(tmp_path / "l"):
        pass


async def test_leaving_a_full_disk_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that is full when a ledger is left costs no time, and an ERROR says how much was lost."""
    ledger = Ledger(tmp_path / "l", delay=0.0)
    await ledger.open()

    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("smile_async.ledger.ledger.commit", full)
    ledger.accepted(job_of().ticket)
    async with within(2.0):
        await ledger.aclose()
    assert "1 notes are lost" in caplog.text


async def test_whoever_is_cancelled_leaves_no_file_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that is cut short at any moment is over when its caller is back: the next one finds no lock."""
    monkeypatch.setattr("smile_async.ledger.database.BUSY_SECONDS", 0.3)
    async with Ledger(tmp_path / "l") as ledger:
        for number in range(40):
            with anyio.move_on_after(number * 0.0001):
                await ledger._known_as(f"cut {number}", otherwise="x")
            assert await ledger._known_as(f"whole {number}", otherwise="y") == "y"


async def test_whoever_is_cancelled_while_he_opens_a_file_leaves_it_free(tmp_path: Path) -> None:
    """However early an opening is cut short, the next one, in the same process, finds neither lock nor transaction."""
    for number in range(30):
        with anyio.move_on_after(number * 0.0005):
            async with Ledger(tmp_path / "l"):
                pass
        async with Ledger(tmp_path / "l") as ledger:
            assert await ledger._known_as("me", otherwise="x") == "x"


def in_hand(folder: Path) -> list[str]:
    """The files there that this process has open."""
    found = []
    for number in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(number.readlink()))
    return [name for name in found if name.startswith(str(folder))]


@pytest.mark.parametrize("leg", ["opens", "closes"])
async def test_whoever_is_cancelled_by_asyncio_while_a_file_opens_or_closes_holds_nothing_of_it(
    leg: str, tmp_path: Path
) -> None:
    """A task that is cancelled at any await has closed every connection and let go of the lock once it ends."""
    cancelled = 0
    for moment in range(0, 60, 3):
        ledger = Ledger(tmp_path / "l")
        if leg == "closes":
            await ledger.open()
        task = asyncio.create_task(ledger.open() if leg == "opens" else ledger.aclose())
        for _ in range(moment):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if task.cancelled() and moment:
            cancelled += 1
            assert in_hand(tmp_path) == []
        await ledger.aclose()
    assert cancelled


async def test_whoever_is_cancelled_while_he_is_connected_to_a_file_leaves_no_connection(tmp_path: Path) -> None:
    """A reader who is cancelled while a further connection is made for him leaves none behind in a closed ledger."""
    for moment in range(0, 60, 5):
        async with Ledger(tmp_path / "l") as ledger, ledger.reading():
            reading = asyncio.create_task(Batches(ledger).counts("b"))
            for _ in range(moment):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
        assert in_hand(tmp_path) == []


async def test_whoever_is_cancelled_by_anyio_while_he_reads_a_file_leaves_no_connection(tmp_path: Path) -> None:
    """A reader who is cancelled again and again, as scopes do, has let go of his connection when the ledger closes."""
    for number in range(40):
        async with Ledger(tmp_path / "l") as ledger:
            with anyio.move_on_after(number * 0.0005):
                while True:
                    await Batches(ledger).counts("b")
        assert in_hand(tmp_path) == []


@pytest.mark.parametrize("moment", ["INSERT", "SELECT", "commit"])
async def test_whoever_is_cancelled_by_asyncio_while_he_writes_a_file_leaves_no_lock(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that is cancelled in the middle of a statement, or of the commit, has ended its transaction when it goes.

    What it has committed by then stays.
    """
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.3)
    async with Ledger(tmp_path / "l") as ledger:
        writing = asyncio.create_task(ledger._known_as("cut", otherwise="x"))

        def cut(*told: object) -> None:
            if len(told) == 1 or str(told[2]).startswith(moment):
                writing.cancel()

        # Called on the way into the driver: its next await is the one that is cut short.
        name = "commit" if moment == "commit" else "before_cursor_execute"
        engine = ledger._opened_engine().sync_engine
        sa.event.listen(engine, name, cut)
        await asyncio.wait([writing])
        sa.event.remove(engine, name, cut)
        assert writing.cancelled()
        assert await ledger._known_as("whole", otherwise="y") == "y"
        assert await ledger._known_as("cut") == ("x" if moment == "commit" else None)


async def test_sessions_that_are_entered_at_once_share_a_ledger(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path
) -> None:
    """Two sessions that are given one unopened ledger both work, and leave nothing of its file open."""
    ledger = Ledger(tmp_path / "l")

    async def one(job_id: str) -> bool:
        async with session_of(smile, ledger=ledger) as session:
            return (await session.verify(pictures.job(job_id=job_id))).approved

    assert await asyncio.gather(one("j1"), one("j2")) == [True, True]
    assert in_hand(tmp_path) == []


async def test_whoever_is_cancelled_while_he_joins_leaves_the_ledger_to_who_shares_it(tmp_path: Path) -> None:
    """Of two who join at once one is cancelled at any moment: the other has an open ledger, and closes it."""
    for moment in range(0, 60, 3):
        ledger = Ledger(tmp_path / "l")
        cut, whole = (asyncio.create_task(ledger.join("partner 001")) for _ in range(2))
        for _ in range(moment):
            await asyncio.sleep(0)
        cut.cancel()
        await asyncio.wait([cut, whole])
        assert await ledger._known_as("account") == "partner 001"
        for joined in (cut, whole):
            if not joined.cancelled():
                await ledger.leave()
        assert in_hand(tmp_path) == []


async def test_whoever_opens_a_ledger_that_is_being_closed_waits_for_that(tmp_path: Path) -> None:
    """Opened in the middle of its closing it is open when both are over, and leaves nothing of its file open."""
    ledger = Ledger(tmp_path / "l")
    await ledger.open()
    closing = asyncio.create_task(ledger.aclose())
    while ledger.opened:  # noqa: ASYNC110 - of all turns of the loop the first one in which it is not
        await asyncio.sleep(0)
    await asyncio.gather(ledger.open(), closing)
    assert await ledger._known_as("me", otherwise="x") == "x"
    await ledger.aclose()
    assert in_hand(tmp_path) == []


def test_a_ledger_can_be_used_in_one_loop_after_another(tmp_path: Path) -> None:
    """An object that was opened and closed in one `asyncio.run` serves those who write at once in the next."""
    ledger = Ledger(tmp_path / "l")

    async def use() -> None:
        joining = [ledger.join("partner 001") for _ in range(3)]
        await asyncio.gather(*joining)
        await asyncio.gather(*(ledger.leave() for _ in joining))

    for _ in range(2):
        asyncio.run(use())
    assert in_hand(tmp_path) == []
