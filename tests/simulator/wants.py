"""The products that applications ask for: how a job of each is made, what it comes to, and how to know whose it is."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ground_support import jpeg

from smile_async import Image, Job
from smile_async.batch import Row
from smile_async.jobs.parts import parts_of
from smile_async.jobs.product import AfterSilence, Family, Product
from smile_async.sandbox.records import JobRecord

__all__ = ["WANTS", "Person", "Script", "Want"]

#: A code, after so many seconds, and later ones.
Script = tuple[str, float, tuple[tuple[float, str], ...]]


@dataclass(frozen=True)
class Person:
    """Somebody: a face, and a number at an authority."""

    number: int

    @property
    def selfie(self) -> bytes:
        return jpeg(comment=f"picture {self.number}", body=bytes([self.number]) * 600)

    @property
    def card(self) -> bytes:
        return jpeg(comment=f"card {self.number}", body=bytes([self.number]) * 500)

    @property
    def fields(self) -> Mapping[str, str]:
        """What an authority is told."""
        # A last digit that stands for nothing (wire.md §11).
        return {"country": "NG", "id_type": "NIN_V2", "id_number": f"{self.number:010}9"}


@dataclass(frozen=True)
class Want:
    """One product; *words* of a person that it is told, *card*: it takes a picture of one."""

    product: Product
    scripts: tuple[Script, ...]
    words: tuple[str, ...] = ()
    card: bool = False
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def one_request(self) -> bool:
        return self.product.spec.family is Family.REQUEST

    @property
    def never_again(self) -> bool:
        """Whether nobody knows that its job_id is good for one job."""
        return self.product.spec.after_silence is AfterSilence.NOTHING

    def about(self, person: Person) -> dict[str, str]:
        """What is said of *person*, by its names in a manifest."""
        said = {word: person.fields[word] for word in self.words}
        return said | {name: value.format(person.number) for name, value in self.more.items()}

    def job(self, user_id: str, job_id: str, person: Person, path: str | None) -> Job:
        """A job about *person*, whose picture lies at *path* if anywhere."""
        if self.one_request:
            return Job.of(self.product, user_id, job_id=job_id, **parts_of(self.product.spec, self.about(person)))
        front = Image.from_bytes(person.card) if self.card else None
        parts = parts_of(self.product.spec, self.about(person), front=front)
        selfie = Image.from_path(path) if path else Image.from_bytes(person.selfie)
        return Job.of(self.product, user_id, job_id=job_id, selfie=selfie, **parts)

    def row(self, line: int, user_id: str, job_id: str, person: Person, path: str | None, card: str | None) -> Row:
        """The same, as a row of a manifest."""
        return Row(
            *(line, user_id, user_id, None if self.one_request else path),
            job_type=self.product.spec.job_type,
            product=self.product,
            job_id=job_id,
            front=card if self.card else None,
            about=self.about(person),
        )

    def is_about(self, record: JobRecord, person: Person) -> bool:
        """Whether the provider's *record* is of a job about *person*."""
        if not self.one_request:
            return bool(record.images) and record.images[0].sha256 == hashlib.sha256(person.selfie).hexdigest()
        told = {**self.about(person)}
        told.pop("countries", None)
        return all(str(record.id_info.get(name)) == value for name, value in told.items())


_ID = ("country", "id_type", "id_number")
_LOOKED_UP: tuple[Script, ...] = (("1012", 0.5, ()), ("1012", 8.0, ()), ("1013", 3.0, ()), ("1012", 45.0, ()))

WANTS = (
    Want(
        Product.REGISTRATION,
        (
            ("0840", 0.5, ()),
            ("0840", 8.0, ()),
            ("0841", 3.0, ()),
            ("0844", 4.0, ((60.0, "1240"),)),
            ("0844", 2.0, ((300.0, "1241"),)),
        ),
    ),
    Want(
        Product.BIOMETRIC_KYC,
        (
            ("1012", 0.5, ((4.0, "0810"),)),
            ("0811", 3.0, ()),
            ("1012", 1.0, ((2.0, "0812"), (60.0, "1210"))),
            ("1013", 2.0, ()),
        ),
        _ID,
    ),
    Want(
        Product.DOCUMENT_VERIFICATION,
        (("0810", 0.5, ()), ("0810", 20.0, ()), ("0811", 3.0, ()), ("0812", 5.0, ())),
        ("country",),
        card=True,
    ),
    Want(Product.ENHANCED_KYC, _LOOKED_UP, _ID),
    Want(Product.BASIC_KYC, (("1020", 0.5, ()), ("1022", 3.0, ()), ("1020", 45.0, ())), _ID),
    Want(
        *(Product.BUSINESS_VERIFICATION, _LOOKED_UP, _ID),
        more={"id_type": "BASIC_BUSINESS_REGISTRATION", "business_type": "co"},
    ),
    Want(
        Product.AML_CHECK,
        (("1031", 0.5, ()), ("1030", 8.0, ()), ("1017", 3.0, ())),
        more={"full_name": "Person {}", "countries": "NG"},
    ),
)
