"""A ledger of V3, in a file and in PostgreSQL: what nobody can tell is on record, and is sent once."""

import sqlite3
from pathlib import Path

import httpx
import pytest
from batch_support import ledger_of_version
from callback_support import URL
from ledger_support import DIGEST, job_of, row_of
from street import session_of
from v3_batch_support import lose_answers, registration, session_v3, taken

from smile_async import CallbackReceiver, Person
from smile_async.errors import BadConfiguration, InvalidJob, SubmissionUnknown
from smile_async.ledger import Ledger, State
from smile_async.ledger.batches import Batches
from smile_async.sandbox import RunningSandbox
from smile_async.traffic.payload import read_in_thread


async def test_a_lost_answer_is_on_record_and_never_sent_again(running: RunningSandbox, place: Path | str) -> None:
    """The row says unknown, `pending` lists its ticket after a restart, and calling again sends nothing."""
    lose_answers(running)
    async with session_v3(running, ledger=place) as session:
        with pytest.raises(SubmissionUnknown):
            await session.verify(registration(), patience=10)
    async with Ledger(place) as ledger, session_v3(running, ledger=ledger) as session:
        row = await row_of(ledger)
        assert (row["state"], row["error"], row["api"], row["smile_job_id"]) == (
            *(State.FAILED, "SubmissionUnknown", "v3", None),
        )
        assert not row["retryable"]
        (ticket,) = [ticket async for ticket in session.pending()]
        assert (ticket.job_id, ticket.api, ticket.smile_job_id) == ("j1", "v3", None)
        for _ in range(2):
            with pytest.raises(SubmissionUnknown) as again:
                await session.verify(registration(), patience=10)
            assert (again.value.ticket, again.value.retryable) == (ticket, False)
        with pytest.raises(InvalidJob, match="its pictures have changed"):
            await session.verify(registration(liveness=registration().liveness[::-1]), patience=10)
    assert [job.submissions for job in taken(running, "j1")] == [1]


async def test_a_crash_before_the_answer(running: RunningSandbox, place: Path | str) -> None:
    """What was only begun when its process died may have been sent: it is listed, and not sent."""
    async with Ledger(place) as ledger, session_v3(running, ledger=ledger):
        await ledger.begin(registration(), b"d" * 32)
    async with session_v3(running, ledger=place) as session:
        (ticket,) = [ticket async for ticket in session.pending()]
        assert (ticket.job_id, ticket.api) == ("j1", "v3")
        with pytest.raises(InvalidJob, match="its pictures have changed"):
            await session.verify(registration(), patience=10)
    async with Ledger(place) as ledger, session_v3(running, ledger=ledger) as session:
        job = registration("j2")
        await ledger.begin(job, (await read_in_thread(job)).digest())
    async with session_v3(running, ledger=place) as session:
        with pytest.raises(SubmissionUnknown):
            await session.verify(registration("j2"), patience=10)
        assert {ticket.job_id async for ticket in session.pending()} == {"j1", "j2"}
    assert not running.sandbox.jobs


async def test_a_webhook_ends_the_row(running: RunningSandbox, place: Path | str) -> None:
    """What brings the TypeID of a job whose answer was lost brings its verdict, and the row its last word."""
    lose_answers(running)
    async with Ledger(place) as ledger, session_v3(running, ledger=ledger, callback_url=URL) as session:
        async with running.sandbox.sending_callbacks(httpx.ASGITransport(CallbackReceiver(session))):
            with pytest.raises(SubmissionUnknown) as lost:
                await session.submit(registration())
            assert lost.value.ticket is not None
            assert (await session.wait(lost.value.ticket, patience=30)).approved
        (job,) = taken(running, "j1")
        row = await row_of(ledger)
        assert (row["state"], row["decision"], row["smile_job_id"], row["error"]) == (
            *(State.FINAL, "approved", job.job_id, None),
        )
        assert [ticket async for ticket in session.pending()] == []
        assert (await session.verify(registration())).ticket.smile_job_id == row["smile_job_id"]
    assert len(taken(running, "j1")) == 1


async def test_a_known_job_is_recalled_and_another_refused(running: RunningSandbox, place: Path | str) -> None:
    """The same job gives its ticket after a restart; another person, face or product under its job_id is refused."""
    async with session_v3(running, ledger=place) as session:
        verdict = await session.verify(registration())
    async with session_v3(running, ledger=place) as session:
        assert await session.submit(registration()) == verdict.ticket
        assert (await session.verify(registration())).approved
        other = Person("Rashid Omar", "Dangerfield", "rashid.dangerfield@example.com")
        with pytest.raises(InvalidJob, match="its person or id fields have changed since it was sent") as refused:
            await session.verify(registration(person=other))
        assert "Dangerfield" not in str(refused.value)
        with pytest.raises(InvalidJob, match="the ledger has this job_id for another user"):
            await session.verify(registration(user_id="eve"))
    assert len(running.sandbox.jobs) == 1


async def test_a_ledger_is_of_one_api(running: RunningSandbox, place: Path | str) -> None:
    """A session of the other is refused by name; a partner id is the same however many zeros the portal shows."""
    async with session_v3(running, ledger=place):
        pass
    with pytest.raises(BadConfiguration, match=r"belongs to partner 1 at 127.0.0.1 by api 'v3', and .* 'v1'.*--api v3"):
        await session_of(running, ledger=place).__aenter__()
    async with session_v3(running, ledger=place, partner_id="1"):
        pass
    async with Ledger(place, read_only=isinstance(place, Path)) as ledger:
        assert await Batches(ledger).account() == "partner 1 at 127.0.0.1 (v3)"


async def test_who_is_refused_changes_nothing_for_who_shares_the_ledger(
    running: RunningSandbox, place: Path | str
) -> None:
    """After a session of the other API was turned away, jobs are still put on record as of the first one's API."""
    async with session_of(running, ledger=Ledger(place)) as session:
        ledger = session.sender._ledger
        assert ledger is not None
        with pytest.raises(BadConfiguration, match="this is api 'v3'"):
            await session_v3(running, ledger=ledger).__aenter__()
        await ledger.begin(job_of(), DIGEST)
        assert (await row_of(ledger))["api"] is None


async def test_a_ledger_of_before_is_of_the_first_api(running: RunningSandbox, tmp_path: Path) -> None:
    """What says nothing of an API was made for v1, and refuses V3 without a trace."""
    with sqlite3.connect(tmp_path / "l") as old:
        for statement in ledger_of_version(2):
            old.execute(statement)
        old.execute("INSERT INTO smile_meta VALUES ('account', 'partner 001 at 127.0.0.1')")
    old.close()
    with pytest.raises(BadConfiguration, match=r"partner 001 at 127.0.0.1 by api 'v1', and this is api 'v3'"):
        await session_v3(running, ledger=tmp_path / "l").__aenter__()
    async with session_of(running, ledger=tmp_path / "l"):
        pass


async def test_a_job_that_does_not_fit_is_on_record_as_failed(running: RunningSandbox, place: Path | str) -> None:
    """What the API can not take is refused before anything is begun, and no row waits for it."""
    async with Ledger(place) as ledger, session_v3(running, ledger=ledger, consent=None) as session:
        with pytest.raises(InvalidJob, match="there is no consent"):
            await session.verify(registration())
        assert [ticket async for ticket in session.pending()] == []
    assert not running.sandbox.jobs
