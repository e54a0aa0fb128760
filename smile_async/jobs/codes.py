"""What each result code means for each product: a table with its provenance, and how to look something up in it.

One code may say opposite things of two products (0812: a biometric check still under review, but a document refused),
so the key is the pair. "Never approved by accident" starts here: a row that the sources leave without a category is an
error, and what is not in the table is UNKNOWN (see `classify`).

Columns: code, the job types it is about, or the products where those share a type (`any`; `image` = all that carry
images), what to do, whether it is the last word (`?` = no source says, `way` = a message on the way, no word at all),
whether the same person may try again with better input, or later, where it is documented, text.

Sources: docs = docs.usesmileid.com/further-reading/result-codes · errors = the error-codes page below it ·
older = docs.smileidentity.com/results/result-and-error-codes · rest = docs.smileidentity.com restful-integration ·
limits = docs.usesmileid.com rate-limits · sdk = fixtures and code of the official SDKs · android = the Android SDK's
strings and adapters · partners = code tables published by integrators, where no stored docs page shows the row ·
v3 = the provider's OpenAPI file of V3, which names the v1 codes behind its outcomes · ours = our own conclusion from
what a product shares with another (wire.md §13).
"""

from dataclasses import dataclass
from enum import StrEnum

from smile_async.jobs.product import PRODUCTS, Product, known_product, product_of
from smile_async.jobs.ticket import known_job_type

__all__ = ["IMAGE_JOB_TYPES", "MEANINGS", "CodeMeaning", "Decision", "classify", "explain", "meaning_of"]


class Decision(StrEnum):
    """What a partner's server does with a user: let in, look into it, wait, refuse, or try again.

    ATTENTION is finished, and for a person to look at: an expired document, a partial match, a name in the news.
    """

    APPROVED = "approved"
    ATTENTION = "attention"
    PROVISIONAL = "provisional"
    REJECTED = "rejected"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CodeMeaning:
    """One row: what `code` says of jobs of `job_types` (None = of every type), and of `products` (None = of all those).

    `final` and `resubmit` (may the same person try again?) are None where no source tells. `on_the_way`: it is no
    result but progress, whatever it decides.
    """

    code: str
    job_types: frozenset[int] | None
    decision: Decision
    final: bool | None
    resubmit: bool | None
    sources: tuple[str, ...]
    text: str
    products: frozenset[Product] | None = None
    on_the_way: bool = False


#: The job types that carry images (wire.md §3).
IMAGE_JOB_TYPES = frozenset({1, 2, 4, 6, 8, 11})

_TABLE = """
0001 | any          | error       | yes | ?   | docs older      | data invalid / unknown failure
0001 | 1            | error       | yes | no  | docs            | id authority returned no photo
0001 | 1,6,11       | error       | yes | yes | docs            | id card image unusable or missing in zip
0001 | image        | error       | yes | yes | docs            | selfie image unusable or missing in zip
0810 | 1            | approved    | yes | no  | partners sdk    | enrol user, machine pass
0810 | 6,11         | approved    | yes | no  | android partners | document verified (also after human review)
0811 | 1            | rejected    | yes | ?   | partners        | selfie and reference do not match, machine
0811 | 6,11         | rejected    | yes | ?   | partners        | document could not be verified
0812 | 1            | provisional | no  | no  | partners        | pure provisional, awaiting human judgement
0812 | 6,11         | rejected    | yes | yes | partners        | document unusable or not classifiable
0813 | 1            | rejected    | yes | ?   | partners        | possible spoof, machine reject
0814 | 1            | provisional | no  | no  | sdk partners    | provisional enrol, possible spoof, under review
0815 | 1            | provisional | no  | no  | partners        | provisional, machine compare unsure
0816 | 6,11         | rejected    | yes | no  | partners        | unsupported document
0817 | 6,11         | attention   | yes | no  | partners        | approved with attention, document expired
0820 | 2            | approved    | yes | no  | partners        | authenticated, machine pass
0821 | 2            | rejected    | yes | ?   | partners        | authentication failed, faces do not match, machine
0822 | 2            | provisional | no  | no  | partners        | pure provisional, awaiting human judgement
0823 | 2            | rejected    | yes | ?   | partners        | possible spoof, machine reject
0824 | 2            | provisional | no  | no  | partners        | provisional, possible spoof, awaiting human judgement
0825 | 2            | provisional | no  | no  | partners        | provisional, compare unsure, awaiting human judgement
0840 | 4            | approved    | yes | no  | partners        | registered, machine pass
0841 | 4            | rejected    | yes | ?   | partners        | registration failed, machine (liveness/compare)
0842 | 4            | provisional | no  | no  | partners        | pure provisional, awaiting human judgement
0843 | 4            | rejected    | yes | ?   | partners        | possible spoof, machine reject
0844 | 4            | provisional | no  | no  | partners        | provisional, possible spoof, awaiting human judgement
0846 | 4            | provisional | no  | no  | partners older  | pending, possible spoof, awaiting human judgement
0903 | image        | rejected    | yes | yes | older           | zip corrupt
0907 | image        | rejected    | yes | ?   | older           | possible spoof under strict setting
0908 | 1            | error       | ?   | ?   | partners        | id issuer not available
0911 | 1            | rejected    | yes | yes | partners        | no face found in selfie
0912 | 1            | rejected    | yes | yes | partners        | selfie quality too poor
0921 | 2            | rejected    | yes | yes | partners        | no face found in selfie
0922 | 2            | rejected    | yes | yes | partners        | selfie quality too poor
0941 | 4            | rejected    | yes | yes | partners        | no face found in selfie
0942 | 4            | rejected    | yes | yes | partners        | selfie quality too poor
1012 | 1            | provisional | way | no  | docs sdk        | id number valid (an intermediate message)
1012 | 11           | provisional | way | no  | ours            | id number valid (an intermediate message)
1012 | enhanced_kyc | approved    | yes | no  | docs sdk        | id number valid
1012 | 7            | approved    | yes | no  | docs sdk        | business verified
1013 | 1,5          | rejected    | yes | ?   | docs            | id not found / unable to validate
1013 | 7            | rejected    | yes | ?   | ours            | business not found
1014 | 1,5,11       | error       | yes | yes | docs            | id number format not supported
1014 | 7            | error       | yes | yes | ours            | id number format not supported
1015 | 1,5          | error       | ?   | yes | docs            | id authority unavailable: try again later
1015 | 7            | error       | ?   | yes | ours            | id authority unavailable: try again later
1015 | 10           | error       | ?   | yes | v3              | provider of lists unavailable: try again later
1016 | 1,5          | error       | yes | no  | docs            | product / id type not activated
1016 | 7            | error       | yes | no  | ours            | product / id type not activated
1017 | 10           | attention   | yes | no  | v3              | found in the news only
1020 | basic_kyc    | approved    | yes | no  | docs            | exact match
1021 | basic_kyc    | attention   | yes | no  | docs            | partial match
1022 | basic_kyc    | rejected    | yes | ?   | docs            | no match
1023 | basic_kyc    | rejected    | yes | ?   | docs            | no record found, not charged
1023 | 10           | rejected    | yes | no  | v3              | may be on a list
1030 | 10           | rejected    | yes | no  | sdk             | found on a list
1031 | 10           | approved    | yes | no  | v3              | on no list
1210 | 1            | approved    | yes | no  | sdk partners    | enrol user, human pass
1211 | 1            | rejected    | yes | ?   | partners        | human compare failed
1212 | 1            | rejected    | yes | no  | partners        | human reviewer found spoof
1213 | 1            | provisional | ?   | ?   | partners        | human reviewer unsure about liveness
1214 | 1            | rejected    | yes | ?   | partners        | id card check failed on review
1220 | 2            | approved    | yes | no  | partners        | authenticated, human pass
1221 | 2            | rejected    | yes | ?   | partners        | human compare failed
1222 | 2            | rejected    | yes | no  | partners        | human reviewer found spoof
1240 | 4            | approved    | yes | no  | partners        | registered, human pass
1241 | 4            | rejected    | yes | yes | partners        | image unusable on review
1242 | 4            | rejected    | yes | no  | partners        | human reviewer found spoof
2201 | any          | error       | yes | no  | errors          | system error (upload family)
2202 | any          | error       | no  | no  | rest sdk        | upload prepared
2203 | any          | error       | yes | no  | errors older    | invalid JSON / info.json badly built
2204 | any          | error       | yes | no  | errors          | parameter of wrong type
2205 | any          | error       | yes | no  | errors          | not authorised (signature/environment/timestamp)
2207 | 1,2,4,6,8,11 | error       | yes | no  | errors          | enrolled user disabled
2208 | 1,2,4,6,8,11 | error       | yes | no  | errors          | enrolled user deleted
2209 | 1,4,6,11     | error       | yes | no  | errors partners | wrong user id, already enrolled under it
2210 | 2,8          | error       | yes | no  | errors          | no enrolled user found
2211 | 2            | error       | yes | no  | errors          | user must re-enrol first
2212 | any          | error       | yes | no  | errors          | invalid job type
2213 | any          | error       | yes | no  | errors older    | required parameter missing
2214 | any          | error       | ?   | ?   | android         | listed without a text
2215 | any          | error       | yes | no  | errors rest     | job id already used
2216 | 2            | error       | yes | no  | errors          | enrolled user has no photo on file
2217 | any          | error       | yes | no  | sdk             | invalid product
2220 | any          | error       | yes | no  | older           | production not enabled
2221 | any          | error       | ?   | ?   | android         | listed without a text
2222 | 1,5          | error       | yes | no  | limits          | id number blocked, too many submissions
2301 | any          | error       | yes | no  | errors          | system error (job_status family)
2302 | any          | error       | no  | no  | sdk             | job_status answered normally
2304 | any          | error       | ?   | no  | partners        | job not found
2314 | any          | error       | no  | no  | older sdk       | no zip received yet
2401 | any          | error       | yes | no  | errors          | system error (id/token family)
2405 | any          | error       | yes | no  | errors older    | not authorised
2413 | any          | error       | yes | no  | errors sdk      | parameter missing or value not allowed
2414 | any          | error       | ?   | ?   | android         | listed without a text
2415 | any          | error       | ?   | ?   | partners        | unverified: one partner takes it for a duplicate
"""

#: V3's words: four statuses, and the reasons that webhooks give for them (v3/wire.md §8). A v1 code is never one of
#: them, so `classify` does not look here.
_WORDS = """
clear                          | any    | approved  | yes | no  | v3       | verified
attention                      | any    | attention | yes | no  | v3       | finished, and for a person to look at
block                          | any    | rejected  | yes | no  | v3       | not verified; a webhook tells the reason
error                          | any    | error     | yes | ?   | v3       | no result; a webhook tells the reason
medium_risk                    | any    | attention | yes | no  | partners | passed, with a sign of fraud
document_expired               | 6,11   | attention | yes | no  | partners | passed, but the document has expired
document_copy_detected         | 6,11   | attention | yes | no  | partners | passed, but it may be a copy
news_media_match               | 10     | attention | yes | no  | v3       | found in the news only
age_requirement_not_met        | any    | attention | yes | no  | partners | under the age that the account asks for
age_requirement_not_met        | any    | rejected  | yes | no  | partners | under the age that the account asks for
high_risk                      | any    | rejected  | yes | no  | v3       | signs of fraud overrule the result
account_locked_fraud           | 2      | rejected  | yes | no  | partners | user locked for fraud
account_locked                 | 2      | rejected  | yes | no  | docs     | user locked for fraud (until July 2026)
face_verification_failed       | any    | rejected  | yes | ?   | partners | the faces differ
spoof_detected                 | any    | rejected  | yes | ?   | partners | not a living person before the camera
identifier_not_found           | 1,5,11 | rejected  | yes | ?   | partners | id not found
document_check_failed          | 6,11   | rejected  | yes | ?   | partners | document is not genuine
unsupported_document           | 6,11   | rejected  | yes | no  | partners | document is not supported
aml_match_found                | 10     | rejected  | yes | no  | v3       | found on a list
image_unavailable_or_invalid   | any    | error     | yes | yes | partners | image unusable: take it again
internal_error                 | any    | error     | yes | yes | partners | failed at the provider: try again
service_unavailable            | any    | error     | yes | yes | v3       | source unavailable: try again later
document_unclassifiable        | 6,11   | error     | yes | yes | partners | kind of document not recognised
content_policy_violated        | any    | error     | yes | ?   | partners | picture is not decent
invalid_id_number              | 11     | error     | yes | ?   | partners | number on the document is none
"""


def _row(line: str) -> CodeMeaning:
    code, types, decision, final, resubmit, sources, text = (cell.strip() for cell in line.split("|"))
    known: dict[str, bool | None] = {"yes": True, "no": False, "way": False, "?": None}
    job_types, products = _scope(types)
    return CodeMeaning(
        code=code,
        job_types=job_types,
        decision=Decision(decision),
        final=known[final],
        resubmit=known[resubmit],
        sources=tuple(sources.split()),
        text=text,
        products=products,
        on_the_way=final == "way",
    )


def _scope(types: str) -> tuple[frozenset[int] | None, frozenset[Product] | None]:
    if types in ("any", "image"):
        return (None if types == "any" else IMAGE_JOB_TYPES), None
    if types.replace(",", "").isdigit():
        return frozenset(int(number) for number in types.split(",")), None
    products = frozenset(map(Product, types.split(",")))
    return frozenset(product.spec.job_type for product in products), products


#: Every result code found in any public source, in order of code.
MEANINGS: tuple[CodeMeaning, ...] = tuple(_row(line) for line in _TABLE.strip().splitlines())

_BY_CODE: dict[str, list[CodeMeaning]] = {}
for _meaning in MEANINGS:
    _BY_CODE.setdefault(_meaning.code, []).append(_meaning)
_BY_WORD: dict[str, list[CodeMeaning]] = {}
for _meaning in map(_row, _WORDS.strip().splitlines()):
    _BY_WORD.setdefault(_meaning.code, []).append(_meaning)


def explain(code: str | int, about: int | str | None = None) -> list[CodeMeaning]:
    """Everything known of *code*, or of a status or reason of V3, a meaning for each group of job types; else empty.

    *about*: only for this product or job type.
    """
    word = _BY_WORD.get(str(code).strip().lower(), ())
    if about is not None:
        meaning, product = meaning_of(code, about), known_product(about)
        number = known_job_type(about) if product is None else product.spec.job_type
        of_it = [row for row in word if number is not None and (row.job_types is None or number in row.job_types)]
        return of_it if meaning is None else [meaning]
    code = _normal(code)
    return [*_BY_CODE.get(code, ()), *(row for product in PRODUCTS for row in _own(code, product)), *word]


def classify(code: str | int, about: int | str) -> Decision:
    """What *code* means for a job of *about*, a product or a job type.

    UNKNOWN, never an exception, for a pair the table does not hold.
    """
    meaning = meaning_of(code, about)
    return Decision.UNKNOWN if meaning is None else meaning.decision


def meaning_of(code: str | int, about: int | str) -> CodeMeaning | None:
    """The row that says what *code* means for *about*, a product or a job type; None where the table holds none.

    A job type that does not tell its product has the meaning of whichever of them the table knows.
    """
    code, product = _normal(code), known_product(about)
    number = known_job_type(about) if product is None else product.spec.job_type
    if number is None:
        return None
    product = product or product_of(number)
    rows: list[CodeMeaning] = [*_BY_CODE.get(code, ()), *_own(code, product)]
    for meaning in rows:
        # 2xxx are codes of calls: whatever job they stand beside, they are errors of the call, not verdicts.
        if meaning.job_types is None or code.startswith("2"):
            return meaning
        if number in meaning.job_types and (product is None or meaning.products is None or product in meaning.products):
            return meaning
    return None


def _own(code: str, product: Product | None) -> list[CodeMeaning]:
    """The rows for *code* that *product* brings itself."""
    rows = () if product is None else product.spec.codes
    return [_row(row) for row in rows if row.startswith(code)] if rows and code else []


def _normal(code: object) -> str:
    if isinstance(code, bool) or not isinstance(code, str | int):
        return ""
    return str(code).strip().zfill(4)
