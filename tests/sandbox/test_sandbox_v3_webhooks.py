"""V3's webhooks: signed headers, ids in headers, `processing` first, four attempts, doubled or reordered on request."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sandbox_support import Partner, TurningClock, iso
from v3_sandbox_support import AMINA, FACES, HOST, NIN, Receiver, V3Partner, person, signed_in, verify

HOOK = "https://shop.test/hook/0b6c"


@asynccontextmanager
async def listening(receiver: Receiver, **settings: Any) -> AsyncIterator[V3Partner]:
    """A partner whose webhooks arrive at *receiver*, on a clock that jumps to what is waited for."""
    async with signed_in(clock=TurningClock(), **settings) as partner, partner.sandbox.sending_callbacks(receiver):
        yield partner


async def test_a_webhook_names_its_job_in_headers() -> None:
    """Both ids, version, signature and moment are headers; of partner_params the server keeps its own to itself."""
    receiver, params = Receiver(), {"ref": "r-1", "job_id": "mine", "user_id": "x", "job_type": "4", "_sandbox_v3": "y"}
    async with listening(receiver) as partner:
        job = await partner.submit("registration", *FACES, user_id="ada", callback_url=HOOK, partner_params=params)
        await receiver.heard(1)
    request = receiver.got[0]
    verify(request)
    assert (str(request.url), request.headers["job-id"], request.headers["user-id"]) == (HOOK, job.job_id, "ada")
    assert request.headers["api-version"]
    body = json.loads(request.content)
    assert (body["status"], body["reason"], body["product"]) == ("clear", None, "smart_selfie_registration")
    assert (body["message"], body["partner_params"]) == ("Enrollment successful.", {"ref": "r-1"})
    assert (body["user_provided_info"], body["consent"]["granted"]) == ({**AMINA, "phone_number": None}, True)
    assert job.job_id not in request.content.decode()
    assert "id_fields" not in body
    link = httpx.URL(body["image_links"]["selfie_image"])
    assert (await partner.http.get(link)).status_code == 200


@pytest.mark.parametrize(
    ("user_id", "header"), [("a@b c/%;", "a@b c/%;"), ("añ\u4e2d", "a%C3%B1%E4%B8%AD"), ("a\r\nx: y", "a%0D%0Ax: y")]
)
async def test_any_user_has_a_header(user_id: str, header: str) -> None:
    """A user id that no header can carry is written as one can, and stops no webhook of others."""
    receiver = Receiver()
    async with listening(receiver, callback_url=HOOK) as partner:
        job = await partner.submit("enhanced_kyc", **NIN, user_id=user_id)
        await receiver.heard(1)
        assert receiver.got[0].headers["user-id"] == header
        assert (await partner.get(f"status/{job.job_id}")).headers["user_id"] == header
        assert (await partner.post("enhanced_kyc/sync", **NIN, user_id=user_id)).headers["user-id"] == header
        assert job.user_id == user_id


async def test_processing_comes_first_where_people_review() -> None:
    """A review has two webhooks; the portal's URL stands in for the job's."""
    receiver = Receiver()
    async with listening(receiver, callback_url=HOOK, review=3600) as partner:
        job = await partner.submit("biometric_kyc", *FACES, **NIN, sandbox_result=812)
        await receiver.heard(2)
    first, second = (json.loads(request.content) for request in receiver.got)
    assert (first["status"], first["completed_at"], first["id_fields"]) == ("processing", None, None)
    assert (second["status"], second["completed_at"]) == ("clear", iso(job.created_at + 3600))
    assert second["id_fields"]["full_name"] == "Amina Fatou Clearwater"
    assert {request.headers["job-id"] for request in receiver.got} == {job.job_id}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"webhook_copies": 2}, ["processing", "processing", "clear", "clear"]),
        ({"webhook_reordered": True}, ["clear", "processing"]),
        ({"webhook_reordered": True, "webhook_copies": 2}, ["clear", "processing", "clear", "processing"]),
    ],
)
async def test_doubled_and_reordered(settings: dict[str, Any], words: list[str]) -> None:
    """On request each arrives more than once, the same bytes under one signature, or `processing` after the end."""
    receiver = Receiver()
    async with listening(receiver, callback_url=HOOK, **settings) as partner:
        partner.sandbox.script("ada", code="processing", then=[(60, "clear")])
        await partner.submit("registration", *FACES, user_id="ada")
        await receiver.heard(len(words))
    assert sorted(receiver.words) == sorted(words)
    assert receiver.words[0] == words[0]
    assert receiver.words.index("processing") == words.index("processing")
    sent = {(request.content, request.headers["response-signature"]) for request in receiver.got}
    assert len(sent) == 2


async def test_four_attempts() -> None:
    """Whoever does not say 2xx is asked three times more, and never again."""
    receiver = Receiver(*[500] * 9)
    async with listening(receiver, callback_url=HOOK) as partner:
        job = await partner.submit("registration", *FACES)
        await receiver.heard(4)
        other = await partner.submit("registration", *FACES, user_id="eve")
        await receiver.heard(8)
    assert [sent.status for sent in job.callbacks] == [500] * 4
    assert {request.headers["job-id"] for request in receiver.got[4:]} == {other.job_id}


async def test_faults_have_a_leg_of_their_own() -> None:
    """A webhook may be kept back, belied, held up or tampered with; v1's callbacks are another leg."""
    receiver = Receiver()
    async with listening(receiver, callback_url=HOOK) as partner:
        sandbox = partner.sandbox
        sandbox.fault("callback", status=500, times=None)
        sandbox.fault("webhook", cut=True)
        job = await partner.submit("registration", *FACES, user_id="ada")
        await receiver.heard(1)
        assert job.callbacks[0].status is None
        sandbox.fault("webhook", delay=5, tamper=lambda body: body.update(status="block"))
        await partner.submit("registration", *FACES, user_id="eve")
        await receiver.heard(2)
        await Partner(sandbox, partner.http, f"{HOST}/v1").submit("ada", "j-1", 2)
        sandbox.fault("webhook", headers={"api-version": "9"}, user_id="kofi")
        await partner.submit("registration", *FACES, user_id="kofi")
        await receiver.heard(3)
    assert receiver.words == ["clear", "block", "clear"]
    assert receiver.got[2].headers["api-version"] == "9"


async def test_the_zeros_may_be_signed() -> None:
    """Which form of the partner id is signed is not published: either can be had."""
    receiver = Receiver()
    async with listening(receiver, callback_url=HOOK, webhook_zeros=True) as partner:
        await partner.submit("registration", *FACES)
        await receiver.heard(1)
    verify(receiver.got[0], "001")


async def test_a_replay_is_signed_anew() -> None:
    """The latest result again, under a new moment: to the job's own URL, or for this once to another one."""
    receiver = Receiver()
    async with listening(receiver) as partner:
        job = await partner.submit("registration", *FACES, user_details=person("Taiwo Adeyemi", "Masquero"))
        assert (await partner.http.post(f"/v3/replay/{job.job_id}")).status_code == 401
        headers = {"smileid-token": partner.token}
        refused = await partner.http.post(f"/v3/replay/{job.job_id}", headers=headers)
        assert (refused.status_code, "callback_url" in refused.json()["message"]) == (400, True)
        for url, status in (("http://shop.test", 400), (HOOK, 202)):
            reply = await partner.post(f"replay/{job.job_id}", consent=None, user_details=None, callback_url=url)
            assert reply.status_code == status
        await receiver.heard(1)
        partner.sandbox.settings.clock.now += 60  # type: ignore[attr-defined]
        await partner.sign_in(payload={"callback_url": f"{HOOK}/bound"})
        await partner.http.post(f"/v3/replay/{job.job_id}", headers={"smileid-token": partner.token})
        await receiver.heard(2)
        assert (await partner.post("replay/job_x")).status_code == 400
        assert (await partner.post("replay/job_" + "l" * 26)).status_code == 404  # its pattern is the looser one
    assert [str(request.url) for request in receiver.got] == [HOOK, f"{HOOK}/bound"]
    first, second = receiver.got
    told = [json.loads(each.content) for each in receiver.got]
    links = [each.pop("image_links") for each in told]
    assert (told[0], links[0].keys()) == (told[1], links[1].keys())
    assert links[0] != links[1]  # good for another quarter of an hour
    assert first.headers["response-timestamp"] < second.headers["response-timestamp"]
    assert json.loads(first.content)["reason"] == "spoof_detected"


async def test_the_console_sends_v3_again() -> None:
    """What `resend` sends of a V3 job is a webhook, and its copies are the same bytes."""
    receiver = Receiver()
    async with listening(receiver, callback_url=HOOK) as partner:
        job = await partner.submit("enhanced_kyc", **NIN)
        await receiver.heard(1)
        partner.sandbox.resend(job.job_id, copies=2)
        await receiver.heard(3)
    assert receiver.words == ["clear"] * 3
    assert receiver.got[1].content == receiver.got[2].content


@pytest.mark.parametrize(
    ("who", "fields", "risk"),
    [
        (AMINA, True, "low"),
        (person("Rashid Omar", "Dangerfield"), False, "high"),
        (person("Fatima Bello", "Ghostwell"), False, "low"),
    ],
)
async def test_what_an_authority_says_is_told_only_of_the_clear(who: dict[str, str], fields: bool, risk: str) -> None:
    """id_fields are null on a block, and a risk of fraud is said where it is the reason."""
    receiver = Receiver()
    async with listening(receiver, callback_url=HOOK) as partner:
        await partner.submit("enhanced_kyc", **NIN, user_details=who)
        await receiver.heard(1)
    body = json.loads(receiver.got[0].content)
    assert (bool(body["id_fields"]), body["antifraud"]["fraud_risk"]["risk_level"]) == (fields, risk)
    verify(receiver.got[0])
