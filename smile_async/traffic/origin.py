"""One server, the API's or the storage's: requests wait for their turn, are sent, and what comes of them is noted.

Whether anybody is home there is known here alone: by the requests of all jobs together.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from smile_async.errors import SessionClosed, Unavailable, UnreadableReply
from smile_async.log import log
from smile_async.protocol.signature import Secret
from smile_async.protocol.steps import Fault, Sent
from smile_async.timing.breaker import JOBS, Asker
from smile_async.timing.clock import Clock
from smile_async.transport.engine import Body, Headers, NoReply, Reply
from smile_async.transport.limiter import Limiter
from smile_async.transport.pool import Pool

__all__ = ["HOLD", "Errand", "Origin", "Parked"]

#: What a gateway says that finds nobody behind it (RFC 9110 §15.6.3 to §15.6.5).
NOBODY_HOME = frozenset({502, 503, 504})
#: Seconds that pictures are kept in memory in front of a server that is closed, unless others need their place.
HOLD = 5.0
_OWN_CA = ": for a server, or a proxy, with a CA of its own let ca_file or SMILE_CA_FILE name its certificate"


class Parked(Fault):
    """A job should not keep its pictures in front of a closed server; *hope* returns when it may go there again."""

    def __init__(self, hope: Callable[[float], Awaitable[None]]) -> None:
        super().__init__(Unavailable("its pictures were put aside"), Sent.UNSENT)
        self.hope = hope


@dataclass(frozen=True, slots=True)
class Errand:
    """What a request is about, in words too; until when (monotonic seconds) it may wait for its turn.

    *hold*: seconds that it may at most where the server is closed, because pictures wait with it. *company*: who else
    has to do with its answer. *again*: it makes no job, and is sent again at once if an old connection breaks.
    """

    asker: Asker
    about: str
    deadline: float
    hold: float = float("inf")
    company: Sequence[Asker] = ()
    again: bool = False


class Origin:
    """Sends to one server, *at_once* requests at most, each within *seconds*; *name* is what people call it.

    *under_way*: how many jobs are, whichever server they have to do with just now.
    """

    def __init__(
        self, name: str, pool: Pool, at_once: int, seconds: float, *, clock: Clock, under_way: Callable[[], int]
    ) -> None:
        self._name = name
        self._pool = pool
        self.limiter = Limiter(at_once, clock)
        self._breaker = self.limiter.breaker
        self._clock = clock
        self._seconds = seconds
        self._under_way = under_way
        self._why = ""
        #: Requests that were sent again at once, as an old connection broke under them.
        self.repeats = 0

    @property
    def outage(self) -> str:
        """What there is to say of an outage, "" if somebody is home."""
        since = self._breaker.opened_at
        if since is None:
            return ""
        return f"an outage of {self._name} for {self._clock.monotonic() - since:.3g} s ({self._why})"

    def told_of(self, fault: Fault, asker: Asker) -> Fault:
        """*fault* of a request of *asker*: during an outage it is one more word of that, and nothing of the job's."""
        if fault.transient and self._breaker.holds(asker) and not fault.outage:
            fault.outage = True
            fault.error = Unavailable(f"{fault.error}: {self.outage}")
        return fault

    def parked(self, asker: Asker) -> Parked | None:
        """Where a request of *asker* had better wait, None if somebody is home."""
        return Parked(partial(self._come, asker)) if self._breaker.holds(asker) else None

    async def _come(self, asker: Asker, deadline: float) -> None:
        if self.limiter.closed_to(asker) and not await self.limiter.come(deadline, asker):
            raise self._late(asker, f"job {asker.job_id} of user {asker.user_id}")

    async def send(
        self, method: str, url: Secret, headers: Headers, body: Callable[[], bytes | Body], errand: Errand
    ) -> Reply:
        """What the server replies to a request, whose *body* is made when its turn has come. Raises Fault."""
        try:
            return await self._sent(method, url, headers, body, errand)
        except Fault as fault:
            if not (errand.again and fault.stale):
                raise
        self.repeats += 1
        return await self._sent(method, url, headers, body, errand)

    async def _sent(
        self, method: str, url: Secret, headers: Headers, body: Callable[[], bytes | Body], errand: Errand
    ) -> Reply:
        asker = errand.asker
        if not await self.limiter.enter(errand.deadline, asker, hold=errand.hold):
            raise self._late(asker, errand.about, errand.deadline)
        left_at = self._clock.monotonic()
        well = False
        note = self._breaker.gave_up
        try:
            within = min(self._seconds, errand.deadline - left_at)
            if within <= 0:
                raise Fault(
                    Unavailable(f"no time left for {errand.about}"), Sent.UNSENT, transient=True, throttled=True
                )
            reply = await self._pool.send(method, url.reveal(), headers, body(), within)
            well = reply.status < 500 and reply.status != 429
            note = partial(self._heard, reply.status, left_at)
            return reply
        except NoReply as told:
            note = partial(self._unheard, told, left_at)
            raise self._fault_of(told, errand.about) from None
        finally:
            for each in (asker, *errand.company):
                note(each, self._clock.monotonic())
            self.limiter.leave(well=well)

    def _late(self, asker: Asker, about: str, deadline: float = 0.0) -> Fault:
        if self.limiter.shut:
            return Fault(SessionClosed(f"the session was closed before {about} got its turn"), Sent.UNSENT)
        if self._clock.monotonic() < deadline:
            return Parked(partial(self._come, asker))
        late = Unavailable(f"{about} did not get its turn in time")
        return self.told_of(Fault(late, Sent.UNSENT, transient=True, throttled=True), asker)

    def _heard(self, status: int, left_at: float, asker: Asker, now: float) -> None:
        if status in NOBODY_HOME:
            self._missed(f"HTTP {status}", left_at, asker, now)
        else:
            since = self._breaker.opened_at
            if self._breaker.answered(asker, left_at, now) and since is not None:
                log.warning("%s answers again after %.3g s", self._name, now - since)

    def _unheard(self, told: NoReply, left_at: float, asker: Asker, now: float) -> None:
        # The failures of one connection are one.
        unreached = _is_unreached(told)
        if unreached:
            self._breaker.unreached(now)
        self._missed(told.why, left_at, asker, now, away=told.silent or (unreached and not told.echo))

    def _missed(self, why: str, left_at: float, asker: Asker, now: float, *, away: bool = True) -> None:
        if away:
            self._why = why
        if self._breaker.missed(asker, left_at, now, away=away):
            log.warning("%s is away (%s): everybody waits, one request at a time tries again", self._name, why)

    def _fault_of(self, told: NoReply, about: str) -> Fault:
        """A request without a reply; an oversized one is an answer, but not a readable one."""
        if told.sent is Sent.ANSWERED:
            return Fault(UnreadableReply(f"{about}: {told.why}"), Sent.AMBIGUOUS)
        cure = _OWN_CA if _is_certificate(told) else ""
        return Fault(
            Unavailable(f"{about} got no answer ({told.why}){cure}"),
            told.sent,
            transient=True,
            echo=told.echo,
            stale=told.stale,
            hurried=told.hurried,
            # So few of many jobs may be here just now that their attempts would be up before the breaker opens.
            unreached=_is_unreached(told) and not self._breaker.reached and self._under_way() >= JOBS,
        )


def _is_unreached(told: NoReply) -> bool:
    # Whose time was up may have waited for anything; a certificate that is not trusted will not be in a moment either.
    return told.sent is Sent.UNSENT and not (told.silent or told.hurried or _is_certificate(told))


def _is_certificate(told: NoReply) -> bool:
    # In the words of each TLS library.
    return "certificate" in told.why.lower()
