"""The official JavaScript SDK, unchanged, believes the sandbox: smile-identity-core 3.2.1 over TLS, in one process.

Skipped without node and the package, which `make test` puts into .node-sdk where there is npm, as `.ci/run` sees to.
"""

import base64
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sandbox_support import jpeg, sign, told_by
from sdk_cases import BVN, CASES, FIRM, Case

from smile_async.sandbox import RunningSandbox, Sandbox

HOME = Path(__file__).parents[2]
MODULES = HOME / ".node-sdk" / "node_modules"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(
    not (NODE and (MODULES / "smile-identity-core").is_dir()), reason="no node, or no SDK for it: make .node-sdk/.ready"
)
#: The SDK puts the path of a frame or of a card's back into info.json instead of the picture.
NO_FILES = {4: 6, 5: 7}

Call = tuple[str, list[Any], str, list[Any]]


@pytest.fixture
async def running() -> AsyncIterator[RunningSandbox]:
    """A sandbox over TLS."""
    async with Sandbox.serve(api_key="test-api-key") as running:
        yield running


async def run(running: RunningSandbox, calls: list[Call]) -> list[dict[str, Any]]:
    """What the SDK made of each call."""
    assert NODE is not None
    env = {"PATH": os.environ["PATH"], "NODE_PATH": str(MODULES), "NODE_EXTRA_CA_CERTS": running.ca_file}
    return await told_by([NODE, str(HOME / "tests" / "official_sdk.js")], calls, env, len(calls))


def ids(running: RunningSandbox) -> list[Any]:
    """The arguments of every class but WebApi."""
    return [running.partner_id, running.api_key, running.base_url]


def submit(running: RunningSandbox, case: Case, folder: Path) -> Call:
    """The call that makes the job of *case*."""
    images = []
    for kind in (NO_FILES.get(kind, kind) for kind in case.pictures):
        selfie = folder / f"{kind}.jpg"
        selfie.write_bytes(jpeg())
        image = str(selfie) if kind in (0, 1) else base64.b64encode(jpeg()).decode()
        images.append({"image_type_id": kind, "image": image})
    options = {"return_job_status": True, "return_history": True, "use_enrolled_image": case.use_enrolled_image}
    made = [running.partner_id, "https://partner.test/callback", running.api_key, running.base_url]
    return "WebApi", made, "submit_job", [case.partner_params, images, case.id_info, options]


async def test_every_job_comes_to_its_code(running: RunningSandbox, tmp_path: Path) -> None:
    """Each product, files and base64, entered or not, both sides of a card, and the refusals, through WebApi."""
    answers = await run(running, [submit(running, case, tmp_path) for case in CASES])
    for case, said in zip(CASES, answers, strict=True):
        if case.refused:
            assert (said["status"], said["refused"]["code"]) == (400, case.code), (case.name, said)
            continue
        result = said["answer"].get("result", said["answer"])
        assert result["ResultCode"] == case.code, (case.name, said)
        assert result["PartnerParams"] == case.partner_params
        job = running.sandbox.jobs[case.name]
        assert [image.image_type_id for image in job.images] == [NO_FILES.get(kind, kind) for kind in case.pictures]
    told = answers[[case.name for case in CASES].index("lookup-told")]["answer"]
    assert (told["FullName"], told["IDNumber"]) == ("Grace Hopper", "00000000004")


async def test_the_later_forms_and_the_account(running: RunningSandbox) -> None:
    """IDApi at once and later, its own polling, Utilities, Signature and a web token."""
    id_api, key = ids(running), running.api_key
    web = [running.partner_id, "https://partner.test/callback", key, running.base_url]
    who = [{"user_id": "ada", "job_id": name, "job_type": kind} for name, kind in (("l5", 5), ("l7", 7), ("s5", 5))]
    asked = {"user_id": "ada", "job_id": "w", "product": "biometric_kyc"}
    stamp = "2026-01-02T03:04:05.678Z"
    calls: list[Call] = [
        ("IDApi", id_api, "submitAsyncjob", [who[0], BVN, "https://partner.test/callback"]),
        ("IDApi", id_api, "submitAsyncjob", [who[1], FIRM, ""]),
        ("IDApi", id_api, "submit_job", [who[2], BVN]),
        ("IDApi", id_api, "pollJobStatus", [who[0], 0]),
        ("Utilities", id_api, "get_job_status", ["ada", "l7", {"return_history": True, "return_images": False}]),
        ("Utilities", id_api, "get_job_status", ["ada", "none"]),
        ("WebApi", web, "get_web_token", [asked]),
        ("WebApi", web, "get_web_token", [{**asked, "product": "palmistry"}]),
        ("Signature", id_api[:2], "generate_signature", [stamp]),
        ("IDApi", [running.partner_id, "wrong", running.base_url], "submit_job", [who[2], BVN]),
    ]
    answers = await run(running, calls)
    said = [each.get("answer") for each in answers]
    assert said[:2] == [{"success": True}] * 2
    assert (said[2]["ResultCode"], said[3]["result"]["ResultCode"]) == ("1012", "1012")
    assert (said[4]["result"]["company_information"]["status"], len(said[4]["history"])) == ("ACTIVE", 1)
    assert len(said[6]["token"]) > 40
    assert said[8] == {"signature": sign(stamp), "timestamp": stamp}
    refused = [(answers[at]["status"], answers[at]["refused"]["code"]) for at in (5, 9)]
    assert refused == [(404, "2304"), (400, "2405")]
    assert "2217" in json.dumps(answers[7])
