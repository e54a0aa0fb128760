"""The ledger by itself and under a session: what is on record, before what, and who may write it."""

import asyncio
import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from batch_support import ledger_at, ledger_of_version_1
from ledger_support import DIGEST, job_of, row_of, verdict_of
from scripted import ScriptedSmile, cut, say
from street import MARKER, Pictures, session_of, until

from smile_async import Decision, Failed, Finished, Job, SmileSession, Ticket, Verdict
from smile_async.errors import (
    BadConfiguration,
    InvalidJob,
    JobExists,
    JobNotFound,
    LedgerFailed,
    StillPending,
    Unavailable,
    UserNotEnrolled,
)
from smile_async.ledger import Ledger, State, as_ledger, database, failpoints, schema
from smile_async.ledger.batches import Batches
from smile_async.ledger.database import Database
from smile_async.protocol.steps import Reach, Sent
from smile_async.sandbox import RunningSandbox
from smile_async.traffic.payload import read_in_thread
from smile_async.transport.engine import NoReply
from smile_async.transport.pool import Pool

pytestmark = pytest.mark.usefixtures("tidy")


def modes_in(folder: Path) -> dict[str, int]:
    """Who may do what with each file of *folder*."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def all_bytes(folder: Path) -> bytes:
    """Everything in every file of *folder*."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_an_intent_is_durable_when_begin_returns(tmp_path: Path) -> None:
    """When `begin` has returned, another process reads the intent, the digest and the attempt from the file."""
    async with ledger_at(tmp_path / "l") as ledger:
        assert (await ledger.begin(job_of(), DIGEST)).attempt == 1
        with sqlite3.connect(tmp_path / "l") as other:
            found = other.execute("select state, digest, reach, attempts from smile_jobs").fetchall()
        other.close()
    assert found == [("sending", DIGEST.hex(), int(Reach.RESERVED), 1)]


async def test_many_intents_share_a_commit(tmp_path: Path) -> None:
    """A thousand jobs that begin together cost a handful of commits, and each gets its own answer."""
    commits = 0

    def count(name: str) -> None:
        nonlocal commits
        commits += name == "intent committed"

    failpoints.install(count)
    try:
        async with ledger_at(tmp_path / "l", delay=0.005) as ledger:
            jobs = [job_of(f"j{number}") for number in range(1000)]
            answers = await asyncio.gather(*(ledger.begin(job, DIGEST) for job in jobs))
            again = await asyncio.gather(*(ledger.begin(job, DIGEST) for job in jobs))
    finally:
        failpoints.install(None)
    assert {(answer.attempt, answer.reach) for answer in answers} == {(1, Reach.NOTHING)}
    assert {(answer.attempt, answer.reach) for answer in again} == {(2, Reach.RESERVED)}
    assert commits < 10


async def test_more_intents_than_a_statement_takes_are_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too much for one statement is spread over several commits, and nobody is forgotten."""
    monkeypatch.setattr("smile_async.ledger.group_commit.AT_ONCE", 10)
    async with ledger_at(tmp_path / "l") as ledger:
        answers = await asyncio.gather(*(ledger.begin(job_of(f"j{number}"), DIGEST) for number in range(35)))
    assert [answer.attempt for answer in answers] == [1] * 35


async def test_the_life_of_a_job(tmp_path: Path) -> None:
    """A row goes from sending over accepted and provisional to final, with its ticket, verdict, times and events."""
    job = job_of()
    number = Ticket("ada", "j1", 2, "77")
    async with ledger_at(tmp_path / "l") as ledger:
        await ledger.begin(job, DIGEST)
        await ledger.mark(number, Reach.UPLOADED, 1)
        assert (await row_of(ledger))["reach"] == Reach.UPLOADED
        ledger.accepted(number)
        ledger.heard(verdict_of(job, "0822"))
        assert (await row_of(ledger))["state"] == State.PROVISIONAL
        ledger.heard(verdict_of(job))
        ledger.heard(verdict_of(job, "0822"))
        row = await row_of(ledger)
        async with ledger.reading() as connection:
            kinds = (await connection.execute(sa.select(schema.events.c.kind).order_by(schema.events.c.id))).scalars()
            assert list(kinds) == ["sending", "accepted", "provisional", "approved", "provisional"]
        known = await ledger.begin(job, DIGEST)
    assert (row["state"], row["decision"], row["code"], row["final"]) == (State.FINAL, "approved", "0820", True)
    assert row["created_at"] <= row["accepted_at"] <= row["decided_at"] <= row["final_at"]
    assert known.ticket == number
    assert known.verdict is not None
    assert known.verdict.approved
    assert (known.verdict.actions, known.verdict.text) == ({"a": "b"}, "said")


async def test_a_verdict_of_a_job_that_was_not_accepted_from_us_is_not_taken(tmp_path: Path) -> None:
    """What status says of a job_id that we only tried to use may be about another selfie: the row stays open."""
    async with ledger_at(tmp_path / "l") as ledger:
        await ledger.begin(job_of(), DIGEST)
        ledger.heard(verdict_of(job_of()))
        assert (await row_of(ledger))["state"] == State.SENDING
        ledger.failed(job_of().ticket, JobExists("used", status=400, code="2215"), Reach.NOTHING, attempt=1)
        ledger.heard(verdict_of(job_of()))
        row = await row_of(ledger)
    assert (row["state"], row["error"], row["error_code"]) == (State.FAILED, "JobExists", "2215")


async def test_an_unconfirmed_verdict_is_not_taken(tmp_path: Path) -> None:
    """Only what a status query confirmed is written down."""
    async with ledger_at(tmp_path / "l") as ledger:
        await ledger.begin(job_of(), DIGEST)
        ledger.accepted(job_of().ticket)
        ledger.heard(Verdict(Decision.APPROVED, True, "0820", "", job_of().ticket))
        assert (await row_of(ledger))["state"] == State.ACCEPTED


async def test_a_lost_poll_fails_an_accepted_job_and_no_other(tmp_path: Path) -> None:
    """A failure of the waiting is noted with a job that was accepted; one that came to its end keeps it."""
    async with ledger_at(tmp_path / "l") as ledger:
        for job_id in ("j1", "j2", "j3"):
            await ledger.begin(job_of(job_id), DIGEST)
        for job_id in ("j1", "j2"):
            ledger.accepted(job_of(job_id).ticket)
        ledger.heard(verdict_of(job_of("j2")))
        for job_id in ("j1", "j2", "j3"):
            ledger.failed(job_of(job_id).ticket, Unavailable("gone"), Reach.UPLOADED, polled=True)
        states = [(await row_of(ledger, job_id))["state"] for job_id in ("j1", "j2", "j3")]
    assert states == [State.FAILED, State.FINAL, State.SENDING]


@pytest.mark.parametrize(
    ("job", "digest", "why"),
    [
        (job_of(user_id="bob"), DIGEST, "another user"),
        (job_of(), b"e" * 32, "changed since"),
    ],
)
async def test_another_job_under_the_same_id_is_refused(tmp_path: Path, job: Job, digest: bytes, why: str) -> None:
    """A job_id stands for one person and one set of pictures; the message names both hashes."""
    async with ledger_at(tmp_path / "l") as ledger:
        await ledger.begin(job_of(), DIGEST)
        with pytest.raises(InvalidJob, match=why) as caught:
            await ledger.begin(job, digest)
    if digest != DIGEST:
        assert DIGEST.hex() in str(caught.value)
        assert digest.hex() in str(caught.value)


async def test_another_type_under_the_same_id_is_refused(tmp_path: Path, pictures: Pictures) -> None:
    """A registration can not take the place of an authentication that was sent."""
    async with ledger_at(tmp_path / "l") as ledger:
        await ledger.begin(job_of(), DIGEST)
        with pytest.raises(InvalidJob, match="job type 2"):
            await ledger.begin(Job.register("ada", pictures.selfie, job_id="j1"), DIGEST)


async def test_what_never_arrived_may_be_sent_with_other_pictures(tmp_path: Path) -> None:
    """After a refusal that left nothing at Smile ID, a better picture under the same job_id is welcome."""
    async with ledger_at(tmp_path / "l") as ledger:
        await ledger.begin(job_of(), DIGEST)
        ledger.failed(job_of().ticket, UserNotEnrolled("no", status=400, code="2210"), Reach.NOTHING, attempt=1)
        known = await ledger.begin(job_of(), b"e" * 32)
        row = await row_of(ledger)
    assert (known.attempt, known.reach) == (2, Reach.NOTHING)
    assert (row["state"], row["attempts"], row["digest"]) == (State.SENDING, 2, (b"e" * 32).hex())


async def test_files_are_private(tmp_path: Path) -> None:
    """The ledger, its write-ahead log, its shared memory and its lock are for their owner only, whatever the umask."""
    before = os.umask(0)
    try:
        (tmp_path / "l").touch(0o666)
        async with ledger_at(tmp_path / "l") as ledger:
            await ledger.begin(job_of(), DIGEST)
            modes = modes_in(tmp_path)
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("l", "l-wal", "l-shm", "l.lock"), 0o600)


async def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    """A ledger that another process holds is refused; the moment that process is killed it can be had."""
    hold = f"""
import asyncio
from smile_async.ledger import Ledger
async def main():
    async with Ledger({str(tmp_path / "l")!r}):
        print("held", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", hold, stdout=subprocess.PIPE)
    assert child.stdout is not None
    await child.stdout.readline()
    with pytest.raises(LedgerFailed, match="in use by another process"):
        await ledger_at(tmp_path / "l").open()
    async with ledger_at(tmp_path / "l", read_only=True) as looking:
        assert await Batches(looking).names() == []
    child.kill()
    await child.wait()
    async with ledger_at(tmp_path / "l"):
        pass


async def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the operating system can not lock (some network file systems), the message says what to do instead."""

    def nolock(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(database.fcntl, "flock", nolock)
    with pytest.raises(LedgerFailed, match=r"No locks available.*local disk, or use postgresql"):
        await ledger_at(tmp_path / "l").open()


async def test_places_that_are_none(tmp_path: Path) -> None:
    """A missing directory, a file that is no database, a URL of another kind: each is refused with its reason."""
    with pytest.raises(LedgerFailed, match="No such file"):
        await ledger_at(tmp_path / "no" / "l").open()
    (tmp_path / "text").write_text("not a database, but long enough to be read as one" * 100)
    with pytest.raises(BadConfiguration, match="not a database"):
        await ledger_at(tmp_path / "text").open()
    with pytest.raises(BadConfiguration, match="unknown kind"):
        Ledger("mysql://host/db")
    with pytest.raises(BadConfiguration, match="no ledger at"):
        await ledger_at(tmp_path / "none", read_only=True).open()
    (tmp_path / "empty").touch()
    with pytest.raises(BadConfiguration, match="no ledger yet"):
        await ledger_at(tmp_path / "empty", read_only=True).open()
    with pytest.raises(BadConfiguration, match="give a path, a URL or a Ledger"):
        as_ledger(7)
    assert "secret" not in repr(Ledger("postgresql://me:secret@host/db"))


async def test_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older ledger is migrated step by step, a newer one refused, and one without a way here too."""
    async with ledger_at(tmp_path / "l") as ledger:
        await ledger.begin(job_of(), DIGEST)
    monkeypatch.setattr(schema, "VERSION", 5)
    with pytest.raises(BadConfiguration, match="no migration"):
        await ledger_at(tmp_path / "l").open()
    steps = []
    monkeypatch.setattr(schema, "MIGRATIONS", {n: lambda _c, n=n: steps.append(n) for n in (3, 4)})
    with pytest.raises(BadConfiguration, match="version 3, this library 5: run the batch"):
        await ledger_at(tmp_path / "l", read_only=True).open()
    async with ledger_at(tmp_path / "l") as ledger:
        assert (await row_of(ledger))["state"] == State.SENDING
    assert steps == [3, 4]
    monkeypatch.setattr(schema, "VERSION", 1)
    with pytest.raises(BadConfiguration, match="version 5, this library 1: upgrade"):
        await ledger_at(tmp_path / "l").open()


@pytest.mark.parametrize("old", [False, True], ids=["making", "migrating"])
async def test_tables_are_made_or_migrated_whole_or_not_at_all(tmp_path: Path, old: bool) -> None:
    """Whichever statement is the last of a dying process, the next run opens the ledger as if it were the first."""
    for passes in range(60):
        path = tmp_path / str(passes)
        if old:
            with contextlib.closing(sqlite3.connect(path)) as other:
                other.executescript(";".join(ledger_of_version_1()))
        before = _tables(path)
        if _prepared(path, passes):
            break
        assert _tables(path) == before
        async with ledger_at(path) as ledger:
            assert (await ledger.begin(job_of("new"), DIGEST)).attempt == 1
    else:
        raise AssertionError("it was never left in peace")
    assert passes > 5


def _prepared(path: Path, passes: int) -> bool:
    """Whether the tables could be made in the file at *path* before more than so many statements had gone through."""
    engine = Database(path).writer()
    assert engine is not None
    left = passes

    def die(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt

    sa.event.listen(engine, "before_cursor_execute", die)
    try:
        with engine.begin() as connection:
            schema.prepare(connection)
    except KeyboardInterrupt:
        return False
    finally:
        engine.dispose()
    return True


def _tables(path: Path) -> list[tuple[str, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as other:
        return other.execute("select name, sql from sqlite_schema order by name").fetchall()


async def test_a_database_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    """A database with a table of our name but without our mark is not ours to change."""
    with sqlite3.connect(tmp_path / "l") as other:
        other.execute("create table smile_jobs (a int)")
    other.close()
    with pytest.raises(BadConfiguration, match="is no ledger"):
        await ledger_at(tmp_path / "l").open()


async def test_a_full_disk_stops_what_is_not_on_record_and_keeps_the_rest(tmp_path: Path) -> None:
    """While the disk is full nothing begins; what was noted meanwhile is written once there is room again."""
    async with ledger_at(tmp_path / "l") as ledger:
        await ledger.begin(job_of(), DIGEST)
        async with ledger.reading() as connection:
            pages = (await connection.exec_driver_sql("pragma page_count")).scalar_one()

        def limit(pages: int) -> Any:
            def tune(connection: Any, _record: object, _proxy: object) -> None:
                connection.cursor().execute(f"pragma max_page_count={pages}")

            return tune

        engine = ledger._writer
        assert engine is not None
        full = limit(pages)
        sa.event.listen(engine, "checkout", full)
        many = [job_of(f"{'x' * 200}{number}") for number in range(200)]
        failed = await asyncio.gather(*(ledger.begin(job, DIGEST) for job in many), return_exceptions=True)
        assert all(isinstance(error, LedgerFailed) and error.retryable for error in failed)
        assert "full" in str(failed[0])
        sa.event.remove(engine, "checkout", full)
        sa.event.listen(engine, "checkout", limit(1_000_000))
        assert (await ledger.begin(many[0], DIGEST)).attempt == 1


async def test_notes_survive_a_failing_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket noted while the ledger can not be written is on record after the next commit that succeeds."""
    monkeypatch.setattr("smile_async.ledger.group_commit.AGAIN", 0.01)
    async with ledger_at(tmp_path / "l") as ledger:
        await ledger.begin(job_of(), DIGEST)
        failures = 3

        def failing(*_: object, **__: object) -> Any:
            nonlocal failures
            failures -= 1
            if not failures:
                monkeypatch.undo()
            raise sa.exc.OperationalError("x", {}, sqlite3.OperationalError("disk I/O error"))

        monkeypatch.setattr("smile_async.ledger.ledger.commit", failing)
        ledger.accepted(job_of().ticket)
        with pytest.raises(LedgerFailed, match="disk I/O error"):
            await ledger.mark(job_of().ticket, Reach.UPLOADED, 1)
        await until(lambda: not failures)
        assert (await row_of(ledger))["state"] == State.ACCEPTED


async def test_a_closed_ledger_says_so(tmp_path: Path) -> None:
    """Outside its block a ledger refuses; inside, it can not be opened twice; closing twice is nothing."""
    ledger = ledger_at(tmp_path / "l")
    with pytest.raises(LedgerFailed, match="not open"):
        await ledger.begin(job_of(), DIGEST)
    async with ledger:
        with pytest.raises(BadConfiguration, match="open already"):
            await ledger.open()
    await ledger.aclose()
    assert "l>" in repr(ledger)


async def test_erase_and_purge(tmp_path: Path) -> None:
    """Erasing a person leaves no trace in the file; purging forgets what has ended, and nothing that is open."""
    async with ledger_at(tmp_path / "l") as ledger:
        batches = Batches(ledger)
        flaws = [(2, "has no selfie", "zebediah"), (3, "key 'k' stands for user zebediah in the ledger", "grace")]
        flaws += [(4, "key 'zebediah' is there twice", None), (5, "is not CSV", None), (6, "user zebediah2 ", "grace")]
        for _ in range(2):
            run = await batches.start("b", {})
            await batches.plan("b", run, [], [], refused=[], flaws=flaws)
        for job_id, user in (("j1", "ada"), ("j2", "zebediah"), ("j3", "grace"), ("j4", "grace")):
            await ledger.begin(job_of(job_id, user), DIGEST)
            ledger.accepted(job_of(job_id, user).ticket)
        ledger.heard(verdict_of(job_of("j1")))
        ledger.heard(verdict_of(job_of("j2", "zebediah")))
        assert await batches.erase("zebediah") == 1
        assert await batches.problems("b", run) == [(5, "is not CSV"), (6, "user zebediah2 ")]
        # What was under way is heard of later.
        ledger.accepted(job_of("j2", "zebediah").ticket)
        assert await batches.erase("zebediah") == 0
        held = all_bytes(tmp_path).replace(b"zebediah2", b"")
        assert b"zebediah" not in held
        assert b"grace" in held
        assert await batches.purge(time.time() - 60) == 0
        assert await batches.purge(time.time() + 60) == 1
        async with ledger.reading() as connection:
            left = (await connection.execute(sa.select(schema.events.c.job_id).distinct())).scalars()
            assert set(left) == {"j3", "j4"}
        assert await batches.problems("b", 1) == []
        assert len(await batches.problems("b", run)) == 2


# Under a session.


async def test_a_session_keeps_its_jobs(running: RunningSandbox, pictures: Pictures, tmp_path: Path) -> None:
    """A job submitted again, here or after a restart, gives its verdict or ticket, and no request leaves for it."""
    job = pictures.job()
    async with session_of(running, ledger=tmp_path / "l") as session:
        verdict = await session.verify(job)
    record = running.sandbox.jobs[job.job_id]
    seen = (record.prep_uploads, record.uploads, record.polls, list(record.refusals))
    async with session_of(running, ledger=tmp_path / "l") as session:
        again = await session.verify(job)
        assert await session.submit(job) == again.ticket
        async with session.stream([job], until="final") as outcomes:
            (streamed,) = [outcome async for outcome in outcomes]
    assert again.approved
    assert again.ticket == verdict.ticket
    assert streamed.verdict.code == verdict.code  # type: ignore[union-attr]
    assert (record.prep_uploads, record.uploads, record.polls, list(record.refusals)) == seen


async def test_a_job_on_record_is_asked_about_for_what_no_record_has(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """History and links are not written down: who asks for them of a job on record gets them, by one status query."""
    job = pictures.job(partner_params={"sandbox_result": "2"})
    async with session_of(running, ledger=tmp_path / "l") as session:
        await session.verify(job)
        running.sandbox.review(job.job_id, "approve")
        await session.verify(job, until="final")
    record = running.sandbox.jobs[job.job_id]
    seen = (record.prep_uploads, record.uploads, record.polls)
    async with session_of(running, ledger=tmp_path / "l") as session:
        verdict = await session.verify(job, history=True)
        assert [past.code for past in verdict.history] == ["1220", "0822"]
        assert not verdict.image_links
        assert (await session.verify(job, image_links=True)).image_links
    assert verdict.approved
    assert (record.prep_uploads, record.uploads, record.polls) == (seen[0], seen[1], seen[2] + 2)


async def test_nothing_secret_is_written(running: RunningSandbox, pictures: Pictures, tmp_path: Path) -> None:
    """No key, picture, link or raw reply is in any file of the ledger."""
    async with session_of(running, ledger=tmp_path / "l") as session:
        await session.verify(pictures.job(), image_links=True)
        held = all_bytes(tmp_path)
    assert MARKER not in held
    assert running.api_key.encode() not in held
    assert b"https://" not in held
    assert b"ada" in held


async def test_an_impostor_gets_nothing_from_the_ledger(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """Another selfie under a known job_id is refused before anything leaves, and changes nothing on record."""
    job = pictures.job()
    async with session_of(running, ledger=tmp_path / "l") as session:
        await session.verify(job)
        with pytest.raises(InvalidJob, match="have changed") as caught:
            await session.verify(Job.authenticate("ada", pictures.other, job_id=job.job_id))
        assert caught.value.ticket is None
        assert (await session.verify(job)).approved


async def test_an_intent_of_a_dead_process_is_resumed(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """Whatever an earlier process had reached, nothing, a slot or a zip, the job goes on to one verdict and one job."""
    for reach in (Reach.RESERVED, Reach.UPLOADED):
        job = pictures.job()
        async with ledger_at(tmp_path / "l") as ledger, session_of(running, ledger=ledger) as session:
            async with session_of(running) as earlier:
                if reach is Reach.UPLOADED:
                    await earlier.submit(job)
            digest = (await read_in_thread(job)).digest()
            await ledger.begin(job, digest)
            await ledger.mark(job.ticket, reach, 1)
            assert (await session.verify(job)).approved
        assert running.sandbox.count(job.job_id) == 1


async def test_a_zip_that_was_never_ours_is_not_believed(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """If nothing on record says that our zip left, a zip that is there belongs to somebody else: JobExists."""
    job = pictures.job()
    async with session_of(running) as somebody:
        await somebody.verify(Job.authenticate("ada", pictures.other, job_id=job.job_id))
    async with ledger_at(tmp_path / "l") as ledger, session_of(running, ledger=ledger) as session:
        await ledger.begin(job, (await read_in_thread(job)).digest())
        with pytest.raises(JobExists):
            await session.verify(job)
        assert (await row_of(ledger, job.job_id))["decision"] is None


async def test_failures_are_on_record(running: RunningSandbox, pictures: Pictures, tmp_path: Path) -> None:
    """A refusal is written down with its code and text, and the job may be sent again once the cause is gone."""
    job = pictures.job("unknown")
    async with ledger_at(tmp_path / "l") as ledger, session_of(running, ledger=ledger) as session:
        with pytest.raises(UserNotEnrolled):
            await session.verify(job)
        row = await row_of(ledger, job.job_id)
        assert (row["state"], row["error"], row["error_code"], row["reach"]) == ("failed", "UserNotEnrolled", "2210", 0)
        running.sandbox.enroll("unknown")
        assert (await session.verify(job)).approved
        row = await row_of(ledger, job.job_id)
    assert (row["state"], row["attempts"], row["error"]) == (State.FINAL, 2, None)


async def test_a_callback_for_a_job_nobody_waits_for_is_on_record(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """A confirmed verdict is written down although no task of this process waits for the job."""
    job = pictures.job()
    async with ledger_at(tmp_path / "l") as ledger, session_of(running, ledger=ledger) as session:
        ticket = await session.submit(job)
        claim = Verdict(Decision.APPROVED, True, "0820", "", ticket, source="callback")
        await session.deliver(claim)
        row = await row_of(ledger, job.job_id)
    assert (row["state"], row["source"]) == (State.FINAL, "callback")


@pytest.mark.usefixtures("soon")
async def test_a_job_of_an_earlier_life_may_be_unknown_for_a_moment(
    smile: ScriptedSmile, pictures: Pictures, place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who starts anew and goes on waiting for what is on record hears no 2304 of it for a moment; later he does."""
    monkeypatch.setattr("smile_async.traffic.v1.forgetful_for", lambda _product: 3600.0)
    unknown = say(404, {"error": "Job not found", "code": "2304"})
    async with session_of(smile, ledger=place) as session:
        await session.submit(pictures.job(job_id="j1"))
        ticket = await session.submit(pictures.job(job_id="j2"))
    smile.fault("job_status", *[unknown] * 2)
    async with session_of(smile, ledger=place) as session:
        async with session.stream(session.pending()) as outcomes:
            assert [type(outcome) async for outcome in outcomes] == [Finished] * 2
        session._driver._expected.clear()
        smile.fault("job_status", unknown)
        with pytest.raises(JobNotFound):
            await session.wait(ticket)


async def test_an_unwritable_ledger_lets_nothing_leave(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the intent can not be written no request leaves; if the mark before the upload can not, no picture does."""

    def failing(*_: object, **__: object) -> Any:
        raise sa.exc.OperationalError("x", {}, sqlite3.OperationalError("attempt to write a readonly database"))

    async with session_of(running, ledger=tmp_path / "l") as session:
        with monkeypatch.context() as broken:
            broken.setattr("smile_async.ledger.ledger.commit", failing)
            with pytest.raises(LedgerFailed, match="readonly") as caught:
                await session.submit(pictures.job(job_id="j1"))
        assert (caught.value.ticket, caught.value.retryable) == (None, True)
        assert running.sandbox.count("j1") == 0

        async def no_mark(*_: object) -> None:
            raise LedgerFailed("full")

        with monkeypatch.context() as broken:
            broken.setattr(Ledger, "mark", no_mark)
            with pytest.raises(LedgerFailed):
                await session.submit(pictures.job(job_id="j2"))
        assert running.sandbox.jobs["j2"].uploads == 0
        assert (await session.verify(pictures.job(job_id="j2"))).approved
        assert running.sandbox.count("j2") == 1


async def test_a_slow_ledger_does_not_outlast_patience(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """A ledger that does not answer costs the caller his patience and no more."""
    async with ledger_at(tmp_path / "l") as ledger, session_of(running, ledger=ledger) as session, ledger._turn:
        job = pictures.job()
        with pytest.raises(Unavailable, match="the ledger did not write it down") as caught:
            await session.submit(job, patience=0.2)
        assert (caught.value.job, caught.value.ticket, caught.value.retryable) == (job, None, True)


async def test_a_ledger_belongs_to_one_account(running: RunningSandbox, pictures: Pictures, tmp_path: Path) -> None:
    """A verdict of one account must never count in another: a ledger serves the partner and host it began with."""
    async with session_of(running, ledger=tmp_path / "l"):
        pass
    with pytest.raises(BadConfiguration, match="belongs to partner 001"):
        async with SmileSession("002", "key", environment="production", ledger=tmp_path / "l"):
            pass
    async with session_of(running, ledger=str(tmp_path / "l")):
        pass


async def test_a_provisional_on_record_is_told_and_followed_up(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """After a restart a provisional verdict is known at once, and waiting for the final one goes on by asking."""
    job = pictures.job(partner_params={"sandbox_result": "2"})
    async with session_of(running, ledger=tmp_path / "l") as session:
        assert (await session.verify(job)).decision is Decision.PROVISIONAL
    async with session_of(running, ledger=tmp_path / "l") as session:
        assert (await session.verify(job)).decision is Decision.PROVISIONAL
        with pytest.raises(StillPending) as caught:
            await session.verify(job, until="final", patience=1.0)
        assert caught.value.verdict is not None
        running.sandbox.review(job.job_id, "approve")
        assert (await session.verify(job, until="final")).approved


async def test_an_upload_cut_short_is_resumed_after_a_restart(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job whose /upload got no answer is on record as perhaps arrived: another process has its ticket even if it can
    send nothing itself, and resumes it.
    """

    async def nothing_leaves(*_: Any) -> Any:
        raise NoReply(Sent.UNSENT, "no route to host")

    job = pictures.job(job_id="j1")
    smile.fault("upload", cut(), cut(), cut(), effect=True)
    async with session_of(smile, ledger=tmp_path / "l") as session, session.stream([job]) as outcomes:
        (outcome,) = [outcome async for outcome in outcomes]
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, Unavailable)
    async with session_of(smile, ledger=tmp_path / "l") as session:
        monkeypatch.setattr(Pool, "send", nothing_leaves)
        with pytest.raises(Unavailable) as caught:
            await session.verify(job)
        assert (caught.value.ticket, caught.value.retryable) == (job.ticket, True)
        monkeypatch.undo()
        assert (await session.verify(job)).approved
