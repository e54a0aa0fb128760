"""Which jobs a session has brought to an API that names them itself, and makes a second one of the same job_id."""

from smile_async.jobs.ticket import Ticket
from smile_async.traffic.payload import Payload

__all__ = ["Taken", "request_of"]

#: Jobs that are remembered, the latest of them: 10,000 of about 330 bytes.
REMEMBERED = 10_000


class Taken:
    """Tickets with their TypeID, found by either name of their job."""

    def __init__(self) -> None:
        # Not an OrderedDict, which takes 72 bytes more for each.
        self._by_job: dict[tuple[str, str], tuple[Ticket, int | None]] = {}
        self._by_name: dict[str, tuple[str, str]] = {}

    def note(self, ticket: Ticket, request: int | None = None) -> None:
        """The job of *ticket* was taken; *request*: what `request_of` says of it, None where that is not known."""
        if ticket.smile_job_id is None:
            return
        key = (ticket.user_id, ticket.job_id)
        known, requested = self._by_job.pop(key, (None, None))
        if known is not None and known.smile_job_id != ticket.smile_job_id:
            # A job that is sent a second time, as somebody accepts, has another name from then on.
            self._by_name.pop(known.smile_job_id or "", None)
            requested = None
        self._by_job[key] = (ticket, requested if request is None else request)
        self._by_name[ticket.smile_job_id] = key
        if len(self._by_job) > REMEMBERED:
            oldest, _ = self._by_job.pop(next(iter(self._by_job)))
            self._by_name.pop(oldest.smile_job_id or "", None)

    def of(self, user_id: str, job_id: str) -> tuple[Ticket, int | None] | None:
        """The ticket of our own name for a job, and what was requested."""
        return self._by_job.get((user_id, job_id))

    def named(self, type_id: str) -> Ticket | None:
        """The ticket of the provider's name for a job."""
        key = self._by_name.get(type_id)
        return None if key is None else self._by_job[key][0]


def request_of(payload: Payload) -> int:
    """The same for the same product, pictures and subject in this process; for others by a chance of 2**-64.

    Python's hash of bytes is keyed anew in each process (SipHash), and takes a third of the time of SHA-256.
    """
    return hash((payload.job.ticket.about, *(picture.content for picture in payload.pictures), payload.subject))
