"""What V3 says of a job: one of four words, a reason, and a sentence; as codes here, `block:spoof_detected`.

Reasons are from the provider's OpenAPI file, the documentation's sandbox page and integrators; that the numbers of v1
stand for them is published for AML alone and *inferred* for the rest.
"""

import re

from smile_async.jobs.codes import meaning_of

__all__ = ["decision_in", "is_result", "meaning_in", "message_of", "parted", "word_of"]

#: Servers before July 2026 said `complete`.
_RESULT = re.compile(r"[0-9]{4}|(clear|block|attention|error|processing|complete)(:[a-z_]{1,60})?")
_DECISIONS = {
    "clear": "approved",
    "attention": "attention",
    "block": "rejected",
    "error": "error",
    "processing": "provisional",
}
_MEANINGS = {
    "": "verification passed",
    "medium_risk": "passed with signals of risk",
    "document_expired": "passed, the document has expired",
    "document_copy_detected": "passed, perhaps a copy of a document",
    "age_requirement_not_met": "under the age limit",
    "news_media_match": "found in the news only",
    "information_outdated": "the address on record is old",
    "high_risk": "a risk of fraud",
    "account_locked_fraud": "the user is locked for fraud",
    "face_verification_failed": "the faces differ",
    "spoof_detected": "no living face",
    "identifier_not_found": "the id is not on record",
    "document_check_failed": "the document is not genuine",
    "unsupported_document": "no document that is supported",
    "aml_match_found": "found on a list",
    "address_out_of_range": "the address is more than a kilometre off",
    "name_mismatch": "another name is on record",
    "no_address_on_record": "no address is on record",
    "image_unavailable_or_invalid": "a picture can not be used: take it again",
    "internal_error": "an unexpected failure: try again",
    "service_unavailable": "the source of the id is down: try again later",
    "document_unclassifiable": "the kind of document is not recognised",
    "content_policy_violated": "the picture is not fit to be looked at",
    "invalid_id_number": "the number on the document is no such number",
}
_FACES, _SPOOF = "block:face_verification_failed", "block:spoof_detected"
_IMAGES = "error:image_unavailable_or_invalid"
_NUMBERS = {
    "0817": "attention:document_expired",
    "1017": "attention:news_media_match",
    **dict.fromkeys(("0811", "1211", "0821", "1221", "0841", "1241"), _FACES),
    **dict.fromkeys(("0813", "1212", "0823", "1222", "0843", "1242", "0907"), _SPOOF),
    **dict.fromkeys(("1030", "1023"), "block:aml_match_found"),
    **dict.fromkeys(("0001", "0903", "0911", "0912", "0921", "0922", "0941", "0942"), _IMAGES),
    **dict.fromkeys(("1015", "0908"), "error:service_unavailable"),
    "1013": "block:identifier_not_found",
    "0816": "block:unsupported_document",
    "1014": "error:invalid_id_number",
}
#: Those that mean something else of documents.
_OF_DOCUMENTS = {"0811": "block:document_check_failed", "0812": "error:document_unclassifiable"}
_BY_DECISION = {"approved": "clear", "provisional": "processing", "attention": "attention:medium_risk"}
#: Those of v1 whose numbers V3 has words for, first come first served.
_JOB_TYPES = (2, 4, 1, 5, 6, 10)
_MESSAGES = {
    "clear": "Verification successful.",
    "attention": "Verification successful.",
    "block": "Verification failed.",
    "processing": "Verification is under review.",
    "block:identifier_not_found": "Verification failed: Unable to validate ID - Not Found.",
    "error:service_unavailable": "Error: external service unavailable.",
    "error:image_unavailable_or_invalid": "Error: selfie_image image(s) are unusable.",
    "error": "Error: verification could not be completed at this time.",
}


def is_result(text: object) -> bool:
    """Whether a job can come to *text*: a number of v1's, or a status of V3 with its reason after a colon."""
    return isinstance(text, str) and _RESULT.fullmatch(text) is not None


def parted(code: str) -> tuple[str, str | None]:
    """Status and reason of *code*."""
    word, _, reason = code.partition(":")
    return word, reason or None


def decision_in(code: str) -> str:
    """What *code* decides; people who review it are what `processing` stands for."""
    return _DECISIONS.get(parted(code)[0], "unknown")


def meaning_in(code: str) -> str:
    """What *code* means, for people."""
    word, reason = parted(code)
    if word == "processing":
        return "Under review"
    return _MEANINGS.get(reason or "", "not documented").capitalize() if word in _DECISIONS else "not documented"


def message_of(code: str, *, enrols: bool) -> str:
    """The sentence that goes with *code*; a registration speaks of an enrollment."""
    said = _MESSAGES.get(code) or _MESSAGES.get(parted(code)[0], "Verification ended.")
    return said.replace("Verification", "Enrollment") if enrols else said


def word_of(code: str, job_type: int) -> str:
    """*code*, if it is a number of v1's, as V3 says it of a job of that type."""
    if not code.isdigit():
        return code
    known = (_OF_DOCUMENTS.get(code) if job_type in (6, 11) else None) or _NUMBERS.get(code)
    meanings = [meaning for kind in (job_type, *_JOB_TYPES) if (meaning := meaning_of(code, kind))]
    return known or _BY_DECISION.get(meanings[0].decision if meanings else "", "error:internal_error")
