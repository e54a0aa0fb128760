"""Whose number an authority is to look up: the id fields of the KYC products (wire.md §13)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, ClassVar

import orjson

from smile_async.errors import InvalidJob
from smile_async.jobs.private import Private, country_flaw, text_flaw

__all__ = ["IdInfo"]

#: All but `extra`, in the order of the constructor; they travel under the same names.
_NAMES = (
    *("country", "id_type", "id_number", "first_name", "middle_name", "last_name", "dob", "gender", "phone_number"),
    *("bank_code", "citizenship", "session_id", "business_type", "postal_address", "postal_code"),
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class _Person(Private):
    """What repr and serialisers do not see."""

    __slots__ = (*_NAMES[2:], "extra")
    id_number: str | None
    first_name: str | None
    middle_name: str | None
    last_name: str | None
    #: As `yyyy-mm-dd`.
    dob: str | None
    gender: str | None
    phone_number: str | None
    bank_code: str | None
    citizenship: str | None
    session_id: str | None
    business_type: str | None
    postal_address: str | None
    postal_code: str | None
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False, init=False)
class IdInfo(_Person):
    """A person's, or a company's, entry at an authority; which fields an id type needs says `session.catalogue`.

    *country* is two capital letters; *id_number* a text, for its leading zeros; *dob* a date or `yyyy-mm-dd`. *extra*:
    further fields as they are to travel, JSON values by name. Repr, `dataclasses.asdict` and serialisers show country
    and id_type alone; it pickles whole. Raises InvalidJob, whose message repeats none of it.
    """

    WHOLE: ClassVar[tuple[str, ...]] = (*_NAMES, "extra")

    country: str
    id_type: str

    def __init__(
        self,
        country: str,
        id_type: str,
        id_number: str | None = None,
        *,
        first_name: str | None = None,
        middle_name: str | None = None,
        last_name: str | None = None,
        dob: date | str | None = None,
        gender: str | None = None,
        phone_number: str | None = None,
        bank_code: str | None = None,
        citizenship: str | None = None,
        session_id: str | None = None,
        business_type: str | None = None,
        postal_address: str | None = None,
        postal_code: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        born = dob.isoformat() if isinstance(dob, date) and not isinstance(dob, datetime) else dob
        texts = (
            *(country, id_type, id_number, first_name, middle_name, last_name, born, gender, phone_number),
            *(bank_code, citizenship, session_id, business_type, postal_address, postal_code),
        )
        # Once it is kept no frame of a traceback holds it: this object shows only what may be seen.
        del id_number, first_name, middle_name, last_name, dob, born, gender, phone_number, bank_code, citizenship
        del session_id, business_type, postal_address, postal_code
        self._keep(dict(zip(_NAMES, texts, strict=True)))
        del texts
        more, why = _extra(extra)
        del extra
        self._keep({"extra": more})
        del more
        why = why or _flaw(self)
        if why:
            raise InvalidJob(f"id_info: {why}")

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _NAMES} | {"extra": dict(self.extra)}

    def fields(self) -> dict[str, Any]:
        """All that was given, by the names under which it travels."""
        given = {name: value for name in _NAMES if (value := getattr(self, name)) is not None}
        return {**self.extra, **given}


def _flaw(info: IdInfo) -> str:
    why = country_flaw(info.country)
    if why:
        return f"country {why}"
    for name in _NAMES[1:]:
        value = getattr(info, name)
        why = text_flaw(value) if value is not None or name == "id_type" else ""
        if why:
            return f"{name} {why}"
    return "" if info.dob is None or _is_date(info.dob) else "dob is no date: give a date, or a text such as 1990-01-31"


def _is_date(text: str) -> bool:
    try:
        return _DATE.fullmatch(text) is not None and date.fromisoformat(text) is not None
    except ValueError:
        return False


def _extra(given: object) -> tuple[Mapping[str, Any], str]:
    """A copy of *given* that nobody can change, and what is wrong with it."""
    if given is None:
        return _NOTHING, ""
    try:
        copied = orjson.loads(orjson.dumps(dict(given))) if isinstance(given, Mapping) else None
    except TypeError:
        copied = None
    if copied is None:
        return _NOTHING, "extra is no mapping of names to JSON values: give a dict"
    doubled = sorted({*_NAMES, "callback_url"} & {*copied})
    if doubled:
        return _NOTHING, f"extra holds {doubled[0]}: give it as {doubled[0]}="
    return MappingProxyType(copied), ""


_NOTHING: Mapping[str, Any] = MappingProxyType({})
