"""Who waits for a job, and the job they share: what the poller keeps of each, with nothing that waits.

A hundred thousand jobs may wait, so both are a few slots, and a job's wishes are asked of those who have them.
"""

from copy import copy
from typing import Literal

from smile_async.errors import ForgedReply, SmileError
from smile_async.jobs.ticket import Ticket, same_job
from smile_async.jobs.verdict import Verdict
from smile_async.protocol.steps import Ask
from smile_async.timing.timers import Entry
from smile_async.traffic.pending import PendingJob

__all__ = ["Listener", "Until", "Watch", "falls_short", "own_copy", "still_pending"]

Until = Literal["decision", "final"]


class Listener:
    """Somebody who waits for verdicts of one job, until *deadline* (monotonic seconds)."""

    __slots__ = ("deadline", "entry", "history", "image_links", "ticket", "until", "watch")

    def __init__(self, until: Until, deadline: float) -> None:
        self.until = until
        self.deadline = deadline
        self.watch: Watch | None = None
        #: The job it means, as far as it knows it.
        self.ticket: Ticket | None = None
        #: Whether its verdict is to come with these.
        self.history = self.image_links = False
        #: Its deadline among those of the others.
        self.entry: Entry[Listener] | None = None

    def tell(self, verdict: Verdict) -> bool:
        """Take a new verdict; True if that is enough."""
        raise NotImplementedError

    def fail(self, error: SmileError) -> None:
        """Take note that no verdict will come to this listener any more."""
        raise NotImplementedError

    def told(self, verdict: Verdict) -> bool:
        """Tell *verdict*, if it is about the job this one means; True if that was the last it hears."""
        if self.ticket is None or same_job(self.ticket, verdict.ticket):
            return self.tell(verdict)
        about = f"job {verdict.ticket.job_id} of user {verdict.ticket.user_id}"
        message = f"the reply gives {about} another job type or SmileJobID than the ticket"
        self.fail(ForgedReply(message, ticket=self.ticket))
        return True


class Watch:
    """One job somebody waits for."""

    __slots__ = ("asking", "entry", "listeners", "pending_job")

    def __init__(self, pending_job: PendingJob) -> None:
        self.pending_job = pending_job
        #: A tuple: most jobs have one, and an empty list alone is larger.
        self.listeners: tuple[Listener, ...] = ()
        self.asking = False
        self.entry: Entry[Watch] | None = None

    @property
    def ticket(self) -> Ticket:
        """The job's ticket, as complete as it is known."""
        return self.pending_job.ticket

    @property
    def history(self) -> bool:
        """Whether anybody wants the job's history."""
        return any(listener.history for listener in self.listeners)

    @property
    def image_links(self) -> bool:
        """Whether anybody wants links to the job's pictures."""
        return any(listener.image_links for listener in self.listeners)


def falls_short(offer: Verdict | Ask, wish: Listener | Watch) -> bool:
    """Whether a verdict has not the history or the links that somebody wants, or a query does not ask for them."""
    return (wish.history and not offer.history) or (wish.image_links and not offer.image_links)


def own_copy(error: SmileError, ticket: Ticket) -> SmileError:
    """A copy of *error* for one listener: tasks that raise one object write into each other's traceback and job."""
    own = copy(error)
    own.ticket = ticket
    return own


def still_pending(ticket: Ticket, waited: float) -> str:
    """What StillPending says after *waited* seconds, never in the manner of 7.2e+03."""
    seconds = f"{round(waited, 3):.3g}" if waited < 100 else f"{waited:.0f}"
    whose = f"user {ticket.user_id}, job {ticket.job_id}"
    return f"still pending after {seconds} s ({whose}): await session.wait(error.ticket)"
