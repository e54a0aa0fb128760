"""Check what Smile ID posts, confirm it, hand it on.

Its signature is checked first, because that is cheap; then `/job_status` is asked, and what is delivered is the answer.
"""

import hashlib
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

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

__all__ = ["PRODUCTION_ADDRESSES", "CallbackReceiver", "verify_callback"]


#: Where production callbacks come from (wire.md §7); those of the provider's sandbox are not published.
PRODUCTION_ADDRESSES = ("34.240.137.52", "44.230.128.108", "52.36.32.43", "52.213.46.74")
#: Bytes; 1.5 MB is the documented size to accept (wire.md §7), for the photo in a record, and JSON around it.
MAX_BODY_BYTES = 2_000_000
#: Seconds a sender may take over its body.
BODY_SECONDS = 10.0
#: Jobs whose callbacks are remembered, and how many of each job's, so that a duplicate is not delivered twice.
REMEMBERED, SEEN = 100_000, 16
#: Callbacks that are being read or confirmed at once; more are told to come back.
AT_ONCE = 64

#: By whether it was forged; the texts are fixed, so that they tell an attacker nothing.
_REFUSALS = {False: (400, "unreadable"), True: (403, "not signed by smile id, or stale")}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
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
    `PRODUCTION_ADDRESSES`; the peer's address must reach this app, so behind a proxy check it there. It may be built
    before the session is entered (until then: 503), and needs no lifespan of its own.
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
        session.confirmer.expect_callbacks()

    def url_for(self, base_url: str, job_id: str) -> str:
        """*base_url* (where this app is mounted) with the unguessable token of *job_id*: give it as callback_url."""
        return self._session.confirmer.url_for(base_url, job_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        if self._busy >= AT_ONCE:
            await _answer(send, 503, "busy")
            return
        self._busy += 1
        try:
            status, text, verdict = await self._taken(scope, receive)
        finally:
            self._busy -= 1
        try:
            await _answer(send, status, text)
        finally:
            # A sender that has gone away does not make the verdict any less true.
            if verdict is not None:
                await self._hand_on(verdict)

    async def _taken(self, scope: Scope, receive: Receive) -> tuple[int, str, Verdict | None]:
        """What to answer, and the verdict to hand on once that is said."""
        refusal = self._unwelcome(scope)
        if refusal is not None:
            return (*refusal, None)
        body: bytes | None = None
        slow = True
        with anyio.move_on_after(BODY_SECONDS):
            body, slow = await _whole(receive), False
        if body is None:
            return (408, "too slow", None) if slow else (413, "too large", None)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            claim = await self._session.confirmer.judge(body, headers)
        except SmileError as error:
            return (*_REFUSALS[isinstance(error, ForgedReply)], None)
        return await self._placed(claim, scope.get("query_string", b"").decode("latin-1"))

    def _unwelcome(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if scope["method"] != "POST":
            return 405, "post only"
        if headers.get(b"content-type", b"application/json").split(b";")[0].strip().lower() != b"application/json":
            return 415, "json only"
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            return 415, "no content-encoding"
        length = headers.get(b"content-length", b"0")
        # Ten digits are too many already; thousands would make int() raise.
        if length.isdigit() and (len(length) > 10 or int(length) > MAX_BODY_BYTES):
            return 413, "too large"
        if self._allowed is not None and not self._is_allowed(scope.get("client")):
            return 403, "not from here"
        return None if self._session.host.open else (503, "not ready")

    def _is_allowed(self, client: Sequence[Any] | None) -> bool:
        try:
            address = ipaddress.ip_address(client[0] if client else "")
        except ValueError:
            return False
        # A socket that takes both families shows 1.2.3.4 as ::ffff:1.2.3.4.
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._allowed or ())

    async def _placed(self, claim: Verdict | Webhook, query: str) -> tuple[int, str, Verdict | None]:
        try:
            said = await self._session.confirmer.place(claim, query, strict=self._require_token)
        except ForgedReply:
            return 403, "no token of this job", None
        except JobNotFound:
            return 404, "no such job", None
        except SmileError as error:
            log.warning("a callback could not be tied to a job: %s", type(error).__name__)
            return 503, "try again", None
        return (200, "taken", None) if said is None else await self._believed(said)

    async def _believed(self, claim: Verdict) -> tuple[int, str, Verdict | None]:
        job = (claim.ticket.user_id, claim.ticket.job_id)
        # Two jobs decided in one millisecond share a signature: only the job makes a message a duplicate.
        message = repr((*job, claim.ticket.smile_job_id, claim.code, claim.timestamp))
        digest = hashlib.sha256(message.encode()).digest()
        known = self._known.get(job)
        if known is not None and digest in known.seen and not known.unheard:
            return 200, "known", None
        verdict: Verdict | None = claim
        try:
            if self._confirm and not claim.confirmed:
                verdict = await self._session.confirmer.confirm(claim, self._hand_on)
            elif not claim.confirmed:
                self._session.confirmer.hint(claim)
        except JobNotFound:
            return 404, "no such job", None
        except SmileError as error:
            log.warning("callback of job %s could not be confirmed: %s", claim.ticket.job_id, type(error).__name__)
            return 503, "try again", None
        # Only now: what was not taken, for whatever reason, is not known when the sender tries again.
        known = self._known_of(job)
        known.seen = (*known.seen, digest)[-SEEN:]
        return 200, "taken", verdict

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


async def _whole(receive: Receive) -> bytes | None:
    """The body, None if it is larger than allowed; a sender that goes away leaves what came."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if message["type"] != "http.request" or not message.get("more_body"):
            return bytes(body)


async def _answer(send: Send, status: int, text: str) -> None:
    body = f'{{"message":"{text}"}}'.encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
