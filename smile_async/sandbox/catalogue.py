"""What the account may ask for: countries, id types and documents, in the shapes both generations of clients read.

The rows are a union of public sources (wire.md §13.6), regular expressions with their flaws included: some
end in `/i`, the leftover of a JavaScript literal, as the real ones do.
"""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["banks", "documents", "id_types", "needs", "number_fits", "products_config", "services"]

_NAMES = {
    "CI": "Côte d'Ivoire",
    "GH": "Ghana",
    "KE": "Kenya",
    "NG": "Nigeria",
    "UG": "Uganda",
    "ZA": "South Africa",
    "ZM": "Zambia",
    "ZW": "Zimbabwe",
}
#: Columns: country, id type, products (b basic, B biometric, e enhanced KYC), the number's pattern, a test number, what
#: is needed besides.
_ID_TYPES = """
GH | NATIONAL_ID          | bBe | ^GHA-[A-Z0-9]{9}-[A-Z0-9]$/i       | GHA-000000000-0     | -
GH | PASSPORT             | bBe | ^[A-Za-z]{1,2}[0-9]{6,7}$          | G0000000            | -
GH | SSNIT                | bBe | ^[A-Za-z][A-Za-z0-9]{12,14}$       | C000000000000       | -
GH | VOTER_ID             | bBe | ^[0-9]{10,12}$                     | 0000000000          | -
GH | NEW_VOTER_ID         | bBe | ^[0-9]{10,12}$                     | 0000000000          | -
GH | DRIVERS_LICENSE      | bBe | ^[A-Z0-9]{6,10}$/i                 | B0000000            | -
KE | NATIONAL_ID          | bBe | ^[0-9]{1,9}$                       | 00000000            | -
KE | NATIONAL_ID_NO_PHOTO | bBe | ^[0-9]{1,9}$                       | 00000000            | -
KE | ALIEN_CARD           | bBe | ^[0-9]{6,9}$                       | 000000              | -
KE | PASSPORT             | bBe | ^[A-Z0-9]{7,9}$/i                  | A00000000           | -
KE | KRA_PIN              | bBe | ^[0-9]{1,9}$                       | 00000000            | citizenship
KE | DRIVERS_LICENSE      | bBe | ^[0-9]{1,9}$                       | 00000000            | citizenship
NG | BVN                  | bBe | ^[0-9]{11}$                        | 00000000000         | -
NG | BVN_MFA              | bBe | ^[0-9]{11}$                        | 00000000000         | session_id
NG | NIN                  | bBe | ^[0-9]{11}$                        | 00000000000         | -
NG | NIN_V2               | bBe | ^[0-9]{11}$                        | 00000000000         | -
NG | NIN_SLIP             | bBe | ^[0-9]{11}$                        | 00000000000         | -
NG | V_NIN                | bBe | ^[a-zA-Z0-9]{16}$                  | 0000000000000000    | -
NG | VOTER_ID             | bBe | ^[a-zA-Z0-9 ]{9,29}$               | 0000000000000000000 | -
NG | PHONE_NUMBER         | be  | ^[0-9]{11}$                        | 00000000000         | first_name,last_name
NG | BANK_ACCOUNT         | be  | ^[0-9]{10}$                        | 0000000000          | bank_code
NG | DRIVERS_LICENSE      | bBe | ^[a-zA-Z]{3}[ -]?[A-Z0-9]{6,12}$/i | ABC000000000        | first_name,last_name,dob
ZA | NATIONAL_ID          | bBe | ^[0-9]{13}$                        | 0000000000000       | -
ZA | NATIONAL_ID_NO_PHOTO | be  | ^[0-9]{13}$                        | 0000000000000       | -
UG | NATIONAL_ID_NO_PHOTO | be  | ^[A-Za-z0-9]{14}$                  | 00000000000000      | -
ZM | BANK_ACCOUNT         | be  | ^[0-9]{7,16}$                      | 0000000             | bank_code
"""
_LETTERS = {"b": "basic_kyc", "B": "biometric_kyc", "e": "enhanced_kyc"}
#: Documents by country: code, whether it has a back.
_DOCUMENTS = {
    country: {
        "DRIVERS_LICENSE": True,
        "IDENTITY_CARD": True,
        "PASSPORT": False,
        "RESIDENT_ID": True,
        "TRAVEL_DOC": False,
    }
    for country in _NAMES
}
#: Id types whose authority wants the person's consent; Nigeria's, as far as public sources say.
_CONSENT = {"NG": ["BVN", "BVN_MFA", "NIN", "NIN_V2", "NIN_SLIP", "V_NIN"]}
_BANKS = [{"name": "Access Bank", "code": "044"}, {"name": "Zenith Bank", "code": "057"}]
_ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in _ID_TYPES.strip().splitlines()]


def needs(product: str, said: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What *product* needs besides the number for the country and id type in *said*, each one of its names."""
    for country, id_type, letters, _, _, more in _ROWS:
        if (country, id_type) == (said.get("country"), said.get("id_type")) and product in map(_LETTERS.get, letters):
            return [(name,) for name in more.split(",") if name != "-"]
    return []


def number_fits(country: str, id_type: str, number: str) -> bool:
    """Whether *number* has the form of that id type's; of one nobody has described, anything has."""
    for listed, kind, _, pattern, _, _ in _ROWS:
        if (listed, kind) == (country, id_type):
            flags = re.IGNORECASE if pattern.endswith("/i") else re.NOFLAG
            return re.search(pattern.removesuffix("/i"), number, flags | re.ASCII) is not None
    return True


def id_types(country: str = "") -> list[dict[str, Any]]:
    """The reply to V3's /services/supported_id_types, in its own words."""
    return [
        {
            "country": listed,
            "type": id_type,
            "label": id_type.replace("_", " ").title(),
            "regex": pattern,
            "required_fields": ["country", "id_type", "id_number", *([] if more == "-" else more.split(","))],
        }
        for listed, id_type, _, pattern, _, more in _ROWS
        if country in ("", listed)
    ]


def banks(country: str = "") -> list[dict[str, str]]:
    """The reply to V3's /services/bank_codes."""
    return [{"code": bank["code"], "country": "NG", "name": bank["name"]} for bank in _BANKS if country in ("", "NG")]


def services() -> dict[str, Any]:
    """The reply to /services, both generations in one."""
    hosted: dict[str, Any] = {product: {} for product in _LETTERS.values()}
    older: dict[str, Any] = {}
    for country, id_type, letters, pattern, test_number, more in _ROWS:
        fields = ["country", "id_type", "id_number", *([] if more == "-" else more.split(","))]
        older.setdefault(country, {})[id_type] = [*fields, "user_id", "job_id"]
        entry = {
            "label": id_type.replace("_", " ").title(),
            "required_fields": [*fields, "user_id", "job_id"],
            "id_number_regex": pattern,
            "test_data": test_number,
        }
        for letter in letters:
            named = hosted[_LETTERS[letter]].setdefault(country, {"name": _NAMES[country], "id_types": {}})
            named["id_types"][id_type] = entry
    for product in ("doc_verification", "enhanced_document_verification"):
        hosted[product] = {
            country: {"name": _NAMES[country], "id_types": {code: {"label": _label(code)} for code in codes}}
            for country, codes in _DOCUMENTS.items()
        }
    return {"bank_codes": _BANKS, "hosted_web": hosted, "id_types": older}


def products_config() -> dict[str, Any]:
    """The reply to /products_config: all of it, as if the account had everything."""
    offered: dict[str, Any] = {}
    for product, countries in services()["hosted_web"].items():
        offered[product] = {country: list(entry["id_types"]) for country, entry in countries.items()}
    return {"consentRequired": _CONSENT, "idSelection": offered}


def documents(country: str = "", continent: str = "") -> dict[str, Any]:
    """The reply to /valid_documents, of one country or continent only if asked for."""
    chosen = [code for code in _DOCUMENTS if country in ("", code) and continent.upper() in ("", "AFRICA")]
    return {
        "valid_documents": [
            {
                "country": {"code": code, "name": _NAMES[code], "continent": "AFRICA"},
                "id_types": [
                    {"code": kind, "name": _label(kind), "example": [], "has_back": back}
                    for kind, back in _DOCUMENTS[code].items()
                ],
            }
            for code in chosen
        ]
    }


def _label(code: str) -> str:
    return code.replace("_", " ").capitalize()
