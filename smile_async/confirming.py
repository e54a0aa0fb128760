"""Turn what a callback claims into what a signed status query says.

A claim is a hint to ask now. If the answer agrees it is delivered; if the answer is behind it is asked for again, ever
more slowly; if it contradicts, the answer wins and a warning says so. However many callbacks come for one job, at most
one query for it is under way.
"""

import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import anyio

from smile_async.clock import Clock
from smile_async.conversation import Ask, Fault
from smile_async.courier import Courier
from smile_async.errors import ForgedReply, SessionClosed, SmileError
from smile_async.host import Host
from smile_async.job import UNKNOWN_JOB_TYPE, Ticket
from smile_async.poller import Poller
from smile_async.verdict import JobStatus, Verdict, judge_callback

__all__ = ["Confirmer"]

_log = logging.getLogger("smile_async")

#: Seconds between further queries while status is behind a callback: doubled from 1, ten minutes in all.
FIRST_AGAIN, AGAIN_FOR = 1.0, 600.0
#: Seconds for one confirming query, its retries included.
QUERY_SECONDS = 12.0

Heard = Callable[[Verdict], Awaitable[object]]
Key = tuple[str, str]


class Confirmer:
    """Judges callbacks for one session and confirms them by its courier."""

    def __init__(self, courier: Courier, poller: Poller, host: Host, clock: Clock) -> None:
        self._courier = courier
        self._poller = poller
        self._host = host
        self._clock = clock
        self._asking: dict[Key, _Query] = {}
        self._behind: set[tuple[Key, str]] = set()

    def remember_stamps(self) -> None:
        """Keep the timestamps that this session signs, so that `judge` can refuse them when they come back."""
        self._courier.remember_stamps()

    def judge(self, body: bytes) -> Verdict:
        """The unconfirmed verdict in *body*. Raises ForgedReply (our own signature included) or UnreadableReply."""
        claim = judge_callback(body, self._courier.signer, self._courier.server_now())
        if self._courier.has_signed(claim.timestamp):
            raise ForgedReply("the callback carries a signature that we made ourselves")
        return claim

    def tokens(self, job_id: str) -> list[str]:
        """The URL token of this job, by the present key and by each previous one."""
        message = f"smile_async callback {job_id}".encode()
        digests = (hmac.digest(key.reveal().encode(), message, hashlib.sha256) for key in self._courier.signer.keys)
        return [digest.hex()[:32] for digest in digests]

    def hint(self, claim: Verdict) -> None:
        """Ask sooner about this job, if anybody waits for it."""
        self._poller.hurry(claim.ticket)

    async def confirm(self, claim: Verdict, later: Heard | None = None) -> Verdict | None:
        """What `/job_status` says, now that *claim* has come; None if it is behind.

        Then it is asked again after 1, 2, 4 … seconds for ten minutes, and *later* hears of it. Whoever waits for the
        job hears of it first. Raises SmileError if there is no answer.
        """
        verdict = self._settled(claim, await self._asked(claim.ticket))
        if verdict is not None:
            self._poller.hear(verdict)
            return verdict
        mark = ((claim.ticket.user_id, claim.ticket.job_id), claim.code)
        if mark not in self._behind:
            self._behind.add(mark)
            self._host.run(partial(self._again, claim, later, mark))
        return None

    async def _again(self, claim: Verdict, later: Heard | None, mark: tuple[Key, str]) -> None:
        pause, waited = FIRST_AGAIN, 0.0
        try:
            while waited < AGAIN_FOR:
                await self._clock.sleep(pause)
                waited, pause = waited + pause, pause * 2
                try:
                    verdict = self._settled(claim, await self._asked(claim.ticket))
                except SmileError as error:
                    _log.debug("confirming job %s: %s", claim.ticket.job_id, type(error).__name__)
                    continue
                if verdict is not None:
                    self._poller.hear(verdict)
                    if later is not None:
                        await later(verdict)
                    return
            _log.warning("a callback for job %s was never confirmed (%s)", claim.ticket.job_id, claim.code)
        finally:
            self._behind.discard(mark)

    async def _asked(self, ticket: Ticket) -> JobStatus:
        """One answer for all who ask about the same job at the same time."""
        key = (ticket.user_id, ticket.job_id)
        query = self._asking.get(key)
        if query is None:
            query = self._asking[key] = _Query()
            # A task of the session's own: the one who asked first may be cancelled, the others still want the answer.
            self._host.run(partial(self._query, key, ticket, query))
        await query.done.wait()
        if isinstance(query.answer, JobStatus):
            return query.answer
        raise query.answer or SessionClosed(self._host.closed_because, ticket=ticket)

    async def _query(self, key: Key, ticket: Ticket, query: "_Query") -> None:
        watch = self._poller.watch_of(ticket)
        # Neither the job's type nor its SmileJobID is taken from a callback: they would choose the code's meaning.
        known = watch.ticket if watch else Ticket(ticket.user_id, ticket.job_id, UNKNOWN_JOB_TYPE)
        try:
            query.answer = await self._courier.query(Ask(known), self._clock.monotonic() + QUERY_SECONDS)
        except Fault as fault:
            query.answer = fault.error
            query.answer.ticket = ticket
        finally:
            self._asking.pop(key, None)
            query.done.set()

    def _settled(self, claim: Verdict, status: JobStatus) -> Verdict | None:
        verdict = status.verdict
        if verdict is None or (not verdict.final and verdict.code != claim.code):
            return None
        if verdict.code != claim.code and claim.final:
            _log.warning(
                "a callback for job %s claims %s, but status says %s: status is believed",
                claim.ticket.job_id,
                claim.code,
                verdict.code,
                extra={"smile_job_id": claim.ticket.job_id, "smile_claim": claim.code, "smile_code": verdict.code},
            )
        return replace(verdict, source="callback")


class _Query:
    """A status query under way, and then its answer."""

    __slots__ = ("answer", "done")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.answer: JobStatus | SmileError | None = None
