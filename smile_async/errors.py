"""Every error this library raises.

They answer three questions a caller has when money or a login hangs on the answer: whose job was it (`.job`), was
anything submitted (`.ticket`; None means that no request left), and is it safe and useful to call again with the same
`Job` (`.retryable`: it can not create a second job, and may succeed). A rejected face is not an error: it is a
`Verdict`. All of it survives a copy and a pickle.

The bill: without a `.ticket` nothing was submitted. `Refused` is Smile ID's no to a request, `StillPending` a job that
goes on. After the others there may be a job: `session.status(error.ticket)` finds it, a lookup within a minute, and
after a `SubmissionUnknown` alone nobody can tell for sure.

    SmileError
    + BadConfiguration (ValueError)      the session's own settings are wrong
    + InvalidJob (ValueError)            the job can not be sent as it is; no byte left
    + Refused                            Smile ID answered no: .status .code .message
    | + NotAuthorized                    key, partner, environment or clock
    | + RateLimited                      .retry_after seconds
    | | x IdNumberBlocked                one id number, for days
    | + UserNotEnrolled                  register first
    | + AlreadyEnrolled                  authenticate instead
    | + JobExists                        somebody used this job_id before
    | x JobNotFound                      no job of that id
    + Unavailable                        network, TLS, 5xx or deadline: no usable answer
    | x SubmissionUnknown                perhaps submitted: nobody can tell, and so it is not sent again
    + UploadFailed                       the storage did not take the zip
    + StillPending (TimeoutError)        patience ran out; the job goes on: .verdict is the latest provisional
    + UnreadableReply                    an answer that is not the protocol's
    + ForgedReply                        an answer that the key did not sign, or for another job
    | x StaleReply                       signed, but long ago (or not datable)
    + LedgerFailed                       the ledger can not be written: nothing more is sent
    | x LeaseLost                        another worker has taken over the job's chunk
    + SessionClosed (RuntimeError)       used before `async with`, or after it
    x WrongLoop (RuntimeError)           used from another event loop than the one it was entered on

## What to do

| error | what to do |
|---|---|
| `InvalidJob`, `BadConfiguration` | fix what the message names |
| `UserNotEnrolled` | register first |
| `AlreadyEnrolled` | authenticate, or register with `allow_new_enroll=True` |
| `JobExists` | its verdict belongs to another selfie: take a new job_id (the default is one) |
| `NotAuthorized` | check key, partner id, environment and URL; the clock is corrected for you |
| `RateLimited` | our retries are used up: wait `error.retry_after` seconds |
| `IdNumberBlocked` | nothing: this id number is blocked for days, others go on |
| `Refused` | `smile-async explain CODE` says what is known of `error.code` |
| `JobNotFound` | check the ticket and the environment |
| `StillPending` | `await session.wait(error.ticket)` later |
| `Unavailable`, `UploadFailed` | if `retryable`, call again with the same `Job`; else `wait` for the ticket |
| `SubmissionUnknown` | compare `session.status(error.ticket)` with what you sent; a new job may be a second bill |
| `LedgerFailed` | free the disk, or wait for the process that has the ledger |
| `LeaseLost` | nothing: the job goes on with another worker |
| `ForgedReply`, `StaleReply`, `UnreadableReply` | never act on it; set `upload_hosts` if an upload host was refused |
| `SessionClosed`, `WrongLoop` | use the session inside `async with`, one for each event loop |

A call that retries for you, and gives up in words of your own:

```python
import asyncio
from smile_async import Job, SmileSession
from smile_async.errors import InvalidJob, SmileError, StillPending, UserNotEnrolled

async def log_in(session, user_id, selfie):
    job = Job.authenticate(user_id, selfie)
    for _ in range(3):
        try:
            return (await session.verify(job)).decision
        except (InvalidJob, UserNotEnrolled) as error:
            return f"no: {error}"
        except StillPending as error:
            return f"later: {error.ticket.to_json()}"
        except SmileError as error:
            if not error.retryable:
                raise
    return "smile id is away"

async def main():
    async with SmileSession.from_env() as session:
        print(await log_in(session, "ada", "selfie.jpg"))

asyncio.run(main())
```
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smile_async.jobs.job import Job
    from smile_async.jobs.ticket import Ticket
    from smile_async.jobs.verdict import Verdict

__all__ = [
    "AlreadyEnrolled",
    "BadConfiguration",
    "ForgedReply",
    "IdNumberBlocked",
    "InvalidJob",
    "JobExists",
    "JobNotFound",
    "LeaseLost",
    "LedgerFailed",
    "NotAuthorized",
    "RateLimited",
    "Refused",
    "SessionClosed",
    "SmileError",
    "StaleReply",
    "StillPending",
    "SubmissionUnknown",
    "Unavailable",
    "UnreadableReply",
    "UploadFailed",
    "UserNotEnrolled",
    "WrongLoop",
]


class SmileError(Exception):
    """The root: `except SmileError` catches everything this library raises on purpose."""

    #: The job this is about, None where there was none (e.g. `status` of a ticket).
    job: "Job | None"
    #: None only if no request left for this job. If there is a job, `session.wait(ticket)` finds it; one that was
    #: `Refused` on submission does not exist, or is not ours (JobExists).
    ticket: "Ticket | None"
    #: True: calling again with this same `Job` can not create a second provider job, and may succeed.
    retryable: bool

    def __init__(
        self,
        message: str = "",
        *,
        job: "Job | None" = None,
        ticket: "Ticket | None" = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.job = job
        self.ticket = ticket
        self.retryable = retryable

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is copied by calling its class with its message alone, which is not all that a leaf needs.
        return _revived, (type(self), self.args), self.__dict__


def _revived(kind: type[SmileError], args: tuple[Any, ...]) -> SmileError:
    """An error of *kind* as it comes out of a copy or another process, before what it knows is put back."""
    error = kind.__new__(kind)
    error.args = args
    return error


class BadConfiguration(SmileError, ValueError):
    """A setting of the session is missing or contradicts itself; nothing was sent."""


class InvalidJob(SmileError, ValueError):
    """A job that can not be sent as it is: the message names the job, the cause and the cure. Nothing was sent."""


class Refused(SmileError):
    """Smile ID understood and said no.

    `.status` is the HTTP status, `.code` Smile's four-digit code ("" where none was given), `.message` its text.
    """

    status: int
    code: str
    message: str

    def __init__(
        self,
        text: str = "",
        *,
        status: int,
        code: str = "",
        message: str = "",
        job: "Job | None" = None,
        ticket: "Ticket | None" = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(text or message, job=job, ticket=ticket, retryable=retryable)
        self.status = status
        self.code = code
        self.message = message


class NotAuthorized(Refused):
    """Codes 2204/2205/2405 or HTTP 401/403: wrong key, partner or environment, or a clock that is off.

    2204 may also be a parameter of wrong type.
    """


class RateLimited(Refused):
    """HTTP 429: `.retry_after` is what the server asked for, in seconds up to a day, None where it did not say."""

    retry_after: float | None = None


class IdNumberBlocked(RateLimited):
    """Code 2222: this one id number was looked up too often, and is refused for days; others are not."""


class UserNotEnrolled(Refused):
    """Codes 2207, 2208, 2210, 2211, 2216: there is no usable photo on file for this user; register first."""


class AlreadyEnrolled(Refused):
    """Code 2209: the user is on file already; authenticate instead (or register with `allow_new_enroll=True`)."""


class JobExists(Refused):
    """Code 2215 to a first attempt: somebody used this job_id before, and its verdict belongs to another selfie."""


class JobNotFound(Refused):
    """Code 2304: this partner has no job of that user_id and job_id."""


class Unavailable(SmileError):
    """No usable answer: DNS, TLS, a broken connection, a 5xx, or our own deadline."""


class SubmissionUnknown(Unavailable):
    """A request got no answer, and no status query can tell whether it was taken: it may be billed, so never again.

    `.retryable` only where calling again can not be a second bill: the job_id of an Enhanced KYC is good for one job.
    `session.status(error.ticket)` may know more later: whether that is this job's is for you to compare with what you
    sent. Or make a new job, which may be a second bill.
    """


class UploadFailed(SmileError):
    """The storage refused the zip; the job is known to Smile ID but has no images yet."""


class StillPending(SmileError, TimeoutError):
    """Patience ran out while the job goes on: `await session.wait(error.ticket)` takes it up again.

    `.verdict` keeps the latest provisional verdict, without raw, links and history; None where there was none.
    """

    verdict: "Verdict | None" = None


class UnreadableReply(SmileError):
    """An answer that is not JSON, not the protocol's shape, or larger than the cap."""


class ForgedReply(SmileError):
    """An answer whose signature none of the keys made, or that speaks of another job than the one asked for."""


class StaleReply(ForgedReply):
    """A properly signed answer whose timestamp is too far from now, or can not be dated."""


class LedgerFailed(SmileError):
    """The ledger can not be locked or written: what is not on record is not sent; free the disk and call again."""


class LeaseLost(LedgerFailed):
    """Another worker has taken over the chunk that this job belongs to: the job is that worker's now, and goes on."""


class SessionClosed(SmileError, RuntimeError):
    """The session is not open: use it inside `async with SmileSession(...) as session:`."""


class WrongLoop(SmileError, RuntimeError):
    """The session belongs to another event loop: make one session per loop."""
