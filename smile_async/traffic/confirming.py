"""Turn what a callback claims into what a signed status query says.

Whoever has seen one signature can send us any number of callbacks, for jobs that exist and for jobs that he has made
up, and each query counts against the account's rate limit. So however many come, at most one query for a job is under
way; no more than one a second follow each other for long; and all jobs that nobody waits for share one budget.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType

from smile_async.errors import ForgedReply, SmileError, StaleReply, Unavailable, UnreadableReply
from smile_async.jobs.ticket import id_flaw
from smile_async.jobs.verdict import Verdict
from smile_async.protocol.callback_urls import address_in, fits
from smile_async.protocol.steps import Fault
from smile_async.protocol.v3.webhooks import Webhook
from smile_async.timing.clock import Clock
from smile_async.traffic.binding import Binder
from smile_async.traffic.driver import Driver
from smile_async.traffic.poller import QUERY_SECONDS, Poller
from smile_async.traffic.tasks import TaskHost
from smile_async.traffic.watching import Heard

__all__ = ["Confirmer"]


#: Queries that callbacks for one job may cause at once, and seconds until there is another.
QUERIES = (5, 1.0)
#: The same for all jobs together that nobody waits for and this session has not just uploaded: as many as a receiver
#: takes at once. A query that finds a callback to be true costs nothing.
STRANGERS = (64, 0.25)
#: Seconds between two questions what time it is, whoever makes us doubt our clock.
CLOCK_SECONDS = 60.0
#: Jobs whose queries are counted, the latest of them.
COUNTED = 10_000
#: Nobody's job: what is asked about our clock is counted like what is asked about one.
_CLOCK = ("", "")
_NONE: Mapping[str, str] = MappingProxyType({})


class Confirmer:
    """Judges callbacks for one session and confirms them by its driver."""

    def __init__(self, driver: Driver, poller: Poller, host: TaskHost, clock: Clock, binder: Binder) -> None:
        self._driver = driver
        self._binder = binder
        self._poller = poller
        self._host = host
        self._clock = clock
        #: By job, and for all strangers together, the moment until which their queries have been spent.
        self._spent: OrderedDict[tuple[str, str] | None, float] = OrderedDict()
        poller.on_again = lambda ticket: self._may_ask((ticket.user_id, ticket.job_id), *QUERIES, asked=True)

    def expect_callbacks(self) -> None:
        """A receiver will bring callbacks: remember what has to be known to judge them."""
        self._driver.dialect.expect_callbacks()

    async def judge(self, body: bytes, headers: Mapping[str, str] = _NONE) -> Verdict | Webhook:
        """What a callback says, unconfirmed; *headers* by their names in lower case.

        One that is stale may be so by our clock alone: then the server is asked what time it is. Raises ForgedReply
        (our own signature included) or UnreadableReply.
        """
        claim = self._judged(body, headers)
        if isinstance(claim, StaleReply) and self._may_ask(_CLOCK, 1, CLOCK_SECONDS):
            with contextlib.suppress(Fault):
                lists = self._driver.dialect.lists
                await self._driver.call(lists.SERVICES[0], self._clock.monotonic() + QUERY_SECONDS)
            claim = self._judged(body, headers)
        # It may hold links and personal data: no frame of a traceback keeps it.
        del body
        if isinstance(claim, SmileError):
            raise claim
        if isinstance(claim, Verdict):
            # What is not signed is an attacker's to choose: no log line and no memory takes texts of any length.
            ids = (claim.ticket.user_id, claim.ticket.job_id, claim.ticket.smile_job_id or "-", claim.code)
            if any(map(id_flaw, ids)):
                raise UnreadableReply("the callback names a job or a code as no real one does")
        return claim

    def _judged(self, body: bytes, headers: Mapping[str, str]) -> Verdict | Webhook | SmileError:
        try:
            return self._driver.dialect.judge(body, headers)
        except SmileError as error:
            return error.with_traceback(None)

    async def place(self, claim: Verdict | Webhook, query: str, *, strict: bool) -> Verdict | None:
        """What *claim* says of one job, None if it says only that it goes on; *query*: of the URL that it came to.

        *strict*: the URL must have the job's token. Raises ForgedReply, JobNotFound, or SmileError without an answer.
        """
        if isinstance(claim, Verdict):
            if strict and not fits(query, self._driver.dialect.signer, claim.ticket.job_id):
                raise ForgedReply("no token of this job")
            return claim
        address = address_in(query, self._driver.dialect.signer, claim.user_id)
        if strict and address is None:
            raise ForgedReply("no token of this job")
        return await self._binder.place(claim, address, lambda job_id: self._may_ask(("", job_id), *QUERIES))

    def url_for(self, base_url: str, job_id: str) -> str:
        """*base_url* with the unguessable token of *job_id*."""
        return self._driver.dialect.url_for(base_url, job_id)

    def hint(self, claim: Verdict) -> None:
        """Ask sooner about this job, if anybody waits for it."""
        watch = self._poller.watch_of(claim.ticket)
        if watch is not None and self._may_ask((claim.ticket.user_id, claim.ticket.job_id), *QUERIES):
            self._poller.hurry(claim.ticket)

    async def confirm(self, claim: Verdict, later: Heard | None = None) -> Verdict | None:
        """What `/job_status` says, now that *claim* has come; None if it is behind.

        Then it is asked again after 1, 2, 4 … seconds for ten minutes, and *later* hears of it. Whoever waits for the
        job hears of it first. Raises JobNotFound, unless somebody waits for the job or it was uploaded just now, or
        SmileError without an answer, or if too much is asked about jobs that nobody waits for.
        """
        self._host.check()
        watch = self._poller.watch_of(claim.ticket)
        # An answer that is on its way is for all who ask.
        at_once = watch is not None and (watch.asking or (watch.claim is not None and watch.claim.due == 0.0))
        stranger = not (at_once or (watch and watch.listeners) or self._driver.expects(claim.ticket))
        if stranger and not self._may_ask(None, *STRANGERS):
            raise Unavailable("too many callbacks for strangers' jobs", ticket=claim.ticket, retryable=True)
        anew = self._may_ask((claim.ticket.user_id, claim.ticket.job_id), *QUERIES)
        answer = self._poller.claim(claim, later, at_once=at_once or anew, anew=anew)
        verdict = None if answer is None else await answer
        if stranger and verdict is not None and verdict.code == claim.code:
            self._spent[None] = self._spent.get(None, 0.0) - STRANGERS[1]
        return verdict

    def _may_ask(self, whose: tuple[str, str] | None, at_once: int, gap: float, *, asked: bool = False) -> bool:
        """Whether another query may be made; it then counts. One that is *asked* all the same counts anyway."""
        now = self._clock.monotonic()
        spent = max(self._spent.pop(whose, float("-inf")), now - at_once * gap)
        may = asked or spent + gap <= now
        self._spent[whose] = spent + gap if may else spent
        if len(self._spent) > COUNTED:
            self._spent.popitem(last=False)
        return may
