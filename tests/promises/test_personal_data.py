"""Whom a job is about, what an authority says of them and the pictures of their documents show up nowhere.

Every product goes once through each end that a call may have: an answer, a refusal that repeats what was sent, a forged
reply, a caller who gives up, patience that ends. All is looked at that a program may write down: logs at DEBUG, repr
and str, errors with the locals of all frames, serialisers, spans, and the ledger with what lies beside it.
"""

import asyncio
import base64
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from canary_support import Canary, serialised
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from street import ENGINES, Pictures, session_of, until

from smile_async import Document, Failed, IdInfo, Job, SmileError, SmileSession, verify_callback
from smile_async.jobs.product import Family
from smile_async.sandbox import RunningSandbox
from smile_async.testing import callback_body
from smile_async.traffic import telemetry

pytestmark = pytest.mark.usefixtures("tidy")

#: Nobody but the person, and the authority, has these.
PERSON = {
    "id_number": "90817263540",
    "first_name": "Canaryfirst",
    "last_name": "Canarylast",
    "dob": "1971-03-04",
    "phone_number": "0800canary",
    "postal_address": "Canary Wharf 1",
}
RECORD = "canary-of-the-record"
SECRETS = [*PERSON.values(), RECORD]


def jobs_of(pictures: Pictures) -> list[Job]:
    """One job of each product, each of somebody with secrets."""
    info = IdInfo("NG", "NIN_V2", **PERSON, extra={"mother": "Canarymother"})
    company = IdInfo("NG", "BASIC_BUSINESS_REGISTRATION", PERSON["id_number"], business_type="co")
    card = Document("NG", pictures.selfie, pictures.other, "PASSPORT")
    return [
        Job.enhanced_kyc("ada", info),
        Job.basic_kyc("ada", info),
        Job.business_verification("ada", company),
        Job.aml_check("ada", "Canaryfirst Canarylast", ["NG"], birth_year=1971, aliases=["Canarymother"]),
        Job.biometric_kyc("kyc", pictures.selfie, info, liveness=pictures.liveness, allow_new_enroll=True),
        Job.biometric_kyc("kyc", pictures.selfie, info, id_card=pictures.other, allow_new_enroll=True),
        Job.document_verification("doc", pictures.selfie, card, allow_new_enroll=True),
        Job.enhanced_document_verification("edv", pictures.selfie, card, allow_new_enroll=True),
    ]


def tell_more(reply: dict[str, Any]) -> None:
    """The authority's record has a word that nothing else has."""
    told = reply.get("result", reply)
    if isinstance(told, dict) and "ResultCode" in told:
        told.update(FullName=RECORD, FullData={"nin": RECORD}, Photo=base64.b64encode(RECORD.encode()).decode())


def forge(reply: dict[str, Any]) -> None:
    """Signed by somebody else."""
    tell_more(reply)
    reply["signature"] = "A" * 43 + "="


#: How the request of each job ends: what the sandbox does to it.
ENDS: dict[str, dict[str, Any]] = {
    "ok": {"tamper": tell_more},
    "refused": {"status": 400},
    "forged": {"tamper": forge},
    "cancelled": {"delay": 60.0},
    "timed out": {"delay": 60.0},
}


def refusal_of(job: Job) -> dict[str, str]:
    """A refusal that repeats what was sent."""
    sent = [] if job.id_info is None else list(job.id_info.fields().values())
    sent += [] if job.screening is None else [job.screening.full_name]
    # /upload is told of nobody, and so can repeat nothing.
    return {"error": f"Invalid: {sent if job.family is Family.REQUEST else ''}", "code": "2413"}


async def _end_of(session: SmileSession, job: Job, end: str) -> object:
    """The verdict, or the error, to which *job* comes."""
    call = asyncio.create_task(session.verify(job, patience=0.3 if end == "timed out" else 20))
    if end == "cancelled":
        await until(lambda: session.stats.in_flight)
        await asyncio.sleep(0.1)
        call.cancel()
    try:
        return await call
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, it may be seen
        return error


@contextmanager
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What OpenTelemetry is told."""
    kept, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(telemetry, "_tracer", tracers.get_tracer("smile_async"))
    yield kept
    tracers.shutdown()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("http", ENGINES)
async def test_nothing_shows_of_a_person(
    http: str,
    end: str,
    running: RunningSandbox,
    pictures: Pictures,
    canary: Canary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However a call ends, no number, name, date, record or picture is in anything that may be written down."""
    canary.secrets += [*SECRETS, "Canarymother", base64.b64encode(RECORD.encode()).decode()]
    jobs = jobs_of(pictures)
    for job in jobs:
        for leg in ("request", "job_status" if end in ("ok", "forged") else "upload"):
            more = {"body": refusal_of(job)} if end == "refused" else {}
            running.sandbox.fault(leg, times=None, job_id=job.job_id, **ENDS[end], **more)  # type: ignore[arg-type]
    folder = tmp_path / "ledger"
    folder.mkdir()
    with spans(monkeypatch) as told:
        async with session_of(running, http=http, ledger=str(folder / "jobs.db")) as session:
            found = await asyncio.gather(*(_end_of(session, job, end) for job in jobs))
            for job, what in zip(jobs, found, strict=True):
                _look(canary, job, what, end)
            canary.look(session, session.stats, session.sender, session.poller)
            assert (end == "ok") == all(bool(getattr(what, "record", None)) for what in found[:1])
            canary.seen.append(_left_in(folder))
        canary.seen.append(_left_in(folder))
        canary.seen += [span.to_json() for span in told.get_finished_spans()]
        assert told.get_finished_spans()
    canary.assert_nothing()


def _look(canary: Canary, job: Job, what: Any, end: str) -> None:
    """Look at how *job* ended, and at itself, in each way that programs do."""
    parts = [job, job.id_info, job.document, job.screening, job.spent(), job.ticket, Failed(job, what, job.ticket)]
    if isinstance(what, BaseException):
        assert end != "ok"
        canary.look_at_error(what)
        parts += [getattr(what, "job", None), getattr(what, "ticket", None), pickle.loads(pickle.dumps(what))]
    else:
        assert (end, what.decision) == ("ok", "approved")
        parts += [what, what.ticket]
        canary.seen.append(what.to_json())
    canary.look(*parts)
    for part in parts:
        canary.seen += serialised(part)
    # Whoever needs them to go elsewhere gets them whole.
    assert pickle.loads(pickle.dumps(job)).id_info == job.id_info


def _left_in(folder: Path) -> str:
    """All that the database's files hold."""
    files = list(folder.iterdir())
    assert files
    return "".join(path.read_bytes().decode("latin-1") for path in files)


async def test_nothing_shows_of_a_streams_people(running: RunningSandbox, pictures: Pictures, canary: Canary) -> None:
    """Outcomes, good and bad, of a stream and its pending tickets show nobody either."""
    canary.secrets += [*SECRETS, "Canarymother"]
    running.sandbox.fault("request", tamper=tell_more, times=2)
    jobs = jobs_of(pictures)
    running.sandbox.fault("request", status=400, body=refusal_of(jobs[2]), job_id=jobs[2].job_id)
    async with session_of(running) as session, session.stream(jobs) as outcomes:
        async for outcome in outcomes:
            canary.look(outcome, outcome.job, outcomes.pending)
            canary.seen += serialised(outcome)
    canary.assert_nothing()


async def test_nothing_shows_of_a_lookup_that_is_answered_later(
    running: RunningSandbox, pictures: Pictures, canary: Canary
) -> None:
    """The record that /job_status tells of a job that was submitted is in no log and in no repr of its verdict."""
    canary.secrets += [*SECRETS]
    running.sandbox.fault("job_status", tamper=tell_more, times=None)
    async with session_of(running) as session:
        ticket = await session.submit(jobs_of(pictures)[0])
        await until(lambda: running.sandbox.jobs[ticket.job_id].decision is not None)
        verdict = await session.wait(ticket)
        assert verdict.record["FullName"] == RECORD
        canary.look(verdict)
        canary.seen += serialised(verdict)
    canary.assert_nothing()


@pytest.mark.parametrize("key", ["ours", "another"])
async def test_nothing_shows_of_whom_a_callback_is_about(
    key: str, running: RunningSandbox, pictures: Pictures, canary: Canary
) -> None:
    """What a callback says of a person, confirmed or forged, is in no log, error, repr or serialiser."""
    canary.secrets += [*SECRETS]
    running.sandbox.fault("job_status", tamper=tell_more, times=None)
    account = {"partner_id": running.partner_id, "api_key": running.api_key}
    seen: list[Any] = []
    async with session_of(running) as session:
        ticket = await session.submit(jobs_of(pictures)[0])
        signed = account | ({} if key == "ours" else {"api_key": "a-guess"})
        told = {"FullName": RECORD, "IDNumber": PERSON["id_number"], "DOB": PERSON["dob"]}
        body = callback_body(ticket.user_id, ticket.job_id, code="1012", job_type=5, **told, **signed)
        try:
            seen.append(await session.deliver(body))
        except SmileError as error:
            canary.look_at_error(error)
        try:
            seen.append(verify_callback(body, **account))
        except SmileError as error:
            canary.look_at_error(error)
        canary.look(session.poller, session.confirmer, *seen)
        canary.seen += [text for verdict in seen for text in serialised(verdict)]
    assert [verdict.record["FullName"] for verdict in seen] == ([RECORD] * 2 if key == "ours" else [])
    canary.assert_nothing()
