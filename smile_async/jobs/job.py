"""What a user says: a job about a person.

Everything that can be known without opening a file is checked when the job is made, because a job is billed when it
arrives, not when it succeeds.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Self

import orjson

from smile_async.errors import InvalidJob
from smile_async.jobs.checks import FLAGS, KINDS, job_flaw, params_flaw
from smile_async.jobs.document import Document
from smile_async.jobs.id_info import IdInfo
from smile_async.jobs.image import Image
from smile_async.jobs.makers import Makers
from smile_async.jobs.person import Consent, Person
from smile_async.jobs.pictures import ImageSource
from smile_async.jobs.product import Family, Product, product_of
from smile_async.jobs.screening import Screening
from smile_async.jobs.ticket import Ticket, id_flaw, job_type, known_job_type

__all__ = ["ImageSource", "Job"]


class _Params(dict[str, Any]):
    """What was said by name, and stays as it is; a dict, so that what takes dataclasses apart can take it too."""

    __slots__ = ()

    def _fixed(self, *_args: object, **_more: object) -> NoReturn:
        raise TypeError("partner_params and consent of a job can not be changed: make another job")

    __setitem__ = __delitem__ = __ior__ = _fixed
    clear = pop = popitem = setdefault = update = _fixed

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return _Params, (dict(self),)


#: One for all jobs that have none: a hundred thousand may be pending.
_NO_PARAMS = _Params()


class _Sendable:
    """What a job remembers of itself that is no part of it: not copied, compared or shown."""

    #: Whether a request about this very object may have left. Another of the same ids may be about another person's
    #: pictures, and nobody is to wait for the verdict of those.
    __slots__ = ("_left",)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Job(Makers, _Sendable):
    """One job; make it with the constructor of its product, such as `Job.authenticate` or `Job.enhanced_kyc`.

    Immutable, and cheap to keep: a path is read only when the upload starts. All constructors take job_id (default: a
    fresh UUID; never one that was used before), partner_params (text to text, which come back with the verdict),
    callback_url, person, and consent (a Consent as V3 needs it, a dict as some authorities want it in v1). Raises
    InvalidJob at once for ids that are empty, longer than 255 characters or hold line breaks or other controls, for
    partner_params that are not text, for flags that are not bool, for a callback_url that is not a URL, for bytes that
    are not a colour JPEG or PNG, and for what the product needs or does not take.
    """

    user_id: str
    job_type: int
    selfie: Image | None = None
    liveness: tuple[Image, ...] = ()
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    partner_params: Mapping[str, str] = field(default_factory=dict)
    callback_url: str | None = None
    use_enrolled_image: bool = False
    allow_new_enroll: bool = False
    #: None for a job_type that no known product has.
    product: Product | None = None
    id_info: IdInfo | None = None
    #: A Biometric KYC's id card too.
    document: Document | None = None
    screening: Screening | None = None
    consent: Consent | Mapping[str, Any] | None = field(default=None, repr=False)
    person: Person | None = None
    #: What a compare job holds the selfie against, and what that is: DOCUMENT, ID_PHOTO or PORTRAIT.
    comparison: Image | None = None
    comparison_type: str | None = None

    def __post_init__(self) -> None:
        if self.product is None and known_job_type(self.job_type) is not None:
            object.__setattr__(self, "product", product_of(self.job_type))
        flaws = ((name, id_flaw(getattr(self, name))) for name in ("user_id", "job_id"))
        wrong = next((f"{name} {why}" for name, why in flaws if why), "")
        why = wrong or self._params_flaw() or job_flaw(self)
        if why:
            for name, kind in KINDS.items():
                # A dict that came in the place of an IdInfo would show itself in this job's repr.
                if not isinstance(getattr(self, name), kind):
                    object.__setattr__(self, name, None)
            frames: object = self.liveness
            frames = frames if isinstance(frames, tuple | list) else ()
            object.__setattr__(self, "liveness", tuple(frame for frame in frames if isinstance(frame, Image)))
            raise InvalidJob(wrong or f"job {self.job_id} of user {self.user_id}: {why}", job=self)
        params = _Params(self.partner_params) if self.partner_params else _NO_PARAMS
        object.__setattr__(self, "partner_params", params)
        if isinstance(self.consent, Mapping):
            object.__setattr__(self, "consent", _Params(orjson.loads(orjson.dumps(dict(self.consent)))))

    def _params_flaw(self) -> str:
        return params_flaw(self.partner_params)

    @classmethod
    def of(cls, product: Product | str, user_id: str, **parts: Any) -> Self:
        """A job of any *product*, of *parts* by the names of this class's fields. Raises InvalidJob."""
        try:
            product = Product(product)
        except ValueError:
            raise InvalidJob(f"user {user_id!r}: product {product!r:.60} is not known: give a Product") from None
        given = {name: value for name, value in parts.items() if value is not None or name in FLAGS}
        del parts
        return cls(user_id, job_type(product.spec.job_type), product=product, **given)

    @property
    def family(self) -> Family:
        """How it reaches Smile ID."""
        return Family.UPLOAD if self.product is None else self.product.spec.family

    def subject(self) -> bytes:
        """Whom or what it asks about, beside its pictures, as JSON: the same for the same fields; b"" for nothing."""
        asked = (self.id_info, self.screening, self.document, self.person)
        parts: list[Any] = [part.fields() for part in asked if part is not None]
        parts += [self.comparison_type] if self.comparison_type else []
        return orjson.dumps(parts, option=orjson.OPT_SORT_KEYS) if parts else b""

    def hidden_in(self, text: str) -> str:
        """*text*, which a server says of it, with an ellipsis in place of what repeats whom it is about."""
        for told in filter(None, (self.id_info, self.screening, self.person)):
            text = told.hidden_in(text)
        return text

    @property
    def ticket(self) -> Ticket:
        """Exists from birth: after a cancellation `await session.wait(job.ticket)` still finds the job."""
        return Ticket(self.user_id, self.job_id, self.job_type, product=self.product)

    @property
    def may_have_left(self) -> bool:
        """Whether a request about it may have left in any call with this very object."""
        return getattr(self, "_left", False)

    def note_that_it_left(self) -> None:
        """From now on its errors carry a ticket."""
        object.__setattr__(self, "_left", True)

    @property
    def images(self) -> tuple[Image, ...]:
        """The selfie, if there is one, the liveness frames, front and back of a document, what it is compared with."""
        return tuple(image for _, image in self.named_images())

    def named_images(self) -> Iterator[tuple[str, Image]]:
        """Each picture with the name a message gives it: `selfie`, `liveness[0]`, …, `front`, `back`, `comparison`."""
        if self.selfie:
            yield "selfie", self.selfie
        for number, frame in enumerate(self.liveness):
            yield f"liveness[{number}]", frame
        if self.document:
            yield "front", self.document.front
            if self.document.back:
                yield "back", self.document.back
        if self.comparison:
            yield "comparison", self.comparison

    def spent(self) -> "Job":
        """The same job without image content: what outcomes and errors carry once it is accepted."""
        if all(image.content is None for image in self.images):
            return self
        return replace(
            self,
            selfie=self.selfie and self.selfie.spent(),
            liveness=tuple(image.spent() for image in self.liveness),
            document=self.document and self.document.spent(),
            comparison=self.comparison and self.comparison.spent(),
        )
