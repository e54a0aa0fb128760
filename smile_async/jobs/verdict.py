"""What comes back: a verdict, or one answer about how far a job is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import orjson

from smile_async.errors import UnreadableReply
from smile_async.jobs.codes import Decision
from smile_async.jobs.ticket import Ticket

__all__ = ["JobStatus", "Source", "Verdict"]

Source = Literal["poll", "callback"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Smile ID says about a job; let a user in on `verdict.approved` and on nothing else.

    `confirmed` is true only for what came in a signed `/job_status` reply: a callback's signature does not cover its
    body. `final` is false while a human review may still overturn it. `confidence` is 0 to 100 or None. `raw`,
    `image_links` and `history` hold what came, personal data and presigned links included, and show in no repr.
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
    image_links: Mapping[str, str] = field(default_factory=dict, repr=False)
    history: "tuple[Verdict, ...]" = field(default=(), repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def approved(self) -> bool:
        """Confirmed by a status query, and approved: the only test that should open a door."""
        return self.confirmed and self.decision is Decision.APPROVED

    def to_json(self) -> str:
        """One line of JSON for your own bus or database; without `raw`, history and links."""
        return orjson.dumps(
            {
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
        ).decode()

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
                source="callback" if found["source"] == "callback" else "poll",
                confidence=None if found["confidence"] is None else float(found["confidence"]),
                timestamp=str(found["timestamp"]),
                actions={str(name): str(said) for name, said in found["actions"].items()},
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnreadableReply(f"not a verdict ({type(error).__name__}): give what to_json() wrote") from None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One signed answer of `/job_status`: how far a job is.

    `code` is the call's own code (2302, 2314 …), `complete` the provider's job_complete, `verdict` None while there is
    no result, `waiting_for_zip` true while the images have not arrived.
    """

    ticket: Ticket
    code: str
    complete: bool
    verdict: Verdict | None = None
    history: tuple[Verdict, ...] = field(default=(), repr=False)
    image_links: Mapping[str, str] = field(default_factory=dict, repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    waiting_for_zip: bool = False
