"""The steps of a conversation, as values: what a story asks its driver to do, and what may go wrong on the way.

A step is unsigned; the driver signs each as it leaves, so every retry carries a fresh signature. What went wrong is a
`Fault`, which says whether anything may have left: only that decides what may be repeated without a second bill.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, TypeVar

from smile_async.errors import SmileError
from smile_async.jobs.ticket import Ticket
from smile_async.protocol.signature import Secret

__all__ = [
    "ATTEMPTS",
    "FORGETFUL_FOR",
    "FORGETFUL_GAPS",
    "Answer",
    "Ask",
    "Attempts",
    "Call",
    "Conversation",
    "Fault",
    "Now",
    "Pause",
    "Prepare",
    "Put",
    "Reach",
    "Request",
    "Sent",
    "Slot",
    "Step",
    "Wait",
    "insist",
]

#: Attempts a leg, the first included (guarantee G4).
ATTEMPTS = 3
#: Seconds between questions about a job that was made just now and that /job_status does not know yet; and in all.
FORGETFUL_GAPS = (0.25, 0.5, 1.0, 2.0, 3.0, 3.25)
FORGETFUL_FOR = sum(FORGETFUL_GAPS)


class Sent(StrEnum):
    """Whose word it is that a step failed; unknown means ambiguous."""

    UNSENT = "unsent"
    AMBIGUOUS = "ambiguous"
    ANSWERED = "answered"


class Reach(IntEnum):
    """How far a job may have come at Smile ID."""

    NOTHING = 0
    RESERVED = 1
    UPLOADED = 2


@dataclass(eq=False)
class Fault(Exception):
    """A step that failed: the error a caller would see, and what a story needs to decide whether to go on."""

    error: SmileError
    sent: Sent
    #: Another attempt may succeed.
    transient: bool = False
    #: The presigned URL is no longer good.
    expired: bool = False
    #: The server asked us to slow down, for so many seconds if it said how long.
    throttled: bool = False
    retry_after: float | None = None
    #: A neighbour on the same connection met the same failure first: the budget for retries has heard of it.
    echo: bool = False
    #: It broke at once, under a connection that had given answers before: a query may be asked again at once.
    stale: bool = False
    #: Nobody is home, for anybody: this says nothing of the job, and where the step may be repeated that is free.
    outage: bool = False
    #: No connection could be made, as for others it could not: this says nothing of the job either.
    unreached: bool = False
    #: It had waited for its turn until hardly any time was left: that there was no answer says little.
    hurried: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the zip may be put: a presigned URL, which is a bearer credential and so hides itself."""

    upload_url: Secret
    smile_job_id: str | None
    body: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Prepare:
    """POST /upload; answered by a Slot."""

    retry: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    """PUT the zip into *slot*; answered by None."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Request:
    """The one POST of a job; answered by a Ticket, a Verdict, or None if that is to come *later*.

    *leaves* is called when it begins to leave: only then may it have been taken.
    """

    later: bool = False
    leaves: Callable[[], object] = field(default=bool, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Now:
    """Ask for this moment; answered by seconds of a scale that nobody sets."""


@dataclass(frozen=True, slots=True)
class Ask:
    """POST /job_status; answered by a JobStatus."""

    ticket: Ticket
    history: bool = False
    image_links: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """Ask for something of the account, at *path*; answered by a JSON object that has one of the *wanted* names.

    A *signed* one is a POST of *fields*, any other a GET.
    """

    path: str
    wanted: tuple[str, ...]
    fields: tuple[tuple[str, str], ...] = ()
    signed: bool = True


@dataclass(frozen=True, slots=True)
class Pause:
    """Back off after *attempt* attempts, but for those of an outage, the last ended in *fault*; answered by None."""

    attempt: int
    fault: Fault = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Let so many *seconds* pass; answered by whether there was the time for it."""

    seconds: float


Step = Prepare | Put | Request | Now | Ask | Call | Pause | Wait
Answer = TypeVar("Answer")
Conversation = Generator[Step, Any, Answer]


class Attempts:
    """How often a leg has failed; those that an outage has cost, or a server that nobody reaches, are not counted."""

    __slots__ = ("made", "unreached")

    def __init__(self) -> None:
        self.made = self.unreached = 0

    def after(self, fault: Fault, *, mended: bool = False) -> Pause:
        """What comes before the next attempt; raises *fault* if there is to be none. *mended*: its cause is."""
        self.made += not (fault.outage or fault.unreached)
        self.unreached += fault.unreached
        if not (fault.transient or mended) or self.made == ATTEMPTS:
            raise fault
        return Pause(self.made + self.unreached, fault)


def insist(step: Ask | Call) -> Conversation[Any]:
    """Ask, and ask again after a passing fault: what makes no job may always be repeated."""
    attempts = Attempts()
    while True:
        try:
            return (yield step)
        except Fault as fault:
            pause = attempts.after(fault)
        yield pause
