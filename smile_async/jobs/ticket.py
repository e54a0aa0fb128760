"""What is left of a job when it is on its way: the ids that find it again, and which product it is."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

import orjson

from smile_async.errors import InvalidJob
from smile_async.jobs.product import Product, known_product, product_of

__all__ = [
    "MAX_ID_LENGTH",
    "MAX_JOB_TYPE",
    "UNKNOWN_JOB_TYPE",
    "JobType",
    "Ticket",
    "checked_ticket",
    "encodes",
    "id_flaw",
    "job_type",
    "job_type_flaw",
    "known_job_type",
    "same_job",
]

#: Characters; our own cap, no length is published.
MAX_ID_LENGTH = 255
#: What would break a line, turn the text around it, or not travel as UTF-8; and what is not seen at either end.
_UNFIT = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]|\A[\s\u200b\ufeff]|[\s\u200b\ufeff]\Z"
)

#: The type of a job about which only its ids are believed: a status reply then says which it is.
UNKNOWN_JOB_TYPE = 0
#: Far above any known, and all that an Integer column of a ledger holds.
MAX_JOB_TYPE = 2**31 - 1


class JobType(IntEnum):
    """Smile ID's products, by the names its SDKs use (wire.md §3)."""

    BIOMETRIC_KYC = 1
    SMART_SELFIE_AUTHENTICATION = 2
    SMART_SELFIE_REGISTRATION = 4
    ENHANCED_KYC = 5
    DOCUMENT_VERIFICATION = 6
    BUSINESS_VERIFICATION = 7
    UPDATE_PHOTO = 8
    COMPARE_USER_INFO = 9
    AML = 10
    ENHANCED_DOCUMENT_VERIFICATION = 11


@dataclass(frozen=True, slots=True)
class Ticket:
    """The stub that finds a job again: keep it in your database, it is small and JSON.

    `user_id` and `job_id` are what Smile ID asks for; `smile_job_id` is its own number, None until it is known;
    `product` is None where nobody knows which of those that share the job_type it is; `api` is the API it went to, None
    for the first. Raises InvalidJob for a job_type that is no whole number, or another than the product's.
    """

    user_id: str
    job_id: str
    job_type: int
    smile_job_id: str | None = None
    product: Product | None = None
    api: str | None = None

    def __post_init__(self) -> None:
        why = job_type_flaw(self.job_type)
        if why:
            raise InvalidJob(f"job_type {why}")
        if self.product is None:
            object.__setattr__(self, "product", product_of(self.job_type))
        elif not isinstance(self.product, Product):
            raise InvalidJob(f"product is {type(self.product).__name__}: give a Product")
        elif self.product.spec.job_type != self.job_type:
            raise InvalidJob(f"job_type is {int(self.job_type)}, which is not that of {self.product}")

    @property
    def about(self) -> int | Product:
        """What the meaning of a code depends on: its product if that is known, else its job type."""
        return self.job_type if self.product is None else self.product

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads."""
        return orjson.dumps(self.to_dict()).decode()

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values; product and api only where the others do not tell them."""
        told = {
            "user_id": self.user_id,
            "job_id": self.job_id,
            "job_type": int(self.job_type),
            "smile_job_id": self.smile_job_id,
        }
        if self.product is not None and self.product is not product_of(self.job_type):
            told["product"] = str(self.product)
        return told if self.api is None else {**told, "api": self.api}

    @classmethod
    def from_json(cls, text: str | bytes | Mapping[str, Any]) -> Self:
        """The ticket that `to_json` wrote (or its fields as a mapping); raises InvalidJob if it is none."""
        try:
            found = text if isinstance(text, Mapping) else orjson.loads(text)
            number, name, api = found.get("smile_job_id"), found.get("product"), found.get("api")
            product = None if name is None else known_product(name)
            ticket = cls(found["user_id"], found["job_id"], job_type(found["job_type"]), number, product, api)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidJob(f"not a ticket ({type(error).__name__}): give what ticket.to_json() wrote") from None
        texts = (ticket.user_id, ticket.job_id, *(part for part in (number, name, api) if part is not None))
        if not all(isinstance(part, str) for part in texts):
            raise InvalidJob("not a ticket: user_id, job_id and smile_job_id are texts")
        if name is not None and product is None:
            raise InvalidJob(f"not a ticket: product {name[:40]!r} is not known here")
        return ticket


def encodes(text: str) -> bool:
    """Whether *text* travels as UTF-8: half a surrogate pair, as in a file name of other bytes, does not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def id_flaw(value: object) -> str:
    """What is wrong with *value* as a user_id or job_id, and the cure; "" if nothing is.

    Joiners, marks, blanks within and signs newer than this Python are the user's business.
    """
    if not isinstance(value, str):
        return "is not a text: give a str"
    if not value.strip():
        return f"is {value!r}: give a text that is not empty"
    if len(value) > MAX_ID_LENGTH:
        return f"has {len(value)} characters: at most {MAX_ID_LENGTH} are allowed"
    if unfit := _UNFIT.search(value):
        name = unicodedata.name(unfit[0], "a control character")
        return f"{value!r} holds U+{ord(unfit[0]):04X} ({name}) where it may not: take it out"
    return ""


def same_job(one: Ticket, other: Ticket) -> bool:
    """Whether both may be about one job: what either does not know contradicts nothing."""
    if one is other:
        return True
    kinds = (one.job_type, other.job_type)
    pairs = ((one.smile_job_id, other.smile_job_id), (one.product, other.product), (one.api, other.api))
    return (
        (one.user_id, one.job_id) == (other.user_id, other.job_id)
        and (kinds[0] == kinds[1] or UNKNOWN_JOB_TYPE in kinds)
        and all(first == second or None in (first, second) for first, second in pairs)
    )


def checked_ticket(given: object) -> Ticket:
    """*given*, if it is a ticket that can be asked about; raises InvalidJob."""
    if not isinstance(given, Ticket):
        raise InvalidJob(f"got {type(given).__name__} instead of a Ticket: Ticket.from_json reads what to_json() wrote")
    try:
        return Ticket.from_json(given.to_json())
    except (TypeError, ValueError):
        raise InvalidJob("not a ticket: user_id, job_id and smile_job_id are texts, job_type is a number") from None


_KNOWN: Mapping[int, JobType] = {int(kind): kind for kind in JobType}


def job_type(value: object) -> int:
    """*value* (an int, or a text such as "2": Smile ID sends both) as a JobType, or as an int if it is a new one."""
    number: Any = int(value) if isinstance(value, str) else value
    why = job_type_flaw(number)
    if why:
        raise InvalidJob(f"job_type {why}")
    known: int = _KNOWN.get(number, number)
    return known


def job_type_flaw(value: object) -> str:
    """What is wrong with *value* as a job_type, and the cure; "" for a JobType, or the number of a new one."""
    if not isinstance(value, int) or isinstance(value, bool):
        return f"is {type(value).__name__}: give a JobType"
    return "" if 0 <= value <= MAX_JOB_TYPE else "is not a number of 31 bits: give a JobType"


def known_job_type(value: object) -> int | None:
    """*value* as `job_type` reads it, None if it is none."""
    try:
        return job_type(value)
    except ValueError:
        return None
