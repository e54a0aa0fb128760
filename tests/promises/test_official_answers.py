"""Who changes from the official Python SDK to smile_async gets the same codes and bodies for the same jobs."""

import asyncio
import base64
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest
from sandbox_support import jpeg
from sdk_cases import CASES, Case
from smile_id_core import ServerError
from smile_id_core.WebApi import WebApi
from street import ENGINES, session_of

from smile_async import Document, IdInfo, Image, Job, SmileSession
from smile_async.errors import Refused
from smile_async.sandbox import RunningSandbox, Sandbox

#: What no two replies share.
OWN = {"SmileJobID", "timestamp", "signature"}
FILES = {0, 1, 4, 5}
pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name. 'base64imgString':UserWarning")


def official(running: RunningSandbox, case: Case, file: Path) -> dict[str, Any]:
    """What the official SDK makes of *case*: its result, or the code it was refused with."""
    inline = base64.b64encode(file.read_bytes()).decode()
    images = []
    for number, kind in enumerate(case.pictures):
        copy = file.with_stem(f"{file.stem}_{number}")
        copy.write_bytes(file.read_bytes())
        images.append({"image_type_id": kind, **({"file_name": str(copy)} if kind in FILES else {"image": inline})})
    api = WebApi(running.partner_id, "https://partner.test/smile", running.api_key, running.base_url)
    options = dict.fromkeys(("return_job_status", "return_history", "return_images"), True)
    options["use_enrolled_image"] = case.use_enrolled_image
    try:
        said = api.submit_job(case.partner_params, images, case.id_info, options)
    except ServerError as error:
        return {"refused": str(error).split("'code': '")[1][:4]}
    return dict(said.get("result", said))


def picture(kind: int, content: bytes) -> Image:
    """A picture as a file of the zip, or inline."""
    if kind in FILES:
        return Image.from_bytes(content)
    return Image.from_base64(base64.b64encode(content).decode(), inline=True)


def job(case: Case, content: bytes) -> Job:
    """The job of *case*."""
    selfie = next((picture(kind, content) for kind in case.pictures if kind in (0, 2)), None)
    front = next((picture(kind, content) for kind in case.pictures if kind in (1, 3)), None)
    back = next((picture(kind, content) for kind in case.pictures if kind in (5, 7)), None)
    frames = [picture(kind, content) for kind in case.pictures if kind in (4, 6)]
    user, about = case.partner_params["user_id"], dict(case.id_info)
    if about.pop("entered", None) is False:
        del about["id_number"]
    more: dict[str, Any] = {"job_id": case.name, "partner_params": case.params}
    if case.job_type in (6, 11):
        assert front is not None
        document = Document(about["country"], front, back, about.get("id_type"))
        make = Job.document_verification if case.job_type == 6 else Job.enhanced_document_verification
        return make(user, selfie, document, liveness=frames, use_enrolled_image=case.use_enrolled_image, **more)
    if case.job_type == 1:
        assert selfie is not None
        cards = {"id_card": front, "id_card_back": back}
        return Job.biometric_kyc(user, selfie, IdInfo(**about), liveness=frames, **cards, **more)
    if case.job_type in (5, 7):
        return {5: Job.enhanced_kyc, 7: Job.business_verification}[case.job_type](user, IdInfo(**about), **more)
    make_face = {2: Job.authenticate, 4: Job.register, 8: Job.update_photo}[case.job_type]
    return make_face(user, selfie, liveness=frames, **more)


async def ours(session: SmileSession, case: Case, content: bytes) -> dict[str, Any]:
    """What smile_async makes of it."""
    try:
        verdict = await session.verify(job(case, content), patience=60)
    except Refused as error:
        return {"refused": error.code}
    return dict(verdict.raw)


@pytest.mark.parametrize("http", ENGINES)
async def test_the_same_job_gets_the_same_answer(http: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each product, files and base64, entered and not, both sides of a card, and refusals: to the last field."""
    sdk = sys.modules["smile_id_core.WebApi"]
    monkeypatch.setattr(sdk, "time", types.SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 500)))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = tmp_path / "picture.jpg"
    file.write_bytes(jpeg())
    async with Sandbox.serve() as theirs, Sandbox.serve() as mine, session_of(mine, http=http) as session:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", theirs.ca_file)
        for case in CASES:
            said = await asyncio.to_thread(official, theirs, case, file)
            got = await ours(session, case, file.read_bytes())
            assert {name: value for name, value in got.items() if name not in OWN} == {
                name: value for name, value in said.items() if name not in OWN
            }, case.name
            if not case.refused:
                jobs = [each.sandbox.jobs[case.name] for each in (theirs, mine)]
                assert len({tuple(image.image_type_id for image in each.images) for each in jobs}) == 1, case.name
