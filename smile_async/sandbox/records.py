"""What the sandbox remembers of a job, and what that means at a given moment.

A job holds its plan: the results it will get and when. What a client may see of it is computed from the clock when
somebody asks, so no timer runs per job, virtual time works, and a restart loses nothing.
"""

from dataclasses import dataclass, field
from typing import Any, Self

from smile_async.jobs.codes import Decision, meaning_of
from smile_async.timing.clock import Clock, SystemClock

from .products import PRODUCTS, Product, of_type

__all__ = ["CallbackSent", "ImageRecord", "JobRecord", "Message", "decision_of"]


def decision_of(code: str, job_type: int) -> str:
    """What *code* decides about a job of that type: "" for a message on the way, else see `Decision`."""
    meaning = meaning_of(code, job_type)
    if meaning is None:
        return Decision.UNKNOWN
    return "" if meaning.on_the_way else meaning.decision


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a zip: its member name ("" = inline), image_type_id (wire.md §5.3), bytes, digest, pixels."""

    name: str
    image_type_id: int
    size: int
    sha256: str
    width: int
    height: int
    media_type: str


@dataclass(slots=True)
class Message:
    """One result a job gets: from `at` (epoch seconds) on, its latest result is `code`."""

    at: float
    code: str


@dataclass(slots=True)
class CallbackSent:
    """One attempt to deliver one result: when, where to, which code, and the HTTP status (None = no answer)."""

    at: float
    url: str
    code: str
    status: int | None


@dataclass(kw_only=True)
class JobRecord:
    """One provider job.

    `product` is its name in `PRODUCTS`, `id_info` who or what it asks about. `submissions` counts how many provider
    jobs were created for this job_id (1, or something is badly wrong; a product of one request counts its lookups),
    `prep_uploads` the upload URLs handed out, `uploads` the PUTs accepted, `processed` the zips read, `polls` the
    answered /job_status queries, `refusals` the codes later calls for the same job_id were refused with. `complaint`
    says in words why a zip was found wanting. `notified` counts the results whose callback was tried.
    `forgotten`: the user this job enrolled was forgotten since. `api`: the one it came by, "v1" or "v3".
    """

    user_id: str
    job_id: str
    job_type: int
    smile_job_id: str
    ref_id: str
    created_at: float
    partner_params: dict[str, Any] = field(default_factory=dict)
    callback_url: str = ""
    use_enrolled_image: bool = False
    submissions: int = 1
    prep_uploads: int = 1
    uploads: int = 0
    processed: int = 0
    polls: int = 0
    refusals: list[str] = field(default_factory=list)
    zip_at: float | None = None
    zip_bytes: int = 0
    complaint: str = ""
    images: list[ImageRecord] = field(default_factory=list)
    plan: list[Message] = field(default_factory=list)
    callbacks: list[CallbackSent] = field(default_factory=list)
    notified: int = 0
    forgotten: bool = False
    product: str = ""
    api: str = "v1"
    id_info: dict[str, Any] = field(default_factory=dict, repr=False)
    # The underscore keeps the clock out of the saved state: orjson skips such fields.
    _clock: Clock = field(default_factory=SystemClock, repr=False, compare=False)

    def __post_init__(self) -> None:
        kind = of_type(self.job_type)
        self.product = self.product or (kind.name if kind else "")

    @property
    def kind(self) -> Product:
        """What product it is a job of."""
        return PRODUCTS[self.product]

    def decides(self, code: str) -> str:
        """What *code* decides about this job: "" for a message on the way, else see `Decision`."""
        return decision_of(code, self.job_type)

    def means(self, code: str) -> str:
        """What *code* means for this job, for people."""
        meaning = meaning_of(code, self.job_type)
        return meaning.text.capitalize() if meaning else "not documented for this job type"

    def said(self, code: str) -> str:
        """*code*, which may be a word of V3, as the API of this job says it."""
        kind, word = self.kind, code.partition(":")[0]
        known = {"clear": kind.approved, "block": kind.rejected, "processing": kind.provisional or kind.approved}
        return code if code.isdigit() else known.get(word, "0001")

    @property
    def arrived_at(self) -> float | None:
        """When all was there that is to be judged: the zip, or the one request; None = not yet."""
        return self.created_at if self.kind.path else self.zip_at

    @classmethod
    def restore(cls, saved: dict[str, Any], clock: Clock) -> Self:
        """The record that was saved as *saved*."""
        nested = {"images": ImageRecord, "plan": Message, "callbacks": CallbackSent}
        known = {name: value for name, value in saved.items() if name in cls.__dataclass_fields__}
        for name, kind in nested.items():
            known[name] = [kind(**item) for item in known.get(name, ())]
        return cls(**known, _clock=clock)

    @property
    def history(self) -> list[Message]:
        """The results so far, newest first."""
        now = self._clock.time()
        return [message for message in reversed(self.plan) if message.at <= now]

    @property
    def latest(self) -> Message | None:
        """The result as of now; None while there is none."""
        now = self._clock.time()
        return next((message for message in reversed(self.plan) if message.at <= now), None)

    @property
    def code(self) -> str | None:
        """The result code as of now; None while there is none."""
        return self.latest.code if self.latest else None

    @property
    def decision(self) -> str:
        """`approved`, `attention`, `provisional`, `rejected`, `error` or `unknown` as of now; "" = not yet decided."""
        return self.decides(self.latest.code) if self.latest else ""

    @property
    def final(self) -> bool:
        """Whether the result as of now is the last word."""
        return self.decision not in ("", "provisional")

    @property
    def state(self) -> str:
        """`awaiting_zip`, `processing`, `provisional` or `final`, as of now."""
        if self.arrived_at is None:
            return "awaiting_zip"
        if not self.decision:
            return "processing"
        return "final" if self.final else "provisional"
