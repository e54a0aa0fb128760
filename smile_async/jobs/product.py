"""The provider's products, each one value: its number, what its jobs need, how they travel, what a lost answer means.

Whoever carries, keeps or shows a job asks its product, so one more product is one more value: `register` adds it, and
`protocol.v1.endpoints` knows the words it travels by. What a code means of it stands in `jobs.codes`, or in the value.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "PRODUCTS",
    "AfterSilence",
    "Family",
    "Product",
    "ProductSpec",
    "known_product",
    "product_of",
    "products_of",
    "register",
]


class Family(StrEnum):
    """How a job reaches Smile ID (wire.md §3)."""

    #: `/upload`, then a zip with pictures; the result is asked for.
    UPLOAD = "upload"
    #: One signed request without pictures, answered by the result itself.
    REQUEST = "request"


class AfterSilence(StrEnum):
    """What may be done about a job whose submission got no answer, so that nobody is billed twice."""

    #: An upload goes on where it stopped: its job_id is known to be good for one job.
    RESUME = "resume"
    #: The same job_id once more, if /job_status goes on not knowing it (wire.md §13).
    REPEAT = "repeat"
    #: Nothing: whether /job_status tells of it, or its job_id is good for one job, nobody knows.
    NOTHING = "nothing"


class Product(StrEnum):
    """Smile ID's products by its own names; `register` adds others.

    A member is also found by its name in lower case and by the name of the constructor of its jobs.
    """

    AUTHENTICATION = "authentication"
    REGISTRATION = "smartselfie"
    BIOMETRIC_KYC = "biometric_kyc"
    DOCUMENT_VERIFICATION = "doc_verification"
    ENHANCED_DOCUMENT_VERIFICATION = "enhanced_document_verification"
    UPDATE_PHOTO = "update_photo"
    ENHANCED_KYC = "enhanced_kyc"
    BASIC_KYC = "basic_kyc"
    BUSINESS_VERIFICATION = "business_verification"
    AML_CHECK = "aml_check"
    COMPARE = "compare"

    @classmethod
    def _missing_(cls, value: object) -> "Product | None":
        return _BY_NAME.get(value) if isinstance(value, str) else None

    def __reduce_ex__(self, _protocol: object) -> tuple[type["Product"], tuple[str]]:
        # Until Python 3.11.2 an enumeration's own looks for its first members only.
        return Product, (self.value,)

    @property
    def spec(self) -> "ProductSpec":
        """What is known of it."""
        return PRODUCTS[self]


#: Parts that a job with pictures of a face may have, and may say of the user's enrolment.
FACE = frozenset({"selfie", "liveness"})
_OLD, _NEW = frozenset({"use_enrolled_image"}), frozenset({"allow_new_enroll"})


@dataclass(frozen=True, slots=True)
class ProductSpec:
    """One product.

    *needs* are parts of a job by their names, alternatives divided by `|`; *takes*, all that a job of it may have.
    *title* is for people. *also*: further names that it is known by. *asynchronous*: whether a job can be submitted
    without waiting for its result. *codes*: rows as in `jobs.codes`, for what that table does not hold.
    """

    name: str
    job_type: int
    title: str
    needs: tuple[str, ...] = ()
    takes: frozenset[str] = FACE
    family: Family = Family.UPLOAD
    after_silence: AfterSilence = AfterSilence.RESUME
    asynchronous: bool = True
    codes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


_A_FACE = ("selfie|use_enrolled_image",)
_A_DOCUMENT = ("selfie|use_enrolled_image", "document")
_AN_ID = ("id_info", "id_info.id_number|id_info.session_id")
_REQUEST = Family.REQUEST

#: What is known of each product (wire.md §3, §13).
PRODUCTS: dict[Product, ProductSpec] = {}
_BY_NAME: dict[str, Product] = {}
_BY_TYPE: dict[int, tuple[Product, ...]] = {}


def register(spec: ProductSpec) -> Product:
    """Make *spec*'s product known, and give it; a second one of that name takes its place."""
    product = Product._value2member_map_.get(spec.name) or _BY_NAME.get(spec.name)
    if not isinstance(product, Product):
        product = str.__new__(Product, spec.name)
        product._name_, product._value_ = spec.name.upper(), spec.name
    PRODUCTS[product] = spec
    _BY_NAME.update(dict.fromkeys((spec.name, product.name.lower(), *spec.also), product))
    others = tuple(other for other in _BY_TYPE.get(spec.job_type, ()) if other is not product)
    _BY_TYPE[spec.job_type] = (*others, product)
    return product


def product_of(job_type: int) -> Product | None:
    """The product whose jobs are of *job_type*; None if there is none, or the type does not tell which."""
    found = products_of(job_type)
    return found[0] if len(found) == 1 else None


def products_of(job_type: int) -> tuple[Product, ...]:
    """All products whose jobs are of *job_type*."""
    return _BY_TYPE.get(job_type, ())


def known_product(value: object) -> Product | None:
    """*value* as a product, by any of its names; None if it is none."""
    return _BY_NAME.get(value) if isinstance(value, str) else None


for _spec in (
    ProductSpec("authentication", 2, "SmartSelfie Authentication", _A_FACE, FACE | _OLD, also=("authenticate",)),
    ProductSpec("smartselfie", 4, "SmartSelfie Registration", ("selfie",), FACE | _NEW, also=("register",)),
    ProductSpec(
        *("biometric_kyc", 1, "Biometric KYC", ("selfie", "id_info", "id_info.id_number|document")),
        takes=FACE | _NEW | {"id_info", "document"},
    ),
    ProductSpec("doc_verification", 6, "Document Verification", _A_DOCUMENT, FACE | _OLD | _NEW | {"document"}),
    ProductSpec(
        *("enhanced_document_verification", 11, "Enhanced Document Verification"),
        needs=(*_A_DOCUMENT, "document.id_type"),
        takes=FACE | _OLD | _NEW | {"document"},
    ),
    ProductSpec("update_photo", 8, "Update Photo", ("selfie",)),
    ProductSpec(
        *("enhanced_kyc", 5, "Enhanced KYC", _AN_ID, frozenset({"id_info"}), _REQUEST),
        after_silence=AfterSilence.REPEAT,
    ),
    ProductSpec(
        *("basic_kyc", 5, "Basic KYC", ("id_info", "id_info.id_number"), frozenset({"id_info"}), _REQUEST),
        after_silence=AfterSilence.NOTHING,
    ),
    ProductSpec(
        *("business_verification", 7, "Business Verification", ("id_info", "id_info.id_number")),
        *(frozenset({"id_info"}), _REQUEST, AfterSilence.NOTHING),
    ),
    ProductSpec(
        *("aml_check", 10, "AML Check", ("screening",), frozenset({"screening"}), _REQUEST),
        after_silence=AfterSilence.NOTHING,
        asynchronous=False,
        also=("aml",),
    ),
    ProductSpec(
        *("compare", 3, "SmartSelfie Compare", ("selfie", "comparison", "comparison_type")),
        takes=frozenset({"selfie", "liveness", "allow_new_enroll", "comparison", "comparison_type"}),
    ),
):
    register(_spec)
