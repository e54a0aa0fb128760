"""What V3 would refuse is refused before a byte leaves, and what servers say oddly is said in words."""

import asyncio
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image as Picture
from street import Pictures
from v3_client_support import CONSENT, ME, NIN, Street, made_of

from smile_async import Consent, Decision, Document, IdInfo, Job, Pace, Person, SmileSession, Ticket, Verdict
from smile_async.errors import (
    BadConfiguration,
    InvalidJob,
    JobNotFound,
    NotAuthorized,
    Refused,
    SmileError,
    StillPending,
    SubmissionUnknown,
)


def png() -> bytes:
    """A colour PNG."""
    out = io.BytesIO()
    Picture.new("RGB", (96, 128), "red").save(out, "PNG")
    return out.getvalue()


def padded(content: bytes, size: int) -> bytes:
    """*content* with so much behind it that it has *size* bytes."""
    return content + b"\x00" * (size - len(content))


def in_an_hour() -> Consent:
    """A consent of the future."""
    return Consent("https://shop.example/privacy", "EN", datetime.now(UTC) + timedelta(hours=1))


def faces(pictures: Pictures, **more: Any) -> dict[str, Any]:
    """What a registration needs besides a selfie."""
    return {"liveness": pictures.liveness[:6], "person": ME, **more}


Make = Callable[[Pictures, Path], Job]
BAD_JOBS: dict[str, tuple[Make, str]] = {
    "five frames": (
        lambda p, _: Job.register("ada", p.selfie, liveness=p.liveness[:5], person=ME),
        "it has 5 liveness frames: v3 needs 6 to 8",
    ),
    "nine frames": (
        lambda p, _: Job.register("ada", p.selfie, liveness=[*p.liveness, p.other], person=ME),
        "it has 9 liveness frames: v3 needs 6 to 8",
    ),
    "a PNG": (lambda p, _: Job.register("ada", png(), **faces(p)), "selfie is no JPEG: v3 takes nothing else for it"),
    "a PNG in a file": (
        lambda p, folder: Job.register("ada", _file(folder / "it.jpg", png()), **faces(p)),
        "selfie is no JPEG: v3 takes nothing else for it",
    ),
    "too large": (
        lambda p, _: Job.register("ada", padded(p.selfie, 4_500_001), **faces(p)),
        "bytes in all: v3 takes 4,500,000, so shrink its pictures",
    ),
    "too large in a file": (
        lambda p, folder: Job.register("ada", _file(folder / "it.jpg", padded(p.selfie, 4_500_001)), **faces(p)),
        "bytes in all: v3 takes 4,500,000, so shrink its pictures",
    ),
    "a consent of the future": (
        lambda p, _: Job.register("ada", p.selfie, **faces(p, consent=in_an_hour())),
        "consent is granted in the future: check granted_at and its zone",
    ),
    "no person": (
        lambda p, _: Job.register("ada", p.selfie, liveness=p.liveness[:6]),
        "there is no person: give person=",
    ),
    "a reserved parameter": (
        lambda p, _: Job.register("ada", p.selfie, **faces(p, partner_params={"smile_async_job": "x"})),
        r"partner_params\['smile_async_job'\] is kept for others",
    ),
    "http": (
        lambda p, _: Job.register("ada", p.selfie, **faces(p, callback_url="http://shop.example/hook")),
        "callback_url is not https",
    ),
    "update photo": (lambda p, _: Job.update_photo("ada", p.selfie, person=ME), "v3 has no .*: send it with api='v1'"),
    "basic KYC": (lambda _p, _f: Job.basic_kyc("ada", NIN, person=ME), "v3 has no .*: send it with api='v1'"),
    "a company": (
        lambda _p, _f: Job.business_verification(
            "ada", IdInfo("NG", "BASIC_BUSINESS_REGISTRATION", "0000000", business_type="co"), person=ME
        ),
        "v3 has no .*: send it with api='v1'",
    ),
    "no selfie of a document's owner": (
        lambda p, _: Job.document_verification("ada", p.selfie, Document("NG", p.other), person=ME),
        "it has 0 liveness frames: v3 needs 6 to 8",
    ),
}


def _file(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("name", BAD_JOBS)
async def test_refused_before_a_byte_of_it_leaves(name: str, pictures: Pictures, tmp_path: Path) -> None:
    """A job that V3 would refuse is an InvalidJob that names it and the cure, in every call; no submission leaves, and
    calling again would not help.
    """
    make, words = BAD_JOBS[name]
    job, street = make(pictures, tmp_path), Street()
    async with street.session() as session:
        for call in (session.verify, session.submit):
            with pytest.raises(InvalidJob, match=words) as caught:
                await call(job)
            assert job.job_id in str(caught.value)
            assert (caught.value.ticket, caught.value.retryable) == (None, False)
        async with session.stream([job]) as outcomes:
            (end,) = [outcome async for outcome in outcomes]
        assert isinstance(end.error, InvalidJob)  # type: ignore[union-attr]
    assert {path for _, path in street.front.asked} <= {"/token"}
    assert not street.sandbox.jobs


async def test_no_consent_anywhere(pictures: Pictures) -> None:
    """A job without consent, in a session without one, is refused; its own is enough."""
    street = Street()
    async with street.session(consent=None) as session:
        with pytest.raises(InvalidJob, match="there is no consent: give consent="):
            await session.verify(Job.register("ada", pictures.selfie, **faces(pictures)))
        verdict = await session.verify(Job.register("ada", pictures.selfie, **faces(pictures, consent=CONSENT)))
        assert verdict.approved


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Person("Ada", "Obi", phone_number="2348012345678"), "person: phone_number"),
        (lambda: Person("Ada", "Obi"), "person"),
        (lambda: Person("Ada", "Obi", email="nobody"), "person: email"),
        (lambda: Consent("http://shop.example/privacy"), "consent"),
        (lambda: Consent("https://shop.example/privacy", "English"), "consent"),
        (lambda: Job.register("ada", b"\xff\xd8\xff", partner_params={"job_id": "1"}), "job_id|JPEG|selfie"),
        (lambda: Job.enhanced_kyc("ada", NIN, partner_params={"user_id": "1"}), "user_id"),
    ],
)
def test_refused_when_it_is_made(make: Callable[[], Any], words: str) -> None:
    """What is malformed by itself is refused where it is made, without repeating it."""
    with pytest.raises(InvalidJob, match=words) as caught:
        make()
    assert "2348012345678" not in str(caught.value)


V1_TICKET = Ticket("ada", "7f3e", 2, "0000000001")
V3_TICKET = Ticket("ada", "7f3e", 2, "job_01kdyak3see9zcsy4sgw9w3tv1", api="v3")


async def _streamed(session: SmileSession, ticket: Ticket) -> None:
    async with session.stream([ticket]) as outcomes:
        (end,) = [outcome async for outcome in outcomes]
    raise end.error  # type: ignore[union-attr]


async def _followed(session: SmileSession, ticket: Ticket) -> None:
    async with session.follow(ticket, patience=1.0) as verdicts:
        _ = [verdict async for verdict in verdicts]


CALLS: dict[str, Callable[[SmileSession, Ticket], Any]] = {
    "wait": lambda session, ticket: session.wait(ticket, patience=1.0),
    "status": lambda session, ticket: session.status(ticket),
    "follow": _followed,
    "stream": _streamed,
    "replay": lambda session, ticket: session.replay(ticket),
    "deliver": lambda session, ticket: session.deliver(Verdict(Decision.APPROVED, True, "clear", "", ticket)),
}


@pytest.mark.parametrize("api", ["v1", "v3"])
@pytest.mark.parametrize("call", CALLS)
async def test_a_ticket_of_the_other_api(call: str, api: str) -> None:
    """Refused by name, whatever is asked of it, and nothing is sent."""
    street = Street()
    ticket, home = (V3_TICKET, "v3") if api == "v1" else (V1_TICKET, "v1")
    url = {"api": api, "base_url": f"https://sandbox.test/{api}"}
    async with street.session(**url, **({"consent": None} if api == "v1" else {})) as session:
        words = "v1 has no replay: ask with a session of api='v3'" if (api, call) == ("v1", "replay") else home
        with pytest.raises(InvalidJob, match=words) as caught:
            await CALLS[call](session, ticket)
        assert f"api='{home}'" in str(caught.value)
    assert not street.front.asked


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"base_url": "https://sandbox.test/v1"}, "v3"),
        ({"api": "v1", "base_url": "https://sandbox.test/v3", "consent": None}, "v1"),
        ({"api": "v2"}, "api"),
        ({"tokens": "each"}, "tokens"),
        ({"consent": {"granted": True}}, "consent"),
        ({"previous_api_keys": "the-key-before"}, "previous_api_keys is no list"),
        ({"limits": None}, "limits is NoneType"),
        ({"pace": 0.5}, "pace is float"),
        ({"upload_hosts": [None]}, "upload_hosts names None"),
        ({"partner_id": "12a"}, "partner_id is no number"),
        ({"partner_id": "000"}, "partner_id is "),
    ],
)
def test_bad_configurations(told: dict[str, Any], words: str) -> None:
    """A session that could only fail is not made."""
    whole = {"partner_id": "001", "api_key": "key", "base_url": "https://sandbox.test/v3", "api": "v3"}
    with pytest.raises(BadConfiguration, match=words):
        SmileSession(**{**whole, **told})


@pytest.mark.parametrize("partner_id", ["001", "1", "0001"])
async def test_a_partner_id_with_zeros(partner_id: str) -> None:
    """It is taken as the portal shows it, and sent as the API wants it."""
    street = Street()
    async with street.session(partner_id=partner_id) as session:
        assert (await session.verify(next(street.jobs(1)))).approved


async def test_calls_that_one_api_lacks() -> None:
    """Web tokens are v1's, compare is V3's: each session says which API has it."""
    street = Street()
    async with street.session() as session:
        with pytest.raises(InvalidJob, match="v3 has no web tokens: ask with a session of api='v1'"):
            await session.web_token("ada", "7f3e", "biometric_kyc")
    async with street.session(api="v1", base_url="https://sandbox.test/v1", consent=None) as session:
        with pytest.raises(InvalidJob, match=r"v1 has no .*: send it with api='v3'"):
            await session.verify(Job.compare("ada", _jpeg(), _jpeg(), "ID_PHOTO"))
    assert not street.front.asked


def _jpeg() -> bytes:
    out = io.BytesIO()
    Picture.new("RGB", (96, 128), "blue").save(out, "JPEG")
    return out.getvalue()


def _status(street: Street, answer: Callable[[], httpx.Response | None]) -> None:
    street.front.weather = lambda path: answer() if path.startswith("/status/") else None


async def _sent(session: SmileSession, street: Street) -> Ticket:
    return await session.submit(next(street.jobs(1)))


def _said(ticket: Ticket, word: str, status: int = 200) -> httpx.Response:
    body = {"status": word, "job_id": ticket.smile_job_id, "user_id": ticket.user_id, "message": "Job completed"}
    return httpx.Response(status, json=body)


@pytest.mark.parametrize(("word", "status"), [("escalated", 200), ("on_hold", 202), ("clear", 202)])
async def test_an_unknown_word_is_pending_and_shown(word: str, status: int) -> None:
    """A status that nobody knows is no verdict: it is asked again until patience is over, and then it is named."""
    street = Street()
    async with street.session() as session:
        ticket = await _sent(session, street)
        _status(street, lambda: _said(ticket, word, status))
        with pytest.raises(StillPending, match=f"status '{word}' that smile_async does not know"):
            await session.wait(ticket, patience=10.0)
        assert session.stats.polls > 5
        _status(street, lambda: None)
        assert (await session.wait(ticket)).approved


async def test_processing_is_not_strange() -> None:
    """The usual word of a job that goes on is not worth naming."""
    street = Street()
    street.sandbox.script("u0", code="processing")
    async with street.session() as session:
        ticket = await _sent(session, street)
        with pytest.raises(StillPending) as caught:
            await session.wait(ticket, patience=10.0)
    assert "status" not in str(caught.value)


async def test_an_old_server_s_complete_is_no_approval() -> None:
    """Servers of before July 2026 hid the verdict in a text: the job ends, undecided, and nobody is let in."""
    street = Street()
    async with street.session() as session:
        ticket = await _sent(session, street)
        _status(street, lambda: _said(ticket, "complete"))
        verdict = await session.wait(ticket)
    assert (verdict.code, str(verdict.decision), verdict.approved, verdict.final) == (
        "complete",
        "unknown",
        False,
        True,
    )


async def test_a_job_that_is_not_known_for_a_moment() -> None:
    """A fresh job may be 404 for some seconds; one that is so for ever ends as JobNotFound, in bounded time."""
    street = Street()
    missing = httpx.Response(404, json={"status": "not_found", "user_id": "unknown"})
    async with street.session() as session:
        ticket = await _sent(session, street)
        begun = street.clock.monotonic()
        _status(street, lambda: missing if street.clock.monotonic() < begun + 5.0 else None)
        assert (await session.wait(ticket)).approved
        ticket = await _sent(session, street)
        begun = street.clock.monotonic()
        _status(street, lambda: missing)
        with pytest.raises(JobNotFound):
            await session.wait(ticket, patience=600.0)
        assert 5.0 < street.clock.monotonic() - begun < 60.0


@pytest.mark.parametrize(
    ("answer", "kind", "ticket"),
    [
        (httpx.Response(202, json={"status": "accepted"}), SubmissionUnknown, True),
        (httpx.Response(504, json={"message": "Endpoint request timed out"}), SubmissionUnknown, True),
        (httpx.Response(200, content=b"<html>"), SubmissionUnknown, True),
        (httpx.Response(400, json={"status": "bad_request", "message": "no such bank", "job_id": None}), Refused, True),
        (httpx.Response(402, json={"error": "Insufficient balance", "code": "2999"}), Refused, True),
        (httpx.Response(403, json={"message": "Forbidden", "status": "forbidden"}), NotAuthorized, True),
        (httpx.Response(413, content=b"\xff\xfe"), Refused, True),
    ],
)
async def test_odd_answers_to_a_submission(
    answer: httpx.Response, kind: type[SmileError], ticket: bool, pictures: Pictures
) -> None:
    """An answer without a job leaves nobody able to tell; a refusal is one, by whichever of the four shapes."""
    street = Street()
    street.front.weather = lambda path: answer if path == "/registration" else None
    async with street.session() as session:
        with pytest.raises(kind) as caught:
            await session.verify(Job.register("ada", pictures.selfie, **faces(pictures)))
    assert type(caught.value) is kind
    assert (caught.value.ticket is not None, caught.value.retryable) == (ticket, False)
    assert len(street.front.times("/registration")) == 1
    if isinstance(caught.value, Refused):
        assert caught.value.status == answer.status_code


async def test_a_lost_answer_is_waited_for_without_a_name(pictures: Pictures) -> None:
    """Of a ticket without a TypeID `status` says so at once, and `wait` listens until patience is over."""
    street = Street()
    street.sandbox.fault("submit", cut=True, effect=True)
    async with street.session(pace=Pace.fixed(0.1, 1, 0.1)) as session:
        job = Job.register("ada", pictures.selfie, **faces(pictures))
        with pytest.raises(SubmissionUnknown) as caught:
            await session.verify(job)
        lost = caught.value.ticket
        assert lost is not None
        assert (lost.smile_job_id, lost.api) == (None, "v3")
        with pytest.raises(SubmissionUnknown, match="nobody knows the provider's name"):
            await session.status(lost)
        with pytest.raises(SubmissionUnknown):
            await session.replay(lost)
        begun = street.clock.monotonic()
        ends = await asyncio.gather(
            session.wait(lost, patience=20.0), _followed_for(session, lost, 20.0), return_exceptions=True
        )
        assert all(isinstance(end, StillPending) for end in ends)
        assert street.clock.monotonic() - begun == pytest.approx(20.0, abs=0.5)
        with pytest.raises(SubmissionUnknown):
            await session.verify(job)
    assert len(made_of(street.sandbox, job.job_id)) == 1
    assert not [path for _, path in street.front.asked if path.startswith("/status")]


async def _followed_for(session: SmileSession, ticket: Ticket, patience: float) -> None:
    async with session.follow(ticket, patience=patience) as verdicts:
        _ = [verdict async for verdict in verdicts]


@pytest.mark.parametrize("path", ["/enhanced_kyc/sync", "/aml/sync"])
async def test_a_refusal_that_repeats_whom_it_is_about(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """What a server repeats of number, names and addresses stands neither in the error nor in a log."""
    street = Street()
    told = "Field 'id_number' 22345678901 of JOHN WATSON (john@watson.example, Johann Hamish) is invalid."
    street.front.weather = lambda at: httpx.Response(400, json={"message": told}) if at == path else None
    john = Person("John", "Watson", "john@watson.example")
    job = (
        Job.aml_check("u", "Johann Hamish", ["GB"], person=john)
        if path.startswith("/aml")
        else Job.enhanced_kyc("u", IdInfo("NG", "NIN_V2", "22345678901"), person=john)
    )
    async with street.session() as session:
        with caplog.at_level("DEBUG", "smile_async"), pytest.raises(Refused, match="Field 'id_number'") as caught:
            await session.verify(job)
    shown = f"{caught.value}{caught.value!r}{vars(caught.value)}{caplog.text}".lower()
    own = ("hamish",) if path.startswith("/aml") else ("22345678901",)
    assert not [word for word in (*own, "john ", "watson") if word in shown]
