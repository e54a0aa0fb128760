"""The people of the provider's sandbox: whoever gives one of these names and its e-mail address comes to its result.

All are fictitious, from the documentation's sandbox page (July 2026). Of Lockhart neither the given names nor the
address are published, so any will do.
"""

from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["identity_of"]

#: Columns: last name, given names, which products know them, what they come to.
_PEOPLE = """
Clearwater  | Amina Fatou    | any                | clear
Dangerfield | Rashid Omar    | any                | block:high_risk
Glitchford  | Chidinma Obi   | any                | error:internal_error
Twinley     | Obinna Chukwu  | selfie             | block:face_verification_failed
Masquero    | Taiwo Adeyemi  | selfie             | block:spoof_detected
Blurton     | Kofi Mensah    | selfie             | error:image_unavailable_or_invalid
Lockhart    |                | authentication     | block:account_locked_fraud
Ghostwell   | Fatima Bello   | id                 | block:identifier_not_found
Downsworth  | Ngozi Ifeoma   | id                 | error:service_unavailable
Youngblood  | Aisha Lawal    | enhanced_kyc       | block:age_requirement_not_met
Forgeman    | Ade Ogundimu   | document           | block:document_check_failed
Oddpaper    | Olumide Fashola| document           | block:unsupported_document
Xeroxley    | Adaeze Nnamdi  | document           | attention:document_copy_detected
Oldfield    | Tunde Bakare   | document           | attention:document_expired
Puzzleton   | Segun Olawale  | document           | error:document_unclassifiable
Missingley  | Ifeanyi Okeke  | enhanced document  | block:identifier_not_found
Badnumber   | Wale Oladipo   | enhanced document  | error:invalid_id_number
"""
_ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in _PEOPLE.strip().splitlines()]
_BY_NAME = {last: (given, known_to, code) for last, given, known_to, code in _ROWS}


def identity_of(details: Mapping[str, Any], families: Collection[str]) -> str | None:
    """What the person of these user_details comes to with a product of *families*; None for a stranger."""
    last, given = details.get("last_name"), details.get("given_names")
    wanted, known_to, code = _BY_NAME.get(str(last), ("", "", None))
    if code is None or known_to not in {"any", *families}:
        return None
    email = f"{wanted.partition(' ')[0]}.{last}@example.com".lower()
    return code if not wanted or (given, details.get("email")) == (wanted, email) else None
