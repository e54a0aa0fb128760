"""V3's answers at once, AML with its idempotency key, address checks: what the official SDK has no method for."""

import json
from typing import Any

import pytest
from sandbox_support import TurningClock, sign
from v3_sandbox_support import AMINA, NIN, Receiver, person, signed_in

AML = {"countries": ["NG"], "full_name": "Amina Fatou Clearwater"}
KEY_ = {"smileid-idempotency-key": "a" * 64}
HOOK = "https://shop.test/hook"


async def test_the_answer_is_the_webhook() -> None:
    """200 with the webhook's body, signed in headers that also name the job; no webhook besides, but a replay."""
    receiver = Receiver()
    async with (
        signed_in(clock=TurningClock(), callback_url=HOOK) as partner,
        partner.sandbox.sending_callbacks(receiver),
    ):
        reply = await partner.post("enhanced_kyc/sync", **NIN, user_id="ada")
        assert (reply.status_code, reply.headers["user-id"]) == (200, "ada")
        assert reply.headers["response-signature"] == sign(reply.headers["response-timestamp"], "1")
        job_id = reply.headers["smileid-job-id"]
        assert (await partner.status(job_id), receiver.got) == ((200, "clear"), [])
        await partner.http.post(f"/v3/replay/{job_id}", headers={"smileid-token": partner.token})
        await receiver.heard(1)
    assert json.loads(receiver.got[0].content) == reply.json()
    assert reply.json()["id_fields"]["id_number"] == NIN["id_number"]


@pytest.mark.parametrize(
    ("script", "status", "word"),
    [
        ({"code": "clear", "after": 5}, 200, (200, "clear")),
        ({"code": "block:identifier_not_found"}, 200, (200, "block")),
        ({"code": "clear", "after": 60}, 408, (202, "processing")),
        ({"code": "processing"}, 408, (202, "processing")),
        ({"code": "1015"}, 424, (200, "error")),
    ],
)
async def test_a_slow_authority_leaves_a_job(script: dict[str, Any], status: int, word: tuple[int, str]) -> None:
    """408 and 424 of Enhanced KYC name the job, which lives: its status tells the rest."""
    async with signed_in() as partner:
        partner.sandbox.script("ada", **script)
        reply = await partner.post("enhanced_kyc/sync", **NIN, user_id="ada")
        assert reply.status_code == status
        job_id = reply.headers["smileid-job-id"]
        assert await partner.status(job_id) == word
        partner.sandbox.settings.clock.now += 60  # type: ignore[attr-defined]
        if status == 408 and script["code"] == "clear":
            assert await partner.status(job_id) == (200, "clear")


async def test_a_key_makes_a_repetition_harmless() -> None:
    """The same key gives the same job and result, however late; another key, or none, makes another job."""
    async with signed_in() as partner:
        first = await partner.post("aml/sync", headers=KEY_, **AML)
        partner.sandbox.settings.clock.now += 60  # type: ignore[attr-defined]
        again = await partner.post("aml/sync", headers=KEY_, **AML)
        assert first.json() == again.json()
        ids = {reply.headers["smileid-job-id"] for reply in (first, again)}
        assert len(ids) == len(partner.sandbox.jobs) == 1
        assert partner.sandbox.count(ids.pop()) == 1
        for headers in ({"smileid-idempotency-key": "b" * 16}, {}, {}):
            await partner.post("aml/sync", headers=headers, **AML)
        assert len(partner.sandbox.jobs) == 4
        await partner.post("enhanced_kyc/sync", headers=KEY_, **NIN)
        await partner.post("enhanced_kyc/sync", headers=KEY_, **NIN)  # documented for AML alone
        assert len(partner.sandbox.jobs) == 6


@pytest.mark.parametrize("key", ["short", "a" * 129, "a" * 15 + " ", "ä" * 20])
async def test_a_key_has_a_form(key: str) -> None:
    """16 to 128 letters, digits, - and _: anything else is 400."""
    async with signed_in() as partner:
        headers = {"smileid-idempotency-key": key.encode("latin-1").decode("latin-1")}
        files = [(name, (None, text if isinstance(text, str) else json.dumps(text))) for name, text in AML.items()]
        reply = await partner.http.post(
            "/v3/aml/sync", files=files, headers=[("smileid-token", partner.token), *_raw(headers)]
        )
        assert (reply.status_code, "Idempotency" in reply.json()["message"]) == (400, True)


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


async def test_a_slow_list_ends_the_job() -> None:
    """408 of AML is the end: nothing was billed, and the same key asks once more, for the same job."""
    async with signed_in() as partner:
        partner.sandbox.script("ada", code="clear", after=60)
        slow = await partner.post("aml/sync", headers=KEY_, **AML, user_id="ada")
        job_id = slow.headers["smileid-job-id"]
        assert (slow.status_code, await partner.status(job_id)) == (408, (200, "error"))
        partner.sandbox.script("ada", code="1030")
        again = await partner.post("aml/sync", headers=KEY_, **AML, user_id="ada")
        assert (again.status_code, again.headers["smileid-job-id"]) == (200, job_id)
        assert (again.json()["status"], again.json()["reason"]) == ("block", "aml_match_found")
        assert len(partner.sandbox.jobs) == 1


async def test_a_lost_answer_can_be_asked_for_again() -> None:
    """AWS's 504 after the work: the same key finds the first result."""
    async with signed_in() as partner:
        partner.sandbox.fault("submit", status=504, body={"message": "Endpoint request timed out"}, effect=True)
        lost = await partner.post("aml/sync", headers=KEY_, **AML)
        found = await partner.post("aml/sync", headers=KEY_, **AML)
        assert (lost.status_code, found.status_code, len(partner.sandbox.jobs)) == (504, 200, 1)


@pytest.mark.parametrize(
    ("code", "status", "found"), [("1031", "clear", 0), ("1030", "block", 1), ("1017", "attention", 1)]
)
async def test_what_a_list_says(code: str, status: str, found: int) -> None:
    """People by name, their number, and a flat antifraud: the shape that is AML's own."""
    async with signed_in() as partner:
        partner.sandbox.script("ada", code=code)
        more = {"aliases": ["Amina"], "birth_year": "1990", "strict_match": False, "user_id": "ada"}
        body = (await partner.post("aml/sync", **AML, **more)).json()
        assert (body["status"], body["no_of_persons_found"], len(body["people"])) == (status, found, found)
        assert (body["product"], body["strict_match"]) == ("one_time_aml", False)
        assert body["antifraud"]["fraud_risk_level"] == "low"
        assert body["partner_params"] is None
        if status == "attention":
            assert body["people"][0]["news_summary"]
        job = await partner.submit("aml", **AML, user_id="ada")
        assert await partner.status(job.job_id) == (200, status)


@pytest.mark.parametrize(
    ("path", "parts", "status"),
    [
        ("aml", {"countries": ["NG"]}, 400),
        ("aml", {**AML, "countries": []}, 400),
        ("aml", {**AML, "countries": "NG"}, 400),
        ("aml", {**AML, "birth_year": "2999"}, 400),
        ("aml", {**AML, "aliases": ["a"] * 21}, 400),
        ("aml", {**AML, "search_existing_user": True, "user_id": "nobody"}, 404),
        ("aml", {**AML, "search_existing_user": True, "user_id": "ada"}, 202),
        ("aml/monitoring", {"countries": ["NG"]}, 400),
        ("aml/monitoring", {"countries": ["NG"], "search_existing_user": True, "user_id": "ada"}, 202),
        ("aml/monitoring", AML, 202),
        ("address", {"country": "NG", "address": "1 Broad Street"}, 400),
        ("address", {"country": "KE", "address": "1 Broad Street"}, 400),
        ("address", {"country": "ZA", "address": "1 Long Street", "id_number": "0" * 13}, 202),
        ("address", {"country": "ZA", "address": "x" * 513, "id_number": "0" * 13}, 400),
        ("enhanced_kyc", {**NIN, "id_number": "123"}, 400),
        ("enhanced_kyc", {**NIN, "country": "GH", "id_type": "DRIVERS_LICENSE", "id_number": "abc123"}, 202),
        ("enhanced_kyc", {**NIN, "country": "XX", "id_type": "ANY", "id_number": "-"}, 202),
        ("enhanced_kyc/sync", {"country": "NG"}, 400),
    ],
)
async def test_what_must_be_said(path: str, parts: dict[str, Any], status: int) -> None:
    """Each product's own parts, and the form of an id number."""
    async with signed_in() as partner:
        partner.sandbox.enroll("ada")
        reply = await partner.post(path, **parts)
        assert reply.status_code == status, reply.text
        assert bool(partner.sandbox.jobs) == (status == 202)


async def test_an_accepted_job_without_a_date() -> None:
    """Address and AML answer 202 with other words and no created_at, as the OpenAPI file has it."""
    async with signed_in() as partner:
        bill = {"utility_number": "1", "utility_provider": "IKEDC", "utility_type": "PrePaid"}
        reply = await partner.post("address", country="NG", address="1 Broad Street", **bill)
        assert (reply.status_code, reply.json().keys()) == (202, {"status", "message", "job_id", "user_id"})
        assert reply.json()["message"] == "Job submitted successfully"
        assert "created_at" in (await partner.post("enhanced_kyc", **NIN)).json()


async def test_an_id_number_is_blocked_after_a_while() -> None:
    """429 in words of its own once a number was asked about too often; other numbers pass."""
    async with signed_in(submissions_per_number=2) as partner:
        statuses = [(await partner.post("enhanced_kyc", **NIN)).status_code for _ in range(3)]
        reply = await partner.post("enhanced_kyc/sync", **NIN)
        assert (statuses, reply.status_code, "ID number" in reply.json()["message"]) == ([202, 202, 429], 429, True)
        assert (await partner.post("enhanced_kyc", **{**NIN, "id_number": "1" * 11})).status_code == 202


async def test_a_person_reviews_what_v3_was_sent() -> None:
    """sandbox.review speaks V3's words of a V3 job, and takes a number of v1's."""
    async with signed_in() as partner:
        job = await partner.submit("enhanced_kyc", **NIN, user_details=person("Ngozi Ifeoma", "Downsworth"))
        for judgement, code in (
            ("approve", "clear"),
            ("reject", "block:identifier_not_found"),
            ("attention:medium_risk", "attention:medium_risk"),
            ("1015", "error:service_unavailable"),
        ):
            partner.sandbox.review(job.job_id, judgement)
            assert job.code == code
        for wrong in ("spoof", "Clear", "tomorrow"):
            with pytest.raises(ValueError, match="block:spoof_detected"):
                partner.sandbox.review(job.job_id, wrong)


async def test_the_console_shows_both() -> None:
    """A V3 job stands in the list beside v1's: TypeID, word and reason, what it was asked and told, its webhooks."""
    receiver = Receiver(500)
    async with (
        signed_in(clock=TurningClock(), callback_url=HOOK, public_host="sandbox.test") as partner,
        partner.sandbox.sending_callbacks(receiver),
    ):
        job = await partner.submit(
            "enhanced_kyc", **NIN, user_id="ada", user_details=person("Aisha Lawal", "Youngblood")
        )
        await receiver.heard(2)
        partner.sandbox.script("eve", code="processing")
        await partner.submit("enhanced_kyc", **NIN, user_id="eve", user_details=AMINA)
        page = (await partner.http.get("http://localhost/")).text
        assert job.job_id in page
        assert "block:age_requirement_not_met" in page
        assert "Under the age limit" in page
        assert '<span class="kind" title="Enhanced KYC">v3</span>' in page
        assert "Provisional" in page
        detail = (await partner.http.get("http://localhost/", params={"job": job.ref_id})).text
        assert "v3, POST /v3/enhanced_kyc" in detail
        assert "shop.test" in detail
        assert NIN["id_number"] not in detail
        assert "Youngblood" not in detail
        shown = (await partner.http.get("http://localhost/", params={"job": job.ref_id, "open": "1"})).text
        assert "Youngblood" in shown
