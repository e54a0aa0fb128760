"""What comes back: a verdict, or one answer about how far a job is.

What came with it, personal data and presigned links included, is at hand but no field of the dataclass: neither `repr`
nor `dataclasses.asdict`, pydantic or a web framework's encoder carries it to a browser.
"""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

import orjson

from smile_async.errors import UnreadableReply
from smile_async.jobs.codes import Decision, meaning_of
from smile_async.jobs.ticket import Ticket

__all__ = ["JobStatus", "Source", "Verdict"]

#: How it came: from `/job_status`, after a callback, or in the reply to the job's own request.
Source = Literal["poll", "callback", "reply"]

#: One for all: a hundred thousand verdicts may be kept that brought nothing else.
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class _AsItCame:
    """What a reply held besides, for who asks for it by name."""

    __slots__ = ("claims", "image_links", "raw", "record")
    image_links: Mapping[str, str]
    raw: Mapping[str, Any]
    #: What the authority, the document or the list says of the person, by the provider's names.
    record: Mapping[str, Any]
    #: What a webhook said besides, which no reply to a request of ours has confirmed.
    claims: Mapping[str, Any]

    def __post_init__(
        self,
        image_links: Mapping[str, str] | None,
        raw: Mapping[str, Any] | None,
        record: Mapping[str, Any] | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> None:
        for name, value in (("image_links", image_links), ("raw", raw), ("record", record), ("claims", claims)):
            object.__setattr__(self, name, _NOTHING if value is None else value)

    def __reduce__(self) -> tuple[Any, ...]:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}  # type: ignore[attr-defined]
        return _revived, (type(self), {name: value for name, value in values.items() if value is not _NOTHING})


@dataclass(frozen=True, slots=True)
class Verdict(_AsItCame):
    """What Smile ID says about a job; let a user in on `verdict.approved` and on nothing else.

    `confirmed` is true only for what came in a signed reply to a request of ours: a callback's signature does not cover
    its body. `final` is false while a human review may still overturn it. `confidence` is 0 to 100 or None. `record` is
    what the authority, the document or the list says, without words for "nothing"; photos in it stay base64. It, `raw`
    and `image_links` hold what came, personal data and presigned links included: they show in no repr and no serialiser
    sees them, unless you name them; nor `claims`, what a webhook of V3 said besides its status, which nothing confirms:
    its reason, id fields and links.
    """

    decision: Decision
    final: bool
    code: str
    text: str
    ticket: Ticket
    source: Source = "poll"
    confirmed: bool = False
    confidence: float | None = None
    #: The provider's own time of this result, as it came; "" if there was none.
    timestamp: str = ""
    actions: Mapping[str, str] = field(default_factory=dict)
    image_links: InitVar[Mapping[str, str] | None] = None
    history: "tuple[Verdict, ...]" = field(default=(), repr=False)
    raw: InitVar[Mapping[str, Any] | None] = None
    record: InitVar[Mapping[str, Any] | None] = None
    claims: InitVar[Mapping[str, Any] | None] = None
    #: Why, in V3's word; None until a webhook or a synchronous reply told.
    reason: str | None = None

    @property
    def approved(self) -> bool:
        """Confirmed by Smile ID itself, and approved: the only test that should open a door."""
        return self.confirmed and self.decision is Decision.APPROVED

    @property
    def on_the_way(self) -> bool:
        """Whether it is a message on the way, such as 1012 of a Biometric KYC: nobody waits for it."""
        meaning = meaning_of(self.code, self.ticket.about)
        return meaning is not None and meaning.on_the_way

    def to_json(self, record: bool = False) -> str:
        """One line of JSON for your own bus or database; without `raw`, history and links, and *record* if asked."""
        told = {
            "decision": self.decision,
            "final": self.final,
            "code": self.code,
            "text": self.text,
            "ticket": self.ticket.to_dict(),
            "source": self.source,
            "confirmed": self.confirmed,
            "confidence": self.confidence,
            "timestamp": self.timestamp,
            "actions": dict(self.actions),
        }
        told |= {} if self.reason is None else {"reason": self.reason}
        return orjson.dumps({**told, "record": dict(self.record)} if record else told).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The verdict that `to_json` wrote, never `confirmed`: whoever gives it to `session.deliver` gets it confirmed.

        Raises UnreadableReply if it is none.
        """
        try:
            found = orjson.loads(text)
            return cls(
                decision=Decision(found["decision"]),
                final=found["final"] is True,
                code=str(found["code"]),
                text=str(found["text"]),
                ticket=Ticket.from_json(found["ticket"]),
                source=found["source"] if found["source"] in get_args(Source) else "poll",
                confidence=None if found["confidence"] is None else float(found["confidence"]),
                timestamp=str(found["timestamp"]),
                actions={str(name): str(said) for name, said in found["actions"].items()},
                record=dict(found.get("record") or {}),
                reason=None if found.get("reason") is None else str(found["reason"]),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnreadableReply(f"not a verdict ({type(error).__name__}): give what to_json() wrote") from None


@dataclass(frozen=True, slots=True)
class JobStatus(_AsItCame):
    """One signed answer of `/job_status`: how far a job is.

    `code` is the call's own code (2302, 2314 …), `complete` the provider's job_complete, `verdict` None while there is
    no result, `waiting_for_zip` true while the images have not arrived.
    """

    ticket: Ticket
    code: str
    complete: bool
    verdict: Verdict | None = None
    history: tuple[Verdict, ...] = field(default=(), repr=False)
    image_links: InitVar[Mapping[str, str] | None] = None
    raw: InitVar[Mapping[str, Any] | None] = None
    waiting_for_zip: bool = False

    @property
    def strange(self) -> str:
        """V3's word for a job without a verdict, where it is another than the one that is known; else ""."""
        usual = self.verdict is not None or self.ticket.api != "v3" or self.code == "processing"
        return "" if usual else self.code


def _revived(kind: type[Verdict] | type[JobStatus], values: dict[str, Any]) -> Verdict | JobStatus:
    return kind(**values)


for _kind in (Verdict, JobStatus):
    for _name in {*_AsItCame.__slots__} & {*vars(_kind)}:
        # A default that stands in the class would hide what the base's slot holds.
        delattr(_kind, _name)
