"""What results say in Smile's words: their texts, and the actions of a job of pictures.

What codes mean is said in jobs/codes.py; texts are Smile's own where a public fixture shows them (official
Python SDK, tests/conftest.py) and the meaning of the code otherwise; action values are from the official Android
enum (wire.md §10). The pairing of values with outcomes is our inference wherever no published sample has it.
"""

from smile_async.jobs.codes import classify, meaning_of

from .products import Product

__all__ = ["actions_of", "text_of"]

#: Texts seen in the official SDK's fixtures, and those built after the same pattern for job types 2 and 4.
_TEXTS = {
    "0810": "Enroll User",
    "0812": "Provisional Enroll",
    "0814": "Provisional Enroll - Under Review",
    "0820": "Authenticate User Machine Judgement",
    "0821": "Failed Authentication - Images Did Not Match - Machine Judgement",
    "0822": "Provisional Authenticate - Under Review",
    "0840": "Enroll User - Machine Judgement",
    "0844": "Provisional Enroll - Possible Spoof - Under Review",
    "1210": "Enroll User",
    "1220": "Authenticate User Human Judgement",
    "1221": "Failed Authentication - Images Did Not Match - Human Judgement",
    "1240": "Enroll User - Human Judgement",
}

#: Those that one product has for itself, and those of lookups ("" = whoever looked up).
_OWN_TEXTS = {
    ("0810", "document_verification"): "Document Verified",  # official Android SDK, JobResultAdapterTest
    ("0810", "enhanced_document_verification"): "Document Verified",
    ("1012", "business_verification"): "Business Verified",
    ("1012", ""): "ID Number Validated",
    ("1020", ""): "Exact Match",
    ("1021", ""): "Partial Match",
    ("1022", ""): "No Match",
    ("1030", ""): "Found on list",
    ("1031", ""): "No match found",
    ("0880", ""): "Update Photo",
}


def text_of(code: str, product: Product) -> str:
    """The ResultText of *code*."""
    own = _OWN_TEXTS.get((code, product.name)) or _OWN_TEXTS.get((code, ""))
    meaning = meaning_of(code, product.job_type)
    if own or meaning is None:
        return own or "Result " + code
    return _TEXTS.get(code, meaning.text.capitalize())


#: The twelve keys of the published samples (wire.md §6), in their order.
_KEYS = (
    "Liveness_Check",
    "Register_Selfie",
    "Selfie_Provided",
    "Verify_ID_Number",
    "Human_Review_Compare",
    "Return_Personal_Info",
    "Selfie_To_ID_Card_Compare",
    "Human_Review_Update_Selfie",
    "Human_Review_Liveness_Check",
    "Selfie_To_ID_Authority_Compare",
    "Update_Registered_Selfie_On_File",
    "Selfie_To_Registered_Selfie_Compare",
)
#: What documents add to them: Verify_Document, Document_Check.
_DOCUMENT = {
    "pass": ("Passed", "Passed"),
    "mismatch": ("Failed", "Passed"),
    "spoof": ("Failed", "Failed"),
    "unusable": ("Unable To Determine", ""),
}
#: story: (Liveness_Check, comparison, Human_Review_Compare, Human_Review_Liveness_Check), "" = Not Applicable
_STORIES = {
    "pass": ("Passed", "Completed", "", ""),
    "mismatch": ("Passed", "Failed", "", ""),
    "provisional": ("Under Review", "Provisionally Approved", "", ""),
    "spoof": ("Failed", "Completed", "", ""),
    "suspected": ("Sent to Human Review", "Completed", "", ""),
    "unsure": ("Passed", "Provisionally Approved", "", ""),
    "human_pass": ("Passed", "Completed", "Passed", "Passed"),
    "human_mismatch": ("Passed", "Failed", "Failed", "Passed"),
    "human_spoof": ("Failed", "Completed", "Passed", "Failed"),
    "human_unsure": ("Unable To Determine", "Completed", "Passed", "Unable To Determine"),
    "unusable": ("Unable To Determine", "", "", ""),
    "nothing": ("", "", "", ""),
}
_ABOUT_LIVENESS = {"spoof", "suspected", "human_spoof", "human_unsure"}
#: The last digit tells the same story in the 081x, 082x and 084x families, and another one in the 12xx families.
_MACHINE = {"0": "pass", "1": "mismatch", "2": "provisional", "3": "spoof", "4": "suspected", "5": "unsure"}
_HUMAN = {"0": "human_pass", "1": "human_mismatch", "2": "human_spoof", "3": "human_unsure", "4": "human_mismatch"}


def _story(code: str, product: Product) -> str:
    if code == "0907":
        return "spoof"
    if code == "0817":
        return "pass"
    if code[:3] in ("091", "092", "094") or (product.card == "always" and code in ("0812", "0816")):
        return "unusable"
    if code[:3] in ("081", "082", "084", "088"):
        return _MACHINE.get(code[3], "suspected")
    return _HUMAN.get(code[3], "nothing") if code[:3] in ("121", "122", "124", "128") else "nothing"


def actions_of(code: str, product: Product, *, frames: int) -> dict[str, str]:
    """The `Actions` of a job of pictures: the twelve documented keys with values that agree with *code*.

    Liveness is judged by 6 to 8 *frames* alone (wire.md §12), unless it is what the code itself is about.
    """
    story = _story(code, product)
    liveness, compare, human_compare, human_liveness = _STORIES[story]
    if not 6 <= frames <= 8 and story not in _ABOUT_LIVENESS:
        liveness = human_liveness = ""
    said = {
        "Liveness_Check": liveness,
        "Selfie_Provided": "Failed" if code in ("0001", "0903") else "Passed",
        "Human_Review_Liveness_Check": human_liveness,
    }
    if product.compares:
        said[product.compares] = compare
        said["Human_Review_Compare"] = human_compare
    if product.enrols:
        enrolled = {"approved": "Approved", "provisional": "Provisionally Approved", "rejected": "Rejected"}
        said["Register_Selfie"] = enrolled.get(classify(code, product.job_type), "")
    keys: tuple[str, ...] = _KEYS
    if product.card == "always":
        keys += ("Verify_Document", "Document_Check")
        said |= dict(zip(keys[-2:], _DOCUMENT.get(story, ("", "")), strict=True))
    return {key: said.get(key) or "Not Applicable" for key in keys}
