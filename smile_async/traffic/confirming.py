"""Turn what a callback claims into what a signed status query says.

A claim is a hint to ask now. If the answer agrees it is delivered; if the answer is behind it is asked for again, ever
more slowly; if it contradicts, the answer wins and a warning says so. However many callbacks come for one job, at most
one query for it is under way, and no more than one a second follow each other for long.
"""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from copy import copy
from dataclasses import replace

import anyio

from smile_async.errors import ForgedReply, JobNotFound, SessionClosed, SmileError, UnreadableReply
from smile_async.jobs.codes import Decision, classify
from smile_async.jobs.ticket import MAX_ID_LENGTH, UNKNOWN_JOB_TYPE, Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.log import log
from smile_async.protocol.steps import Ask, Fault
from smile_async.protocol.v1.judging import judge_callback
from smile_async.timing.clock import Clock
from smile_async.traffic.driver import Driver
from smile_async.traffic.poller import Poller
from smile_async.traffic.tasks import TaskHost

__all__ = ["Confirmer"]


#: Seconds between further queries while status is behind a callback: doubled from 1, ten minutes in all.
FIRST_AGAIN, AGAIN_FOR = 1.0, 600.0
#: Seconds for one confirming query, its retries included.
QUERY_SECONDS = 12.0
#: Queries that callbacks for one job may cause at once; each second earns another. Whoever has seen one signature can
#: send us any number of callbacks, and each query counts against the account's rate limit.
QUERIES_AT_ONCE = 5
#: Jobs whose queries are counted, the latest of them.
COUNTED = 10_000
#: Different codes that callbacks may claim for a job while its status is behind: three have been seen (protocol.md §7).
CLAIMS = 8

Heard = Callable[[Verdict], Awaitable[object]]
Key = tuple[str, str]


class Confirmer:
    """Judges callbacks for one session and confirms them by its driver."""

    def __init__(self, driver: Driver, poller: Poller, host: TaskHost, clock: Clock) -> None:
        self._driver = driver
        self._poller = poller
        self._host = host
        self._clock = clock
        self._asking: dict[Key, _Query] = {}
        self._behind: dict[Key, _Behind] = {}
        #: By job, how many queries were left when, for the latest query that a callback caused.
        self._left: OrderedDict[Key, tuple[float, float]] = OrderedDict()

    def remember_stamps(self) -> None:
        """Keep the timestamps that this session signs, so that `judge` can refuse them when they come back."""
        self._driver.remember_stamps()

    def judge(self, body: bytes) -> Verdict:
        """The unconfirmed verdict in *body*. Raises ForgedReply (our own signature included) or UnreadableReply."""
        claim = judge_callback(body, self._driver.signer, self._driver.server_clock.now())
        if self._driver.has_signed(claim.timestamp):
            raise ForgedReply("the callback carries a signature that we made ourselves")
        # What is not signed is an attacker's to choose: no log line and no memory of ours takes texts of any length.
        ids = (claim.ticket.user_id, claim.ticket.job_id, claim.ticket.smile_job_id or "-", claim.code)
        if not all(text and text.isprintable() and len(text) <= MAX_ID_LENGTH for text in ids):
            raise UnreadableReply("the callback names a job or a code as no real one does")
        return claim

    def tokens(self, job_id: str) -> list[str]:
        """The URL token of this job, by the present key and by each previous one."""
        message = f"smile_async callback {job_id}".encode()
        digests = (hmac.digest(key.reveal().encode(), message, hashlib.sha256) for key in self._driver.signer.keys)
        return [digest.hex()[:32] for digest in digests]

    def hint(self, claim: Verdict) -> None:
        """Ask sooner about this job, if anybody waits for it."""
        self._poller.hurry(claim.ticket)

    async def confirm(self, claim: Verdict, later: Heard | None = None) -> Verdict | None:
        """What `/job_status` says, now that *claim* has come; None if it is behind.

        Then it is asked again after 1, 2, 4 … seconds for ten minutes, and *later* hears of it. Whoever waits for the
        job hears of it first. Raises JobNotFound, unless somebody waits for the job or it was uploaded just now, or
        SmileError without an answer.
        """
        key = (claim.ticket.user_id, claim.ticket.job_id)
        verdict = None
        if key in self._asking or self._may_ask(key):
            try:
                verdict = _settled((claim.code,), await self._asked(claim.ticket))
            except JobNotFound:
                # Right after an upload /job_status may not know the job yet.
                if self._poller.watch_of(claim.ticket) is None and not self._driver.has_just_sent(claim.ticket):
                    raise
        if verdict is None:
            self._ask_again(key, claim, later)
        else:
            self._poller.hear(verdict)
        return verdict

    def _may_ask(self, key: Key) -> bool:
        now = self._clock.monotonic()
        left, when = self._left.pop(key, (float(QUERIES_AT_ONCE), now))
        left = min(float(QUERIES_AT_ONCE), left + now - when)
        self._left[key] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > COUNTED:
            self._left.popitem(last=False)
        return left >= 1

    def _ask_again(self, key: Key, claim: Verdict, later: Heard | None) -> None:
        behind = self._behind.get(key)
        if behind is None:
            behind = _Behind()
            self._host.spawn(self._again, key, claim.ticket, behind)
            self._behind[key] = behind
        if len(behind.claims) < CLAIMS:
            behind.claims.add(claim.code)
        if later is not None and later not in behind.heard:
            behind.heard.append(later)
        behind.news.set()

    async def _again(self, key: Key, ticket: Ticket, behind: "_Behind") -> None:
        pause, due, end = FIRST_AGAIN, float("inf"), float("inf")
        try:
            while behind.claims and (now := self._clock.monotonic()) < end:
                if behind.news.is_set():
                    # Sooner, not later: or a stream of claims could put off the question for ever.
                    behind.news = anyio.Event()
                    pause, due, end = FIRST_AGAIN, min(due, now + FIRST_AGAIN), now + AGAIN_FOR
                if await self._clock.wait(behind.news, min(due, end) - now):
                    continue
                await self._catch_up(ticket, behind)
                pause *= 2
                due = self._clock.monotonic() + pause
            if behind.claims:
                claims = ", ".join(sorted(behind.claims))
                log.warning("a callback for job %s was never confirmed (%s)", ticket.job_id, claims)
        finally:
            self._behind.pop(key, None)

    async def _catch_up(self, ticket: Ticket, behind: "_Behind") -> None:
        try:
            verdict = _settled(tuple(behind.claims), await self._asked(ticket))
        except SmileError as error:
            log.debug("confirming job %s: %s", ticket.job_id, type(error).__name__)
            return
        if verdict is None:
            return
        if verdict.final:
            behind.claims.clear()
        behind.claims.discard(verdict.code)
        self._poller.hear(verdict)
        for heard in behind.heard:
            await heard(verdict)

    async def _asked(self, ticket: Ticket) -> JobStatus:
        """One answer for all who ask about the same job at the same time."""
        key = (ticket.user_id, ticket.job_id)
        query = self._asking.get(key)
        if query is None:
            query = _Query()
            # A task of the session's own: the one who asked first may be cancelled, the others still want the answer.
            self._host.spawn(self._query, key, ticket, query)
            self._asking[key] = query
        await query.done.wait()
        if isinstance(query.answer, JobStatus):
            return query.answer
        # A copy for each who asked: they write into what they raise.
        raise copy(query.answer) or SessionClosed(self._host.closed_because, ticket=ticket)

    async def _query(self, key: Key, ticket: Ticket, query: "_Query") -> None:
        watch = self._poller.watch_of(ticket)
        # Neither the job's type nor its SmileJobID is taken from a callback: they would choose the code's meaning.
        ask = Ask(Ticket(ticket.user_id, ticket.job_id, UNKNOWN_JOB_TYPE))
        if watch is not None:
            ask = Ask(watch.ticket, watch.history, watch.image_links)
        try:
            query.answer = await self._driver.query(ask, self._clock.monotonic() + QUERY_SECONDS)
        except Fault as fault:
            query.answer = fault.error
            query.answer.ticket = ticket
        except Exception as error:  # noqa: BLE001 - as in the poller
            log.exception("a reply about job %s could not be handled: please report it", ticket.job_id)
            query.answer = UnreadableReply(f"the /job_status reply could not be handled ({type(error).__name__})")
        finally:
            self._asking.pop(key, None)
            query.done.set()


def _settled(codes: Collection[str], status: JobStatus) -> Verdict | None:
    """The verdict of *status*, if it has caught up with the *codes* that callbacks claim."""
    verdict = status.verdict
    if verdict is None or not (verdict.final or verdict.code in codes):
        return None
    for code in codes:
        # Judged as a code of the job's own type: the type that a callback names is the sender's to choose.
        late = classify(code, verdict.ticket.job_type) is Decision.PROVISIONAL
        if verdict.final and code != verdict.code and not late:
            log.warning(
                "a callback for job %s claims %s, but status says %s: status is believed",
                verdict.ticket.job_id,
                code,
                verdict.code,
                extra={"smile_job_id": verdict.ticket.job_id, "smile_claim": code, "smile_code": verdict.code},
            )
    return replace(verdict, source="callback")


class _Query:
    """A status query under way, and then its answer."""

    __slots__ = ("answer", "done")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.answer: JobStatus | SmileError | None = None


class _Behind:
    """A job whose status is behind its callbacks: the codes they claim, and who wants to hear when it has caught up."""

    __slots__ = ("claims", "heard", "news")

    def __init__(self) -> None:
        self.claims: set[str] = set()
        self.heard: list[Heard] = []
        self.news = anyio.Event()
