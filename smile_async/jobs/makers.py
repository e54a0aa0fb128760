"""A constructor for each product's jobs: what a caller says, checked before anything is sent."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from smile_async.errors import InvalidJob
from smile_async.jobs.document import Document
from smile_async.jobs.id_info import IdInfo
from smile_async.jobs.person import Consent, Person
from smile_async.jobs.pictures import ImageSource, picture, pictures
from smile_async.jobs.product import Product
from smile_async.jobs.screening import Screening

__all__ = ["Makers"]


class _About(TypedDict, total=False):
    """What any job may have: None means that it is left out."""

    #: Never used before; by default a fresh UUID.
    job_id: str | None
    #: Texts by name, which come back with the verdict.
    partner_params: Mapping[str, str] | None
    #: Where Smile ID posts the results of this job, rather than to the session's callback_url.
    callback_url: str | None
    #: The user's consent: a Consent as V3 needs it, or a dict as some authorities want it in v1
    #: (`consent_information`, wire.md §13).
    consent: Consent | Mapping[str, Any] | None
    #: Whom it is about, as V3 needs it.
    person: Person | None


class Makers:
    """The constructors of a job."""

    __slots__ = ()

    if TYPE_CHECKING:

        @classmethod
        def of(cls, product: Product | str, user_id: str, **parts: Any) -> Self:  # noqa: D102 - see Job
            ...

    @classmethod
    def authenticate(
        cls,
        user_id: str,
        selfie: ImageSource | None = None,
        *,
        liveness: Iterable[ImageSource] = (),
        use_enrolled_image: bool = False,
        **about: Unpack[_About],
    ) -> Self:
        """Is this the person who is on file as *user_id*? (job type 2)

        *liveness*: 6 to 8 frames of the same moment prove that a living person was there; 0 asks for no such proof.
        *selfie* may be left out only with *use_enrolled_image*.
        """
        try:
            face = _face(user_id, selfie, liveness)
        finally:
            # So that no frame of a traceback holds raw image bytes.
            del selfie, liveness
        return cls.of(Product.AUTHENTICATION, user_id, **face, use_enrolled_image=use_enrolled_image, **_told(**about))

    @classmethod
    def register(
        cls,
        user_id: str,
        selfie: ImageSource,
        *,
        liveness: Iterable[ImageSource] = (),
        allow_new_enroll: bool = False,
        **about: Unpack[_About],
    ) -> Self:
        """Put this person on file as *user_id* (job type 4), who must be new unless *allow_new_enroll*."""
        try:
            face = _face(user_id, selfie, liveness)
        finally:
            del selfie, liveness
        return cls.of(Product.REGISTRATION, user_id, **face, allow_new_enroll=allow_new_enroll, **_told(**about))

    @classmethod
    def update_photo(
        cls, user_id: str, selfie: ImageSource, *, liveness: Iterable[ImageSource] = (), **about: Unpack[_About]
    ) -> Self:
        """Put this picture in the place of the one on file (job type 8); what its codes mean is not documented."""
        try:
            face = _face(user_id, selfie, liveness)
        finally:
            del selfie, liveness
        return cls.of(Product.UPDATE_PHOTO, user_id, **face, **_told(**about))

    @classmethod
    def compare(
        cls,
        user_id: str,
        selfie: ImageSource,
        comparison: ImageSource,
        comparison_type: str,
        *,
        liveness: Iterable[ImageSource] = (),
        allow_new_enroll: bool = False,
        **about: Unpack[_About],
    ) -> Self:
        """Is this the person in the picture *comparison*? (V3 alone); puts a new user on file.

        *comparison_type* says what it is: DOCUMENT, ID_PHOTO or PORTRAIT.
        """
        try:
            face = _face(user_id, selfie, liveness)
            other = picture(comparison, "comparison", f"user {user_id!r}")
        finally:
            del selfie, liveness, comparison
        parts = {**face, "comparison": other, "comparison_type": comparison_type}
        return cls.of(Product.COMPARE, user_id, **parts, allow_new_enroll=allow_new_enroll, **_told(**about))

    @classmethod
    def biometric_kyc(
        cls,
        user_id: str,
        selfie: ImageSource,
        id_info: IdInfo,
        *,
        liveness: Iterable[ImageSource] = (),
        id_card: ImageSource | None = None,
        id_card_back: ImageSource | None = None,
        allow_new_enroll: bool = False,
        **about: Unpack[_About],
    ) -> Self:
        """Is this the person whom the authority has under that number? (job type 1); puts a new user on file.

        *id_info* without an id_number needs a picture of the *id_card*.
        """
        try:
            face = _face(user_id, selfie, liveness)
            card = _card(user_id, id_info, id_card, id_card_back)
        finally:
            del selfie, liveness, id_card, id_card_back
        parts = {**face, "id_info": id_info, "document": card, "allow_new_enroll": allow_new_enroll}
        return cls.of(Product.BIOMETRIC_KYC, user_id, **parts, **_told(**about))

    @classmethod
    def document_verification(
        cls,
        user_id: str,
        selfie: ImageSource | None,
        document: Document,
        *,
        liveness: Iterable[ImageSource] = (),
        use_enrolled_image: bool = False,
        allow_new_enroll: bool = False,
        **about: Unpack[_About],
    ) -> Self:
        """Is this document genuine, and this person's? (job type 6); puts a new user on file.

        *selfie* may be None only with *use_enrolled_image*.
        """
        try:
            face = _face(user_id, selfie, liveness)
        finally:
            del selfie, liveness
        parts = {**face, "document": document, "use_enrolled_image": use_enrolled_image}
        kind = Product.DOCUMENT_VERIFICATION
        return cls.of(kind, user_id, **parts, allow_new_enroll=allow_new_enroll, **_told(**about))

    @classmethod
    def enhanced_document_verification(
        cls,
        user_id: str,
        selfie: ImageSource | None,
        document: Document,
        *,
        liveness: Iterable[ImageSource] = (),
        use_enrolled_image: bool = False,
        allow_new_enroll: bool = False,
        **about: Unpack[_About],
    ) -> Self:
        """The same, and the document's number is looked up at the authority (job type 11): it needs an id_type."""
        try:
            face = _face(user_id, selfie, liveness)
        finally:
            del selfie, liveness
        parts = {**face, "document": document, "use_enrolled_image": use_enrolled_image}
        kind = Product.ENHANCED_DOCUMENT_VERIFICATION
        return cls.of(kind, user_id, **parts, allow_new_enroll=allow_new_enroll, **_told(**about))

    @classmethod
    def enhanced_kyc(cls, user_id: str, id_info: IdInfo, **about: Unpack[_About]) -> Self:
        """What does the authority have under that number? (job type 5); `verdict.record` is its answer."""
        return cls.of(Product.ENHANCED_KYC, user_id, id_info=id_info, **_told(**about))

    @classmethod
    def basic_kyc(cls, user_id: str, id_info: IdInfo, **about: Unpack[_About]) -> Self:
        """Does what *id_info* says agree with what the authority has under that number? (job type 5)"""
        return cls.of(Product.BASIC_KYC, user_id, id_info=id_info, **_told(**about))

    @classmethod
    def business_verification(cls, user_id: str, id_info: IdInfo, **about: Unpack[_About]) -> Self:
        """What does the register of companies have under that number? (job type 7)"""
        return cls.of(Product.BUSINESS_VERIFICATION, user_id, id_info=id_info, **_told(**about))

    @classmethod
    def aml_check(
        cls,
        user_id: str,
        full_name: str | None,
        countries: Iterable[str],
        *,
        birth_year: str | int | None = None,
        aliases: Iterable[str] = (),
        strict_match: bool = True,
        search_existing_user: bool = False,
        **about: Unpack[_About],
    ) -> Self:
        """Is this person on lists of sanctions, of politically exposed persons, or in the news? (job type 10)

        *full_name* may be None with *search_existing_user*: name and year are then those *user_id* was enrolled with.
        """
        try:
            wanted = Screening(
                *(full_name, countries),
                birth_year=birth_year,
                aliases=aliases,
                strict_match=strict_match,
                search_existing_user=search_existing_user,
            )
        finally:
            # So that no frame of a traceback holds what is personal.
            del full_name, countries, birth_year, aliases
        return cls.of(Product.AML_CHECK, user_id, screening=wanted, **_told(**about))


def _told(
    *,
    job_id: str | None = None,
    partner_params: Mapping[str, str] | None = None,
    callback_url: str | None = None,
    consent: Consent | Mapping[str, Any] | None = None,
    person: Person | None = None,
) -> dict[str, Any]:
    """What may be left out of any job; a name that is none of these is a TypeError."""
    about = {"job_id": job_id, "partner_params": partner_params, "callback_url": callback_url}
    return {**about, "consent": consent, "person": person}


def _face(user_id: str, selfie: ImageSource | None, liveness: Iterable[ImageSource]) -> dict[str, Any]:
    try:
        face, frames = pictures(selfie, liveness, f"user {user_id!r}")
    finally:
        del selfie, liveness
    return {"selfie": face, "liveness": frames}


def _card(user_id: str, about: IdInfo, front: ImageSource | None, back: ImageSource | None) -> Document | None:
    """The id card of a Biometric KYC: of the country and kind that *about* names."""
    try:
        if front is None and back is not None:
            raise InvalidJob(f"user {user_id!r}: id_card is missing: a back alone tells nothing")
        known = front is not None and isinstance(about, IdInfo)
        return Document(about.country, front, back, about.id_type) if known and front is not None else None
    finally:
        del front, back
