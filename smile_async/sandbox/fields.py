"""The fields that say who or what is looked up, and what each may hold (wire.md §13).

Nothing here asks whether a number exists: that is the authority's business. What the API refuses is a field that is
missing or of another kind, such as a number whose leading zeros a spreadsheet has eaten.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["AML", "BUSINESS", "PERSON", "Check", "amiss", "given"]

#: Whether a value is what a field may hold.
Check = Callable[[Any], bool]

_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_YEAR = re.compile(r"\d{4}", re.ASCII)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    # JavaScript and Ruby send `entered` as a text (wire.md §5.2).
    return isinstance(value, bool) or value in ("true", "false")


def _like(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _list_of(each: Check) -> Check:
    return lambda value: isinstance(value, list) and all(each(item) for item in value)


def _consent(value: Any) -> bool:
    """`{"consented": {…}}` with a date and three flags, as Android sends it."""
    said = value.get("consented") if isinstance(value, dict) else None
    if not isinstance(said, dict) or not isinstance(said.get("consent_granted_date"), str):
        return False
    return all(
        isinstance(said.get(name), bool) for name in ("personal_details", "contact_information", "document_information")
    )


_WHAT: Mapping[str, Check] = {"country": _like(_COUNTRY), "id_type": _text, "id_number": _text}
#: A person at an id authority, or on a card.
PERSON: Mapping[str, Check] = {
    **_WHAT,
    **dict.fromkeys(("first_name", "middle_name", "last_name", "gender", "phone_number"), _text),
    "dob": _like(_DAY),
    **dict.fromkeys(("bank_code", "session_id", "citizenship", "operator"), _text),
    "entered": _flag,
    "consent_information": _consent,
}
#: A business in a register.
BUSINESS: Mapping[str, Check] = {
    **_WHAT,
    # The Nigerian TAX_INFORMATION and the two registrations; CAC and TIN are what they were called before.
    "id_type": {"BASIC_BUSINESS_REGISTRATION", "BUSINESS_REGISTRATION", "TAX_INFORMATION", "CAC", "TIN"}.__contains__,
    "business_type": {"bn", "co", "it"}.__contains__,
    **dict.fromkeys(("postal_address", "postal_code"), _text),
    "consent_information": _consent,
}
#: A name on lists of sanctions, of the politically exposed, in the news.
AML: Mapping[str, Check] = {
    "countries": lambda value: bool(value) and _list_of(_like(_COUNTRY))(value),
    "full_name": _text,
    "birth_year": _like(_YEAR),
    "aliases": _list_of(_text),
    "strict_match": lambda value: isinstance(value, bool),
    "search_existing_user": lambda value: isinstance(value, bool),
}


def given(fields: Mapping[str, Check], data: Mapping[str, Any]) -> dict[str, Any]:
    """Those of *fields* that *data* fills in; the official Python SDK sends None for what it was not told."""
    return {name: data[name] for name in fields if data.get(name) not in (None, "", [], {})}


def amiss(fields: Mapping[str, Check], said: Mapping[str, Any]) -> list[str]:
    """The names of what *said* holds of another kind than it may; never the values, which are personal."""
    return [name for name, value in said.items() if not _passes(fields[name], value)]


def _passes(check: Check, value: Any) -> bool:
    try:
        return check(value)
    except TypeError:  # a list or an object where one of a few texts belongs
        return False
