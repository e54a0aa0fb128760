"""The submissions of V3, a value each: where they go, which parts they need, what their webhooks tell.

From the provider's OpenAPI file, 3.952.0; the webhooks' names of the SmartSelfie products are *inferred* from the
names that tokens may be bound to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smile_async.sandbox.products import Product

from .answers import id_fields

__all__ = ["V3_PRODUCTS", "V3Product"]

_ALWAYS = ("consent", "user_details")
_ANYWAY = ("callback_url", "partner_params", "metadata", "user_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class V3Product(Product):
    """One submission: `requires` and `takes` are names of parts, beyond those that every one of them has.

    `waived`: the flag that makes some of the required parts superfluous, and these. `fixed`: the only value of a part.
    `by_country`: what a country requires besides; only these countries, if any are named. `families`: which test
    identities it knows. `forced`: whether it takes sandbox_result. `bound`: the name by which a token is bound to it.
    `sync`: whether it can be asked for at once as well. `tells`: what its webhook holds beyond the usual. `dated`:
    whether its 202 says when.
    """

    requires: tuple[str, ...]
    takes: tuple[str, ...] = ()
    waived: tuple[str, tuple[str, ...]] = ("", ())
    fixed: Mapping[str, str] = field(default_factory=dict)
    by_country: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    families: tuple[str, ...]
    forced: bool = False
    bound: str
    sync: bool = False
    tells: tuple[str, ...] = ()
    dated: bool = True

    @property
    def required(self) -> tuple[str, ...]:
        """All parts it must have."""
        return (*_ALWAYS, *self.requires)

    @property
    def optional(self) -> tuple[str, ...]:
        """All parts it may have."""
        forced = ("sandbox_result",) if self.forced else ()
        return (*_ANYWAY, *self.takes, *forced)


_FACES = ("selfie_image", "liveness_images")
_ID = ("country", "id_type", "id_number")
_CARD = (*_FACES, "document", "country")
_HUMAN = {"approve": "clear", "reject": "block:face_verification_failed", "spoof": "block:spoof_detected"}
_HUMAN_CARD = {"approve": "clear", "reject": "block:document_check_failed", "spoof": "block:spoof_detected"}
_HUMAN_ID = {"approve": "clear", "reject": "block:identifier_not_found"}
_HUMAN_LIST = {"approve": "clear", "reject": "block:aml_match_found"}
_SEARCH = ("birth_year", "strict_match", "aliases", "search_existing_user")


def _product(name: str, title: str, job_type: int, human: Mapping[str, str], **more: Any) -> V3Product:
    if "id_fields" in more.get("tells", ()):
        more["answer"] = id_fields
    words: dict[str, Any] = {"approved": "clear", "rejected": human["reject"], "provisional": "processing"}
    return V3Product(
        name=name, title=title, job_type=job_type, path=f"/v3/{name}", human=human, **words, **{"bound": name, **more}
    )


_ALL = (
    _product(
        "authentication",
        "SmartSelfie authentication",
        2,
        _HUMAN,
        requires=("user_id", *_FACES),
        takes=("use_enrolled_image",),
        waived=("use_enrolled_image", _FACES),
        families=("selfie", "authentication"),
        forced=True,
        bound="smart_selfie_authentication",
        enrolled=True,
    ),
    _product(
        "registration",
        "SmartSelfie registration",
        4,
        _HUMAN,
        requires=_FACES,
        takes=("allow_new_enroll",),
        families=("selfie",),
        forced=True,
        bound="smart_selfie_registration",
        enrols=True,
    ),
    _product(
        "compare",
        "SmartSelfie compare",
        3,
        _HUMAN,
        requires=("selfie_image", "comparison_image", "comparison_image_type"),
        takes=("liveness_images", "allow_new_enroll"),
        families=("selfie",),
        forced=True,
        bound="smart_selfie_compare",
        enrols=True,
    ),
    _product(
        "biometric_kyc",
        "Biometric KYC",
        1,
        _HUMAN,
        requires=(*_FACES, *_ID),
        families=("selfie", "id"),
        forced=True,
        enrols=True,
        tells=("kyc_receipt", "id_fields"),
    ),
    _product(
        "document_verification",
        "Document verification",
        6,
        _HUMAN_CARD,
        requires=_CARD,
        takes=("document_back", "id_type"),
        families=("selfie", "document"),
        enrols=True,
        tells=("kyc_receipt", "id_fields"),
    ),
    _product(
        "enhanced_document_verification",
        "Enhanced document verification",
        11,
        _HUMAN_CARD,
        requires=(*_CARD, "id_type"),
        takes=("document_back",),
        families=("selfie", "document", "enhanced document"),
        enrols=True,
        tells=("kyc_receipt", "id_fields"),
    ),
    _product(
        "residency_document_verification",
        "Residency document verification",
        6,
        _HUMAN_CARD,
        requires=(*_CARD, "visa", "id_type"),
        takes=("document_back",),
        fixed={"id_type": "PASSPORT"},
        families=("selfie", "document"),
        enrols=True,
        tells=("kyc_receipt", "id_fields", "additional_documents"),
    ),
    _product(
        "enhanced_kyc",
        "Enhanced KYC",
        5,
        _HUMAN_ID,
        requires=_ID,
        takes=("bank_code", "operator"),
        families=("id", "enhanced_kyc"),
        sync=True,
        tells=("kyc_receipt", "id_fields"),
    ),
    _product(
        "aml",
        "AML check",
        15,
        _HUMAN_LIST,
        requires=("countries", "full_name"),
        takes=_SEARCH,
        families=("aml",),
        bound="one_time_aml",
        sync=True,
        tells=("kyc_receipt", "strict_match", "no_of_persons_found", "people"),
        dated=False,
    ),
    _product(
        "aml/monitoring",
        "AML monitoring",
        15,
        _HUMAN_LIST,
        requires=("countries", "full_name"),
        takes=_SEARCH,
        waived=("search_existing_user", ("full_name",)),
        families=("aml",),
        bound="aml",
        tells=("strict_match", "no_of_persons_found", "people"),
        dated=False,
    ),
    _product(
        "address",
        "Address verification",
        0,
        {"approve": "clear", "reject": "block:address_out_of_range"},
        requires=("address", "country"),
        takes=("utility_number", "utility_provider", "utility_type", "id_number"),
        by_country={"NG": ("utility_number", "utility_provider", "utility_type"), "ZA": ("id_number",)},
        families=("address",),
        bound="address_verification",
        dated=False,
    ),
)
#: By the name they have in their path.
V3_PRODUCTS: dict[str, V3Product] = {product.name: product for product in _ALL}
