"""The official Python SDK, unchanged, believes the sandbox: smile-id-core 3.0.1 over TLS.

This is what makes the sandbox more than our own idea of Smile ID: code we did not write signs, zips, uploads, polls and
checks signatures against it.
"""

import asyncio
import base64
import ssl
import sys
import time
import types
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sandbox_support import jpeg
from sdk_cases import BVN, CASES, FIRM
from smile_id_core import ServerError
from smile_id_core.BusinessVerification import BusinessVerification
from smile_id_core.IdApi import IdApi
from smile_id_core.Signature import Signature
from smile_id_core.Utilities import Utilities
from smile_id_core.WebApi import WebApi

from smile_async.sandbox import RunningSandbox, Sandbox

#: The image types that travel as files.
FILES = {0, 1, 4, 5}
#: The SDK writes one member `base64imgString` per inline image.
junk_members = pytest.mark.filterwarnings("ignore:Duplicate name. 'base64imgString':UserWarning")


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningSandbox]:
    """A sandbox the SDK trusts, and an SDK that does not sleep for seconds between polls."""
    # In that module's own namespace (which the class of the same name hides): everybody else sleeps as before.
    sdk = sys.modules["smile_id_core.WebApi"]
    monkeypatch.setattr(sdk, "time", types.SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 500)))
    async with Sandbox.serve() as running:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", running.ca_file)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield running


@pytest.fixture
def files(tmp_path: Path) -> list[dict[str, Any]]:
    """A selfie and eight liveness frames on disk, as the SDK wants them."""
    (tmp_path / "selfie.jpg").write_bytes(jpeg())
    images = [{"image_type_id": 0, "file_name": str(tmp_path / "selfie.jpg")}]
    for number in range(8):
        path = tmp_path / f"live_{number}.JPG"
        path.write_bytes(jpeg(colour=(number, 0, 0)))
        images.append({"image_type_id": 4, "file_name": str(path)})
    return images


@pytest.fixture
def inline() -> list[dict[str, Any]]:
    """The same in base64."""
    encoded = [base64.b64encode(jpeg(colour=(number, 0, 0))).decode() for number in range(9)]
    return [{"image_type_id": 6 if number else 2, "image": text} for number, text in enumerate(encoded)]


async def submit(
    running: RunningSandbox,
    images: list[dict[str, Any]],
    user_id: str,
    job_id: str,
    job_type: int,
    *,
    key: str | None = None,
    id_info: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
    **options: bool,
) -> dict[str, Any]:
    """One SDK call in a thread, with every option the documentation names."""
    api = WebApi(running.partner_id, "https://partner.test/callback", key or running.api_key, running.base_url)
    wanted = {"return_job_status": True, "return_history": False, "return_images": False, **options}
    wanted.setdefault("use_enrolled_image", False)
    partner_params = {"user_id": user_id, "job_id": job_id, "job_type": job_type, **(params or {})}
    call: Callable[..., dict[str, Any]] = api.submit_job
    return await asyncio.to_thread(call, partner_params, images, id_info or {}, wanted)


async def test_register_then_authenticate_with_files(running: RunningSandbox, files: list[dict[str, Any]]) -> None:
    """The SDK's main flow with image files ends in two approvals it has verified the signatures of."""
    registered = await submit(running, files, "ada", "r1", 4)
    assert (registered["job_complete"], registered["result"]["ResultCode"]) == (True, "0840")
    authenticated = await submit(running, files, "ada", "a1", 2)
    assert authenticated["result"]["ResultCode"] == "0820"
    assert authenticated["result"]["ResultText"] == "Authenticate User Machine Judgement"
    assert authenticated["result"]["Actions"]["Selfie_To_Registered_Selfie_Compare"] == "Completed"
    assert authenticated["result"]["PartnerParams"] == {"user_id": "ada", "job_id": "a1", "job_type": 2}
    job = running.sandbox.jobs["a1"]
    assert [image.name for image in job.images] == ["selfie.jpg", *(f"live_{number}.JPG" for number in range(8))]
    assert (job.submissions, job.uploads, job.processed, job.complaint) == (1, 1, 1, "")


@junk_members
async def test_register_then_authenticate_with_base64(running: RunningSandbox, inline: list[dict[str, Any]]) -> None:
    """The SDK's inline images, junk zip members included, are read as nine pictures."""
    assert (await submit(running, inline, "ada", "r1", 4))["result"]["ResultCode"] == "0840"
    assert (await submit(running, inline, "ada", "a1", 2))["result"]["ResultCode"] == "0820"
    assert [image.image_type_id for image in running.sandbox.jobs["a1"].images] == [2, *[6] * 8]


async def test_without_job_status_only_the_id_comes_back(running: RunningSandbox, files: list[dict[str, Any]]) -> None:
    """`return_job_status: False` ends after the upload, with the ten-digit id."""
    reply = await submit(running, files, "ada", "r1", 4, return_job_status=False)
    assert reply == {"success": True, "smile_job_id": "0000000001"}
    assert running.sandbox.jobs["r1"].polls == 0


async def test_history_and_image_links(running: RunningSandbox, files: list[dict[str, Any]]) -> None:
    """Asked for, history lists the results and the link really leads to the selfie."""
    reply = await submit(running, files, "ada", "r1", 4, return_history=True, return_images=True)
    assert reply["history"] == [reply["result"]]
    context = ssl.create_default_context(cafile=running.ca_file)
    async with httpx.AsyncClient(verify=context, trust_env=False) as http:
        image = await http.get(reply["image_links"]["selfie_image"])
    assert image.content == jpeg()


async def test_the_sdk_polls_until_the_job_is_complete(running: RunningSandbox, files: list[dict[str, Any]]) -> None:
    """Not yet complete, the SDK asks again; with a review it gives up after 20 polls and returns what it has."""
    running.sandbox.fault("job_status", times=2, tamper=lambda reply: reply.update(job_complete=False))
    assert (await submit(running, files, "ada", "r1", 4))["job_complete"] is True
    assert running.sandbox.jobs["r1"].polls == 3
    reply = await submit(running, files, "ada", "a1", 2, params={"sandbox_result": "2", "note": "x"})
    assert (reply["job_complete"], reply["result"]["ResultCode"]) == (False, "0822")
    assert reply["result"]["PartnerParams"]["note"] == "x"
    assert running.sandbox.jobs["a1"].polls == 20


@junk_members
async def test_every_job_comes_to_its_code(running: RunningSandbox, tmp_path: Path) -> None:
    """Each product, files and base64, entered or not, both sides of a card, and the refusals, through WebApi."""
    files = [tmp_path / f"picture_{number}.jpg" for number in range(9)]
    for file in files:
        file.write_bytes(jpeg())
    inline = base64.b64encode(jpeg()).decode()
    for case in CASES:
        where = [
            {"image_type_id": kind} | ({"file_name": str(file)} if kind in FILES else {"image": inline})
            for kind, file in zip(case.pictures, files, strict=False)
        ]
        user, job, kind, params = case.partner_params["user_id"], case.name, case.job_type, case.params
        asked = submit(
            *(running, where, user, job, kind),
            id_info=case.id_info,
            params=params,
            use_enrolled_image=case.use_enrolled_image,
        )
        if case.refused:
            with pytest.raises(ServerError, match=rf"400\D.*'code': '{case.code}'"):
                await asked
            continue
        said = await asked
        result = said.get("result", said)
        assert (result["ResultCode"], result["PartnerParams"]) == (case.code, case.partner_params), said
        assert [image.image_type_id for image in running.sandbox.jobs[job].images] == list(case.pictures)
        assert "FullName" not in case.params or result["FullName"] == case.params["FullName"]


async def test_the_classes_for_ids_and_the_account(running: RunningSandbox) -> None:
    """IdApi, BusinessVerification, Utilities, Signature and a web token say what the sandbox has on record."""
    account = running.partner_id, running.api_key, running.base_url
    who = {"user_id": "ada", "job_id": "i5", "job_type": 5}
    person = await asyncio.to_thread(IdApi(*account).submit_job, who, BVN)
    assert (person["ResultCode"], person["ResultText"]) == ("1012", "ID Number Validated")
    asked = Utilities(*account).get_job_status
    assert (await asyncio.to_thread(asked, who, {}))["result"] == person
    business = BusinessVerification(*account).submit_job
    firm = await asyncio.to_thread(business, {**who, "job_id": "i7", "job_type": 7}, FIRM)
    assert (firm["ResultType"], firm["company_information"]["status"]) == ("Business Verification", "ACTIVE")
    assert Signature(*account[:2]).confirm_signature(firm["timestamp"], firm["signature"])
    token = WebApi(running.partner_id, "https://partner.test/callback", *account[1:]).get_web_token
    assert len((await asyncio.to_thread(token, "ada", "w", "biometric_kyc"))["token"]) > 40
    assert (await asyncio.to_thread(token, "ada", "w", "palmistry"))["code"] == "2217"
    with pytest.raises(ServerError, match="'code': '2405'"):
        await asyncio.to_thread(IdApi(running.partner_id, "wrong", running.base_url).submit_job, who, BVN)


async def test_the_sdk_sees_the_documented_errors(running: RunningSandbox, files: list[dict[str, Any]]) -> None:
    """Bad key, unknown user, known user and duplicate job all reach the SDK as its ServerError with our code."""
    await submit(running, files, "ada", "r1", 4)
    cases: list[tuple[str, str, int, str | None, str]] = [
        ("ada", "a1", 2, "wrong-key", "2205"),
        ("eve", "a2", 2, None, "2210"),
        ("ada", "r2", 4, None, "2209"),
        ("bob", "r1", 4, None, "2215"),
    ]
    for user_id, job_id, job_type, key, code in cases:
        with pytest.raises(ServerError, match=rf"status=400, response=.*'code': '{code}'"):
            await submit(running, files, user_id, job_id, job_type, key=key)
    assert list(running.sandbox.jobs) == ["r1"]


async def test_the_sdk_sees_an_unknown_job(running: RunningSandbox) -> None:
    """A status query for a job that never was is an error to the SDK, with code 2304."""
    api = WebApi(running.partner_id, "", running.api_key, running.base_url)
    options = {"return_job_status": True, "return_history": False, "return_images": False}
    query: Callable[..., dict[str, Any]] = api.utilities.get_job_status
    with pytest.raises(ServerError, match="'code': '2304'"):
        await asyncio.to_thread(query, {"user_id": "ada", "job_id": "x", "job_type": 2}, options)


async def test_the_sdks_long_lived_client_goes_stale(running: RunningSandbox, files: list[dict[str, Any]]) -> None:
    """The SDK signs once per object: outside the window its old signature is refused, a flaw the sandbox shows."""
    running.sandbox.settings.window = 0
    with pytest.raises(ServerError, match="'code': '2205'"):
        await submit(running, files, "ada", "r1", 4)
