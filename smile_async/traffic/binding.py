"""Tie a webhook of V3 to a ticket of ours, whose TypeID it may be the first to tell.

Its signature covers nothing that it says. So it counts for a ticket that has its TypeID already, or else only if it
came to the URL that was made for one job, and `/status` and the TypeID itself fit: see `completion_flaw`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from smile_async.errors import ForgedReply, JobNotFound, SmileError, Unavailable
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, Ticket
from smile_async.jobs.verdict import Verdict
from smile_async.log import log
from smile_async.protocol.callback_urls import Address
from smile_async.protocol.steps import Ask, Fault
from smile_async.protocol.v3.webhooks import Webhook, completion_flaw
from smile_async.timing.clock import Clock
from smile_async.traffic.driver import Driver
from smile_async.traffic.poller import QUERY_SECONDS, Poller
from smile_async.traffic.taken import Taken
from smile_async.traffic.watching import agreed

if TYPE_CHECKING:
    from smile_async.ledger import Ledger

__all__ = ["Binder"]


class Binder:
    """Knows the TypeIDs of one session's jobs: of those *taken*, of those that are waited for, of the ledger's."""

    def __init__(self, driver: Driver, poller: Poller, clock: Clock, taken: Taken, ledger: "Ledger | None") -> None:
        self._driver = driver
        self._poller = poller
        self._clock = clock
        self._taken = taken
        self._ledger = ledger

    async def place(self, hook: Webhook, address: Address | None, may_ask: Callable[[str], bool]) -> Verdict | None:
        """What *hook*, whose URL proves *address*, claims of a ticket of ours; None if it says only that it goes on.

        Confirmed, where `/status` had to be asked for the ticket's TypeID: if it *may_ask* for this job_id. Raises
        JobNotFound for a webhook that can not be tied to a ticket, and SmileError without an answer.
        """
        ticket = await self._named(hook, address)
        if ticket is None:
            return await self._completed(hook, address, may_ask)
        if ticket.user_id != hook.user_id or (address is not None and address.job_id != ticket.job_id):
            raise self._dropped(ticket, "it came to another job's URL, or names another user")
        return hook.verdict(ticket)

    async def _named(self, hook: Webhook, address: Address | None) -> Ticket | None:
        """The ticket that has this TypeID, by our own name for its job or by the provider's."""
        found = self._taken.named(hook.type_id)
        job_id = hook.job_id if address is None else address.job_id
        if found is None and job_id is not None:
            known = await self._known(hook.user_id, job_id)
            found = known if known is not None and known.smile_job_id == hook.type_id else None
        return found

    async def _completed(
        self, hook: Webhook, address: Address | None, may_ask: Callable[[str], bool]
    ) -> Verdict | None:
        """Give the ticket of *address* its TypeID, if everything fits."""
        stranger = Ticket(hook.user_id, address.job_id if address else hook.job_id or "-", UNKNOWN_JOB_TYPE, api="v3")
        if address is None:
            raise self._dropped(stranger, "it did not come to the URL that was made for a job")
        known = await self._known(hook.user_id, address.job_id) or stranger
        ticket = replace(known, smile_job_id=hook.type_id, api="v3")
        # The URL may have leaked: whoever has it names as many jobs, and users, as he likes.
        if not may_ask(address.job_id):
            raise Unavailable("too many webhooks at the URL of one job", ticket=ticket, retryable=True)
        try:
            status = await self._driver.query(Ask(ticket), self._clock.monotonic() + QUERY_SECONDS)
        except Fault as fault:
            error: SmileError = fault.error.with_traceback(None)
            if isinstance(error, ForgedReply):
                error = self._dropped(ticket, "status names another job or user")
        else:
            bound_to = None if self._ledger is None else await self._ledger.named(hook.type_id)
            # Nothing is awaited from here until it is bound: another webhook may have come meanwhile.
            known = self._at_hand(hook.user_id, address.job_id) or known
            bound_to = self._taken.named(hook.type_id) or self._poller.ticket_of(hook.type_id) or bound_to
            why = completion_flaw(hook, known, status, address=address, bound_to=bound_to)
            if why:
                raise self._dropped(ticket, why)
            self._bind(ticket)
            if self._ledger is not None:
                # Once the sender has its answer it will not say the name again.
                await self._ledger.flush()
            claim = hook.verdict(ticket)
            if claim is None or status.verdict is None:
                return claim
            verdict = agreed(status.verdict, claim)
            self._poller.hear(verdict)
            return verdict
        raise error

    def _bind(self, ticket: Ticket) -> None:
        log.info("job %s got its TypeID by webhook", ticket.job_id, extra={"smile_job_id": ticket.job_id})
        self._taken.note(ticket)
        if self._ledger is not None:
            self._ledger.accepted(ticket)
        self._poller.named(ticket)

    async def _known(self, user_id: str, job_id: str) -> Ticket | None:
        found = self._at_hand(user_id, job_id)
        if (found is None or found.smile_job_id is None) and self._ledger is not None:
            found = await self._ledger.find(user_id, job_id) or found
        return found

    def _at_hand(self, user_id: str, job_id: str) -> Ticket | None:
        """The ticket of our own name for a job that was taken, or is waited for."""
        taken = self._taken.of(user_id, job_id)
        watch = self._poller.watch_of(Ticket(user_id, job_id, UNKNOWN_JOB_TYPE))
        return taken[0] if taken is not None else None if watch is None else watch.ticket

    @staticmethod
    def _dropped(ticket: Ticket, why: str) -> JobNotFound:
        log.warning("a webhook for job %s was dropped: %s", ticket.job_id, why, extra={"smile_job_id": ticket.job_id})
        return JobNotFound(f"a webhook for job {ticket.job_id} was dropped: {why}", status=404, ticket=ticket)
