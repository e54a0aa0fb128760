"""What authorities, registers and lists say of whom they are asked about: the part of a result that is a product's own.

The keys are those of published samples and models (wire.md §13.2), holes included: real replies say
"Not Available", "N/A" and "NaN-NaN-NaN" where they know nothing, so a careful client meets all three here.
"""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Answer", "aml", "basic", "business", "document", "lookup_code", "nothing", "overridden", "person"]

#: What is said of an asked-about person or business once a job has come to a code.
Answer = Callable[[str, Mapping[str, Any]], dict[str, Any]]

#: The last digit of a test number decides (wire.md §11); what the rest does is not published.
_BY_DIGIT = {"1": "1013", "2": "1014", "3": "1015"}
#: code: (Verify_ID_Number, Return_Personal_Info); the values are official, the pairing is our inference (wire.md §10).
_LOOKUP = {
    "1013": ("Not Verified", "Not Returned"),
    "1014": ("Not Verified", "Not Returned"),
    "1015": ("Issuer Unavailable", "Not Returned"),
    **dict.fromkeys(("1016", "0001", "0903"), ("Not Done", "Not Done")),
}
_FOUND = ("Verified", "Returned")
#: Codes of a card that could not be read.
_UNREAD = {"0001", "0812", "0816", "0903"}
#: A JPEG of one pixel: photos travel as base64.
_PHOTO = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP//////////////////////////////////////////////////////////////////////////"
    "////////////wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)
_NOTHING = "Not Available"


def lookup_code(said: Mapping[str, Any], found: str) -> str:
    """What the number in *said* comes to at its authority: *found*, or why not."""
    return _BY_DIGIT.get(str(said.get("id_number", ""))[-1:], found)


def overridden(answer: dict[str, Any], said: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """*answer* with what partner_params say instead, if the number ends in 4 (wire.md §11)."""
    if not str(said.get("id_number", "")).endswith("4"):
        return answer
    return answer | {name: params[name] for name in answer.keys() & params.keys()}


def _about(said: Mapping[str, Any]) -> dict[str, Any]:
    names = {"Country": "country", "IDType": "id_type", "IDNumber": "id_number"}
    return {key: said.get(name, _NOTHING) for key, name in names.items()}


def _name(said: Mapping[str, Any]) -> str:
    parts = [said.get(part, "") for part in ("first_name", "middle_name", "last_name")]
    return " ".join(part for part in parts if part) or "Ada Obi"


def nothing(code: str, said: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - one shape for all
    """No authority was asked."""
    return {}


def person(code: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """An id authority's record of a person."""
    verified, returned = _LOOKUP.get(code, _FOUND)
    body = {"Actions": {"Verify_ID_Number": verified, "Return_Personal_Info": returned}, **_about(said)}
    if returned != "Returned":
        return body | dict.fromkeys(("FullName", "DOB", "Photo"), _NOTHING)
    photo = _NOTHING if str(said.get("id_type", "")).endswith("_NO_PHOTO") else _PHOTO
    name, born, gender = _name(said), said.get("dob", "1990-01-31"), said.get("gender", "Female")
    return body | {
        "FullName": name,
        "DOB": born,
        "Gender": gender,
        "Address": "1 Broad Street, Lagos",
        "PhoneNumber": said.get("phone_number", _NOTHING),
        "PhoneNumber2": _NOTHING,
        "ExpirationDate": "NaN-NaN-NaN",
        "Secondary_ID_Number": _NOTHING,
        "Photo": photo,
        "IDNumberPreviouslyRegistered": False,
        "UserIDsOfPreviousRegistrants": [],
        "FullData": {"fullName": name, "dateOfBirth": born, "gender": gender, "photo": photo},
    }


def document(code: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """What was read from a card."""
    if code in _UNREAD:
        return {}
    body = {key: value for key, value in person("1012", said).items() if key not in ("Actions", "FullData", "Photo")}
    number = {"IDNumber": said.get("id_number", "A0000000"), "IDType": said.get("id_type", "IDENTITY_CARD")}
    return body | number | {"ExpirationDate": "2031-01-31", "Document": _PHOTO}


def basic(code: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Which of the given details an authority has as well: no personal data."""
    verified, returned = _LOOKUP.get("1013" if code == "1023" else code, _FOUND)
    found = {"1020": "Exact Match", "1021": "Partial Match", "1022": "No Match"}.get(code, "No Match")
    asked = {"Names": ("first_name", "last_name"), "DOB": ("dob",), "Gender": ("gender",)}
    asked |= {"Phone_Number": ("phone_number",), "ID_Verification": ("id_number",)}
    matches = {key: found if said.keys() & {*names} else "Not Provided" for key, names in asked.items()}
    return {"Actions": {"Verify_ID_Number": verified, "Return_Personal_Info": returned, **matches}}


def business(code: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """A register's record of a business."""
    verified, returned = _LOOKUP.get(code, _FOUND)
    body: dict[str, Any] = {"Actions": {"Verify_Business": verified, "Return_Business_Info": returned}}
    body |= {"company_information": {}, "documents": {}}
    body |= {name: [] for name in ("directors", "beneficial_owners", "proprietors", "fiduciaries")}
    body |= {**_about(said), "success": returned == "Returned"}
    if returned != "Returned":
        return body
    number = said.get("id_number", _NOTHING)
    body["company_information"] = {
        "legal_name": "ADA OBI TRADING LIMITED",
        "registration_number": number,
        "search_number": number,
        "company_type": "PRIVATE_COMPANY_LIMITED_BY_SHARES",
        "status": "ACTIVE",
        "industry": "Trade",
        "registration_date": "2016-01-28T16:06:22.003+00:00",
        "authorized_shared_capital": "10000000",
        "country": "Nigeria",
        "state": "LAGOS",
        "address": "1 Broad Street, Lagos",
        "tax_id": "N/A",
        "phone": "08000000000",
        "email": "N/A",
    }
    if said.get("id_type") not in ("TAX_INFORMATION", "TIN"):
        who = {"name": "Ada Obi", "nationality": "Nigeria", "address": "N/A"}
        body["directors"] = [{**who, "id_number": "N/A"}]
        body["beneficial_owners"] = [{**who, "shareholdings": "100"}]
        body["documents"] = {"search_certificate": ""}
    return body


def aml(code: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Who of that name is on a list."""
    listed, named = code in ("1030", "1023"), code in ("1030", "1023", "1017")
    who = {
        "name": said.get("full_name", "Ada Obi"),
        "aliases": said.get("aliases", []),
        "addresses": ["N/A"],
        "nationalities": said.get("countries", []),
        "dates_of_birth": [said.get("birth_year", "N/A")],
        "associations": [],
        "adverse_media": [],
        "sanctions": [],
        "pep": {},
    }
    if listed:
        source = {"source_name": "A list of sanctions", "source_type": "SANCTION", "source_link": "N/A"}
        who["sanctions"] = [{"nationality": "N/A", "date_of_birth": "N/A", "source_details": source}]
        held = [{"country": "Nigeria", "from": "2015-01-01", "position": "Minister", "to": "N/A"}]
        who["pep"] = {"pep_level": 1, "political_positions": held, "sources": [source]}
    elif named:
        news = {"date_published": "2020-01-31", "publisher": "A newspaper", "source_link": "N/A", "title": "N/A"}
        who["adverse_media"] = [news]
    return {
        "Actions": {"Listed": "Listed" if listed else "Not Listed"},
        "StrictMatch": said.get("strict_match", True),
        "no_of_persons_found": int(named),
        "people": [who] if named else [],
    }
