"""What the tests of mixed batches share: a row of each product, and what must be found nowhere afterwards."""

from typing import Any

from street import Pictures

#: Digits that no job_id or time holds; the last one decides what the sandbox says.
CANARY = "90817263540"
NAMES = {"id.first_name": "Canarina", "id.last_name": "Obi", "id.dob": "1971-03-04"}


def number_of(row: int) -> str:
    """The id number of a row: every fifth is found nowhere."""
    return f"9{row:06}71{row % 7}{0 if row % 5 else 1}"


def row_of(product: str, number: int, pictures: Pictures) -> dict[str, Any]:
    """Row *number* of a manifest, for a user of its own."""
    row: dict[str, Any] = {"user_id": f"u{number}", "key": f"k{number}", "product": product}
    if product in ("smartselfie", "biometric_kyc", "doc_verification", "enhanced_document_verification"):
        row["selfie"] = pictures.selfie_path
    if "doc" in product:
        row |= {"id.country": "NG", "id.type": "IDENTITY_CARD", "front": pictures.liveness_paths[0]}
        row["back"] = pictures.liveness_paths[1]
    elif "kyc" in product:
        row |= {"id.country": "NG", "id.type": "NIN_V2", "id.number": number_of(number), **NAMES}
    elif product == "business_verification":
        row |= {"id.country": "NG", "id.type": "BASIC_BUSINESS_REGISTRATION", "id.number": number_of(number)[-7:]}
        row["id.business_type"] = "co"
    elif product == "aml_check":
        row |= {"id.full_name": f"Canarina {number}", "id.countries": "NG;GH", "id.birth_year": "1971"}
    return row


#: Those that a batch of strangers can be of: authentication and a new photo want a user who is there.
PRODUCTS = (
    *("smartselfie", "biometric_kyc", "doc_verification", "enhanced_document_verification", "enhanced_kyc"),
    *("basic_kyc", "business_verification", "aml_check"),
)


def rows_of(pictures: Pictures, number: int, products: tuple[str, ...] = PRODUCTS) -> list[dict[str, Any]]:
    """So many rows, of each product in turn."""
    return [row_of(products[n % len(products)], n, pictures) for n in range(number)]
