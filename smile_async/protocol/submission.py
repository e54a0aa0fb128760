"""One job on its way, whichever API it goes to: how far it may have come, which decides what may be repeated."""

from collections.abc import Callable
from typing import Any

from smile_async.errors import SmileError, Unavailable
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict
from smile_async.protocol.steps import Conversation, Fault, Reach, Request, Sent

__all__ = ["SingleRequest", "Submission"]


class Submission:
    """One job on its way, and how far it may have come: what a caller must know if it is cut short."""

    __slots__ = ("aside", "attempt", "job", "known", "left", "reach", "recalled", "since", "stage", "ticket", "trace")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.ticket: Ticket = job.ticket
        self.reach = Reach.NOTHING
        #: Whether any request about this job may have left.
        self.left = False
        #: When the first attempt to send it was made, by the scale of `Now`; None if none was.
        self.since: float | None = None
        #: The number that a ledger gave it.
        self.attempt: int | None = None
        #: A ledger knows that it was accepted before, and the latest verdict that has come since.
        self.recalled = False
        self.known: Verdict | None = None
        #: What leads from a later query back to the upload, for whoever records spans.
        self.trace: object = None
        #: Called when it waits for an outage's end, without its place and its pictures.
        self.aside: Callable[[], object] = bool
        #: What it had to wait for last, as it stands in a message.
        self.stage = "it was not begun"

    def resume(self, reach: Reach, since: float | None = None) -> None:
        """Take note that an earlier submission of the same job may have come so far; it was begun at *since*."""
        self.reach = max(self.reach, reach)
        self.since = since if self.since is None else self.since
        self.left = self.left or self.reach > Reach.NOTHING

    def lost(self) -> SmileError | None:
        """Its error, where it may have been taken and so must not be sent; None while it may be."""
        return None

    def late(self, why: str) -> SmileError:
        """The error of a caller who was out of patience, which *why* tells."""
        return Unavailable(why, retryable=True)

    def steps(self) -> Conversation[Ticket]:
        """The whole story, up to the ticket of a job that was taken; a Fault it can not mend goes through."""
        raise NotImplementedError


class SingleRequest(Submission):
    """A job that goes in one request; *later*: to where it is answered without the result, if it can be."""

    #: How far that request brings it.
    farthest = Reach.UPLOADED
    __slots__ = ("later",)

    def __init__(self, job: Job, *, later: bool = False) -> None:
        super().__init__(job)
        self.later = later

    def leaves(self) -> None:
        """Take note that the request begins to leave: from now on it may have been taken."""
        self.reach, self.left = max(self.reach, self.farthest), True

    def request(self) -> Conversation[Any]:
        """Make the request; a Fault goes through, once it is noted what it says of how far the job has come."""
        before, left = self.reach, self.left
        try:
            return (yield Request(self.later, self.leaves))
        except Fault as fault:
            if fault.sent is Sent.AMBIGUOUS:
                self.leaves()
            else:
                self.reach, self.left = before, left or fault.sent is Sent.ANSWERED
            raise
