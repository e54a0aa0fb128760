"""What the tests of V3's pure part share: a job of each product, a person, and replies built by hand."""

import json
from typing import Any

from ground_support import KEY, NOW, PARTNER, jpeg, png, signature_of, stamp_of

from smile_async import Consent, Document, IdInfo, Job, Person, Product
from smile_async.protocol.signature import Secret, Signer
from smile_async.protocol.v3.needs import Rules
from smile_async.protocol.v3.signature import HeaderSigner

PERSON = Person("Amina Fatou", "Clearwater", "amina.clearwater@example.com", "+2348012345678")
CONSENT = Consent("https://shop.example/privacy")
RULES = Rules(CONSENT, "https://shop.example/smile")
SIGNER = Signer(PARTNER, Secret(KEY))
HEADERS = HeaderSigner(PARTNER, Secret(KEY))
#: Made at NOW, by the ULID in it.
TYPE_ID = "job_01kdyak3see9zcsy4sgw9w3tv1"
FRAMES = tuple(jpeg(comment=f"frame {number}") for number in range(6))
INFO = IdInfo("NG", "NIN_V2", "00000000000", bank_code="058", extra={"operator": "MTN"})
ABOUT: dict[str, Any] = {"job_id": "7f3e", "person": PERSON}

JOBS: dict[Product, Job] = {
    Product.AUTHENTICATION: Job.authenticate("ada", jpeg(), liveness=FRAMES, **ABOUT),
    Product.REGISTRATION: Job.register("ada", jpeg(), liveness=FRAMES, allow_new_enroll=True, **ABOUT),
    Product.COMPARE: Job.compare("ada", jpeg(), jpeg(comment="card"), "ID_PHOTO", **ABOUT),
    Product.BIOMETRIC_KYC: Job.biometric_kyc("ada", jpeg(), IdInfo("NG", "BVN", "007"), liveness=FRAMES, **ABOUT),
    Product.DOCUMENT_VERIFICATION: Job.document_verification(
        "ada", jpeg(), Document("NG", jpeg(comment="front"), png()), liveness=FRAMES, **ABOUT
    ),
    Product.ENHANCED_DOCUMENT_VERIFICATION: Job.enhanced_document_verification(
        "ada", jpeg(), Document("NG", png(), id_type="PASSPORT"), liveness=FRAMES, **ABOUT
    ),
    Product.ENHANCED_KYC: Job.enhanced_kyc("ada", INFO, **ABOUT),
    Product.AML_CHECK: Job.aml_check("ada", "Ada Obi", ["NG", "KE"], birth_year=1990, **ABOUT),
}


def contents(job: Job) -> list[bytes]:
    """The pictures of *job*, all of which are at hand."""
    return [image.content or b"" for image in job.images]


def signed_headers(at: float = NOW, *, partner_id: str = PARTNER, key: str = KEY, **more: str) -> dict[str, str]:
    """Headers of Smile ID's that were signed at *at*; names with _ for -."""
    timestamp = stamp_of(at)
    told = {name.replace("_", "-"): value for name, value in more.items()}
    signature = signature_of(timestamp, partner_id=partner_id, key=key)
    return {"response-timestamp": timestamp, "response-signature": signature, **told}


def said(**fields: Any) -> bytes:
    """*fields* as JSON."""
    return json.dumps(fields).encode()
