"""What the database does not take costs itself alone: nobody else waits for it, and nothing else is lost."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_support import DIGEST, job_of, row_of, two_at, verdict_of
from street import Pictures, session_of, until

from smile_async import Job, Ticket
from smile_async.errors import InvalidJob, LedgerFailed, Unavailable
from smile_async.ledger import Ledger, State, group_commit, schema
from smile_async.ledger.batches import Batches, Planned
from smile_async.ledger.schema import storable
from smile_async.protocol.steps import Reach
from smile_async.sandbox import RunningSandbox

pytestmark = pytest.mark.usefixtures("tidy")

LATIN = os.fsdecode(b"/photos/Ren\xe9e.jpg")


def test_what_no_database_takes_is_escaped_and_the_rest_is_left() -> None:
    """NUL and half a surrogate pair become their escapes; any other text, and none, stays what it is."""
    assert storable("a\0b") == "a\\x00b"
    assert storable(LATIN) == "/photos/Ren\\udce9e.jpg"
    for text in ("", "plain", "Renée 🙂", None, State.FINAL):
        assert storable(text) is text or storable(text) == text


async def test_texts_of_anybody_are_on_record(place: Path | str) -> None:
    """A path that is not UTF-8 and a provider's NUL are stored, readable, in every table that holds texts."""
    async with two_at(place) as (ledger, _):
        await ledger.begin(job_of(), DIGEST)
        ledger.failed(job_of().ticket, InvalidJob(f"{LATIN} is away"), Reach.NOTHING, attempt=1)
        assert (await row_of(ledger))["error_text"] == "/photos/Ren\\udce9e.jpg is away"
        ledger.accepted(Ticket("ada", "j1", 2, "7\0007"))
        said = verdict_of(job_of())
        object.__setattr__(said, "text", "no\0thing")
        object.__setattr__(said, "actions", {"a\ud800": "b\0"})
        ledger.heard(said)
        row = await row_of(ledger)
        assert (row["state"], row["smile_job_id"], row["text"]) == (State.FINAL, "7\\x007", "no\\x00thing")
        known = (await ledger.begin(job_of(), DIGEST)).verdict
        assert known is not None
        assert known.actions == {"a\\ud800": "b\\x00"}
        batches = Batches(ledger)
        number = await batches.start("b", {})
        planned = [Planned(2, f"k{LATIN}", "j2", "ada", 2, "{}", LATIN)]
        await batches.plan("b", number, planned, [], refused=[], flaws=[(3, f"{LATIN}\0", "ada")])
        assert await batches.problems("b", number) == [(3, "/photos/Ren\\udce9e.jpg\\x00")]


async def test_a_path_that_is_not_utf_8_does_not_block_a_session(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """After a job whose picture has a Latin-1 name and is away, other jobs go on and are on record."""
    async with Ledger(tmp_path / "l") as ledger, session_of(running, ledger=ledger) as session:
        with pytest.raises(InvalidJob):
            await session.submit(Job.authenticate("ada", str(tmp_path) + LATIN))
        job = pictures.job()
        assert (await session.verify(job)).approved
        assert (await row_of(ledger, job.job_id))["state"] == State.FINAL


@contextmanager
def fussy(ledger: Ledger, word: str) -> Iterator[None]:
    """A database that refuses any statement with *word* in it, as a driver would that can not encode it."""

    def refuse(_c: Any, _cursor: Any, _statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if word in str(parameters):
            raise UnicodeEncodeError("utf-8", word, 0, 1, "no")

    engine = ledger._writer or ledger._opened_engine().sync_engine
    sa.event.listen(engine, "before_cursor_execute", refuse)
    try:
        yield
    finally:
        sa.event.remove(engine, "before_cursor_execute", refuse)


async def test_one_note_that_is_refused_is_dropped_alone(place: Path | str, caplog: pytest.LogCaptureFixture) -> None:
    """Of a hundred notes in one commit the one the driver can not take is dropped with an ERROR, the others stand."""
    jobs = [job_of(f"j{number}") for number in range(100)]
    async with two_at(place) as (ledger, _):
        await asyncio.gather(*(ledger.begin(job, DIGEST) for job in jobs))
        with fussy(ledger, "broken"):
            for job in jobs:
                number = "broken" if job.job_id == "j50" else "7"
                ledger.accepted(Ticket("ada", job.job_id, 2, number))
            await ledger.flush()
            for job in jobs:
                ledger.heard(verdict_of(job))
            await ledger.flush()
        states = {job.job_id: (await row_of(ledger, job.job_id))["state"] for job in jobs}
    assert {job_id for job_id, state in states.items() if state != State.FINAL} == {"j50"}
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert errors
    assert all("job j50" in text and "UnicodeEncodeError" in text for text in errors)
    assert "broken" not in caplog.text


async def test_one_job_that_is_refused_is_told_alone(place: Path | str) -> None:
    """Of jobs that begin together the one that can not be written hears LedgerFailed, new or known; the others go."""
    async with two_at(place) as (ledger, _):
        await ledger.begin(job_of("known"), DIGEST)
        jobs = [job_of("j1"), job_of("broken"), job_of("known"), job_of("j2")]
        with fussy(ledger, "broken"):
            answers = await asyncio.gather(
                *(ledger.begin(job, DIGEST) for job in jobs),
                ledger.mark(job_of("known").ticket, Reach.UPLOADED, 1),
                return_exceptions=True,
            )
        assert isinstance(answers.pop(1), LedgerFailed)
        assert answers.pop(3) is None
        assert [answer.attempt for answer in answers if not isinstance(answer, BaseException)] == [1, 2, 1]  # type: ignore[union-attr]
        assert (await ledger.begin(job_of("j2"), DIGEST)).attempt == 2


async def test_a_row_that_can_not_be_read_stops_its_own_job_only(place: Path | str) -> None:
    """A row that another program has spoilt fails the call that needs it, not those of the same commit."""
    async with two_at(place) as (ledger, _):
        await ledger.begin(job_of("spoilt"), DIGEST)
        ledger.accepted(job_of("spoilt").ticket)
        await ledger.flush()
        async with ledger.writing() as connection:
            await connection.execute(schema.jobs.update().values(decision="no such word", actions="{}"))
        jobs = [job_of("j1"), job_of("spoilt")]
        first, second = await asyncio.gather(*(ledger.begin(job, DIGEST) for job in jobs), return_exceptions=True)
        assert not isinstance(first, BaseException)
        assert isinstance(second, LedgerFailed)


async def test_a_table_that_is_away_loses_nothing(place: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the database can not do at all is an outage: the notes are kept, and written when it can."""
    monkeypatch.setattr(group_commit, "OUTAGE", 0.2)
    monkeypatch.setattr(group_commit, "AGAIN", 0.05)
    async with two_at(place) as (ledger, _):
        await ledger.begin(job_of(), DIGEST)
        async with ledger.writing() as connection:
            await connection.execute(sa.text("ALTER TABLE smile_jobs RENAME TO away"))
        ledger.accepted(job_of().ticket)
        with pytest.raises(LedgerFailed):
            await ledger.flush()
        async with ledger.writing() as connection:
            await connection.execute(sa.text("ALTER TABLE away RENAME TO smile_jobs"))
        await until(lambda: not ledger._commits._group.notes)
        assert (await row_of(ledger))["state"] == State.ACCEPTED


async def test_what_an_outage_leaves_behind_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a ledger can not be written, no more than so many notes and events are kept, the newest."""
    monkeypatch.setattr(group_commit, "KEPT", 10)
    monkeypatch.setattr(group_commit, "AGAIN", 60.0)
    monkeypatch.setattr(group_commit, "CLOSING", 0.1)
    async with Ledger(tmp_path / "l", delay=0.0) as ledger:

        def failing(*_: object, **__: object) -> Any:
            raise OSError("disk")

        with monkeypatch.context() as broken:
            broken.setattr("smile_async.ledger.ledger.commit", failing)
            broken.setattr(group_commit, "OUTAGE", 0.0)
            for number in range(50):
                ledger.failed(job_of(f"j{number}").ticket, Unavailable("gone"), Reach.NOTHING)
            with pytest.raises(LedgerFailed):
                await ledger.flush()
        group = ledger._commits._group
        assert [note.about["b_job"] for note in group.notes["flaw"]] == [f"j{number}" for number in range(40, 50)]
        assert [event["job_id"] for event in group.happened] == [f"j{number}" for number in range(40, 50)]
