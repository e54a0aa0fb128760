"""Where each product's one request goes, what it may say, and what its parts are called (v3/wire.md §4)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smile_async.jobs.job import Job
from smile_async.jobs.product import Product

__all__ = ["ENDPOINTS", "IMAGE_PARTS", "Endpoint", "part_name"]

#: By what a job calls a picture: what its part is called, and whether it must be a JPEG.
IMAGE_PARTS: Mapping[str, tuple[str, bool]] = {
    "selfie": ("selfie_image", True),
    "liveness": ("liveness_images", True),
    "comparison": ("comparison_image", True),
    "front": ("document", False),
    "back": ("document_back", False),
}
#: What V3 has a part for, of all that an IdInfo may hold.
_ID_FIELDS = ("country", "id_type", "id_number", "bank_code", "operator")


def part_name(picture: str) -> tuple[str, bool]:
    """The part in which the picture travels that a job calls *picture*, such as `liveness[0]`; whether as a JPEG."""
    return IMAGE_PARTS[picture.partition("[")[0]]


def _options(job: Job) -> Mapping[str, Any]:
    flags = {name: True for name in ("use_enrolled_image", "allow_new_enroll") if getattr(job, name)}
    return flags | ({"comparison_image_type": job.comparison_type} if job.comparison_type else {})


def _id_fields(job: Job) -> Mapping[str, Any]:
    told = {} if job.id_info is None else job.id_info.fields()
    return {name: told[name] for name in _ID_FIELDS if name in told}


def _document_fields(job: Job) -> Mapping[str, Any]:
    card = job.document
    told = {} if card is None else {"country": card.country, "id_type": card.id_type}
    return {name: value for name, value in told.items() if value is not None}


def _screening_fields(job: Job) -> Mapping[str, Any]:
    return {} if job.screening is None else job.screening.fields()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One product's paths below the base URL.

    *takes*: parts of a job, beside its pictures of faces. *token*: what a token calls the product. *sync* answers with
    the result; *keyed*: it does so once for a key of ours, however often it is asked. *frames*: liveness is needed.
    *forced*: it takes a `sandbox_result`.
    """

    path: str
    token: str
    fields: Callable[[Job], Mapping[str, Any]] = _options
    takes: frozenset[str] = frozenset()
    sync: str = ""
    keyed: bool = False
    frames: bool = True
    forced: bool = False


_FACE = frozenset({"selfie", "liveness"})
_CARD = _FACE | {"document"}

ENDPOINTS: dict[Product, Endpoint] = {
    Product.AUTHENTICATION: Endpoint(
        *("/authentication", "smart_selfie_authentication"), takes=_FACE | {"use_enrolled_image"}, forced=True
    ),
    Product.REGISTRATION: Endpoint(
        *("/registration", "smart_selfie_registration"), takes=_FACE | {"allow_new_enroll"}, forced=True
    ),
    Product.COMPARE: Endpoint(
        *("/compare", "smart_selfie_compare"),
        takes=_FACE | {"comparison", "comparison_type", "allow_new_enroll"},
        frames=False,
        forced=True,
    ),
    Product.BIOMETRIC_KYC: Endpoint("/biometric_kyc", "biometric_kyc", _id_fields, _FACE | {"id_info"}, forced=True),
    Product.DOCUMENT_VERIFICATION: Endpoint("/document_verification", "document_verification", _document_fields, _CARD),
    Product.ENHANCED_DOCUMENT_VERIFICATION: Endpoint(
        "/enhanced_document_verification", "enhanced_document_verification", _document_fields, _CARD
    ),
    Product.ENHANCED_KYC: Endpoint(
        *("/enhanced_kyc", "enhanced_kyc", _id_fields, frozenset({"id_info"}), "/enhanced_kyc/sync"), frames=False
    ),
    Product.AML_CHECK: Endpoint(
        *("/aml", "one_time_aml", _screening_fields, frozenset({"screening"}), "/aml/sync"), keyed=True, frames=False
    ),
}
