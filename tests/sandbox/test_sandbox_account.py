"""What the account can be asked, and how the API speaks of whatever it does not have."""

import gzip
import json
from typing import Any

import httpx
import pytest
from sandbox_support import KEY, Partner, in_process


@pytest.fixture
def partner() -> Any:
    """A partner whose user ada is enrolled."""
    with in_process() as partner:
        partner.sandbox.enroll("ada")
        yield partner


async def test_the_account_can_be_asked(partner: Partner) -> None:
    """Services unsigned, products and documents signed, both generations of services in one reply."""
    services = (await partner.http.get("https://sandbox.test/v1/services")).json()
    assert services["hosted_web"]["enhanced_kyc"]["KE"]["id_types"]["KRA_PIN"]["required_fields"][3] == "citizenship"
    assert services["id_types"]["NG"]["BVN"][:3] == ["country", "id_type", "id_number"]
    signed = partner.signed(partner_id="001")
    config = (await partner.post("/v1/products_config", signed)).json()
    assert config["consentRequired"]["NG"][0] == config["idSelection"]["basic_kyc"]["NG"][0] == "BVN"
    documents = (await partner.post("/v1/valid_documents?locale=fr-FR", signed)).json()["valid_documents"]
    assert {"GH", "NG"} < {each["country"]["code"] for each in documents}
    assert documents[0]["id_types"][0].keys() == {"code", "name", "example", "has_back"}
    one = await partner.http.get("https://sandbox.test/v1/valid_documents?country_code=ke&continent=africa")
    assert [each["country"]["name"] for each in one.json()["valid_documents"]] == ["Kenya"]
    for path in ("/v1/products_config", "/v1/valid_documents"):
        assert (await partner.post(path, {**signed, "signature": "x"})).json()["code"] == "2205"


async def test_a_web_token_is_for_a_known_product(partner: Partner) -> None:
    """User, job and product are needed, a callback is not, and an unknown product is 2217."""
    wanted = partner.signed(
        partner_id="001", user_id="u", job_id="j", product="biometric_kyc", callback_url="https://a.b"
    )
    assert len((await partner.post("/v1/token", wanted)).json()["token"]) > 40
    for wrong, code in (
        ({"product": "palmistry"}, "2217"),
        ({"job_id": ""}, "2213"),
        ({"user_id": None}, "2213"),
    ):
        reply = await partner.post("/v1/token", {**wanted, **wrong})
        assert (reply.status_code, reply.json()["code"]) == (400, code)


async def test_every_refusal_is_json(partner: Partner) -> None:
    """Unknown paths and methods too: official SDKs parse whatever comes; storage speaks XML as ever."""
    for method, path, status in (
        ("POST", "/v1/nothing", 404),
        ("GET", "/v1/upload", 405),
        ("GET", "/v9/status/x", 404),
    ):
        reply = await partner.http.request(method, f"https://sandbox.test{path}")
        assert (reply.status_code, reply.headers["content-type"]) == (status, "application/json")
        assert path in reply.json()["error"]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(partner.sandbox.storage_app)) as storage:
        reply = await storage.get("https://storage.test/nothing")
    assert (reply.status_code, "AccessDenied" in reply.text) == (403, True)


async def test_a_slash_and_gzip_are_taken_as_they_come(partner: Partner) -> None:
    """`/v1/upload/` is /v1/upload, and a gzipped body, as Android sends all, is read; bombs and junk are refused."""
    packed = gzip.compress(json.dumps(partner.prep("ada", "j1")).encode())
    headers = {"content-encoding": "gzip"}
    reply = await partner.http.post("https://sandbox.test/v1/upload/", content=packed, headers=headers)
    assert (reply.status_code, reply.json()["smile_job_id"]) == (200, "0000000001")
    bomb = await partner.http.post(
        "https://sandbox.test/v1/upload", content=gzip.compress(b" " * 2_000_000), headers=headers
    )
    junk = await partner.http.post("https://sandbox.test/v1/upload", content=b"{}", headers=headers)
    assert [(each.status_code, each.json()["code"]) for each in (bomb, junk)] == [(413, "2203"), (400, "2213")]
    assert KEY not in bomb.text + junk.text
