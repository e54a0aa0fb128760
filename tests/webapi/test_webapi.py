"""The vendor's documented code, awaited, against a sandbox over real sockets."""

import asyncio
import base64
import os
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import smile_id_core
from ground_support import frames_holding
from smile_id_core.constants import ImageTypes, JobType
from smile_id_core.types import ImageParams, OptionsParams
from street import MARKER, QUICK, Pictures

from smile_async.errors import (
    BadConfiguration,
    InvalidJob,
    JobNotFound,
    StillPending,
    UserNotEnrolled,
)
from smile_async.sandbox import RunningSandbox
from smile_async.webapi import Utilities, WebApi

ANSWERED = {"return_job_status": True, "return_history": False, "return_images": False, "use_enrolled_image": False}
SENT = {**ANSWERED, "return_job_status": False}


def webapi(running: RunningSandbox, callback: str | None = "", **more: Any) -> WebApi:
    """The class under test, on the sandbox."""
    return WebApi(
        running.partner_id, callback, running.api_key, running.base_url, ca_file=running.ca_file, pace=QUICK, **more
    )


@pytest.fixture
async def connection(running: RunningSandbox) -> AsyncIterator[WebApi]:
    """An open one, without a default callback."""
    async with webapi(running) as connection:
        yield connection


def params(user_id: str = "ada", job_type: Any = JobType.SMART_SELFIE_AUTHENTICATION, **more: str) -> dict[str, Any]:
    """Partner parameters of a new job."""
    return {"user_id": user_id, "job_id": f"job-{uuid.uuid4()}", "job_type": job_type, **more}


def selfie(pictures: Pictures) -> list[dict[str, Any]]:
    """One selfie, as a file."""
    return [{"image_type_id": 0, "file_name": pictures.selfie_path}]


def encoded(content: bytes) -> str:
    """Base64, as text."""
    return base64.b64encode(content).decode()


async def test_sdk_example(running: RunningSandbox, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow of the SDK's smart_selfie_authentication.py runs with nothing but `await` and `async with` added."""
    monkeypatch.setenv("PARTNER_ID", running.partner_id)
    monkeypatch.setenv("API_KEY", running.api_key)
    monkeypatch.setenv("SID_SERVER", running.base_url)
    monkeypatch.setenv("DEFAULT_CALLBACK", "https://shop.example/smile")
    partner_id: str = os.environ["PARTNER_ID"]
    api_key: str = os.environ["API_KEY"]
    sid_server: str = os.environ["SID_SERVER"]
    default_callback = os.environ["DEFAULT_CALLBACK"]

    # The certificate is the sandbox's: the real service needs no ca_file.
    connection = WebApi(partner_id, default_callback, api_key, sid_server, ca_file=running.ca_file)
    partner_params = {
        "job_id": f"job-{uuid.uuid4()}",
        "user_id": f"user-{uuid.uuid4()}",
        "job_type": JobType.SMART_SELFIE_AUTHENTICATION,
    }
    running.sandbox.enroll(partner_params["user_id"])
    base64selfie = encoded(pictures.selfie)
    image_details: list[ImageParams] = [
        {"image_type_id": ImageTypes.SELFIE_FILE, "file_name": pictures.selfie_path},
        {"image_type_id": ImageTypes.SELFIE_IMAGE_STRING, "image": base64selfie},
    ]
    options = OptionsParams(
        return_job_status=True,
        return_history=True,
        return_images=True,
        use_enrolled_image=True,
    )
    async with connection:
        result = await connection.submit_job(
            partner_params,
            image_details,
            {},
            options,
        )
    assert result["job_complete"] is True
    assert result["result"]["ResultCode"] == "0820"
    assert result["result"]["PartnerParams"]["user_id"] == partner_params["user_id"]
    assert [past["ResultCode"] for past in result["history"]] == ["0820"]
    assert result["image_links"]["selfie_image"].startswith("https://")


async def test_same_body_as_sdk(
    running: RunningSandbox, connection: WebApi, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The awaited class gives the same keys, code, text and actions as the official one for the same job."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", running.ca_file)
    official = smile_id_core.WebApi(running.partner_id, "", running.api_key, running.base_url)
    theirs = await asyncio.to_thread(official.submit_job, params(), selfie(pictures), {}, ANSWERED)
    ours = await connection.submit_job(params(), selfie(pictures), {}, ANSWERED)
    assert ours.keys() == theirs.keys()
    assert ours["result"].keys() == theirs["result"].keys()
    for key in ("ResultCode", "ResultText", "Actions", "ConfidenceValue"):
        assert ours["result"][key] == theirs["result"][key]


async def test_register_with_liveness(running: RunningSandbox, connection: WebApi, pictures: Pictures) -> None:
    """Paths and base64, under either key, become one selfie and eight liveness frames."""
    frames = [{"image_type_id": 4, "image": path} for path in pictures.liveness_paths[:4]]
    frames += [{"image_type_id": "6", "image": encoded(content)} for content in pictures.liveness[4:6]]
    frames += [{"image_type_id": 4, "image": f"data:image/jpeg;base64,{encoded(pictures.liveness[6])}"}]
    frames += [{"image_type_id": 6, "file_name": pictures.liveness_paths[7]}]
    images = [{"image_type_id": 2, "image": encoded(pictures.selfie)}, *frames]
    asked = params("grace", "4", order="A-19")
    result = await connection.submit_job(asked, images, {}, ANSWERED)
    assert result["result"]["ResultCode"] == "0840"
    assert result["result"]["PartnerParams"]["order"] == "A-19"
    job = running.sandbox.jobs[asked["job_id"]]
    assert sorted(image.image_type_id for image in job.images) == [0] + [4] * 8
    assert len({image.sha256 for image in job.images}) == 9


async def test_without_status(running: RunningSandbox, pictures: Pictures) -> None:
    """Without return_job_status the answer is the SDK's two keys, and optional_callback wins over the default."""
    async with webapi(running, "https://shop.example/default") as connection:
        plain, special = params(), params()
        options = {**SENT, "optional_callback": "https://shop.example/special"}
        sent = await connection.submit_job(plain, selfie(pictures), {}, SENT)
        await connection.submit_job(special, selfie(pictures), {}, options)
    jobs = running.sandbox.jobs
    assert sent == {"success": True, "smile_job_id": jobs[plain["job_id"]].smile_job_id}
    assert jobs[plain["job_id"]].callback_url == "https://shop.example/default"
    assert jobs[special["job_id"]].callback_url == "https://shop.example/special"


async def test_partner_params_of_any_kind(running: RunningSandbox, connection: WebApi, pictures: Pictures) -> None:
    """Numbers, flags, null and objects are passed on as they are, in the request and in the zip, as the SDK does."""
    own = {"number": 7, "ratio": 0.5, "flag": False, "nothing": None, "object": {"list": [1, "2"]}}
    asked = {**params(), **own}
    await connection.submit_job(asked, selfie(pictures), {}, ANSWERED)
    job = running.sandbox.jobs[asked["job_id"]]
    assert {name: job.partner_params[name] for name in own} == own


def test_patience_is_checked_at_once() -> None:
    """What can not be waited for is told when the connection is made, not when a job is sent."""
    with pytest.raises(BadConfiguration, match="patience is inf"):
        WebApi("001", None, "key", 0, patience=10**400)


async def test_get_job_status(connection: WebApi, pictures: Pictures) -> None:
    """get_job_status needs only the two ids, and honours either name of the option for links."""
    asked = params()
    await connection.submit_job(asked, selfie(pictures))
    ids = {"user_id": "ada", "job_id": asked["job_id"]}
    plain = await connection.get_job_status(ids)
    full = await connection.get_job_status(asked, {"return_image_links": True, "return_history": True})
    assert plain["result"]["ResultCode"] == full["result"]["ResultCode"] == "0820"
    assert "image_links" not in plain
    assert full["image_links"]
    assert len(full["history"]) == 1
    with pytest.raises(JobNotFound):
        await connection.get_job_status({**ids, "job_id": "never-sent"})


async def test_pending(running: RunningSandbox, pictures: Pictures) -> None:
    """A job without a verdict in time is StillPending with its ticket, never an incomplete body."""
    running.sandbox.script("ada", code="0820", after=600)
    asked = params()
    async with webapi(running, patience=0.3) as connection:
        with pytest.raises(StillPending) as caught:
            await connection.submit_job(asked, selfie(pictures), {}, ANSWERED)
    assert caught.value.ticket is not None
    assert caught.value.ticket.job_id == asked["job_id"]


async def test_refusals_are_typed(connection: WebApi, pictures: Pictures) -> None:
    """What the SDK reports as a text is an error with a class and a code."""
    with pytest.raises(UserNotEnrolled) as caught:
        await connection.submit_job(params("nobody"), selfie(pictures), {}, ANSWERED)
    assert caught.value.code == "2210"


@pytest.mark.parametrize(
    ("partner_params", "images", "options", "says"),
    [
        ({"job_type": 9}, None, ANSWERED, "job_type 9 is not supported"),
        ({"job_type": None}, None, ANSWERED, "job_type None"),
        ({"user_id": ""}, None, ANSWERED, "no user_id"),
        ({"job_id": None}, None, ANSWERED, "no job_id"),
        ({"number": {7}}, None, ANSWERED, "can not be sent as JSON"),
        ({7: "number"}, None, ANSWERED, "can not be sent as JSON"),
        ({"text": "\ud800"}, None, ANSWERED, "can not be sent as JSON"),
        ({}, [], ANSWERED, "there is no selfie"),
        ({}, [{"image_type_id": 8, "file_name": "card.jpg"}], ANSWERED, "image_type_id 8"),
        ({}, [{"image_type_id": 0}], ANSWERED, "path"),
        ({}, [None], ANSWERED, "no list of dicts"),
        ({}, {"image_type_id": 0, "image": "selfie.jpg"}, ANSWERED, "no list of dicts"),
        ({}, [{"image_type_id": 2, "image": "no base64!"}], ANSWERED, "base64"),
        ({}, None, {**ANSWERED, "return_history": "yes"}, "return_history"),
        ({}, None, {**ANSWERED, "optional_callback": "http://shop.example"}, "https"),
        ({}, None, SENT, "nobody would hear"),
    ],
)
async def test_bad_input(
    running: RunningSandbox,
    connection: WebApi,
    pictures: Pictures,
    partner_params: dict[str, Any],
    images: list[dict[str, Any]] | None,
    options: dict[str, Any],
    says: str,
) -> None:
    """What can not be a job is a ValueError that says why, before any byte leaves."""
    with pytest.raises(ValueError, match=says):
        await connection.submit_job(
            {**params(), **partner_params}, selfie(pictures) if images is None else images, {}, options
        )
    assert not running.sandbox.jobs


async def test_id_fields_that_are_no_dict(connection: WebApi) -> None:
    """They are refused in words, and no frame shows them."""
    with pytest.raises(ValueError, match="id_info_params is list: give a dict") as caught:
        await connection.submit_job({**params(), "job_type": 5}, None, ["90817263540"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="id_info_params is str"):
        Utilities.validate_id_params(0, "90817263540", {"job_type": 5})  # type: ignore[arg-type]
    assert frames_holding(caught.value, "90817263540") == []


async def test_no_picture_in_tracebacks(connection: WebApi, pictures: Pictures) -> None:
    """No frame of ours shows a picture when a job is refused."""
    grey = [{"image_type_id": 2, "image": encoded(MARKER)}]
    with pytest.raises(InvalidJob) as caught:
        await connection.submit_job(params(), grey, {}, ANSWERED)
    frames = [entry.frame for entry in caught.traceback[1:]]
    assert frames
    assert encoded(MARKER) not in "".join(repr(frame.f_locals) for frame in frames)


@pytest.mark.parametrize(
    ("server", "host"),
    [
        (0, "testapi."),
        ("0", "testapi."),
        (1, "production (api."),
        ("1", "production (api."),
        ("https://own.example/v1", "own.example"),
    ],
)
def test_servers(server: str | int, host: str) -> None:
    """sid_server 0 is the sandbox, 1 is production, anything else a base URL."""
    assert host in repr(WebApi("001", None, "key", server).session)


def test_empty_key() -> None:
    """An empty key is refused when the connection is made, as the SDK does."""
    with pytest.raises(BadConfiguration, match="api_key"):
        WebApi("001", "", "", 0)
