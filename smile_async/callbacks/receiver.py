"""Check what Smile ID posts, confirm it, hand it on.

Its signature is checked first, because that is cheap; then `/job_status` is asked, and what is delivered is the answer.
"""

import hashlib
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from smile_async.callbacks.asgi import MAX_BODY_BYTES, Answer, Receive, Scope, Send, answer, lifespan, whole
from smile_async.contained import contained, is_async
from smile_async.errors import BadConfiguration, ForgedReply, JobNotFound, SmileError
from smile_async.jobs.verdict import Verdict
from smile_async.limits import finite
from smile_async.log import log
from smile_async.protocol.signature import Secret, Signer, secrets_of
from smile_async.protocol.v1.judging import FRESH_FOR, judge_callback
from smile_async.protocol.v3.webhooks import Webhook
from smile_async.settings import checked_flag
from smile_async.timing.clock import SystemClock

if TYPE_CHECKING:
    from smile_async.session import SmileSession

__all__ = [
    "PRODUCTION_ADDRESSES",
    "PRODUCTION_ADDRESSES_V3",
    "SANDBOX_ADDRESSES_V3",
    "CallbackReceiver",
    "verify_callback",
]


#: Where v1's production callbacks come from (wire.md §7); those of the provider's sandbox are not published.
PRODUCTION_ADDRESSES = ("34.240.137.52", "44.230.128.108", "52.36.32.43", "52.213.46.74")
#: Where V3's webhooks come from, by an integrator's reference of 2026-09-05 (v3/wire.md §8).
PRODUCTION_ADDRESSES_V3 = ("13.51.0.119", "34.240.137.52", "51.20.27.3", "52.213.46.74")
SANDBOX_ADDRESSES_V3 = ("13.48.228.158", "16.170.104.93", "54.246.37.255", "99.81.237.141")
#: Seconds a sender may take over its body.
BODY_SECONDS = 10.0
#: Jobs whose callbacks are remembered, and how many of each job's, so that a duplicate is not delivered twice.
REMEMBERED, SEEN = 100_000, 16
#: Callbacks that are being read or confirmed at once; more are told to come back.
AT_ONCE = 64
#: Seconds in which refusals with one answer leave one line in the log: anybody can cause any number of them.
QUIET = 60.0

#: By whether it was forged; the texts are fixed, so that they tell an attacker nothing.
_REFUSALS = {False: (400, "unreadable"), True: (403, "not signed by smile id, or stale")}
TOO_LARGE = Answer(413, "too large", why=f"its body is more than {MAX_BODY_BYTES:,} bytes")

OnVerdict = Callable[[Verdict], Awaitable[object]]


def verify_callback(
    body: bytes,
    *,
    partner_id: str,
    api_key: str | Secret,
    now: float | None = None,
    tolerance: float = FRESH_FOR,
    previous_api_keys: Sequence[str | Secret] = (),
) -> Verdict:
    """Proves that the sender once held a signature of yours, not that the verdict is true: confirm it before you act.

    Pure. *body* is the raw JSON; *now* is in seconds since 1970 UTC (None: this machine's clock) and *tolerance* how
    many seconds the signed timestamp may lie from it. The verdict's `confirmed` is False, so `approved` is too; give it
    to `session.deliver`, which asks `/job_status`. Raises ForgedReply > StaleReply, UnreadableReply, BadConfiguration.
    """
    key, previous = Secret(api_key), secrets_of(previous_api_keys)
    del api_key, previous_api_keys
    now = SystemClock().time() if now is None else finite(now)
    if math.isnan(now + finite(tolerance)):
        del body
        raise BadConfiguration("now or tolerance is not a finite number of seconds: give one, or leave it out")
    try:
        return judge_callback(body, Signer(partner_id, key, previous), now, tolerance)
    except SmileError as error:
        failure = error.with_traceback(None)
    # The body may hold links and personal data: no frame of the traceback keeps it.
    del body
    raise failure


class CallbackReceiver:
    """An ASGI app that takes Smile ID's callbacks: mount it in FastAPI, Starlette or Litestar, or run it alone.

    Each verdict is confirmed by a signed status query before anybody hears of it (*confirm*), wakes whoever waits for
    the job in this session, and is given to *on_verdict*, after the sender has its answer. With *confirm* False,
    *on_verdict* gets what the body says, unconfirmed, and waiters only ask sooner.

    *require_token*: take only URLs made by `url_for`. *allow_from*: networks or addresses to take callbacks from, e.g.
    `PRODUCTION_ADDRESSES`, for V3 `PRODUCTION_ADDRESSES_V3`; the peer's address must reach this app, so behind a proxy
    check it there. It may be built before the session is entered (until then: 503), and needs no lifespan of its own.
    """

    def __init__(
        self,
        session: "SmileSession",
        on_verdict: OnVerdict | None = None,
        confirm: bool = True,
        *,
        require_token: bool = False,
        allow_from: Iterable[str] | None = None,
    ) -> None:
        if on_verdict is not None and not is_async(on_verdict):
            raise BadConfiguration("on_verdict is not an async function: write `async def on_verdict(verdict)`")
        self._session = session
        self._on_verdict = on_verdict
        self._confirm = checked_flag("confirm", confirm)
        self._require_token = checked_flag("require_token", require_token)
        try:
            self._allowed = None if allow_from is None else [ipaddress.ip_network(name) for name in allow_from]
        except (TypeError, ValueError) as error:
            raise BadConfiguration(f"allow_from: {error}: give addresses or networks") from None
        #: By job, what is known of its callbacks, the latest last.
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._busy = 0
        #: By answer, until when no other refusal with it is logged.
        self._said: dict[str, float] = {}
        session.confirmer.expect_callbacks()

    def url_for(self, base_url: str, job_id: str) -> str:
        """*base_url* (where this app is mounted) with the unguessable token of *job_id*: give it as callback_url."""
        return self._session.confirmer.url_for(base_url, job_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        said = Answer(503, "busy", why=f"{AT_ONCE} others are being confirmed")
        if self._busy < AT_ONCE:
            self._busy += 1
            try:
                said = await self._taken(scope, receive)
            finally:
                self._busy -= 1
        self._log(said)
        try:
            await answer(send, said)
        finally:
            # A sender that has gone away does not make the verdict any less true.
            if said.verdict is not None:
                await self._hand_on(said.verdict)

    def _log(self, said: Answer) -> None:
        now = SystemClock().monotonic()
        if said.why and now >= self._said.get(said.text, now):
            self._said[said.text] = now + QUIET
            fields = {"smile_status": said.status}
            log.warning("a callback was refused (%d %s): %s", said.status, said.text, said.why, extra=fields)

    async def _taken(self, scope: Scope, receive: Receive) -> Answer:
        refusal = self._unwelcome(scope)
        if refusal is not None:
            return refusal
        body: bytes | None = None
        slow = True
        with anyio.move_on_after(BODY_SECONDS):
            body, slow = await whole(receive), False
        if body is None and slow:
            return Answer(408, "too slow", why=f"its body took more than {BODY_SECONDS:.0f} s")
        if body is None:
            return TOO_LARGE
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            claim = await self._session.confirmer.judge(body, headers)
        except SmileError as error:
            status, text = _REFUSALS[isinstance(error, ForgedReply)]
            return Answer(status, text, why=str(error))
        return await self._placed(claim, scope.get("query_string", b"").decode("latin-1"))

    def _unwelcome(self, scope: Scope) -> Answer | None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if scope["method"] != "POST":
            return Answer(405, "post only", why="Smile ID posts callbacks: somebody else was here")
        if headers.get(b"content-type", b"application/json").split(b";")[0].strip().lower() != b"application/json":
            return Answer(415, "json only", why="its Content-Type is not application/json")
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            return Answer(415, "no content-encoding", why="it is compressed")
        length = headers.get(b"content-length", b"0")
        # Ten digits are too many already; thousands would make int() raise.
        if length.isdigit() and (len(length) > 10 or int(length) > MAX_BODY_BYTES):
            return TOO_LARGE
        address = _address_of(scope.get("client"))
        if self._allowed is not None and not any(address in network for network in self._allowed if address):
            # What follows a % is a name of the sender's choosing, where a proxy's header is believed.
            peer = str(address or "whoever has no address").partition("%")[0]
            return Answer(403, "not from here", why=f"allow_from leaves out {peer}")
        return None if self._session.host.open else Answer(503, "not ready", why="the session is not open")

    async def _placed(self, claim: Verdict | Webhook, query: str) -> Answer:
        try:
            said = await self._session.confirmer.place(claim, query, strict=self._require_token)
        except ForgedReply:
            why = "require_token wants the URL that receiver.url_for made for its job"
            return Answer(403, "no token of this job", why=why)
        except JobNotFound as error:
            return Answer(404, "no such job", why=str(error))
        except SmileError as error:
            log.warning("a callback could not be tied to a job: %s", type(error).__name__)
            return Answer(503, "try again")
        return Answer(200, "taken") if said is None else await self._believed(said)

    async def _believed(self, claim: Verdict) -> Answer:
        job = (claim.ticket.user_id, claim.ticket.job_id)
        # Two jobs decided in one millisecond share a signature: only the job makes a message a duplicate.
        message = repr((*job, claim.ticket.smile_job_id, claim.code, claim.timestamp))
        digest = hashlib.sha256(message.encode()).digest()
        known = self._known.get(job)
        if known is not None and digest in known.seen and not known.unheard:
            return Answer(200, "known")
        verdict: Verdict | None = claim
        try:
            if self._confirm and not claim.confirmed:
                verdict = await self._session.confirmer.confirm(claim, self._hand_on)
            elif not claim.confirmed:
                self._session.confirmer.hint(claim)
        except JobNotFound as error:
            return Answer(404, "no such job", why=str(error))
        except SmileError as error:
            log.warning("callback of job %s could not be confirmed: %s", claim.ticket.job_id, type(error).__name__)
            return Answer(503, "try again")
        # Only now: what was not taken, for whatever reason, is not known when the sender tries again.
        known = self._known_of(job)
        known.seen = (*known.seen, digest)[-SEEN:]
        return Answer(200, "taken", verdict)

    async def _hand_on(self, verdict: Verdict) -> None:
        """Tell the handler, unless it has heard this or better; ends when the handler does."""
        known = self._known_of((verdict.ticket.user_id, verdict.ticket.job_id))
        if self._on_verdict is None or not known.is_news(verdict):
            return
        known.handed = (verdict.final, verdict.code)
        done = anyio.Event()
        try:
            # In a task of the session's own: a server that cancels the request can not cut the handler short.
            self._session.host.spawn(self._tell, self._on_verdict, verdict, known, on_end=done.set)
        except SmileError:
            await self._tell(self._on_verdict, verdict, known)
            return
        await done.wait()

    async def _tell(self, on_verdict: OnVerdict, verdict: Verdict, known: "_Known") -> None:
        error = await contained(on_verdict, verdict)
        known.unheard = error is not None
        if error is not None:
            # A handler's failure is its own; the verdict is delivered to waiters already.
            known.handed = None
            log.error(
                "on_verdict failed for job %s; its verdict is %s",
                verdict.ticket.job_id,
                verdict.decision,
                exc_info=error,
            )

    def _known_of(self, job: tuple[str, str]) -> "_Known":
        known = self._known[job] = self._known.pop(job) if job in self._known else _Known()
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known


@dataclass(slots=True)
class _Known:
    """What is known of one job's callbacks: which were answered 200, and what the handler has heard of them."""

    #: Their digests, the latest last.
    seen: tuple[bytes, ...] = ()
    #: Whether what was handed on last was final, and its code: no handler ever hears a step back.
    handed: tuple[bool, str] | None = None
    #: The handler failed: the next callback, even a duplicate, is its second chance.
    unheard: bool = False

    def is_news(self, verdict: Verdict) -> bool:
        if self.handed is None:
            return True
        # A final word stays. Unconfirmed, it may have been a lie, and the handler has to hear of another one.
        step_back = self.handed[0] and (verdict.confirmed or not verdict.final)
        return not step_back and self.handed != (verdict.final, verdict.code)


def _address_of(client: Sequence[Any] | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return None
    # A socket that takes both families shows 1.2.3.4 as ::ffff:1.2.3.4.
    return getattr(address, "ipv4_mapped", None) or address
