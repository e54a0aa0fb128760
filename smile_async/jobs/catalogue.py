"""What an account can look up: kinds of ids by country and product, and pictures of documents.

The provider's own list, as advice: what it does not mention may still be accepted, and its patterns are not all sound.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from smile_async.jobs.job import Job

__all__ = ["Bank", "DocumentType", "IdType", "Products", "Services"]

#: What a request says of itself, and a birth date in parts: no fields of a person's id (wire.md §13.7).
_OF_THE_REQUEST = frozenset({"country", "id_type", "user_id", "job_id"})
_PARTS_OF_DATE = frozenset({"day", "month", "year"})
#: What is left of JavaScript's notation: `/…/i`, often the end alone (wire.md §13.7).
_JAVASCRIPT = re.compile(r"/?(?P<pattern>.*)/(?P<flags>[dgimsuvy]*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Bank:
    """A bank whose accounts can be looked up, and its `bank_code`."""

    name: str
    code: str


@dataclass(frozen=True, slots=True)
class IdType:
    """One kind of id of one country, as it is listed for one product ("" in lists of the older generation).

    `required_fields` are the fields of an id that the authority wants, `day`, `month` and `year` being its `dob`.
    `number_pattern` is the provider's regular expression as it came, `example` a number that the sandbox knows; both
    may be "".
    """

    product: str
    country: str
    id_type: str
    label: str = ""
    required_fields: tuple[str, ...] = ()
    number_pattern: str = ""
    example: str = ""

    def lacks(self, given: Collection[str]) -> tuple[str, ...]:
        """The required fields that are not among those *given*."""
        wanted = ("dob" if name in _PARTS_OF_DATE else name for name in self.required_fields)
        return tuple(dict.fromkeys(name for name in wanted if name not in _OF_THE_REQUEST and name not in given))

    def fits(self, id_number: str) -> bool | None:
        """Whether *id_number* looks like one; None where there is no pattern, or none that compiles.

        A hint for a form: the authority has the last word, and no call of this library refuses a number for it.
        """
        javascript = _JAVASCRIPT.fullmatch(self.number_pattern)
        pattern = javascript["pattern"] if javascript else self.number_pattern
        flags = re.IGNORECASE if javascript and "i" in javascript["flags"] else re.NOFLAG
        try:
            return re.compile(pattern, flags).search(id_number) is not None if pattern else None
        except (re.error, OverflowError, RecursionError, Warning):
            return None


@dataclass(frozen=True, slots=True)
class Services:
    """`/v1/services`: what the provider can look up, whoever asks. `raw` is the list as it came."""

    id_types: tuple[IdType, ...]
    banks: tuple[Bank, ...]
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    def find(self, country: str, id_type: str, product: str = "") -> IdType | None:
        """The kind of id that is listed so, for *product* if one is named there; None if there is none."""
        found = [kind for kind in self.id_types if (kind.country, kind.id_type) == (country, id_type)]
        return next(
            (kind for kind in found if kind.product in {product, ""}), None if product else next(iter(found), None)
        )

    def missing(self, job: Job) -> tuple[str, ...]:
        """The fields that the authority wants of *job*'s id and that are not given; none for what is not listed."""
        info = job.id_info
        if info is None or job.product is None or not (info.id_number or info.session_id):
            return ()
        kind = self.find(info.country, info.id_type, job.product)
        # Who proved himself by a one-time code needs no number.
        given = {*info.fields(), *(["id_number"] if info.session_id else [])}
        return () if kind is None else kind.lacks(given)


@dataclass(frozen=True, slots=True)
class Products:
    """`/v1/products_config`: what this partner may use, and which authorities want the person's consent."""

    #: By product and country.
    id_types: Mapping[str, Mapping[str, tuple[str, ...]]]
    #: By country.
    consent: Mapping[str, tuple[str, ...]]
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    def allows(self, product: str, country: str, id_type: str) -> bool:
        """Whether *id_type* is among those that this partner may use with *product*."""
        return id_type in self.id_types.get(product, {}).get(country, ())

    def wants_consent(self, country: str, id_type: str) -> bool:
        """Whether the authority behind *id_type* wants the person's consent."""
        return id_type in self.consent.get(country, ())


@dataclass(frozen=True, slots=True)
class DocumentType:
    """A document whose pictures can be verified: send its back where `has_back` is true; None is not known.

    `id_type` "" stands for documents that are not listed.
    """

    country: str
    id_type: str
    name: str = ""
    country_name: str = ""
    continent: str = ""
    has_back: bool | None = None
    examples: tuple[str, ...] = ()
