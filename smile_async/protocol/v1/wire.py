"""The API's JSON, in and out: the only file that knows Smile ID's field names.

Out goes exactly what the official Python SDK sends (protocol.md §4-§6). In comes what servers really send: codes as
text or number, booleans as text, a `result` that may be a plain sentence. What can not be read is an UnreadableReply,
never a KeyError, and no message repeats what was in it.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from smile_async.errors import UnreadableReply
from smile_async.jobs.job import Job, Ticket
from smile_async.protocol.signature import Secret

__all__ = [
    "Complaint",
    "ResultBody",
    "SignedStamp",
    "Slot",
    "StatusBody",
    "info_json",
    "prepare_body",
    "read_complaint",
    "read_result",
    "read_slot",
    "read_status",
    "status_body",
]

#: `/job_status` answers 2314 while no zip has arrived (protocol.md §6).
NO_ZIP_YET = "2314"
#: Results of a history that are read; a reply just below the cap with 2.6 million of them took 2 GB and 23 s.
PAST_RESULTS = 1_000
#: `/upload` answers 2202 when the URL is ready (protocol.md §4); anything else is a refusal.
PREPARED = "2202"
#: What docs tell REST users to send as source_sdk (protocol.md §4).
SOURCE_SDK, SOURCE_SDK_VERSION = "rest_api", "0.1.0"
#: The name all official SDKs give the archive.
ARCHIVE_NAME = "selfie.zip"

#: image_type_id as a file of the zip, and inline as base64 (protocol.md §5.3).
_SELFIE, _SELFIE_INLINE, _LIVENESS, _LIVENESS_INLINE = 0, 2, 4, 6


@dataclass(frozen=True, slots=True)
class SignedStamp:
    """A timestamp and the signature made for it: they only ever travel together."""

    timestamp: str
    signature: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the zip may be put: a presigned URL, which is a bearer credential and so hides itself."""

    upload_url: Secret
    smile_job_id: str | None
    body: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Complaint:
    """The body of a refusal: Smile's code ("" if none) and its text, shortened to one printable line."""

    code: str
    message: str


def _text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _code(value: object) -> object:
    text = _text(value)
    # A code that travelled as a number has lost its leading zeros: 820 is 0820.
    return text.strip().zfill(4) if isinstance(text, str) and text.strip() else None


def _confidence(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _texts(value: object) -> dict[str, str]:
    pairs = value.items() if isinstance(value, Mapping) else ()
    return {str(name): str(said) for name, said in pairs}


def _object(value: object) -> object:
    return value if isinstance(value, Mapping) else {}


_Text = Annotated[str | None, BeforeValidator(_text)]
_Code = Annotated[str | None, BeforeValidator(_code)]
_Object = Annotated[dict[str, Any], BeforeValidator(_object)]


class _Body(BaseModel):
    # hide_input_in_errors: a validation error must not carry a face's result into a log.
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class ResultBody(_Body):
    """One result: the `result` of a status reply, an item of its history, or a callback (protocol.md §6, §7)."""

    code: _Code = Field(None, alias="ResultCode")
    text: _Text = Field(None, alias="ResultText")
    smile_job_id: _Text = Field(None, alias="SmileJobID")
    partner_params: _Object = Field(default_factory=dict, alias="PartnerParams")
    actions: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(default_factory=dict, alias="Actions")
    confidence: Annotated[float | None, BeforeValidator(_confidence)] = Field(None, alias="ConfidenceValue")
    image_links: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(default_factory=dict, alias="ImageLinks")
    timestamp: _Text = None
    signature: _Text = None


class StatusBody(_Body):
    """The answer of `/job_status`; `result` is None while it is a sentence such as "No zip uploaded yet"."""

    timestamp: _Text = None
    signature: _Text = None
    code: _Code = None
    job_complete: Annotated[bool, BeforeValidator(lambda said: False if said is None else said)] = False
    result: ResultBody | None = None
    history: tuple[ResultBody, ...] = ()
    image_links: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(default_factory=dict)


_Shape = TypeVar("_Shape", bound=_Body)


def _json_object(body: bytes, what: str) -> dict[str, Any]:
    found, whole = None, True
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        whole = False
    if not whole:
        # Raised without context: the decoder's error holds the text, which may end in half a presigned URL.
        raise UnreadableReply(f"{what} is not JSON ({len(body)} bytes)")
    if not isinstance(found, dict):
        raise UnreadableReply(f"{what} is a JSON {type(found).__name__}, not an object")
    return found


def _validated(model: type[_Shape], found: Mapping[str, Any], what: str) -> _Shape:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        where = ", ".join(sorted({".".join(str(part) for part in e["loc"]) for e in error.errors(include_input=False)}))
    except RecursionError:
        where = "it is nested too deep"
    raise UnreadableReply(f"{what} does not have the protocol's shape: {where}")


def prepare_body(job: Job, *, partner_id: str, stamp: SignedStamp, callback_url: str, retry: bool = False) -> bytes:
    """The JSON of `POST /upload` (protocol.md §4); *retry* asks for a fresh URL for a job that exists already."""
    body: dict[str, Any] = {
        "file_name": ARCHIVE_NAME,
        "smile_client_id": partner_id,
        "signature": stamp.signature,
        "timestamp": stamp.timestamp,
        "partner_params": _partner_params(job),
        "model_parameters": {},
        "callback_url": job.callback_url or callback_url,
        "use_enrolled_image": job.use_enrolled_image,
        "source_sdk": SOURCE_SDK,
        "source_sdk_version": SOURCE_SDK_VERSION,
    }
    if job.allow_new_enroll:
        body["allow_new_enroll"] = True
    if retry:
        body["retry"] = True
    return orjson.dumps(body)


def status_body(
    ticket: Ticket, *, partner_id: str, stamp: SignedStamp, history: bool = False, image_links: bool = False
) -> bytes:
    """The JSON of `POST /job_status` (protocol.md §6)."""
    return orjson.dumps(
        {
            "partner_id": partner_id,
            "user_id": ticket.user_id,
            "job_id": ticket.job_id,
            "timestamp": stamp.timestamp,
            "signature": stamp.signature,
            "image_links": image_links,
            "history": history,
        }
    )


def _partner_params(job: Job) -> dict[str, Any]:
    return {**job.partner_params, "user_id": job.user_id, "job_id": job.job_id, "job_type": int(job.job_type)}


def info_json(
    job: Job,
    pictures: Sequence[tuple[str, bytes | None]],
    slot: Slot,
    *,
    partner_id: str,
    stamp: SignedStamp,
    callback_url: str,
) -> bytes:
    """The manifest of the zip (protocol.md §5.2), for *pictures* in the job's order.

    Each is its name in the zip and None, or a name and the content that travels inline as base64.
    """
    images = []
    for position, (name, inline) in enumerate(pictures):
        selfie = job.selfie is not None and position == 0
        if inline is None:
            images.append({"image_type_id": _SELFIE if selfie else _LIVENESS, "image": "", "file_name": name})
        else:
            kind = _SELFIE_INLINE if selfie else _LIVENESS_INLINE
            images.append({"image_type_id": kind, "image": base64.b64encode(inline).decode(), "file_name": ""})
    return orjson.dumps(
        {
            "package_information": {
                "apiVersion": {"buildNumber": 0, "majorVersion": 2, "minorVersion": 0},
                "language": "python",
            },
            "misc_information": {
                "signature": stamp.signature,
                "timestamp": stamp.timestamp,
                "retry": "false",
                "partner_params": _partner_params(job),
                "file_name": ARCHIVE_NAME,
                "smile_client_id": partner_id,
                "callback_url": job.callback_url or callback_url,
                "userData": _NO_USER_DATA,
            },
            "id_info": {},
            "images": images,
            "server_information": dict(slot.body),
        }
    )


#: Sent empty by the official SDKs; kept because nobody documents which of it is required (protocol.md §5.2).
_NO_USER_DATA = {
    "isVerifiedProcess": False,
    **dict.fromkeys(("name", "fbUserID", "firstName", "lastName", "gender", "email", "phone"), ""),
    "countryCode": "+",
    "countryName": "",
}


def read_slot(body: bytes) -> Slot | Complaint:
    """The answer of `/upload`: a slot, or what Smile ID has against it. Raises UnreadableReply."""
    found = _json_object(body, "the /upload reply")
    url, code = found.get("upload_url"), _code(found.get("code"))
    if code != PREPARED and (code or not url):
        return _complaint(found)
    if not isinstance(url, str) or not url:
        raise UnreadableReply("the /upload reply has no upload_url")
    number = _text(found.get("smile_job_id"))
    return Slot(Secret(url), number if isinstance(number, str) and number else None, found)


def read_status(body: bytes) -> tuple[StatusBody, dict[str, Any]]:
    """The answer of `/job_status`, parsed and as it came. Raises UnreadableReply."""
    found = _json_object(body, "the /job_status reply")
    shaped = dict(found)
    if not isinstance(shaped.get("result"), dict):
        shaped.pop("result", None)
    past = shaped.get("history")
    shaped["history"] = [item for item in past[:PAST_RESULTS] if _readable(item)] if isinstance(past, list) else []
    return _validated(StatusBody, shaped, "the /job_status reply"), found


def _readable(item: object) -> bool:
    """Whether an item of the history is a result: an odd one must not cost the verdict it stands beside."""
    try:
        return isinstance(item, dict) and ResultBody.model_validate(item) is not None
    except (ValidationError, RecursionError):
        return False


def read_result(body: bytes) -> tuple[ResultBody, dict[str, Any]]:
    """The flat body of a callback, parsed and as it came. Raises UnreadableReply."""
    found = _json_object(body, "the callback")
    return _validated(ResultBody, found, "the callback"), found


def read_complaint(body: bytes) -> Complaint:
    """What a refusal says; a body that is no JSON object (a gateway's HTML, S3's XML) gives an empty complaint."""
    try:
        return _complaint(_json_object(body, "the refusal"))
    except UnreadableReply:
        return Complaint("", "")


def _complaint(found: Mapping[str, Any]) -> Complaint:
    said = found.get("error") or found.get("message") or ""
    line = "".join(c for c in str(said)[:200] if c.isprintable()) if isinstance(said, str) else ""
    code = _code(found.get("code"))
    return Complaint(code if isinstance(code, str) and code.isdigit() and len(code) <= 8 else "", line)
