"""The vendor's published flows, product by product, with nothing but `async with` and `await` added.

Dictionaries are those of the SDK's examples folder and of the documentation's older samples, oddities included: a date
with slashes, "true" for a flag, empty addresses, a job type as a text, a lone liveness frame, `image` for a path.
"""

import base64
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from street import Pictures

from smile_async.sandbox import RunningSandbox
from smile_async.webapi import BusinessVerification, IdApi, ImageTypes, JobType, ServerError, Utilities, WebApi
from smile_async.webapi.constants import ImageTypes as SameImageTypes
from smile_async.webapi.types import ImageParams, OptionsParams

OPTIONS = OptionsParams(return_job_status=True, return_history=True, return_images=True, use_enrolled_image=False)


@pytest.fixture
def variables(running: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, str, str]:
    """The four that every example reads from the environment."""
    values = (running.partner_id, running.api_key, running.base_url, "https://shop.example/smile")
    for name, value in zip(("PARTNER_ID", "API_KEY", "SID_SERVER", "DEFAULT_CALLBACK"), values, strict=True):
        monkeypatch.setenv(name, value)
    return values


def params(job_type: Any) -> dict[str, Any]:
    """Tracking parameters as the examples make them."""
    return {"job_id": f"job-{uuid.uuid4()}", "user_id": f"user-{uuid.uuid4()}", "job_type": job_type}


def create_base64_str(path: str) -> str:
    """What the examples call so."""
    return base64.b64encode(Path(path).read_bytes()).decode("utf-8")


def document_images(pictures: Pictures) -> list[ImageParams]:
    """A selfie by path, one frame and the back in base64, the front by path."""
    text = create_base64_str(pictures.selfie_path)
    return [
        {"image_type_id": ImageTypes.SELFIE_FILE, "file_name": pictures.selfie_path},
        {"image_type_id": ImageTypes.LIVENESS_IMAGE_STRING, "image": text},
        {"image_type_id": ImageTypes.ID_CARD_FILE, "file_name": pictures.liveness_paths[0]},
        {"image_type_id": ImageTypes.ID_CARD_BACK_STRING, "image": text},
    ]


def connected(running: RunningSandbox) -> WebApi:
    """A WebApi as each example makes it."""
    account = (os.environ["PARTNER_ID"], os.environ["DEFAULT_CALLBACK"], os.environ["API_KEY"])
    return WebApi(*account, os.environ["SID_SERVER"], ca_file=running.ca_file)


@pytest.mark.usefixtures("variables")
async def test_biometric_kyc(running: RunningSandbox, pictures: Pictures) -> None:
    """An entered number, `entered` and date as texts: the person is looked up and compared, and is then on file."""
    images: list[ImageParams] = [
        {"image_type_id": ImageTypes.SELFIE_IMAGE_STRING, "image": create_base64_str(pictures.selfie_path)}
    ]
    asked = params(JobType.BIOMETRIC_KYC)
    id_info = {
        "first_name": "FirstName",
        "last_name": "LastName",
        "country": "GH",
        "id_type": "PASSPORT",
        "id_number": "G0000000",
        "dob": "2023/02/23",
        "entered": "true",
    }
    async with connected(running) as connection:
        result = await connection.submit_job(asked, images, id_info, OPTIONS)
        assert result["result"]["ResultCode"] == "0810"
        assert result["history"]
        assert result["image_links"]
        again = {**params(JobType.SMART_SELFIE_AUTHENTICATION), "user_id": asked["user_id"]}
        assert (await connection.submit_job(again, images, {}, OPTIONS))["result"]["ResultCode"] == "0820"
    assert running.sandbox.jobs[asked["job_id"]].id_info["dob"] == "2023-02-23"


@pytest.mark.usefixtures("variables")
@pytest.mark.parametrize(
    ("job_type", "id_info"),
    [
        (JobType.DOCUMENT_VERIFICATION, {"country": "NG", "id_type": "PASSPORT"}),
        (JobType.ENHANCED_DOCUMENT_VERIFICATION, {"country": "GH", "id_type": "PASSPORT"}),
    ],
)
async def test_documents(
    running: RunningSandbox, pictures: Pictures, job_type: JobType, id_info: dict[str, str]
) -> None:
    """Front, back and face of a document are sent as what they are, whichever way each was given."""
    asked = params(job_type)
    async with connected(running) as connection:
        result = await connection.submit_job(asked, document_images(pictures), id_info, OPTIONS)
    assert result["result"]["ResultCode"] == "0810"
    job = running.sandbox.jobs[asked["job_id"]]
    assert sorted(image.image_type_id for image in job.images) == [0, 1, 4, 5]


@pytest.mark.usefixtures("variables")
async def test_smart_selfie_registration(running: RunningSandbox, pictures: Pictures) -> None:
    """A selfie in base64 registers a user."""
    images: list[ImageParams] = [
        {"image_type_id": SameImageTypes.SELFIE_IMAGE_STRING, "image": create_base64_str(pictures.selfie_path)}
    ]
    async with connected(running) as connection:
        result = await connection.submit_job(params(JobType.SMART_SELFIE_REGISTRATION), images, {}, OPTIONS)
    assert result["result"]["ResultCode"] == "0840"


@pytest.mark.usefixtures("variables")
async def test_enhanced_kyc(running: RunningSandbox) -> None:
    """A number is looked up by IdApi, oddities of the example included."""
    connection = IdApi(
        os.environ["PARTNER_ID"], os.environ["API_KEY"], os.environ["SID_SERVER"], ca_file=running.ca_file
    )
    id_info = {
        "first_name": "FirstName",
        "last_name": "LastName",
        "country": "GH",
        "id_type": "PASSPORT",
        "id_number": "G0000000",
        "dob": "2023/02/23",
        "phone_number": "true",
    }
    async with connection:
        result = await connection.submit_job(params(5), id_info)
        missing = await connection.submit_job(params(JobType.BASIC_KYC), {**id_info, "id_number": "G0000001"})
    assert (result["ResultCode"], missing["ResultCode"]) == ("1012", "1013")
    assert result["IDNumber"] == "G0000000"


@pytest.mark.usefixtures("variables")
async def test_business_verification(running: RunningSandbox) -> None:
    """A company is looked up; the addresses that another country needs are left empty."""
    connection = BusinessVerification(
        os.environ["PARTNER_ID"], os.environ["API_KEY"], os.environ["SID_SERVER"], ca_file=running.ca_file
    )
    id_info = {
        "country": "NG",
        "id_type": "BUSINESS_REGISTRATION",
        "id_number": "0000000",
        "business_type": "co",
        "postal_address": "",
        "postal_code": "",
    }
    async with connection:
        result = await connection.submit_job(params(JobType.BUSINESS_VERIFICATION), id_info)
    assert result["ResultCode"] == "1012"
    assert result["company_information"]


@pytest.mark.usefixtures("variables")
@pytest.mark.parametrize("job_type", ["1", "2", "4"])
async def test_the_older_samples(running: RunningSandbox, pictures: Pictures, job_type: str) -> None:
    """Job types are texts there, `image` is a path, `entered` is "True", a card comes along whether needed or not."""
    asked = {**params(job_type), "user_id": "ada" if job_type == "2" else "grace"}
    images = [
        {"image_type_id": 0, "image": pictures.selfie_path},
        {"image_type_id": 1, "image": pictures.liveness_paths[0]},
    ]
    id_info = {
        "first_name": "Ada",
        "last_name": "Obi",
        "country": "NG",
        "id_type": "BVN",
        "dob": "1990-01-31",
        "id_number": "00000000000",
        "entered": "True",
    }
    options = {"return_job_status": True, "return_history": True, "return_image_links": True}
    async with connected(running) as connection:
        result = await connection.submit_job(asked, images, id_info, options)
    assert result["result"]["ResultCode"] == {"1": "0810", "2": "0820", "4": "0840"}[job_type]
    assert result["image_links"]


@pytest.mark.usefixtures("variables")
async def test_web_token_and_utilities(running: RunningSandbox, pictures: Pictures) -> None:
    """The web integration's token, and the sample that handles both errors around a question about a job."""
    async with connected(running) as connection:
        token = await connection.get_web_token(f"user-{uuid.uuid4()}", f"job-{uuid.uuid4()}", "biometric_kyc")
        assert token["token"]
    connection = Utilities(
        os.environ["PARTNER_ID"], os.environ["API_KEY"], os.environ["SID_SERVER"], ca_file=running.ca_file
    )
    handled = ""
    async with connection:
        try:
            await connection.get_job_status({"user_id": "u", "job_id": "never sent"}, dict(OPTIONS))
        except ValueError:
            handled = "ValueError"
        except ServerError as error:
            handled = str(error)
    assert "2304" in handled
