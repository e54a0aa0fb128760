"""The questions the API asks of a request before it believes it: is it JSON, complete, well typed, authentic?

The order is the one in which each question needs the answer of the one before: 2203 malformed, 2213 missing, 2204
mistyped, 2205 not authorised, 2212 job type (wire.md §9). The texts say on a desk what production keeps to itself.
"""

import math
from dataclasses import dataclass
from typing import Any

import orjson

from .credentials import Keys, parse_timestamp
from .outcomes import JOB_TYPES

__all__ = ["PrepUpload", "Refusal", "StatusQuery", "parse_prep_upload", "parse_status_query"]


@dataclass(frozen=True)
class Refusal(Exception):
    """The API's no: result code, text, and the HTTP status (400 where public samples show one)."""

    code: str
    text: str
    status: int = 400


@dataclass(frozen=True, slots=True)
class PrepUpload:
    """A believable POST /upload (wire.md §4)."""

    user_id: str
    job_id: str
    job_type: int
    partner_params: dict[str, Any]
    callback_url: str
    use_enrolled_image: bool
    retry: bool
    allow_new_enroll: bool


@dataclass(frozen=True, slots=True)
class StatusQuery:
    """A believable POST /job_status (wire.md §6)."""

    user_id: str
    job_id: str
    image_links: bool
    history: bool


def parse_prep_upload(body: bytes, keys: Keys, now: float, window: float) -> PrepUpload:
    """Read a POST /upload; raises `Refusal`."""
    data = _object(body)
    _require(data, "smile_client_id", "partner_params", "timestamp", "signature")
    params = data["partner_params"]
    if not isinstance(params, dict):
        raise Refusal("2204", "parameter of wrong type: partner_params must be an object")
    _require(params, "user_id", "job_id", "job_type", prefix="partner_params.")
    _strings(data, "smile_client_id", "timestamp", "signature", "file_name", "callback_url")
    _strings(params, "user_id", "job_id", prefix="partner_params.")
    job_type = _job_type(params["job_type"])
    _sandbox_result(params.get("sandbox_result"))
    prep = PrepUpload(
        user_id=params["user_id"],
        job_id=params["job_id"],
        job_type=job_type,
        partner_params=params,
        callback_url=data.get("callback_url") or "",
        use_enrolled_image=_flag(data, "use_enrolled_image"),
        # The iOS and Android SDKs send the text "true" (ios PR 201, android PR 411).
        retry=_flag(data, "retry", text=True),
        allow_new_enroll=_flag(data, "allow_new_enroll", text=True),
    )
    _authenticate(data, data["smile_client_id"], keys, now, window)
    if job_type not in JOB_TYPES:
        raise Refusal("2212", f"invalid job type: {job_type} does not travel by /upload")
    return prep


def parse_status_query(body: bytes, keys: Keys, now: float, window: float) -> StatusQuery:
    """Read a POST /job_status; raises `Refusal`."""
    data = _object(body)
    _require(data, "partner_id", "user_id", "job_id", "timestamp", "signature")
    _strings(data, "partner_id", "user_id", "job_id", "timestamp", "signature")
    query = StatusQuery(
        user_id=data["user_id"],
        job_id=data["job_id"],
        image_links=_flag(data, "image_links"),
        history=_flag(data, "history"),
    )
    _authenticate(data, data["partner_id"], keys, now, window)
    return query


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refusal("2203", "the request body is not valid JSON") from None
    if not isinstance(data, dict):
        raise Refusal("2203", "the request body must be a JSON object")
    return data


def _require(data: dict[str, Any], *names: str, prefix: str = "") -> None:
    missing = [prefix + name for name in names if data.get(name) in (None, "")]
    if missing:
        raise Refusal("2213", f"required parameter missing: {', '.join(missing)}")


def _strings(data: dict[str, Any], *names: str, prefix: str = "") -> None:
    for name in names:
        if not isinstance(data.get(name) or "", str):
            raise Refusal("2204", f"parameter of wrong type: {prefix}{name} must be a string")


def _flag(data: dict[str, Any], name: str, *, text: bool = False) -> bool:
    value = data.get(name)
    if text and value in ("true", "false"):
        return bool(value == "true")
    if value is None or isinstance(value, bool):
        return bool(value)
    raise Refusal("2204", f"parameter of wrong type: {name} must be true or false")


def _job_type(value: object) -> int:
    # SDKs send a number, replies and older clients a text (wire.md §3); in Python True is an int as well.
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 5:
        return int(value)
    raise Refusal("2204", "parameter of wrong type: partner_params.job_type must be a whole number")


def _sandbox_result(value: object) -> None:
    if value not in (None, "0", "1", "2"):
        raise Refusal("2204", 'parameter of wrong type: partner_params.sandbox_result must be "0", "1" or "2"')


def _authenticate(data: dict[str, Any], claimed: str, keys: Keys, now: float, window: float) -> None:
    if claimed != keys.partner_id:
        raise Refusal("2205", "unauthorized: unknown partner (is this the right environment?)")
    if not keys.verify(data["timestamp"], data["signature"]):
        raise Refusal("2205", "unauthorized: the signature is not the one of this timestamp, partner and key")
    moment = parse_timestamp(data["timestamp"])
    if moment is None:
        raise Refusal(
            "2205", "unauthorized: the timestamp must be ISO 8601 with a zone, such as 2026-01-02T03:04:05.678Z"
        )
    if abs(moment - now) > window:
        off = math.ceil(abs(moment - now))
        raise Refusal("2205", f"unauthorized: the timestamp is {off} s {'ahead' if moment > now else 'behind'}")
