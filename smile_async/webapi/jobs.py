"""The official SDK's dictionaries as jobs: what its examples and its documentation say, and what each means."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from smile_async.jobs.document import Document
from smile_async.jobs.id_info import IdInfo
from smile_async.jobs.image import Image, is_encoded
from smile_async.jobs.job import Job
from smile_async.jobs.private import country_flaw
from smile_async.jobs.product import Product

__all__ = ["checked_ids", "checked_options", "job_of", "lookup_flaw", "product_of"]

_PRODUCTS = {
    "1": Product.BIOMETRIC_KYC,
    "2": Product.AUTHENTICATION,
    "4": Product.REGISTRATION,
    "5": Product.ENHANCED_KYC,
    "6": Product.DOCUMENT_VERIFICATION,
    "7": Product.BUSINESS_VERIFICATION,
    "8": Product.UPDATE_PHOTO,
    "11": Product.ENHANCED_DOCUMENT_VERIFICATION,
}
#: image_type_id: as a file and as base64 (wire.md §5.3).
_SELFIES, _CARDS, _LIVENESS, _BACKS = ("0", "2"), ("1", "3"), ("4", "6"), ("5", "7")
_BASE64 = ("2", "3", "6", "7")
_IDS, _SUFFIXES = ("user_id", "job_id"), (".jpg", ".jpeg", ".png")
#: The date of birth of the SDK's own examples.
_SLASHED = re.compile(r"(\d{4})/(\d\d)/(\d\d)", re.ASCII)


class _SdkJob(Job):
    """A job whose partner_params are what the SDK would have sent: numbers, flags, null and objects as well."""

    __slots__ = ()

    def _params_flaw(self) -> str:
        return ""


def checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """*options*, with the SDK's default. Raises ValueError for flags that are none."""
    for name, value in (options or {}).items():
        if name != "optional_callback" and not isinstance(value, bool):
            raise ValueError(f"options_params[{name!r}] is {type(value).__name__}: give True or False")
    return {"return_job_status": True, **(options or {})}


def checked_ids(partner_params: Mapping[str, Any]) -> dict[str, Any]:
    """The two ids. Raises ValueError."""
    for name in _IDS:
        if not isinstance(_said(partner_params, name), str) or not partner_params[name]:
            raise ValueError(f"partner_params has no {name}: give a text")
    return {name: partner_params[name] for name in _IDS}


def product_of(partner_params: Mapping[str, Any]) -> Product:
    """The product that the job_type means, a number or, as in older samples, a text. Raises ValueError."""
    said = _said(partner_params, "job_type")
    # An enum of any version's, or a text: not the name that str gives a member.
    kind = str(int(said)) if isinstance(said, int) and not isinstance(said, bool) else str(said)
    if kind not in _PRODUCTS:
        raise ValueError(f"job_type {kind} is not supported: give one of {', '.join(_PRODUCTS)}")
    return _PRODUCTS[kind]


def lookup_flaw(product: Product, id_info: Mapping[str, Any]) -> str:
    """What *id_info* lacks for *product*, as the SDK judges it; "" if nothing."""
    given: object = id_info
    if not isinstance(given, Mapping):
        return f"id_info_params is {type(id_info).__name__}: give a dict"
    documents = (Product.DOCUMENT_VERIFICATION, Product.ENHANCED_DOCUMENT_VERIFICATION)
    entered = _entered(id_info)
    if product not in documents and not entered:
        return ""
    why = country_flaw(id_info.get("country"))
    if why:
        return f"country {why}"
    if product is Product.ENHANCED_DOCUMENT_VERIFICATION and not id_info.get("id_type"):
        return "id_type is missing: give one"
    return "id_number is missing: give one" if product not in documents and not id_info.get("id_number") else ""


def job_of(
    partner_params: Mapping[str, Any],
    images: Sequence[Mapping[str, Any]],
    id_info: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Job:
    """The job that the four mean. Raises ValueError, of which InvalidJob is one, without a frame that holds them."""
    try:
        return _job(partner_params, images, id_info, options)
    except ValueError as error:
        why = error.with_traceback(None)
    finally:
        del images, id_info
    raise why from None


def _job(
    partner_params: Mapping[str, Any],
    images: Sequence[Mapping[str, Any]],
    id_info: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Job:
    product = product_of(partner_params)
    if not isinstance(id_info, Mapping):
        raise ValueError(f"id_info_params is {type(id_info).__name__}: give a dict")  # noqa: TRY004 - the SDK's
    if not isinstance(images, Sequence) or not all(isinstance(given, Mapping) for given in images):
        raise ValueError("images_params is no list of dicts: give one")
    about = {
        **checked_ids(partner_params),
        "partner_params": _as_json(partner_params),
        "callback_url": options.get("optional_callback") or None,
        "use_enrolled_image": options.get("use_enrolled_image", False),
        "allow_new_enroll": options.get("allow_new_enroll", False),
    }
    return _SdkJob.of(product, **about, **dict(_parts(product, images, id_info)))


def _parts(
    product: Product, images: Sequence[Mapping[str, Any]], id_info: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """What *product* takes of the pictures and of the person."""
    takes, said = product.spec.takes, _filled(id_info)
    pictures = [(_type_id(given), given) for given in images]
    card = _first(pictures, _CARDS)
    if "selfie" in takes:
        yield "selfie", _first(pictures, _SELFIES)
        yield "liveness", tuple(_image(given) for number, given in pictures if number in _LIVENESS)
    if "document" in takes and ("id_info" not in takes or card is not None):
        # A card is of the kind that is looked up; where there is no front the value says so.
        yield "document", Document(said.get("country"), card, _first(pictures, _BACKS), said.get("id_type"))  # type: ignore[arg-type]
    if "id_info" in takes:
        if "document" in takes and not (_entered(said) if "entered" in said else card is None):
            said.pop("id_number", None)
        yield "id_info", _person(said)


def _person(said: dict[str, Any]) -> IdInfo:
    named = {name: said[name] for name in IdInfo.WHOLE[2:-1] if name in said}
    slashed = _SLASHED.fullmatch(str(named.get("dob", "")))
    if slashed:
        named["dob"] = "-".join(slashed.groups())
    extra = {name: value for name, value in said.items() if name not in (*IdInfo.WHOLE[:-1], "entered")}
    return IdInfo(said.get("country"), said.get("id_type"), **named, extra=extra)  # type: ignore[arg-type]


def _filled(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said; the SDK's examples leave empty what is not."""
    return {name: value for name, value in said.items() if value is not None and value != ""}


def _entered(id_info: Mapping[str, Any]) -> bool:
    """Whether the number counts: a flag, or its text as in the SDK's examples and in older samples."""
    return str(id_info.get("entered", "")).lower() in {"true", "1"}


def _said(partner_params: object, name: str) -> Any:
    if not isinstance(partner_params, Mapping):
        raise ValueError(f"partner_params is {type(partner_params).__name__}: give a dict")  # noqa: TRY004 - the SDK's
    return partner_params.get(name)


def _as_json(partner_params: Mapping[str, Any]) -> dict[str, Any]:
    """What they are on the wire, but for what the job says itself; the caller may change hers meanwhile."""
    try:
        said = orjson.dumps({**partner_params})
    except TypeError as error:
        raise ValueError(f"partner_params can not be sent as JSON ({error})") from None
    return {name: value for name, value in orjson.loads(said).items() if name not in (*_IDS, "job_type")}


def _type_id(given: Mapping[str, Any]) -> str:
    said = given.get("image_type_id")
    number = str(int(said)) if isinstance(said, int) else str(said)
    if number not in _SELFIES + _CARDS + _LIVENESS + _BACKS:
        raise ValueError(f"image_type_id {number} is not supported: give one of 0 to 7")
    return number


def _first(pictures: Sequence[tuple[str, Mapping[str, Any]]], kinds: tuple[str, ...]) -> Image | None:
    return next((_image(given) for number, given in pictures if number in kinds), None)


def _image(given: Mapping[str, Any]) -> Image:
    """The SDK names a file `file_name` and base64 `image`; the documentation has `image` for both."""
    text = str(given.get("image") or given.get("file_name") or "")
    is_path = text.lower().endswith(_SUFFIXES)
    if not is_path and (_type_id(given) in _BASE64 or is_encoded(text)):
        return Image.from_base64(text)
    return Image.from_path(text)
