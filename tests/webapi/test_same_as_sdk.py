"""The official SDK and its awaited twin, the same jobs, each on a sandbox of its own: the same bodies, key by key."""

import asyncio
import base64
import re
import sys
import time
import types
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import smile_id_core
from street import QUICK, Pictures

from smile_async.errors import InvalidJob, SmileError
from smile_async.sandbox import RunningSandbox, Sandbox
from smile_async.webapi import BusinessVerification, IdApi, Signature, Utilities, WebApi

KEY, CALLBACK = "the-same-key", "https://shop.example/smile"
#: What differs between two sandboxes: moments, and where they are.
_OF_THE_SERVER = {"timestamp", "signature"}

ENTERED = {
    "first_name": "Ada",
    "last_name": "Obi",
    "dob": "1990-01-31",
    "phone_number": "0801",
    "entered": True,
    "country": "NG",
    "id_type": "BVN",
    "id_number": "00000000000",
}
CARD = {"country": "KE", "id_type": "IDENTITY_CARD"}
FIRM = {
    "country": "NG",
    "id_type": "BUSINESS_REGISTRATION",
    "id_number": "0000000",
    "business_type": "co",
    "postal_address": "",
    "postal_code": "",
}
FOUND = {**ENTERED, "id_number": "00000000000"}

# The SDK writes one member `base64imgString` per inline picture.
pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name. 'base64imgString':UserWarning")


@dataclass
class Twins:
    """Two equal sandboxes: the SDK talks to `theirs`, its twin to `ours`."""

    theirs: RunningSandbox
    ours: RunningSandbox

    def official(self, kind: str, *callback: str) -> Any:
        """An object of the SDK."""
        there = self.theirs
        return getattr(smile_id_core, kind)(there.partner_id, *callback, there.api_key, there.base_url)

    def awaited(self, kind: type[Any], *callback: str) -> Any:
        """Its twin."""
        here = self.ours
        return kind(here.partner_id, *callback, here.api_key, here.base_url, ca_file=here.ca_file, pace=QUICK)

    async def both(self, *arguments: Any, call: str = "submit_job") -> tuple[dict[str, Any], dict[str, Any]]:
        """What the two `WebApi`s answer to the same arguments."""
        theirs = await asyncio.to_thread(getattr(self.official("WebApi", CALLBACK), call), *arguments)
        async with self.awaited(WebApi, CALLBACK) as connection:
            return theirs, await getattr(connection, call)(*arguments)

    async def refusals(self, *arguments: Any) -> tuple[str, str]:
        """The codes that the two are refused with."""
        with pytest.raises(smile_id_core.ServerError) as told:
            await asyncio.to_thread(self.official("WebApi", CALLBACK).submit_job, *arguments)
        async with self.awaited(WebApi, CALLBACK) as connection:
            with pytest.raises(SmileError) as caught:
                await connection.submit_job(*arguments)
        found = re.search(r"'code': '(\d+)'", told.value.message)
        return (found[1] if found else "", getattr(caught.value, "code", ""))


@pytest.fixture
async def twins(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Twins]:
    """Two sandboxes with "ada" enrolled, and an SDK that does not sleep for seconds between polls."""
    # In that module's own namespace (which the class of the same name hides): everybody else sleeps as before.
    sdk = sys.modules["smile_id_core.WebApi"]
    monkeypatch.setattr(sdk, "time", types.SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 500)))
    async with AsyncExitStack() as stack:
        pair = [await stack.enter_async_context(Sandbox.serve(api_key=KEY)) for _ in range(2)]
        for running in pair:
            running.sandbox.enroll("ada")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", pair[0].ca_file)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield Twins(*pair)


def plain(value: Any) -> Any:
    """*value* without what differs between two sandboxes."""
    if isinstance(value, dict):
        return {name: plain(said) for name, said in value.items() if name not in _OF_THE_SERVER}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return "a link" if isinstance(value, str) and value.startswith("https://") else value


def options(**more: bool) -> dict[str, bool]:
    """The SDK's four, its answer asked for."""
    given = {"return_job_status": True, "return_history": True, "return_images": True, "use_enrolled_image": False}
    return {**given, **more}


def face(pictures: Pictures, *, inline: bool = False, liveness: bool = False) -> list[dict[str, Any]]:
    """A selfie, and perhaps eight liveness frames, as files or in base64."""
    encoded = [base64.b64encode(content).decode() for content in (pictures.selfie, *pictures.liveness)]
    paths = [pictures.selfie_path, *pictures.liveness_paths]
    given = [{"image_type_id": 6 if number else 2, "image": text} for number, text in enumerate(encoded)]
    if not inline:
        given = [{"image_type_id": 4 if number else 0, "file_name": path} for number, path in enumerate(paths)]
    return given if liveness else given[:1]


def card(pictures: Pictures, *, inline: bool = False) -> list[dict[str, Any]]:
    """Front and back of a card."""
    if inline:
        sides = [base64.b64encode(content).decode() for content in pictures.liveness[:2]]
        return [{"image_type_id": 3, "image": sides[0]}, {"image_type_id": 7, "image": sides[1]}]
    front, back = (str(Path(pictures.selfie_path).with_name(f"{name}.jpg")) for name in ("front", "back"))
    for path in (front, back):
        Path(path).write_bytes(pictures.other)
    return [{"image_type_id": 1, "file_name": front}, {"image_type_id": 5, "file_name": back}]


@pytest.mark.parametrize("inline", [False, True], ids=["files", "base64"])
@pytest.mark.parametrize(
    ("job_type", "user_id", "id_info", "code"),
    [
        (1, "eve", ENTERED, "0810"),
        (1, "eve", {**ENTERED, "id_number": "00000000001"}, "1013"),
        (1, "eve", {**CARD, "entered": False}, "0810"),
        (2, "ada", {}, "0820"),
        (4, "eve", {}, "0840"),
        (6, "eve", CARD, "0810"),
        (6, "eve", {"country": "KE"}, "0810"),
        (11, "eve", CARD, "0810"),
    ],
)
async def test_jobs_with_pictures(
    twins: Twins, pictures: Pictures, job_type: int, user_id: str, id_info: dict[str, Any], code: str, inline: bool
) -> None:
    """The body of /job_status, history and links included, is the same; so is what the sandboxes were told."""
    images = face(pictures, inline=inline, liveness=True)
    if job_type in {6, 11} or id_info.get("entered") is False:
        images += card(pictures, inline=inline)
    about = {"user_id": user_id, "job_id": "j-1", "job_type": job_type, "order": "A-19"}
    theirs, ours = await twins.both(about, images, id_info, options())
    assert plain(ours) == plain(theirs)
    assert ours["result"]["ResultCode"] == code
    told, twin = twins.theirs.sandbox.jobs["j-1"], twins.ours.sandbox.jobs["j-1"]
    assert twin.id_info == told.id_info
    assert sorted(image.sha256 for image in twin.images) == sorted(image.sha256 for image in told.images)


@pytest.mark.parametrize("digit", "01234")
@pytest.mark.parametrize(("job_type", "id_info"), [(5, FOUND), (7, FIRM)])
async def test_jobs_of_one_request(twins: Twins, job_type: int, id_info: dict[str, str], digit: str) -> None:
    """The result of each documented number is the same by WebApi, IdApi and BusinessVerification."""
    told = {**id_info, "id_number": id_info["id_number"][:-1] + digit}
    about = {"user_id": "eve", "job_id": "j-1", "job_type": job_type, "FullName": "Ada O."}
    theirs, ours = await twins.both(about, [], told, options())
    assert plain(ours) == plain(theirs)
    assert ours["ResultCode"] == {"0": "1012", "1": "1013", "2": "1014", "3": "1015", "4": "1012"}[digit]
    for name, kind in {"IdApi": IdApi, "BusinessVerification": BusinessVerification}.items():
        if job_type == 5 and kind is BusinessVerification:
            continue
        about["job_id"] = f"by {name}"
        theirs = await asyncio.to_thread(twins.official(name).submit_job, about, told)
        async with twins.awaited(kind) as connection:
            assert plain(await connection.submit_job(about, told)) == plain(theirs)
    known = {name: said for name, said in twins.theirs.sandbox.jobs["j-1"].id_info.items() if name != "entered"}
    assert twins.ours.sandbox.jobs["j-1"].id_info == known


async def test_without_waiting(twins: Twins, pictures: Pictures) -> None:
    """Without return_job_status the two keys are the same, and each asks for the status later."""
    about = {"user_id": "ada", "job_id": "j-1", "job_type": 2}
    theirs, ours = await twins.both(about, face(pictures), {}, options(return_job_status=False))
    assert ours == theirs == {"success": True, "smile_job_id": "0000000001"}
    theirs = await asyncio.to_thread(twins.official("Utilities").get_job_status, about, options())
    async with twins.awaited(Utilities) as utilities:
        ours = await utilities.get_job_status(about, options())
        by_ids = await utilities.query_job_status("ada", "j-1", options(), None)
    assert plain(ours) == plain(by_ids) == plain(theirs)
    theirs, ours = await twins.both(0, about, options(), None, call="poll_job_status")
    assert plain(ours) == plain(theirs)


async def test_web_tokens(twins: Twins) -> None:
    """A token comes under the same key; an unknown product, whose refusal the SDK gives back, is an error here."""
    theirs, ours = await twins.both("eve", "j-1", "biometric_kyc", call="get_web_token")
    assert ours.keys() == theirs.keys() == {"token"}
    refused = await asyncio.to_thread(twins.official("WebApi", CALLBACK).get_web_token, "eve", "j-1", "nonsense")
    async with twins.awaited(WebApi, CALLBACK) as connection:
        with pytest.raises(SmileError) as caught:
            await connection.get_web_token("eve", "j-1", "nonsense")
        services = await connection.get_smile_id_services()
    assert getattr(caught.value, "code", "") == refused["code"] == "2217"
    assert services["hosted_web"]["enhanced_kyc"]["NG"]["id_types"]["BVN"]


async def test_the_same_refusals(twins: Twins, pictures: Pictures) -> None:
    """What Smile ID refuses it refuses both with the same code."""
    images = face(pictures)
    await twins.both({"user_id": "bob", "job_id": "taken", "job_type": 4}, images, {}, options())
    await twins.both({"user_id": "bob", "job_id": "asked", "job_type": 5}, [], FOUND, options())
    cases: list[tuple[str, dict[str, Any], list[dict[str, Any]], dict[str, Any]]] = [
        ("2210", {"user_id": "nobody", "job_id": "j-1", "job_type": 2}, images, {}),
        ("2209", {"user_id": "bob", "job_id": "j-2", "job_type": 4}, images, {}),
        ("2209", {"user_id": "bob", "job_id": "j-3", "job_type": 1}, images, ENTERED),
        ("2215", {"user_id": "eve", "job_id": "taken", "job_type": 4}, images, {}),
        ("2215", {"user_id": "bob", "job_id": "asked", "job_type": 5}, [], FOUND),
        ("2413", {"user_id": "eve", "job_id": "j-4", "job_type": 7}, [], {**FIRM, "business_type": "plc"}),
    ]
    for code, about, pictures_of, id_info in cases:
        assert await twins.refusals(about, pictures_of, id_info, options()) == (code, code), about


@pytest.mark.parametrize(
    ("about", "id_info", "wanted"),
    [
        ({"job_type": 5}, {}, "card"),
        ({"job_type": 7}, {}, "card"),
        ({"job_type": 6}, CARD, "face"),
        ({"job_type": 11}, {"country": "KE"}, "both"),
        ({"job_type": 6}, {"country": "ke"}, "both"),
        ({"job_type": 6}, CARD, "card"),
        ({"job_type": 1}, {**ENTERED, "id_number": ""}, "face"),
        ({"job_type": 1}, {**ENTERED, "country": "Nigeria"}, "face"),
        ({"job_type": 2, "user_id": None}, {}, "face"),
        ({"job_type": 2, "job_id": ""}, {}, "face"),
        ({"job_type": None}, {}, "face"),
        ({"job_type": 2}, {}, "nothing"),
    ],
)
async def test_both_refuse(
    twins: Twins, pictures: Pictures, about: dict[str, Any], id_info: dict[str, Any], wanted: str
) -> None:
    """What the SDK takes for no job is a ValueError of both, and no request leaves."""
    images = {
        "card": card(pictures),
        "face": face(pictures),
        "nothing": [],
        "both": face(pictures) + card(pictures),
    }[wanted]
    params = {"user_id": "eve", "job_id": "j-1", **about}
    with pytest.raises(ValueError):
        await asyncio.to_thread(twins.official("WebApi", CALLBACK).submit_job, params, images, id_info, options())
    async with twins.awaited(WebApi, CALLBACK) as connection:
        with pytest.raises(ValueError):
            await connection.submit_job(params, images, id_info, options())
    assert not twins.ours.sandbox.jobs


async def test_jobs_of_another_class(twins: Twins) -> None:
    """Each class refuses the job types that are another's, and what is no dictionary."""
    for name, kind, job_type in (("IdApi", IdApi, 2), ("BusinessVerification", BusinessVerification, 5)):
        about = {"user_id": "eve", "job_id": "j-1", "job_type": job_type}
        with pytest.raises(ValueError):
            await asyncio.to_thread(twins.official(name).submit_job, about, FOUND)
        async with twins.awaited(kind) as connection:
            with pytest.raises(ValueError, match="job_type"):
                await connection.submit_job(about, FOUND)
            with pytest.raises(ValueError, match="partner_params is list"):
                await connection.submit_job([about], FOUND)


@pytest.mark.parametrize(
    ("job_type", "id_info", "says"),
    [
        (5, {**FOUND, "country": "ng"}, "country"),
        (5, {**FOUND, "id_number": 12345678901}, "leading zeros"),
        (5, {**FOUND, "dob": "31.01.1990"}, "dob is no date"),
        (7, {**FIRM, "id_type": None}, "id_type"),
        (1, {"country": "NG", "id_type": "BVN"}, "id_number"),
    ],
)
async def test_what_only_the_twin_refuses(
    twins: Twins, pictures: Pictures, job_type: int, id_info: dict[str, Any], says: str
) -> None:
    """What the SDK sends and nobody could look up costs no request here."""
    about = {"user_id": "eve", "job_id": "j-1", "job_type": job_type}
    async with twins.awaited(WebApi, CALLBACK) as connection:
        with pytest.raises(InvalidJob, match=says):
            await connection.submit_job(about, face(pictures), id_info, options())
    assert not twins.ours.sandbox.jobs


def test_signatures() -> None:
    """The two sign alike, and each confirms the other's."""
    official, ours = smile_id_core.Signature("001", KEY), Signature("001", KEY)
    moment = "2026-01-02T03:04:05.678Z"
    assert ours.generate_signature(moment) == official.generate_signature(moment)
    now, theirs = ours.generate_signature(), official.generate_signature()
    assert official.confirm_signature(now["timestamp"], now["signature"])
    assert ours.confirm_signature(theirs["timestamp"], theirs["signature"])
    assert not ours.confirm_signature(moment, theirs["signature"])
    assert ours.partner_id == "001"
    for empty in (("", KEY), ("001", "")):
        with pytest.raises(ValueError):
            smile_id_core.Signature(*empty)
        with pytest.raises(ValueError):
            Signature(*empty)


def test_validation() -> None:
    """The two find the same dictionaries wanting."""
    about: list[dict[str, Any]] = [
        {},
        {"user_id": "u", "job_id": "j", "job_type": 5},
        {"user_id": "", "job_id": "j", "job_type": 5},
        {"user_id": 1, "job_id": "j", "job_type": 5},
        {"user_id": "u", "job_id": "j", "job_type": None},
        {"user_id": "u", "job_id": "j", "job_type": "authentication"},
    ]
    for params in about:
        verdicts = set()
        for utilities in (smile_id_core.Utilities, Utilities):
            try:
                verdicts.add(utilities.validate_partner_params(params))
            except ValueError:
                verdicts.add(ValueError)  # type: ignore[arg-type]
        assert len(verdicts) == 1, params
    for job_type in (1, 5, 6, 11):
        for info in ({}, CARD, {"country": "KE"}, {"country": "ke"}, ENTERED, {**ENTERED, "id_number": ""}):
            found = set()
            for utilities in (smile_id_core.Utilities, Utilities):
                try:
                    found.add(utilities.validate_id_params(0, info, {"job_type": job_type}))  # type: ignore[dict-item]
                except ValueError:
                    found.add(ValueError)  # type: ignore[arg-type]
            assert len(found) == 1, (job_type, info)


async def test_no_id_number_in_tracebacks(twins: Twins, pictures: Pictures) -> None:
    """No frame of ours shows an id number, a name or a picture, whether the job is refused here or there."""
    refused = {**FOUND, "id_number": "13579135790", "last_name": "Lovelace", "dob": "31.1.90"}
    known = {**FOUND, "id_number": "13579135790", "last_name": "Lovelace"}
    about = {"user_id": "bob", "job_id": "asked", "job_type": 5}
    secrets = ("13579135790", "Lovelace", base64.b64encode(pictures.selfie).decode())
    for kind, callback, arguments in (
        (IdApi, (), ()),
        (WebApi, (CALLBACK,), (face(pictures, inline=True),)),
    ):
        async with twins.awaited(kind, *callback) as connection:
            await connection.submit_job(about, *arguments, FOUND)
            for info in (refused, known):
                with pytest.raises(SmileError) as caught:
                    await connection.submit_job(about, *arguments, info)
                for entry in caught.traceback[1:]:
                    shown = repr(entry.frame.f_locals)
                    assert not any(secret in shown for secret in secrets), entry
                assert not any(secret in str(caught.value) for secret in secrets)
        about = {**about, "job_id": "again"}


def test_a_shared_session() -> None:
    """`utilities` asks over the connection's own session."""
    connection = WebApi("001", "", KEY, 0)
    assert connection.utilities.session is connection.session
    assert (connection.partner_id, connection.sid_server, connection.call_back_url) == ("001", 0, "")
