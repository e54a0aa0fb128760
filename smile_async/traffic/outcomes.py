"""How the jobs of a stream end."""

from dataclasses import dataclass

from smile_async.errors import SmileError
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict

__all__ = ["Failed", "Finished", "Item", "Outcome"]


@dataclass(frozen=True, slots=True)
class Finished:
    """A job of a stream that got its verdict; `job` carries no image content any more, and is None for a Ticket."""

    job: Job | None
    ticket: Ticket
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Failed:
    """A job of a stream that got no verdict; `ticket` None means that no request left for it."""

    job: Job | None
    ticket: Ticket | None
    error: SmileError


Outcome = Finished | Failed
#: What a stream is made of: a job to be sent, or the ticket of one that was sent before.
Item = Job | Ticket
