"""What a user says: a job about a person.

Everything that can be known without opening a file is checked when the job is made, because a job is billed when it
arrives, not when it succeeds.
"""

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count, repeat
from typing import Any, NoReturn

from smile_async.errors import InvalidJob
from smile_async.jobs.image import Image, flaw
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, JobType, Ticket, encodes, id_flaw, job_type_flaw
from smile_async.urls import url_flaw

__all__ = ["ImageSource", "Job"]

#: What a picture may be given as; a `str` is always a local path (`Image.from_uri` and `Image.from_base64` are not).
ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | Image

_ONE_PICTURE = (str, bytes, bytearray, memoryview, os.PathLike, Image)
_RESERVED = ("user_id", "job_id", "job_type")
_FLAGS = ("use_enrolled_image", "allow_new_enroll")


class _Params(dict[str, str]):
    """Partner parameters that stay as they are; a dict, so that what takes dataclasses apart can take them too."""

    __slots__ = ()

    def _fixed(self, *_args: object, **_more: object) -> NoReturn:
        raise TypeError("partner_params of a job can not be changed: make another job")

    __setitem__ = __delitem__ = __ior__ = _fixed
    clear = pop = popitem = setdefault = update = _fixed

    def __reduce__(self) -> tuple[type, tuple[dict[str, str]]]:
        return _Params, (dict(self),)


#: One for all jobs that have none: a hundred thousand may be pending.
_NO_PARAMS = _Params()


class _Sendable:
    """What a job remembers of itself that is no part of it: not copied, compared or shown."""

    #: Whether a request about this very object may have left. Another of the same ids may be about another person's
    #: pictures, and nobody is to wait for the verdict of those.
    __slots__ = ("_left",)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Job(_Sendable):
    """One selfie job; make it with `Job.authenticate` or `Job.register`.

    Immutable, and cheap to keep: a path is read only when the upload starts. Raises InvalidJob at once for ids that
    are empty, longer than 255 characters or hold line breaks or other controls, for partner_params that are not text,
    for flags that are not bool, for a callback_url that is not a URL, and for bytes that are not a colour JPEG or PNG.
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

    def __post_init__(self) -> None:
        for name in ("user_id", "job_id"):
            why = id_flaw(getattr(self, name))
            if why:
                raise InvalidJob(f"{name} {why}", job=self)
        why = self._params_flaw() or _options_flaw(self) or _content_flaw(self)
        if why:
            raise InvalidJob(f"job {self.job_id} of user {self.user_id}: {why}", job=self)
        params = _Params(self.partner_params) if self.partner_params else _NO_PARAMS
        object.__setattr__(self, "partner_params", params)

    def _params_flaw(self) -> str:
        return _params_flaw(self.partner_params)

    @classmethod
    def authenticate(
        cls,
        user_id: str,
        selfie: ImageSource | None = None,
        *,
        liveness: Iterable[ImageSource] = (),
        job_id: str | None = None,
        partner_params: Mapping[str, str] | None = None,
        callback_url: str | None = None,
        use_enrolled_image: bool = False,
    ) -> "Job":
        """Is this the person who is on file as *user_id*? (job type 2)

        *liveness*: 6 to 8 frames of the same moment prove that a living person was there; 0 asks for no such proof.
        *job_id* must never have been used before; by default it is a fresh UUID. *partner_params* (text to text)
        come back with the verdict. *selfie* may be left out only with *use_enrolled_image*.
        """
        try:
            face, frames = _pictures(selfie, liveness, user_id)
        finally:
            # So that no frame of a traceback holds raw image bytes.
            del selfie, liveness
        about = _about(job_id, partner_params, callback_url)
        kind = JobType.SMART_SELFIE_AUTHENTICATION
        return cls(user_id, kind, face, frames, **about, use_enrolled_image=use_enrolled_image)

    @classmethod
    def register(
        cls,
        user_id: str,
        selfie: ImageSource,
        *,
        liveness: Iterable[ImageSource] = (),
        job_id: str | None = None,
        partner_params: Mapping[str, str] | None = None,
        callback_url: str | None = None,
        allow_new_enroll: bool = False,
    ) -> "Job":
        """Put this person on file as *user_id* (job type 4), who must be new unless *allow_new_enroll*."""
        try:
            face, frames = _pictures(selfie, liveness, user_id)
        finally:
            del selfie, liveness
        about = _about(job_id, partner_params, callback_url)
        kind = JobType.SMART_SELFIE_REGISTRATION
        return cls(user_id, kind, face, frames, **about, allow_new_enroll=allow_new_enroll)

    @property
    def ticket(self) -> Ticket:
        """Exists from birth: after a cancellation `await session.wait(job.ticket)` still finds the job."""
        return Ticket(self.user_id, self.job_id, self.job_type)

    @property
    def may_have_left(self) -> bool:
        """Whether a request about it may have left in any call with this very object."""
        return getattr(self, "_left", False)

    def note_that_it_left(self) -> None:
        """From now on its errors carry a ticket."""
        object.__setattr__(self, "_left", True)

    @property
    def images(self) -> tuple[Image, ...]:
        """The selfie, if there is one, then the liveness frames."""
        return (self.selfie, *self.liveness) if self.selfie else self.liveness

    def named_images(self) -> Iterator[tuple[str, Image]]:
        """Each picture with the name a message gives it: `selfie`, `liveness[0]`, …."""
        if self.selfie:
            yield "selfie", self.selfie
        for number, frame in enumerate(self.liveness):
            yield f"liveness[{number}]", frame

    def spent(self) -> "Job":
        """The same job without image content: what outcomes and errors carry once it is accepted."""
        if all(image.content is None for image in self.images):
            return self
        return replace(
            self,
            selfie=self.selfie and self.selfie.spent(),
            liveness=tuple(image.spent() for image in self.liveness),
        )


def _about(job_id: str | None, partner_params: Mapping[str, str] | None, callback_url: str | None) -> dict[str, Any]:
    """What may be left out of any job: Job's own defaults then hold."""
    given = {"job_id": job_id, "partner_params": partner_params, "callback_url": callback_url}
    return {name: value for name, value in given.items() if value is not None}


def _pictures(
    selfie: ImageSource | None, liveness: Iterable[ImageSource], user_id: str
) -> tuple[Image | None, tuple[Image, ...]]:
    try:
        if isinstance(liveness, _ONE_PICTURE) or not isinstance(liveness, Iterable):
            kind = type(liveness).__name__
            raise InvalidJob(f"user {user_id!r}: liveness is one {kind}: give a list of pictures")
        face = None if selfie is None else _picture(selfie, "selfie", user_id)
        # Not a generator expression: its frame would hold the picture before the one that fails.
        return face, tuple(map(_picture, liveness, map("liveness[{}]".format, count()), repeat(user_id)))
    finally:
        del selfie, liveness


def _picture(source: ImageSource, name: str, user_id: str) -> Image:
    why = f"is {type(source).__name__}: give a path, bytes or an Image"
    if isinstance(source, str | os.PathLike):
        try:
            return Image.from_path(source)
        except InvalidJob as error:
            why = f"has no usable path ({error})"
    elif isinstance(source, Image):
        return source
    elif isinstance(source, bytes | bytearray | memoryview):
        # Judged by Job itself, which can say whose picture it is.
        content = bytes(source)
        return Image(content=content, size=len(content))
    del source
    raise InvalidJob(f"user {user_id!r}: {name} {why}")


def _content_flaw(job: "Job") -> str:
    for name, image in job.named_images():
        why = "" if image.content is None else flaw(image.content, image.trusted)
        if why:
            return f"{name} {why}"
    return ""


def _params_flaw(params: object) -> str:
    if not isinstance(params, Mapping):
        return f"partner_params is {type(params).__name__}: give a dict of texts"
    for name, value in params.items():
        if not isinstance(name, str) or not isinstance(value, str):
            return f"partner_params[{name!r}] is {type(value).__name__}: names and values must be texts"
        if name in _RESERVED:
            return f"partner_params[{name!r}] is set by the job itself: leave it out"
        if not encodes(name + value):
            return f"partner_params[{name!r}] holds half a surrogate pair: give valid text"
    return ""


def _options_flaw(job: Job) -> str:
    why = job_type_flaw(job.job_type) or ("is 0: give a JobType" if job.job_type == UNKNOWN_JOB_TYPE else "")
    if why:
        return f"job_type {why}"
    for name in _FLAGS:
        flag: object = getattr(job, name)
        # The text "false" of a form counts as true, and would put a stranger's face in the place of an enrolled one.
        if not isinstance(flag, bool):
            return f"{name} is {type(flag).__name__}: give True or False"
    if job.selfie is None and not job.use_enrolled_image:
        return "there is no selfie: give one, or set use_enrolled_image"
    if job.callback_url is not None:
        # Whether it may be http is the session's to say, which knows whose account it is.
        why = url_flaw(job.callback_url, plain=True)
        if why:
            return f"callback_url {why}"
    return ""
