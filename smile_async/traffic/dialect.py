"""What a session needs of an API: the one thing that its driver, poller, confirmer and stream know of either.

What is said, and what an answer means, is pure and stands in `protocol.v1` and `protocol.v3`; a dialect carries it to
the servers that the API has. Which one a session speaks is chosen where `SmileSession` makes its driver.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict
from smile_async.protocol.apis import check_ticket
from smile_async.protocol.signature import Signer
from smile_async.protocol.steps import FORGETFUL_FOR, Ask, Call, Prepare, Put, Request, Step
from smile_async.protocol.submission import Submission
from smile_async.protocol.v3.webhooks import Webhook
from smile_async.timing.breaker import Asker
from smile_async.timing.server_clock import ServerClock
from smile_async.traffic.origin import Origin, Parked

if TYPE_CHECKING:
    from smile_async.jobs.catalogue import DocumentType, Services
    from smile_async.traffic.payload import Payload

__all__ = ["Dialect", "Leg", "Lists", "asker"]

#: Steps that are requests.
Leg = Prepare | Put | Request | Ask | Call
#: The legs that a job takes before it is waited for.
SENDING = ("upload", "put", "request")
_LEGS: dict[type, str] = {Put: "put", Ask: "job_status", Request: "request", Call: "account"}


class Lists(Protocol):
    """What can be looked up, and how the answers read."""

    SERVICES: tuple[Call, ...]
    #: Empty where there is no such list.
    PRODUCTS: tuple[Call, ...]

    def documents_call(self, locale: str | None) -> tuple[Call, ...]:
        """Ask which documents' pictures can be verified."""
        ...

    def read_services(self, found: Mapping[str, Any]) -> "Services":
        """What SERVICES brought, all of it together."""
        ...

    def read_documents(self, found: Mapping[str, Any]) -> "tuple[DocumentType, ...]":
        """What `documents_call` brought."""
        ...


class Dialect(Protocol):
    """One API, as one session speaks it."""

    #: "v1" or "v3".
    api: str
    #: The servers that it talks to.
    origins: tuple[Origin, ...]
    #: As this API wants it.
    partner_id: str
    server_clock: ServerClock
    signer: Signer
    lists: Lists
    #: Seconds that pictures may be kept in front of a closed server, as things stand.
    hold: Callable[[], float]
    #: Whether the server makes a second job of a job_id that was used before.
    doubles: bool

    @property
    def repeats(self) -> int:
        """Queries that were asked again at once, as an old connection broke under them."""
        return sum(origin.repeats for origin in self.origins)

    @property
    def outage(self) -> str:
        """What there is to say of an outage under way, "" if there is none."""
        return next(filter(None, (origin.outage for origin in self.origins)), "")

    @property
    def stopped(self) -> bool:
        """Whether an outage keeps everybody's jobs from being sent, and not only one user's, or only queries."""
        return any(origin.limiter.breaker.holds_all(leg) for origin in self.origins for leg in SENDING)

    def bars(self, ticket: Ticket) -> bool:
        """Whether an outage keeps this user's jobs from being asked about, and not everybody's."""
        breaker = self.origins[0].limiter.breaker
        # Asked of every poll that is due: mostly there is no outage.
        if breaker.opened_at is None:
            return False
        who = asker(Ask(ticket), ticket)
        return breaker.holds(who) and not breaker.holds_all(who.leg)

    @property
    def slowed_at(self) -> float:
        """When a server last asked to slow down, in monotonic seconds."""
        return max(origin.limiter.slowed_at for origin in self.origins)

    def check(self, job: Job) -> None:
        """Raise InvalidJob for what this API does not take, as far as that is known before pictures are read."""
        ...

    def check_ticket(self, ticket: Ticket) -> None:
        """Raise InvalidJob for a ticket of the other API."""
        check_ticket(ticket, self.api)

    def submission(self, job: Job, *, later: bool = False) -> Submission:
        """The story of *job*'s submission; *later*: its result is not waited for. Raises InvalidJob."""
        ...

    def may_ask(self, ticket: Ticket) -> bool:
        """Whether a query can be made of what is known of the job."""
        ...

    def forgetful_for(self, ticket: Ticket) -> float:  # noqa: ARG002 - V1's products differ
        """Seconds for which a status may not know the job once it was accepted."""
        return FORGETFUL_FOR

    def parked(self, job: Job) -> Parked | None:
        """Where *job* had better wait without its pictures, None if it may go on its way."""
        ...

    async def perform(self, step: Leg, whose: Job | Ticket | None, payload: "Payload | None", deadline: float) -> Any:
        """Make one attempt at *step* before *deadline* (monotonic seconds), and answer it. Raises Fault."""
        ...

    def expect_callbacks(self) -> None:
        """Remember, from now on, what `judge` has to know."""
        ...

    def judge(self, body: bytes, headers: Mapping[str, str]) -> Verdict | Webhook:
        """What a callback says, none of it confirmed; *headers* by their names in lower case.

        Raises ForgedReply, StaleReply or UnreadableReply.
        """
        ...

    def url_for(self, base_url: str, job_id: str) -> str:
        """*base_url* as a callback URL of this job, with its unguessable token."""
        ...


def asker(step: Step, whose: Job | Ticket | None) -> Asker:
    """Who asks, as a breaker sees it."""
    leg = _LEGS.get(type(step), "upload")
    return Asker(leg, whose.user_id, whose.job_id) if whose else Asker(leg, "", "")
