"""Turn what a callback claims into what a signed status query says.

Whoever has seen one signature can send us any number of callbacks, for jobs that exist and for jobs that he has made
up, and each query counts against the account's rate limit. So however many come, at most one query for a job is under
way; no more than one a second follow each other for long; and all jobs that nobody waits for share one budget.
"""

import hashlib
import hmac
from collections import OrderedDict

from smile_async.errors import ForgedReply, Unavailable, UnreadableReply
from smile_async.jobs.ticket import id_flaw
from smile_async.jobs.verdict import Verdict
from smile_async.protocol.v1.judging import judge_callback
from smile_async.timing.clock import Clock
from smile_async.traffic.driver import Driver
from smile_async.traffic.poller import Poller
from smile_async.traffic.tasks import TaskHost
from smile_async.traffic.watching import Heard

__all__ = ["Confirmer"]


#: Queries that callbacks for one job may cause at once, and seconds until there is another.
QUERIES = (5, 1.0)
#: The same for all jobs together that nobody waits for and this session has not just uploaded: as many as a receiver
#: takes at once. A query that finds a callback to be true costs nothing.
STRANGERS = (64, 0.25)
#: Jobs whose queries are counted, the latest of them.
COUNTED = 10_000


class Confirmer:
    """Judges callbacks for one session and confirms them by its driver."""

    def __init__(self, driver: Driver, poller: Poller, host: TaskHost, clock: Clock) -> None:
        self._driver = driver
        self._poller = poller
        self._host = host
        self._clock = clock
        #: By job, and for all strangers together, the moment until which their queries have been spent.
        self._spent: OrderedDict[tuple[str, str] | None, float] = OrderedDict()

    def remember_stamps(self) -> None:
        """Keep the timestamps that this session signs, so that `judge` can refuse them when they come back."""
        self._driver.caller.remember_stamps()

    def judge(self, body: bytes) -> Verdict:
        """The unconfirmed verdict in *body*. Raises ForgedReply (our own signature included) or UnreadableReply."""
        claim = judge_callback(body, self._driver.caller.signer, self._driver.caller.server_clock.now())
        if self._driver.caller.has_signed(claim.timestamp):
            raise ForgedReply("the callback carries a signature that we made ourselves")
        # What is not signed is an attacker's to choose: no log line and no memory of ours takes texts of any length.
        ids = (claim.ticket.user_id, claim.ticket.job_id, claim.ticket.smile_job_id or "-", claim.code)
        if any(map(id_flaw, ids)):
            raise UnreadableReply("the callback names a job or a code as no real one does")
        return claim

    def tokens(self, job_id: str) -> list[str]:
        """The URL token of this job, by the present key and by each previous one."""
        message = f"smile_async callback {job_id}".encode()
        digests = (
            hmac.digest(key.reveal().encode(), message, hashlib.sha256) for key in self._driver.caller.signer.keys
        )
        return [digest.hex()[:32] for digest in digests]

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
        stranger = not (at_once or (watch and watch.listeners) or self._driver.has_just_sent(claim.ticket))
        if stranger and not self._may_ask(None, *STRANGERS):
            raise Unavailable("too many callbacks for strangers' jobs", ticket=claim.ticket, retryable=True)
        at_once = at_once or self._may_ask((claim.ticket.user_id, claim.ticket.job_id), *QUERIES)
        answer = self._poller.claim(claim, later, at_once=at_once)
        verdict = None if answer is None else await answer
        if stranger and verdict is not None and verdict.code == claim.code:
            self._spent[None] = self._spent.get(None, 0.0) - STRANGERS[1]
        return verdict

    def _may_ask(self, whose: tuple[str, str] | None, at_once: int, gap: float) -> bool:
        now = self._clock.monotonic()
        spent = max(self._spent.pop(whose, float("-inf")), now - at_once * gap)
        may = spent + gap <= now
        self._spent[whose] = spent + gap if may else spent
        if len(self._spent) > COUNTED:
            self._spent.popitem(last=False)
        return may
