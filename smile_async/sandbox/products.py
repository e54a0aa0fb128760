"""The account's products, a value each: how it travels, what it must be told, what it comes to, what it says.

Whatever else in the sandbox differs between products asks this table. It was written from what is published, not from
the client's own table, so that the two can disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .authorities import Answer, aml, basic, business, document, nothing, person
from .fields import AML, BUSINESS, PERSON, Check

__all__ = ["PRODUCTS", "Product", "of_type"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One product; `path` tells one that is asked in one signed request from one that travels by /upload.

    `approved`, `rejected`, `provisional` are what sandbox_result "0", "1", "2" come to ("" = no such code is
    documented); `human` what a reviewer can say. `fields` may be given and `needed` must be, each one of its names.
    `enrols`: its user becomes enrolled, and must not be yet. `enrolled`: its user must be. `reuses`: it may take the
    enrolled selfie instead of one. `card`: whether a card's front must come along. `looks_up`: a number that was
    entered is looked up first, which is a message of its own. `compares`: the action that is the heart of it.
    """

    name: str
    title: str
    job_type: int
    approved: str
    rejected: str
    result_type: str = ""
    provisional: str = ""
    human: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Check] = field(default_factory=lambda: PERSON)
    needed: tuple[tuple[str, ...], ...] = ()
    answer: Answer = nothing
    # those that travel by /upload
    enrols: bool = False
    enrolled: bool = False
    reuses: bool = False
    card: Literal["", "always", "unless entered"] = ""
    looks_up: bool = False
    compares: str = ""
    # those of one request
    path: str = ""
    later_path: str = ""
    #: Whether user_id and job_id stand beside the signature instead of in partner_params (wire.md §13.5).
    ids_on_top: bool = False

    def asks(self, said: Mapping[str, Any]) -> bool:
        """Whether an authority, or a card, is asked about the person of whom a client *said* this."""
        return self.card != "unless entered" or said.get("entered") in (True, "true")


_WHAT = (("country",), ("id_type",), ("id_number", "session_id"))
_FACES = {"approve": "1210", "reject": "1211", "spoof": "1212"}
_DOCUMENTS = {"approve": "0810", "reject": "0811", "spoof": "0907"}
_FOUND = {"approve": "1012", "reject": "1013"}

#: Codes: wire.md §10, §11 and §13; no source has any for an update of the photo (8), so its codes are made up, and
#: every client must call them unknown. Result types: the official SDKs' fixtures; Java's and Android's insist on one.
_ALL = (
    Product(
        name="authentication",
        title="SmartSelfie authentication",
        job_type=2,
        result_type="SAIA",
        approved="0820",
        rejected="0821",
        provisional="0822",
        human={"approve": "1220", "reject": "1221", "spoof": "1222"},
        enrolled=True,
        reuses=True,
        compares="Selfie_To_Registered_Selfie_Compare",
    ),
    Product(
        name="registration",
        title="SmartSelfie registration",
        job_type=4,
        result_type="SAIA",
        approved="0840",
        rejected="0841",
        provisional="0844",
        human={"approve": "1240", "reject": "1241", "spoof": "1242"},
        enrols=True,
    ),
    Product(
        name="biometric_kyc",
        title="Biometric KYC",
        job_type=1,
        result_type="SAIA",
        approved="0810",
        rejected="0811",
        provisional="0812",
        human=_FACES,
        answer=person,
        enrols=True,
        card="unless entered",
        looks_up=True,
        compares="Selfie_To_ID_Authority_Compare",
    ),
    Product(
        name="document_verification",
        title="Document verification",
        job_type=6,
        result_type="Document Verification",
        approved="0810",
        rejected="0811",
        human=_DOCUMENTS,
        needed=(("country",),),
        answer=document,
        enrols=True,
        reuses=True,
        card="always",
        compares="Selfie_To_ID_Card_Compare",
    ),
    Product(
        name="enhanced_document_verification",
        title="Enhanced document verification",
        job_type=11,
        result_type="Document Verification",
        approved="0810",
        rejected="0811",
        human=_DOCUMENTS,
        needed=(("country",), ("id_type",)),
        answer=lambda code, said: {**person(code, said), **document(code, said)},
        enrols=True,
        reuses=True,
        card="always",
        looks_up=True,
        compares="Selfie_To_ID_Card_Compare",
    ),
    Product(
        name="update_photo",
        title="Update of the photo",
        job_type=8,
        result_type="SAIA",
        approved="0880",
        rejected="0881",
        human={"approve": "1280", "reject": "1281", "spoof": "1282"},
        enrolled=True,
        compares="Selfie_To_Registered_Selfie_Compare",
    ),
    Product(
        name="enhanced_kyc",
        title="Enhanced KYC",
        job_type=5,
        result_type="ID Verification",
        approved="1012",
        rejected="1013",
        human=_FOUND,
        needed=_WHAT,
        answer=person,
        path="/v1/id_verification",
        later_path="/v1/async_id_verification",
    ),
    Product(
        name="basic_kyc",
        title="Basic KYC",
        job_type=5,
        result_type="ID Verification",
        approved="1020",
        rejected="1022",
        human={"approve": "1020", "reject": "1022"},
        needed=_WHAT,
        answer=basic,
        path="/v2/verify",
        later_path="/v2/verify_async",
    ),
    Product(
        name="business_verification",
        title="Business verification",
        job_type=7,
        result_type="Business Verification",
        approved="1012",
        rejected="1013",
        human=_FOUND,
        fields=BUSINESS,
        needed=(("country",), ("id_type",), ("id_number",)),
        answer=business,
        path="/v1/business_verification",
        later_path="/v1/async_business_verification",
    ),
    Product(
        name="aml_check",
        title="AML check",
        job_type=10,
        approved="1031",
        rejected="1030",
        human={"approve": "1031", "reject": "1030"},
        fields=AML,
        needed=(("countries",), ("full_name", "search_existing_user")),
        answer=aml,
        path="/v1/aml",
        ids_on_top=True,
    ),
)
PRODUCTS: dict[str, Product] = {product.name: product for product in _ALL}


def of_type(job_type: int) -> Product | None:
    """The product of that number that travels by /upload."""
    return next((each for each in PRODUCTS.values() if each.job_type == job_type and not each.path), None)
