"""A ledger keeps jobs of every product, and nothing of whom they are about."""

from pathlib import Path

import pytest
from ledger_support import row_of
from street import session_of

from smile_async import Decision, IdInfo, Job, Product
from smile_async.errors import InvalidJob, SubmissionUnknown
from smile_async.ledger import Ledger, State
from smile_async.sandbox import RunningSandbox

NUMBER = "90817263540"


def job_of(number: str = NUMBER, job_id: str = "j1") -> Job:
    """A Basic KYC of a number that must be found nowhere."""
    info = IdInfo("NG", "NIN_V2", number, first_name="Canary", last_name="Obi-Canary", dob="1971-03-04")
    return Job.basic_kyc("ada", info, job_id=job_id)


def left_behind(folder: Path) -> bytes:
    """All bytes of the database and what lies beside it."""
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


async def test_a_job_without_pictures_is_on_record(running: RunningSandbox, tmp_path: Path) -> None:
    """Its product and verdict are, its number, name and record are not; a second call finds the verdict there."""
    place = tmp_path / "jobs.db"
    async with Ledger(place) as ledger, session_of(running, ledger=ledger) as session:
        verdict = await session.verify(job_of())
        assert (verdict.code, verdict.source) == ("1020", "reply")
        row = await row_of(ledger)
        assert (row["state"], row["product"], row["job_type"]) == (State.FINAL, "basic_kyc", 5)
        again = await session.verify(job_of())
        assert (again.decision, again.confirmed, again.ticket.product) == (
            *(Decision.APPROVED, True, Product.BASIC_KYC),
        )
        assert again.record == {}
        for secret in (NUMBER, "Canary", "1971"):
            assert secret.encode() not in left_behind(tmp_path)
    assert NUMBER.encode() not in left_behind(tmp_path)
    assert running.sandbox.count("j1") == 1


async def test_another_number_under_a_known_job_id_is_refused(running: RunningSandbox, tmp_path: Path) -> None:
    """The row keeps a sealed digest: another number is told apart, and refused before anything is sent."""
    async with Ledger(tmp_path / "jobs.db") as ledger, session_of(running, ledger=ledger) as session:
        await session.verify(job_of())
        with pytest.raises(InvalidJob, match="changed since it was sent"):
            await session.verify(job_of("90817263541"))
    assert running.sandbox.count("j1") == 1


async def test_what_nobody_can_tell_survives(running: RunningSandbox, tmp_path: Path) -> None:
    """A lost reply is on record as unknown, and a later process asks and does not send: one lookup in all."""
    running.sandbox.settings.without_status = ("basic_kyc",)
    running.sandbox.fault("request", cut=True, effect=True)
    place = tmp_path / "jobs.db"
    async with Ledger(place) as ledger, session_of(running, ledger=ledger) as session:
        with pytest.raises(SubmissionUnknown):
            await session.verify(job_of(), patience=2)
        row = await row_of(ledger)
        assert (row["state"], row["error"], bool(row["retryable"])) == (State.FAILED, "SubmissionUnknown", False)
    async with Ledger(place) as ledger, session_of(running, ledger=ledger) as session:
        with pytest.raises(SubmissionUnknown):
            await session.verify(job_of(), patience=2)
        running.sandbox.settings.without_status = ()
        verdict = await session.verify(job_of(), patience=10)
        assert (verdict.approved, verdict.source) == (True, "poll")
    assert running.sandbox.count("j1") == 1
