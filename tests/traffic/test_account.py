"""A session's calls about its account, over real sockets: what is sent, what is kept, who waits for whom."""

import asyncio
import logging
import time
from datetime import datetime

import pytest
from hand_clock import HandClock
from scripted import Asked, ScriptedSmile, Wire, raw_reply, say, sign, silence
from street import ENGINES, session_of, until

from smile_async import IdInfo, Job, Product, SmileSession
from smile_async.errors import (
    BadConfiguration,
    InvalidJob,
    NotAuthorized,
    Refused,
    SessionClosed,
    Unavailable,
)
from smile_async.testing import SELFIE
from smile_async.traffic import account

pytestmark = pytest.mark.usefixtures("tidy")

TOKEN = "t0k3n-canary-5a7d"
NUMBER = "24681357900"
SERVICES = {"bank_codes": [{"name": "Access", "code": "044"}], "id_types": {"NG": {"BVN": ["id_number", "dob"]}}}
PRODUCTS = {"consentRequired": {"NG": ["BVN"]}, "idSelection": {"basic_kyc": {"NG": ["BVN"]}}}
DOCUMENTS = {"valid_documents": [{"country": {"code": "KE"}, "id_types": [{"code": "PASSPORT", "has_back": False}]}]}


@pytest.fixture
def offering(smile: ScriptedSmile) -> ScriptedSmile:
    """A provider that answers all four calls."""
    for leg, body in {
        "services": SERVICES,
        "products_config": PRODUCTS,
        "valid_documents": DOCUMENTS,
        "valid_documents?locale=fr-FR": DOCUMENTS,
        "token": {"token": TOKEN},
    }.items():
        smile.fault(leg, say(200, body), always=True)  # type: ignore[arg-type]
    return smile


def asked(smile: ScriptedSmile, leg: str) -> list[Asked]:
    """The requests of one call."""
    return smile.asked[leg]  # type: ignore[index]


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_calls(offering: ScriptedSmile, engine: str) -> None:
    """Each engine gets the services unsigned, and asks for the rest signed as this partner."""
    async with session_of(offering, http=engine, callback_url="https://shop.example/smile") as session:
        services = await session.catalogue.services()
        products = await session.catalogue.products()
        documents = await session.catalogue.documents()
        await session.catalogue.documents("fr-FR")
        token = await session.web_token("ada", "j-1", "biometric_kyc")
        await session.web_token("ada", "j-2", "biometric_kyc", "https://shop.example/other")
    assert services.find("NG", "BVN") is not None
    assert products.allows("basic_kyc", "NG", "BVN")
    assert documents[0].id_type == "PASSPORT"
    assert token.reveal() == TOKEN
    assert TOKEN not in repr(token)
    (got,) = asked(offering, "services")
    assert (got.method, got.target, got.body) == ("GET", "/v1/services", b"")
    for leg in ("products_config", "valid_documents", "valid_documents?locale=fr-FR", "token"):
        fields = asked(offering, leg)[0].fields
        assert fields["signature"] == sign(fields["timestamp"])
        assert fields["partner_id"] == "001"
    first, second = (request.fields for request in asked(offering, "token"))
    assert (first["user_id"], first["job_id"], first["product"]) == ("ada", "j-1", "biometric_kyc")
    assert (first["callback_url"], second["callback_url"]) == (
        "https://shop.example/smile",
        "https://shop.example/other",
    )


async def test_a_list_is_kept_for_an_hour(offering: ScriptedSmile) -> None:
    """Within an hour of the session's clock a list is asked for once, after it anew; tokens are never kept."""
    clock = HandClock()
    async with session_of(offering, clock=clock) as session:
        first = await session.catalogue.services()
        clock.now += account.KEPT_SECONDS - 1
        assert await session.catalogue.services() is first
        clock.now += 1
        assert await session.catalogue.services() is not first
        for _ in range(2):
            await session.web_token("ada", "j-1", "biometric_kyc")
    assert len(asked(offering, "services")) == 2
    assert len(asked(offering, "token")) == 2


async def test_one_request_for_all(smile: ScriptedSmile) -> None:
    """Who asks meanwhile waits for the same request; the one who asked first may be cancelled."""
    go = asyncio.Event()

    async def later(wire: Wire) -> None:
        await go.wait()
        await wire.send(raw_reply(200, SERVICES))

    smile.fault("services", later, always=True)  # type: ignore[arg-type]
    async with session_of(smile) as session:
        first, *others = [asyncio.create_task(session.catalogue.services()) for _ in range(20)]
        await until(lambda: asked(smile, "services"))
        first.cancel()
        go.set()
        found = await asyncio.gather(*others)
    assert len({id(each) for each in found}) == 1
    assert len(asked(smile, "services")) == 1
    assert first.cancelled()


async def test_a_failure_is_shared_and_not_kept(smile: ScriptedSmile) -> None:
    """All who waited are told of a refusal, each by an error of its own; the next one asks again."""
    smile.fault("products_config", say(400, {"error": "unauthorized", "code": "2205"}))  # type: ignore[arg-type]
    async with session_of(smile) as session:
        told = await asyncio.gather(*(session.catalogue.products() for _ in range(3)), return_exceptions=True)
        smile.fault("products_config", say(200, PRODUCTS))  # type: ignore[arg-type]
        assert (await session.catalogue.products()).wants_consent("NG", "BVN")
    assert {type(error) for error in told} == {NotAuthorized}
    assert len({id(error) for error in told}) == 3
    assert all(isinstance(error, NotAuthorized) and error.code == "2205" and not error.retryable for error in told)
    assert len(asked(smile, "products_config")) == 2


async def test_a_passing_fault(smile: ScriptedSmile, caplog: pytest.LogCaptureFixture) -> None:
    """A 502 is tried again, and the log says which call it was about, and never a token."""
    caplog.set_level(logging.DEBUG)
    smile.fault("token", say(502), say(200, {"token": TOKEN}))  # type: ignore[arg-type]
    async with session_of(smile) as session:
        assert (await session.web_token("ada", "j-1", "smartselfie")).reveal() == TOKEN
    assert "retry 1: /token was answered by HTTP 502" in caplog.text
    assert TOKEN not in caplog.text


async def test_a_lasting_fault(smile: ScriptedSmile) -> None:
    """What stays down is Unavailable, and worth another try."""
    smile.fault("services", say(502), always=True)  # type: ignore[arg-type]
    async with session_of(smile) as session:
        with pytest.raises(Unavailable) as caught:
            await session.catalogue.services()
    assert caught.value.retryable


async def test_an_unknown_product(smile: ScriptedSmile) -> None:
    """The provider's no to a product is a refusal with its code, where the official SDK gives it back as a token."""
    smile.fault("token", say(400, {"error": "Invalid product", "code": "2217"}))  # type: ignore[arg-type]
    async with session_of(smile) as session:
        with pytest.raises(Refused, match="2217") as caught:
            await session.web_token("ada", "j-1", "nonsense")
    assert caught.value.code == "2217"


async def test_what_is_refused_here(smile: ScriptedSmile) -> None:
    """Ids, callbacks and languages that are none cost no request."""
    async with session_of(smile) as session:
        with pytest.raises(InvalidJob, match="user_id"):
            await session.web_token("", "j-1", "smartselfie")
        with pytest.raises(InvalidJob, match=r"callback_url .*https"):
            await session.web_token("ada", "j-1", "smartselfie", "http://shop.example")
        for locale in ("", "../token", "en GB", 7):
            with pytest.raises(BadConfiguration, match="locale"):
                await session.catalogue.documents(locale)  # type: ignore[arg-type]
    assert smile.requests == []


async def test_only_some_languages_are_kept(smile: ScriptedSmile) -> None:
    """However many languages are asked for, a bounded number of lists is kept, the latest."""
    languages = [f"en-{number:02}" for number in range(account.KEPT_AT_MOST + 1)]
    for language in languages:
        smile.fault(f"valid_documents?locale={language}", say(200, DOCUMENTS), always=True)  # type: ignore[arg-type]
    async with session_of(smile) as session:
        for language in [*languages, languages[-1], languages[0]]:
            await session.catalogue.documents(language)
    assert len(smile.requests) == len(languages) + 1


async def test_a_session_that_is_left(smile: ScriptedSmile) -> None:
    """Who waits for a list when the session is left is told so; a closed one asks nothing."""
    smile.fault("services", silence, always=True)  # type: ignore[arg-type]
    session = session_of(smile)
    async with session:
        waiting = asyncio.create_task(session.catalogue.services())
        await until(lambda: asked(smile, "services"))
    with pytest.raises(SessionClosed):
        await waiting
    for call in (session.catalogue.services(), session.web_token("ada", "j-1", "smartselfie")):
        with pytest.raises(SessionClosed):
            await call


async def test_a_wrong_clock(smile: ScriptedSmile) -> None:
    """A refusal whose Date shows our clock to be wrong is asked again with a right one (guarantee G9)."""

    async def strict(wire: Wire) -> None:
        signed_at = datetime.fromisoformat(wire.asked.fields["timestamp"]).timestamp()
        wrong = abs(signed_at - time.time()) > 1_000
        body = {"error": "timestamp", "code": "2205"} if wrong else {"token": TOKEN}
        await wire.send(raw_reply(400 if wrong else 200, body))

    smile.fault("token", strict, always=True)  # type: ignore[arg-type]
    async with session_of(smile, clock=HandClock(0.0, time.time() - 3_600)) as session:
        assert (await session.web_token("ada", "j-1", "smartselfie")).reveal() == TOKEN
    assert len(smile.requests) == 2


async def test_a_job_that_lacks_a_field(offering: ScriptedSmile, caplog: pytest.LogCaptureFixture) -> None:
    """Once the list is known, the first job that lacks a field is warned of by the field's name, and sent all the same.

    Nothing is asked for that, and no value is logged.
    """
    jobs = [Job.biometric_kyc(f"u-{n}", SELFIE, IdInfo("NG", "BVN", NUMBER)) for n in range(3)]
    async with session_of(offering) as session:
        await session.submit(jobs[0])
        assert asked(offering, "services") == []
        assert "needs" not in caplog.text
        await session.catalogue.services()
        for job in jobs[1:]:
            await session.submit(job)
    assert [record.getMessage() for record in caplog.records if "needs" in record.getMessage()] == [
        f"job {jobs[1].job_id} gives no dob, which NG BVN needs (said once)"
    ]
    assert NUMBER not in caplog.text
    assert len(offering.jobs) == 3


async def test_the_sandbox_is_understood(session: SmileSession) -> None:
    """The lists of a sandbox that was written from the same sources by other hands are read whole."""
    services, products = await session.catalogue.services(), await session.catalogue.products()
    documents = await session.catalogue.documents("en-GB")
    account = services.find("NG", "BANK_ACCOUNT", "enhanced_kyc")
    assert account is not None
    assert account.lacks({"id_number"}) == ("bank_code",)
    assert account.fits(account.example) is True
    assert all(kind.fits(kind.example) for kind in services.id_types if kind.number_pattern)
    assert products.allows("enhanced_kyc", "NG", "BVN")
    assert products.wants_consent("NG", "BVN")
    assert {kind.has_back for kind in documents} == {True, False}
    token = await session.web_token("ada", "j-1", Product.BIOMETRIC_KYC, "https://shop.example/smile")
    assert token
