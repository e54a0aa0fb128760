"""A ledger keeps jobs of every product, and nothing of whom they are about."""

import hashlib
import hmac
import traceback
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_support import row_of
from street import Pictures, session_of

from smile_async import Decision, Document, Finished, IdInfo, Job, Product, SmileSession
from smile_async.errors import BadConfiguration, InvalidJob, LedgerFailed, Refused, SubmissionUnknown
from smile_async.ledger import Ledger, State
from smile_async.ledger.schema import id_info
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
        with pytest.raises(InvalidJob, match="its id fields have changed since it was sent") as refused:
            await session.verify(job_of("90817263541"))
        assert "9081726354" not in str(refused.value)
        row = await row_of(ledger)
        seal = hmac.digest(running.api_key.encode(), job_of().subject(), "sha256").hex()
        assert (row["id_digest"], row["digest"]) == (seal, hashlib.sha256().hexdigest())
    assert running.sandbox.count("j1") == 1


async def test_a_document_of_another_country_is_refused(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """What a card is said to be counts like a number: the same pictures are not the same job."""

    def card(country: str) -> Job:
        about = Document(country, pictures.liveness[0], id_type="PASSPORT")
        return Job.document_verification("bob", pictures.selfie, about, job_id="j1")

    async with session_of(running, ledger=tmp_path / "jobs.db") as session:
        assert (await session.verify(card("NG"))).approved
        assert (await session.verify(card("NG"))).approved
        with pytest.raises(InvalidJob, match="its id fields have changed"):
            await session.verify(card("GH"))
    assert running.sandbox.count("j1") == 1


async def test_a_key_may_be_rotated(running: RunningSandbox, tmp_path: Path) -> None:
    """What was sealed by the key of before is known again by who still has it, and is another's to who has not."""
    async with session_of(running, ledger=tmp_path / "jobs.db") as session:
        assert (await session.verify(job_of())).approved
    rotated = {"ledger": tmp_path / "jobs.db", "api_key": "a-new-key"}
    async with session_of(running, **rotated, previous_api_keys=[running.api_key]) as session:
        assert (await session.verify(job_of())).approved
        with pytest.raises(InvalidJob, match="its id fields have changed"):
            await session.verify(job_of("90817263541"))
    async with session_of(running, **rotated) as session:
        with pytest.raises(InvalidJob, match="its id fields have changed"):
            await session.verify(job_of())
    assert running.sandbox.count("j1") == 1


async def test_another_product_of_the_same_type_is_refused(running: RunningSandbox, tmp_path: Path) -> None:
    """Basic and Enhanced KYC share a number, and one is not the other's verdict."""
    async with session_of(running, ledger=tmp_path / "jobs.db") as session:
        assert (await session.verify(job_of())).approved
        with pytest.raises(InvalidJob, match="was of basic_kyc when it was sent"):
            await session.verify(Job.enhanced_kyc("ada", IdInfo("NG", "NIN_V2", NUMBER), job_id="j1"))


async def test_the_log_is_empty_when_a_ledger_is_closed_beside_a_reader(tmp_path: Path) -> None:
    """What was deleted does not stay behind in the write-ahead log, which a reader keeps, nor in free pages."""
    place = tmp_path / "jobs.db"
    async with AsyncExitStack() as readers:
        async with Ledger(place) as ledger:
            for number in range(40):
                fields = {"job_id": f"j{number}", "fields": f"{NUMBER}{number}" * 20}
                async with ledger.writing() as connection:
                    await connection.execute(id_info.insert(), fields)
            reader = await readers.enter_async_context(Ledger(place, read_only=True))
            async with reader.reading() as connection:
                assert (await connection.execute(sa.select(sa.func.count()).select_from(id_info))).scalar_one() == 40
            assert NUMBER.encode() in left_behind(tmp_path)
            async with ledger.writing() as connection:
                await connection.execute(id_info.delete())
        assert (tmp_path / "jobs.db-wal").stat().st_size == 0
        assert NUMBER.encode() not in left_behind(tmp_path)


async def test_an_error_of_the_database_repeats_nothing(tmp_path: Path) -> None:
    """What could not be written is in no message, nor in the error behind it."""
    async with Ledger(tmp_path / "jobs.db") as ledger:
        with pytest.raises(LedgerFailed) as failed:
            async with ledger.writing() as connection:
                await connection.execute(id_info.insert(), [{"job_id": "j1", "fields": NUMBER}] * 2)
        assert NUMBER not in "".join(traceback.format_exception(failed.value, chain=True))
        assert NUMBER not in str(failed.value.__context__)


@pytest.fixture
def insisting(monkeypatch: pytest.MonkeyPatch) -> None:
    """An authority that has not answered soon is asked no more."""
    for name in ("INSISTED_GAPS", "FORGETFUL_GAPS"):
        monkeypatch.setattr(f"smile_async.protocol.v1.one_request.{name}", (0.05, 0.1))


@pytest.mark.usefixtures("insisting")
async def test_tickets_that_wait(running: RunningSandbox, pictures: Pictures, tmp_path: Path) -> None:
    """After a restart a stream takes from the ledger what still waits, those nobody can tell of included."""
    place, sandbox = tmp_path / "jobs.db", running.sandbox
    sandbox.settings.without_status = ("basic_kyc",)
    sandbox.script("under-review", code="0842", after=0.0, then=[(0.6, "1240")])
    async with session_of(running, ledger=place) as session:
        provisional = await session.verify(Job.register("under-review", pictures.selfie, job_id="reviewed"))
        await session.submit(Job.register("bob", pictures.selfie, job_id="submitted"))
        await session.submit(Job.enhanced_kyc("eve", IdInfo("NG", "NIN_V2", NUMBER), job_id="later"))
        assert (await session.verify(Job.register("joan", pictures.selfie, job_id="over"))).final
        sandbox.fault("request", cut=True, effect=True)
        with pytest.raises(SubmissionUnknown):
            await session.verify(job_of(job_id="unknown"))
        with pytest.raises(Refused):
            await session.verify(Job.authenticate("nobody", pictures.selfie, job_id="refused"))
    assert not provisional.final
    sandbox.settings.without_status = ()
    async with session_of(running, ledger=place) as session:
        tickets = [ticket async for ticket in session.pending()]
        assert [ticket.job_id for ticket in tickets] == ["reviewed", "submitted", "later", "unknown"]
        assert [ticket.product for ticket in tickets[2:]] == [Product.ENHANCED_KYC, Product.BASIC_KYC]
        async with session.stream(session.pending(), until="final", patience=20) as outcomes:
            found = {outcome.ticket.job_id: outcome async for outcome in outcomes if outcome.ticket is not None}
        assert {
            job_id: outcome.verdict.final for job_id, outcome in found.items() if isinstance(outcome, Finished)
        } == (dict.fromkeys(("reviewed", "submitted", "later", "unknown"), True))
        # Whose verdict that is, nobody but who has its number can tell: asking with the job settles it.
        assert [ticket.job_id async for ticket in session.pending()] == ["unknown"]
        assert (await session.verify(job_of(job_id="unknown"), patience=10)).approved
        assert [ticket.job_id async for ticket in session.pending()] == []
    assert sandbox.count("unknown") == 1


async def test_without_a_ledger_nothing_waits(session: SmileSession) -> None:
    """Who asks for it is told at once what is missing."""
    with pytest.raises(BadConfiguration, match="the session has none: give it ledger="):
        session.pending()


@pytest.mark.usefixtures("insisting")
async def test_what_nobody_can_tell_survives(running: RunningSandbox, tmp_path: Path) -> None:
    """A lost reply is on record as unknown, and a later process asks and does not send: one lookup in all."""
    running.sandbox.settings.without_status = ("basic_kyc",)
    running.sandbox.fault("request", cut=True, effect=True)
    place = tmp_path / "jobs.db"
    async with Ledger(place) as ledger, session_of(running, ledger=ledger) as session:
        with pytest.raises(SubmissionUnknown):
            await session.verify(job_of())
        row = await row_of(ledger)
        assert (row["state"], row["error"], bool(row["retryable"])) == (State.FAILED, "SubmissionUnknown", False)
    async with Ledger(place) as ledger, session_of(running, ledger=ledger) as session:
        with pytest.raises(SubmissionUnknown):
            await session.verify(job_of())
        running.sandbox.settings.without_status = ()
        verdict = await session.verify(job_of(), patience=10)
        assert (verdict.approved, verdict.source) == (True, "poll")
    assert running.sandbox.count("j1") == 1
