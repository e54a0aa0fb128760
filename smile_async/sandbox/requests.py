"""The questions the API asks of a request before it believes it: is it JSON, complete, well typed, authentic?

The order is the one in which each question needs the answer of the one before: 2203 malformed, 2213 missing, 2204
mistyped, 2205 not authorised, 2212 job type (wire.md §9); requests about ids have codes of a family of their own, 24xx.
The texts say on a desk what production keeps to itself, but never a value: it may be somebody's number.
"""

import math
from dataclasses import dataclass
from typing import Any

import orjson

from .catalogue import needs
from .credentials import Keys, parse_timestamp
from .fields import amiss, given
from .products import Product, of_type

__all__ = [
    "IdRequest",
    "PrepUpload",
    "Refusal",
    "StatusQuery",
    "parse_id_request",
    "parse_prep_upload",
    "parse_signed",
    "parse_status_query",
]

#: The code a request about ids is refused with instead (wire.md §9).
_ID_FAMILY = {"2213": "2413", "2204": "2413", "2205": "2405"}


@dataclass(frozen=True)
class Refusal(Exception):
    """The API's no: result code, text, and the HTTP status (400 where public samples show one)."""

    code: str
    text: str
    status: int = 400


@dataclass(frozen=True, slots=True)
class PrepUpload:
    """A believable POST /upload (wire.md §4)."""

    product: Product
    user_id: str
    job_id: str
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


@dataclass(frozen=True, slots=True)
class IdRequest:
    """A believable request to a product that is asked in one (wire.md §13.1)."""

    product: Product
    user_id: str
    job_id: str
    partner_params: dict[str, Any]
    id_info: dict[str, Any]
    callback_url: str


def parse_prep_upload(body: bytes, keys: Keys, now: float, window: float) -> PrepUpload:
    """Read a POST /upload; raises `Refusal`."""
    data = _object(body)
    _require(data, "smile_client_id", "partner_params", "timestamp", "signature")
    params = _params(data)
    _require(params, "user_id", "job_id", "job_type", prefix="partner_params.")
    _strings(data, "smile_client_id", "timestamp", "signature", "file_name", "callback_url")
    _strings(params, "user_id", "job_id", prefix="partner_params.")
    job_type = _job_type(params["job_type"])
    flags = {name: _flag(data, name, text=name != "use_enrolled_image") for name in _UPLOAD_FLAGS}
    _authenticate(data, data["smile_client_id"], keys, now, window)
    product = of_type(job_type)
    if product is None:
        raise Refusal("2212", f"invalid job type: {job_type} does not travel by /upload")
    return PrepUpload(
        product=product,
        user_id=params["user_id"],
        job_id=params["job_id"],
        partner_params=params,
        callback_url=data.get("callback_url") or "",
        **flags,
    )


def parse_id_request(
    body: bytes, product: Product, keys: Keys, now: float, window: float, *, demand_fields: bool
) -> IdRequest:
    """Read the one request of *product*; raises `Refusal`.

    *demand_fields*: whether what the catalogue says an id type needs must be there.
    """
    try:
        data = parse_signed(body, keys, now, window)
        said = _id_info(data, product, demand_fields=demand_fields)
        return _id_request(data, product, said)
    except Refusal as refusal:
        raise Refusal(_ID_FAMILY.get(refusal.code, refusal.code), refusal.text, refusal.status) from None


def _id_request(data: dict[str, Any], product: Product, said: dict[str, Any]) -> IdRequest:
    params = _params(data)
    ids, prefix = (data, "") if product.ids_on_top else (params, "partner_params.")
    _require(ids, "user_id", "job_id", prefix=prefix)
    _strings(ids, "user_id", "job_id", prefix=prefix)
    _strings(data, "callback_url")
    # The published samples leave it out: the path says what is asked for.
    if _job_type(ids.get("job_type", product.job_type)) != product.job_type:
        raise Refusal("2212", f"invalid job type: {product.path} is for {product.job_type}")
    own = {"user_id": ids["user_id"], "job_id": ids["job_id"]}
    if product.ids_on_top:
        params = {"job_type": product.job_type, **own, **params}
    return IdRequest(product, **own, partner_params=params, id_info=said, callback_url=data.get("callback_url") or "")


def _id_info(data: dict[str, Any], product: Product, *, demand_fields: bool) -> dict[str, Any]:
    said = given(product.fields, data)
    for names in (*product.needed, *(needs(product.name, said) if demand_fields else ())):
        if not said.keys() & {*names}:
            raise Refusal("2213", f"required parameter missing: {' or '.join(names)}")
    if wrong := amiss(product.fields, said):
        raise Refusal("2204", f"parameter of wrong type or value not allowed: {', '.join(wrong)}")
    return said


def parse_signed(body: bytes, keys: Keys, now: float, window: float, *needed: str) -> dict[str, Any]:
    """Read a request that is signed and holds the texts *needed*; raises `Refusal`."""
    data = _object(body)
    _require(data, "partner_id", "timestamp", "signature", *needed)
    _strings(data, "partner_id", "timestamp", "signature", *needed)
    _authenticate(data, data["partner_id"], keys, now, window)
    return data


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


def _params(data: dict[str, Any]) -> dict[str, Any]:
    params = data.get("partner_params") or {}
    if not isinstance(params, dict):
        raise Refusal("2204", "parameter of wrong type: partner_params must be an object")
    _sandbox_result(params.get("sandbox_result"))
    return params


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
        if not isinstance(data.get(name), str | None):
            raise Refusal("2204", f"parameter of wrong type: {prefix}{name} must be a string")


#: The iOS and Android SDKs send the last two as text (ios PR 201, android PR 411).
_UPLOAD_FLAGS = ("use_enrolled_image", "retry", "allow_new_enroll")


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
