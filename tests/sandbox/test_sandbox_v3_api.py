"""V3 over plain HTTP: tokens, forms, every shape of refusal, status, and one store for both APIs."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from sandbox_support import KEY, HandClock, Partner, jpeg, png
from v3_sandbox_support import AMINA, CARD, FACE, FACES, HOST, NIN, V3Partner, person, picture, signed_in, v3_partner

from smile_async.sandbox import Sandbox
from smile_async.sandbox.v3.identities import identity_of
from smile_async.sandbox.v3.products import V3_PRODUCTS
from smile_async.sandbox.v3.type_ids import JOB_ID

NOBODY = "job_" + "0" * 26


def claims(token: str) -> dict[str, Any]:
    """What a JWT says of itself."""
    said = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4))))


async def test_a_token_lives_for_a_quarter_of_an_hour() -> None:
    """It is a JWT with iat and exp, good until exp and not a second longer, or until it is ended on request."""
    async with signed_in() as partner:
        clock = partner.sandbox.settings.clock
        said = claims(partner.token)
        assert (said["exp"] - said["iat"], said["partner_id"], said["api_url"]) == (900, "1", f"{HOST}/v3")
        clock.now = said["exp"] - 1
        assert await partner.status(NOBODY) == (404, "not_found")
        clock.now += 1
        reply = await partner.get(f"status/{NOBODY}")
        assert reply.json() == {"status": "unauthorized", "message": "Invalid token", "job_id": None, "user_id": None}
        await partner.sign_in()
        partner.sandbox.tokens.expire()
        assert (await partner.get(f"status/{NOBODY}")).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"smileid-partner-id": "1"}, 400),
        ({"smileid-api-key": KEY}, 400),
        ({"smileid-partner-id": "001", "smileid-api-key": KEY}, 400),
        ({"smileid-partner-id": "2", "smileid-api-key": KEY}, 401),
        ({"smileid-partner-id": "1", "smileid-api-key": "wrong"}, 401),
        ({"SmileID-Partner-ID": "1", "SmileID-API-Key": KEY}, 200),
    ],
)
async def test_who_gets_a_token(headers: dict[str, str], status: int) -> None:
    """The portal's "001" is V3's "1", and the key is the account's."""
    with v3_partner() as partner:
        assert (await partner.http.post("/v3/token", headers=headers)).status_code == status


async def test_what_a_token_may_be_bound_to() -> None:
    """Product, user, params and payload bind; personal values become references, equal ones to equal references."""
    payload = {"country": "NG", "id_type": "NIN_V2", "id_number": "00000000000", **AMINA}
    async with signed_in(strangers="clear") as partner:
        await partner.sign_in(product="enhanced_kyc", user_id="ada", partner_params={"a": "b"}, payload=payload)
        said = claims(partner.token)["payload"]
        assert (said["country"], said["id_number"][:4], said["email"][:4]) == ("NG", "pii_", "pii_")
        first = said["email"]
        await partner.sign_in(product="enhanced_kyc", user_id="ada", partner_params={"a": "b"}, payload=payload)
        assert claims(partner.token)["payload"]["email"] == first
        job = await partner.submit("enhanced_kyc", user_details=None, partner_params={"a": "x", "c": "d"})
        assert (job.user_id, job.partner_params, job.id_info["id_number"]) == ("ada", {"a": "b", "c": "d"}, "0" * 11)
        assert job.details == AMINA
        assert (await partner.post("compare", *FACES)).status_code == 403
        unreadable = await partner.post("enhanced_kyc", user_details="{", partner_params="[]")
        assert (unreadable.status_code, len(partner.sandbox.jobs)) == (202, 2)  # what is bound stands for it
        other = await partner.post("enhanced_kyc", user_id="kofi", user_details=None)
        assert (other.status_code, other.json()["message"]) == (403, "Token is not authorized for this user ID.")
        assert await partner.status(job.job_id) == (200, "clear")  # any token of the account reads any status


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ({"product": "palmistry"}, 400),
        ({"product": "basic_kyc"}, 200),
        ({"payload": "["}, 400),
        ({"payload": {"dob": "1990-01-31"}}, 400),
        ({"payload": {"consent": {"granted": True}}}, 400),
        ({"payload": {"country": "Nigeria"}}, 400),
        ({"payload": {"email": ""}}, 400),
        ({"payload": {"id_number": 7}}, 400),
        ({"payload": {"consent": []}}, 400),
        ({"payload": []}, 400),
        ({"partner_params": {"a": 1}}, 400),
        ({"partner_params[a]": "dropped", "partner_id": "ignored"}, 200),
        (
            {
                "payload": {
                    "consent": {
                        "granted": True,
                        "granted_at": "2026-01-02T03:04:05",
                        "notice_language": "en",
                        "notice_privacy_policy_url": "http://shop.test/privacy",
                    }
                }
            },
            200,
        ),
    ],
)
async def test_what_a_token_takes(parts: dict[str, Any], status: int) -> None:
    """Partial consent, unknown products and unknown personal fields are refused; unknown parts are not."""
    with v3_partner() as partner:
        assert (await partner.fetch_token(**parts)).status_code == status


async def test_a_body_is_a_form_or_415() -> None:
    """JSON is not taken, neither for a token nor for a job; a form that can not be read is 400."""
    async with signed_in() as partner:
        headers = {"smileid-token": partner.token, "smileid-partner-id": "1", "smileid-api-key": KEY}
        for path in ("token", "registration", f"replay/{NOBODY}"):
            reply = await partner.http.post(f"/v3/{path}", json={"a": 1}, headers=headers)
            assert (reply.status_code, reply.json()["status"]) == (415, "Unsupported Media Type")
        headers["content-type"] = "multipart/form-data; boundary=b"
        name = b'--b\r\nContent-Disposition: form-data; name="a"'
        for body in (
            b"",
            b"--b",
            b"--b\r\n\r\nx\r\n--b--",
            name + b"\r\n\r\nx",
            name + b"\r\n\r\n\xff\r\n--b--",
            (name + b"\r\n\r\n1\r\n") * 70 + b"--b--",
        ):
            reply = await partner.http.post("/v3/registration", content=body, headers=headers)
            assert (reply.status_code, reply.json()["status"]) == (400, "Bad Request"), body


async def test_a_request_too_large_dies_at_the_gateway() -> None:
    """4.5 MB and a byte is 413 in the gateway's envelope; a part too large is 413 by its name."""
    async with signed_in(max_image=10_000) as partner:
        reply = await partner.post("registration", *FACES, picture("x", b"\x00" * 4_500_000))
        assert (reply.status_code, reply.json()["status"], reply.json()["job_id"]) == (413, "content_too_large", None)
        large = picture("selfie_image", FACE + b"\x00" * 10_000)
        reply = await partner.post("registration", large, *FACES[1:])
        assert reply.json() == {"status": "Content Too Large", "message": "selfie_image is too large."}
        reply = await partner.post("registration", *FACES, user_id="u" * 70_000)
        assert reply.json()["message"] == "user_id is too large."


CONSENT = {
    "granted": True,
    "granted_at": "2026-01-02T03:04:05Z",
    "notice_language": "EN",
    "notice_privacy_policy_url": "https://shop.test/privacy",
}
PHONE = {"given_names": "Ada", "last_name": "Obi", "email": None, "phone_number": "+2348000000000"}
PARTS: list[tuple[dict[str, Any], str]] = [
    ({"consent": None}, "consent is required"),
    ({"consent": {**CONSENT, "granted": False}}, "Required field 'consent' is missing or invalid."),
    ({"consent": {**CONSENT, "granted_at": "2026-01-02T03:06:00Z"}}, "Required field 'consent' is missing or invalid."),
    ({"consent": {**CONSENT, "granted_at": "yesterday"}}, "Required field 'consent' is missing or invalid."),
    ({"consent": {**CONSENT, "notice_language": "en"}}, "Required field 'consent' is missing or invalid."),
    (
        {"consent": {**CONSENT, "notice_privacy_policy_url": "http://shop.test"}},
        "Required field 'consent' is missing or invalid.",
    ),
    ({"consent": {**CONSENT, "more": 1}}, "Required field 'consent' is missing or invalid."),
    ({"consent": "[]"}, "Required field 'consent' is missing or invalid."),
    ({"user_details": None}, "Required field 'user_details' is missing or invalid."),
    ({"user_details": {"given_names": "Ada", "last_name": ""}}, "Required field 'user_details' is missing or invalid."),
    ({"user_details": {**PHONE, "phone_number": None}}, "Either email or phone_number is required."),
    ({"user_details": {**PHONE, "phone_number": "0800"}}, "Required field 'user_details' is missing or invalid."),
    ({"user_details": {**AMINA, "email": "amina"}}, "Required field 'user_details' is missing or invalid."),
    ({"callback_url": "http://shop.test/hook"}, "Field 'callback_url' is invalid."),
    ({"partner_params": {"n": 1}}, "Field 'partner_params' is invalid."),
    ({"metadata": [{"name": "n" * 101, "value": ""}]}, "Field 'metadata' is invalid."),
    ({"metadata": ["x"]}, "Field 'metadata' is invalid."),
    ({"sandbox_result": "clear"}, "Field 'sandbox_result' is invalid."),
    ({"allow_new_enroll": "yes"}, "Field 'allow_new_enroll' is invalid."),
]


@pytest.mark.parametrize(("parts", "message"), PARTS)
async def test_each_part_is_judged(parts: dict[str, Any], message: str) -> None:
    """A part that is missing or unfit is named; its value, which may be personal, is not."""
    async with signed_in(strangers="clear") as partner:
        reply = await partner.post("registration", *FACES, **parts)
        assert (reply.status_code, reply.json()) == (400, {"status": "Bad Request", "message": message})
        assert not partner.sandbox.jobs


@pytest.mark.parametrize(
    "parts",
    [
        {"user_details": PHONE},
        {"consent": {**CONSENT, "granted_at": "2026-01-02T03:05:00"}},  # no zone: UTC, and less than a minute ahead
        {"callback_url": "http://127.0.0.1:9/hook"},
        {"sandbox_result": "840.0"},
        {"allow_new_enroll": True, "partner_params": {"ref": "é"}, "metadata": [{"name": "a", "value": "b"}]},
    ],
)
async def test_what_is_fit_passes(parts: dict[str, Any]) -> None:
    """What the OpenAPI file allows is taken, and comes to an end."""
    async with signed_in(strangers="clear") as partner:
        job = await partner.submit("registration", *FACES, **parts)
        assert JOB_ID.fullmatch(job.job_id)
        assert job.user_id.startswith("user_")
        assert job.code == "clear"


@pytest.mark.parametrize(
    ("pictures", "name"),
    [
        ([], "selfie_image"),
        (FACES[:6], "liveness_images"),
        ([*FACES, *[picture("liveness_images")] * 3], "liveness_images"),
        ([*FACES, picture("selfie_image")], "selfie_image"),
        ([picture("selfie_image", png()), *FACES[1:]], "selfie_image"),
        ([picture("selfie_image", png(), "image/png"), *FACES[1:]], "selfie_image"),
        ([picture("selfie_image", jpeg(), ""), *FACES[1:]], "selfie_image"),
        ([picture("selfie_image", b"nothing"), *FACES[1:]], "selfie_image"),
        ([picture("selfie_image", b""), *FACES[1:]], "selfie_image"),
    ],
)
async def test_faces_are_jpegs_and_six_to_eight_frames(pictures: list[Any], name: str) -> None:
    """Five frames, nine, two selfies, a PNG under either name and rubbish are refused by the name of their part."""
    async with signed_in() as partner:
        reply = await partner.post("registration", *pictures)
        assert (reply.status_code, reply.json()["message"]) == (
            400,
            f"Required field '{name}' is missing or invalid.",
        )


async def test_documents_may_be_png_and_broken_pictures_are_an_outcome() -> None:
    """A card as PNG passes; a JPEG without an end is an error of the job, as production looks at pixels later."""
    async with signed_in() as partner:
        card = picture("document", png(), "image/png")
        assert (await partner.submit("document_verification", *FACES, card, country="NG")).code == "clear"
        torn = picture("selfie_image", jpeg((640, 800))[:400])
        job = await partner.submit("registration", torn, *FACES[1:], sandbox_result="840")
        assert job.code == "error:image_unavailable_or_invalid"


async def test_users_are_enrolled_by_either_api() -> None:
    """Who registered by v1 authenticates by V3, and the other way round; strangers and the enrolled are refused."""
    async with signed_in() as partner:
        v1 = Partner(partner.sandbox, partner.http, f"{HOST}/v1")
        refused = await partner.post("authentication", *FACES, user_id="ada")
        assert (refused.status_code, "not enrolled" in refused.json()["message"]) == (400, True)
        await v1.submit("ada", "j-1", 4)
        assert (await partner.submit("authentication", *FACES, user_id="ada")).code == "clear"
        refused = await partner.post("registration", *FACES, user_id="ada")
        assert (refused.status_code, "already enrolled" in refused.json()["message"]) == (400, True)
        await partner.submit("registration", *FACES, user_id="ada", allow_new_enroll=True)
        job = await partner.submit("registration", *FACES, user_id="kofi")
        await v1.submit("kofi", "j-2", 2)
        assert (await v1.status("kofi", "j-2"))["result"]["ResultCode"] == "0820"
        assert (await v1.status("kofi", job.job_id))["code"] == "2304"  # V3's jobs are not v1's to read
        await partner.submit("registration", *FACES, user_id="obi", user_details=person("Obinna Chukwu", "Twinley"))
        assert not partner.sandbox.registry.enrolled("obi")


async def test_leniency_is_to_be_asked_for() -> None:
    """With lenient=True somebody never enrolled comes to clear, as at the real sandbox."""
    async with signed_in(lenient=True) as partner:
        assert (await partner.submit("authentication", *FACES, user_id="nobody")).code == "clear"
        reused = await partner.post("authentication", user_id="nobody", use_enrolled_image=True)
        assert reused.status_code == 202


async def test_who_decides_what_a_job_comes_to() -> None:
    """sandbox_result before a script before the identity; people nobody knows are refused, or come to a result."""
    async with signed_in() as partner:
        sandbox, ada = partner.sandbox, {"given_names": "Ada", "last_name": "Obi", "email": "ada@obi.test"}
        refused = await partner.post("registration", *FACES, user_details=ada)
        assert (refused.status_code, "Sandbox mode" in refused.json()["message"]) == (400, True)
        sandbox.script("ada", code="0811")
        job = await partner.submit("compare", FACES[0], *COMPARED, user_id="ada", comparison_image_type="PORTRAIT")
        assert job.code == "block:face_verification_failed"
        sandbox.script("ada", code="block:spoof_detected")
        told = {"user_id": "ada", "user_details": ada}
        assert (await partner.submit("registration", *FACES, **told)).code == "block:spoof_detected"
        assert (await partner.submit("registration", *FACES, **told, sandbox_result=840)).code == "clear"
        v1 = Partner(sandbox, partner.http, f"{HOST}/v1")
        await v1.submit("ada", "j-1", 2)
        assert sandbox.jobs["j-1"].code == "0821"  # the same script, in v1's words
    with pytest.raises(ValueError, match="strangers"):
        Sandbox(strangers="welcome")
    async with signed_in(strangers="block") as partner:
        assert (await partner.submit("registration", *FACES, user_details=ada)).code == "block"
    async with signed_in(scripted_only=True) as partner:
        assert (await partner.submit("registration", *FACES)).code == "clear"  # the identity has said it
        refused = await partner.post("registration", *FACES, user_details=ada, user_id="eve")
        assert refused.status_code == 400
        assert [*partner.sandbox.registry.unscripted] == ["eve"]


COMPARED = [picture("comparison_image")]


@pytest.mark.parametrize(
    ("number", "path", "code"),
    [
        (810, "biometric_kyc", "clear"),
        (812, "biometric_kyc", "processing"),
        (1013, "biometric_kyc", "block:identifier_not_found"),
        (1015, "biometric_kyc", "error:service_unavailable"),
        (844, "registration", "processing"),
        (1241, "registration", "block:face_verification_failed"),
        (9999, "registration", "error:internal_error"),
    ],
)
async def test_sandbox_result_is_a_code_of_v1(number: int, path: str, code: str) -> None:
    """A number of v1's comes to the word and the reason that stand for it."""
    async with signed_in() as partner:
        about = NIN if path == "biometric_kyc" else {}
        assert (await partner.submit(path, *FACES, **about, sandbox_result=number)).code == code


async def test_identities_are_known_by_name_and_address() -> None:
    """All seventeen, each to its products; another address, other given names or another product is a stranger."""
    document, kyc = V3_PRODUCTS["document_verification"].families, V3_PRODUCTS["enhanced_kyc"].families
    assert identity_of(person("Ade Ogundimu", "Forgeman"), document) == "block:document_check_failed"
    assert identity_of(person("Ade Ogundimu", "Forgeman"), kyc) is None
    assert identity_of(person("Aisha Lawal", "Youngblood"), kyc) == "block:age_requirement_not_met"
    assert identity_of({**AMINA, "email": None}, document) is None
    assert identity_of({**AMINA, "given_names": "Amina"}, document) is None
    assert identity_of(AMINA, ()) == "clear"


async def test_status_says_one_word() -> None:
    """It is processing through latency and review, then the word; never a reason, and not for a stranger's id."""
    async with signed_in(latency=5, review=60, recorded_after=2) as partner:
        clock = partner.sandbox.settings.clock
        job = await partner.submit("registration", *FACES, sandbox_result=844, user_id="ada")
        assert await partner.status(job.job_id) == (404, "not_found")  # not on record yet
        clock.now += 3
        assert await partner.status(job.job_id) == (202, "processing")
        clock.now += 3
        assert (job.code, job.state) == ("processing", "provisional")
        assert await partner.status(job.job_id) == (202, "processing")
        clock.now += 60
        reply = await partner.get(f"status/{job.job_id}")
        assert (reply.status_code, reply.headers["user_id"], reply.headers["job_id"]) == (200, "ada", job.job_id)
        assert {**reply.json(), "created_at": ""} == {
            "status": "clear",
            "message": "Job completed",
            "job_id": job.job_id,
            "user_id": "ada",
            "created_at": "",
        }
        assert job.polls == 3
        reply = await partner.get(f"status/{NOBODY}")
        assert (reply.status_code, reply.json()["user_id"]) == (404, "unknown")
        assert (await partner.get("status/job_short")).status_code == 400
        partner.token = ""
        assert (await partner.get(f"status/{job.job_id}")).status_code == 401


async def test_old_servers_can_be_played() -> None:
    """`complete`, a status word of tomorrow and AWS's own 504 are at hand for whoever tests a client."""
    async with signed_in() as partner:
        partner.sandbox.script("ada", code="complete")
        job = await partner.submit("registration", *FACES, user_id="ada")
        assert await partner.status(job.job_id) == (200, "complete")
        partner.sandbox.fault("status", tamper=lambda body: body.update(status="tomorrow"))
        assert await partner.status(job.job_id) == (200, "tomorrow")
        partner.sandbox.fault("status", status=504, body={"message": "Endpoint request timed out"})
        assert (await partner.get(f"status/{job.job_id}")).json() == {"message": "Endpoint request timed out"}


async def test_a_lost_answer_leaves_a_job() -> None:
    """A fault after the work: the client hears 502, and a second submission is a second job."""
    async with signed_in() as partner:
        partner.sandbox.fault("submit", status=502, effect=True, user_id="ada")
        assert (await partner.post("registration", *FACES, user_id="eve")).status_code == 202
        assert (await partner.post("registration", *FACES, user_id="ada")).status_code == 502
        await partner.submit("registration", *FACES, user_id="ada", allow_new_enroll=True)
        assert [job.user_id for job in partner.sandbox.jobs.values()] == ["eve", "ada", "ada"]
        partner.sandbox.fault("token", status=500)
        assert (await partner.fetch_token()).status_code == 500
        partner.sandbox.fault("submit", status=400, user_id="x")
        assert (await partner.http.post("/v3/registration", json={})).status_code == 401


@pytest.mark.parametrize(
    ("settings", "parts", "status"),
    [
        ({"empty_wallet": True}, {}, 402),
        ({"forbidden": ["registration"]}, {}, 403),
        ({"callback_hosts": ["shop.test"]}, {"callback_url": "https://elsewhere.test/"}, 403),
        ({"callback_hosts": ["shop.test"]}, {"callback_url": "https://shop.test/"}, 202),
        ({"demand_callback": True}, {}, 400),
        ({"demand_callback": True, "callback_url": "https://shop.test/"}, {}, 202),
    ],
)
async def test_what_an_account_may(settings: dict[str, Any], parts: dict[str, Any], status: int) -> None:
    """Money, rights and callback hosts are the account's."""
    async with signed_in(**settings) as partner:
        assert (await partner.post("registration", *FACES, **parts)).status_code == status


async def test_headers_may_name_who_asks() -> None:
    """The partner id in either form and the user as a header, as official SDKs send them; others' are refused."""
    async with signed_in() as partner:
        job = None
        for partner_id, status in (("1", 202), ("001", 202), ("2", 401)):
            reply = await partner.post(
                "registration",
                *FACES,
                headers={"SmileID-Partner-ID": partner_id, "User-ID": "ada"},
                allow_new_enroll=True,
            )
            assert reply.status_code == status
            job = partner.sandbox.jobs.get(reply.json()["job_id"], job)
        assert job is not None
        assert job.user_id == "ada"
        reply = await partner.post("registration", *FACES, headers={"User-ID": "ada"}, user_id="eve")
        assert reply.status_code == 403


async def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    """Jobs, keys, frauds and users are read again from a state directory, and so are the tokens of before."""
    async with signed_in(state=tmp_path, clock=HandClock()) as partner:
        job = await partner.submit("registration", *FACES, user_id="ada")
        aml = {"countries": ["NG"], "full_name": "Ada Obi"}
        key = {"smileid-idempotency-key": "k" * 16}
        first = await partner.post("aml/sync", headers=key, **aml)
        partner.sandbox.registry.report_fraud("ada", is_fraud=True)
        again = V3Partner(Sandbox("001", KEY, state=tmp_path, clock=HandClock()))
        again.token = partner.token
        assert await again.status(job.job_id) == (200, "clear")
        assert again.sandbox.jobs[job.job_id].plan == job.plan
        assert (await again.submit("authentication", *FACES, user_id="ada")).code == "block:account_locked_fraud"
        second = await again.post("aml/sync", headers=key, **aml)
        await partner.sign_in(payload=AMINA)
        again.token = partner.token
        assert (await again.get(f"status/{NOBODY}")).status_code == 401  # what its references stand for is forgotten
        assert second.headers["smileid-job-id"] == first.headers["smileid-job-id"]


async def test_apps_may_ask_for_their_configuration() -> None:
    """/v3/services/config, which the OpenAPI file lacks, wants a token; id_status says what it misses."""
    async with signed_in() as partner:
        await partner.sign_in(payload={"country": "NG"})
        said = (await partner.get("services/config")).json()
        assert (said["token_provided_values"], "biometric_kyc" in said["products"]) == ({"country": "NG"}, True)
        assert (await partner.get("services/id_status", country="NG")).json()["code"] == "2413"
        partner.token = ""
        assert (await partner.get("services/config")).status_code == 401
        assert (await partner.get("services/bank_codes", country="KE")).json() == {"bank_codes": []}


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"reported_by": "a@b.c"}, "is_fraud"),
        ({"is_fraud": True}, "reported_by"),
        ({"is_fraud": True, "reported_by": "a@b.c"}, "reason"),
        ({"is_fraud": True, "reported_by": "a@b.c", "reason": "OTHER"}, "notes"),
        ({"is_fraud": False, "reported_by": "a@b.c"}, "notes"),
    ],
)
async def test_a_report_of_fraud_is_whole(parts: dict[str, Any], field: str) -> None:
    """Who reports must say who, why, or what makes it none."""
    async with signed_in() as partner:
        partner.sandbox.enroll("ada")
        reply = await partner.post("users/ada/report_fraud", **parts)
        assert reply.json()["message"] == f"Required field '{field}' is missing or invalid."


async def test_documents_have_rules_of_their_own() -> None:
    """A residency permit wants a passport and a visa, an enhanced document its id type."""
    async with signed_in() as partner:
        for path, more, status in (
            ("enhanced_document_verification", {}, 400),
            ("residency_document_verification", {"id_type": "PASSPORT"}, 400),
        ):
            assert (await partner.post(path, *CARD, country="NG", **more)).status_code == status
        visa = [*CARD, picture("visa")]
        for id_type, status in (("VISA", 400), ("PASSPORT", 202)):
            reply: httpx.Response = await partner.post(
                "residency_document_verification", *visa, country="NG", id_type=id_type
            )
            assert reply.status_code == status
