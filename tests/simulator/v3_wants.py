"""What applications want of V3: the same products for the same people, each with a person and a consent."""

from dataclasses import dataclass
from typing import Any

from simulator.wants import Person, Want
from v3_batch_support import AMINA, PERSON

from smile_async import Image, Job
from smile_async.batch import Row
from smile_async.jobs.parts import parts_of
from smile_async.jobs.product import Product
from smile_async.protocol.v3.endpoints import ENDPOINTS
from smile_async.sandbox.records import JobRecord

__all__ = ["V3_WANTS", "V3Want"]


@dataclass(frozen=True)
class V3Want(Want):
    """One product of V3."""

    @property
    def never_again(self) -> bool:
        """Whether a second request makes a second job."""
        return not ENDPOINTS[self.product].keyed

    def job(self, user_id: str, job_id: str, person: Person, path: str | None) -> Job:
        front = Image.from_bytes(person.card) if self.card else None
        parts: dict[str, Any] = parts_of(self.product.spec, self.about(person), front=front)
        if not self.one_request:
            selfie = Image.from_path(path) if path else Image.from_bytes(person.selfie)
            parts |= {"selfie": selfie, "liveness": (selfie,) * 6}
        return Job.of(self.product, user_id, job_id=job_id, person=AMINA, **parts)

    def row(self, line: int, user_id: str, job_id: str, person: Person, path: str | None, card: str | None) -> Row:
        return Row(
            *(line, user_id, user_id, None if self.one_request else path),
            liveness=() if path is None else (path,) * 6,
            job_type=self.product.spec.job_type,
            product=self.product,
            job_id=job_id,
            front=card if self.card else None,
            about={**self.about(person), **PERSON},
        )

    def is_about(self, record: JobRecord, person: Person) -> bool:
        told = self.about(person).get("id_number" if "id_number" in self.words else "full_name")
        by_number = told is None or told in record.id_info.values()
        return by_number and (self.one_request or super().is_about(record, person))


_FACES = (
    *(("clear", 0.5, ()), ("clear", 8.0, ()), ("block:face_verification_failed", 3.0, ())),
    *(("processing", 4.0, ((60.0, "clear"),)), ("processing", 2.0, ((300.0, "block:spoof_detected"),))),
)
_ID = ("country", "id_type", "id_number")

_REGISTRATION = V3Want(Product.REGISTRATION, _FACES)
_LOOKUP = V3Want(
    *(Product.ENHANCED_KYC, (("clear", 0.5, ()), ("block:identifier_not_found", 3.0, ()), ("clear", 45.0, ())), _ID)
)
V3_WANTS = (
    *(_REGISTRATION, _REGISTRATION, _LOOKUP, _LOOKUP),
    V3Want(Product.AUTHENTICATION, _FACES),
    V3Want(Product.BIOMETRIC_KYC, _FACES, _ID),
    V3Want(
        *(Product.DOCUMENT_VERIFICATION, (("attention:document_expired", 5.0, ()), ("clear", 20.0, ())), ("country",)),
        card=True,
    ),
    V3Want(
        *(Product.AML_CHECK, (("clear", 0.5, ()), ("block:aml_match_found", 8.0, ()), ("clear", 15.0, ()))),
        more={"full_name": "Person {}", "countries": "NG"},
    ),
)
