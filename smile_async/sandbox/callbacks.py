"""Sending results to the partner's callback URL: signed, flat, and again when nobody answered 2xx.

What v1 retries, how often and how fast is not published (wire.md §7), so it is a setting. A retry repeats the same
bytes; a callback sent again by hand is signed anew, or a receiver would rightly call it stale.
"""

import contextlib
import heapq
import itertools
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import anyio
import httpx
import orjson

from .desk import Desk
from .faults import Fault, Leg
from .records import CallbackSent, JobRecord, Message
from .replies import result_body
from .request_log import LARGEST, Exchange
from .v3.records import V3Job
from .v3.webhooks import webhook

__all__ = ["CallbackSender"]

#: Real seconds in which an answer's body is read.
_LISTENING = 1.0


@dataclass(frozen=True, slots=True)
class _Letter:
    """One result on its way: `attempt` counts from 0; `body` is empty until it was signed. `url`: not the job's own.

    `held`: the fault that has held it back, in words.
    """

    job: JobRecord
    message: Message
    attempt: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    held: str = ""


class CallbackSender:
    """Sends each job's results when they fall due, while `run` runs."""

    def __init__(self, desk: Desk, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._desk = desk
        self._settings = desk.settings
        self._transport = transport
        self._due: list[tuple[float, int, _Letter]] = []
        self._order = itertools.count()
        self._expected: dict[int, Message] = {}
        self._news = anyio.Event()
        for job in desk.registry.jobs.values():
            self.expect(job)

    def expect(self, job: JobRecord) -> None:
        """Send what *job* comes to; called again when its plan changes."""
        if not self._url(job):
            return
        late = isinstance(job, V3Job) and self._settings.webhook_reordered
        for message in reversed(job.plan[job.notified :]) if late else job.plan[job.notified :]:
            if id(message) in self._expected:
                continue
            self._expected[id(message)] = message
            self._post(job.plan[-1].at if late else message.at, _Letter(job, message))

    def again(self, job: JobRecord, message: Message, copies: int = 1, url: str = "") -> None:
        """Send *message* now, whether or not it was sent before; more *copies* are the same bytes over again."""
        now = self._settings.clock.time()
        body, headers = self._written(job, message, now)
        for _ in range(copies):
            self._post(now, _Letter(job, message, body=body, headers=headers, url=url))

    def _written(self, job: JobRecord, message: Message, now: float) -> tuple[bytes, Mapping[str, str]]:
        """Body and headers, signed at *now*."""
        if isinstance(job, V3Job):
            return webhook(self._desk, job, message, now)
        body = orjson.dumps(result_body(self._desk.keys, job, message, signed_at=now))
        return body, {"content-type": "application/json"}

    def reaches(self, job: JobRecord) -> bool:
        """Whether *job* has a URL its callbacks can go to."""
        return bool(self._url(job))

    def _url(self, job: JobRecord) -> str:
        # The job's own URL wins over the portal's (wire.md §7).
        url = job.callback_url or self._settings.callback_url
        return url if self._settings.calls(url) else ""

    def _post(self, due: float, letter: _Letter) -> None:
        heapq.heappush(self._due, (due, next(self._order), letter))
        self._news.set()

    async def run(self) -> None:
        """Send callbacks until cancelled."""
        clock = self._settings.clock
        # Loading the system's CAs takes 40 ms, and most sandboxes have nobody to call.
        while self._settings.callback_ca_file is None and not self._due:
            self._news = anyio.Event()
            await clock.wait(self._news, None)
        transport = self._transport or httpx.AsyncHTTPTransport(verify=self._trust(), trust_env=False)
        async with transport, anyio.create_task_group() as sending:
            while True:
                self._news = anyio.Event()
                while self._due and self._due[0][0] <= clock.time():
                    letter = heapq.heappop(self._due)[2]
                    sending.start_soon(self._send, transport, letter)
                await clock.wait(self._news, self._due[0][0] - clock.time() if self._due else None)

    def _trust(self) -> ssl.SSLContext:
        ca_file = self._settings.callback_ca_file
        return ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)

    async def _send(self, transport: httpx.AsyncBaseTransport, letter: _Letter) -> None:
        job, message = letter.job, letter.message
        index = next((index for index, planned in enumerate(job.plan) if planned is message), None)
        if index is None or self._desk.registry.jobs.get(job.job_id) is not job:
            # In the meantime a reviewer has decided otherwise, or the sandbox was reset.
            self._expected.pop(id(message), None)
            return
        leg: Leg = "webhook" if isinstance(job, V3Job) else "callback"
        fault = self._desk.faults.take(leg, job.user_id, job.job_id) if not letter.held else None
        now = self._settings.clock.time()
        if not letter.body:
            body, headers = self._written(job, message, now)
            letter = replace(letter, body=body, headers=headers)
            copies = self._settings.webhook_copies if isinstance(job, V3Job) else 1
            for _ in range(copies - 1):
                self._post(now, letter)
        if fault is not None and fault.delay:
            self._post(now + fault.delay, replace(letter, body=self._spoil(fault, letter.body), held=fault.text))
            return
        url = letter.url or self._url(job)
        exchange = self._desk.log.callback(leg, url, job)
        exchange.fault = fault.text if fault is not None else letter.held
        status = exchange.status = await self._attempt(transport, replace(letter, url=url), fault, exchange)
        self._desk.log.add(exchange)
        job.callbacks.append(CallbackSent(now, url, message.code, status))
        job.notified = max(job.notified, index + 1)
        self._desk.registry.save(job)
        answered = status is not None and 200 <= status < 300
        if answered or letter.attempt >= self._settings.callback_retries:
            self._expected.pop(id(message), None)
        else:
            wait = self._settings.callback_interval * 2**letter.attempt
            again = replace(letter, attempt=letter.attempt + 1, held="")
            self._post(self._settings.clock.time() + wait, again)

    async def _attempt(
        self, transport: httpx.AsyncBaseTransport, letter: _Letter, fault: Fault | None, exchange: Exchange
    ) -> int | None:
        """The HTTP status of one attempt, None for no answer; a fault may keep it back or belie the answer."""
        body, headers = letter.body, httpx.Headers(letter.headers)
        if fault is not None:
            if not (fault.effect or fault.status is None) or fault.cut:
                exchange.reason = "not sent: a fault has kept it back"
                return None if fault.cut else fault.status
            body = self._spoil(fault, body)
            headers.update(fault.headers)
        settings = self._settings
        patience = settings.webhook_timeout if isinstance(letter.job, V3Job) else settings.callback_timeout
        limits = dict.fromkeys(("connect", "read", "write", "pool"), patience)
        request = httpx.Request("POST", letter.url, content=body, headers=headers, extensions={"timeout": limits})
        exchange.call(request.headers.raw, body)
        exchange.reason = f"no answer within {patience:g} s"
        # The transport, not a client: httpx's client logs whole URLs, and callback URLs may carry a token.
        with anyio.move_on_after(patience):
            try:
                response = await transport.handle_async_request(request)
            except httpx.TransportError as error:
                exchange.reason = f"no answer: {type(error).__name__}"
            else:
                exchange.status, exchange.reason = response.status_code, ""
                exchange.called(response.headers.raw, await _beginning(response))
        return exchange.status if fault is None or fault.status is None else fault.status

    @staticmethod
    def _spoil(fault: Fault, body: bytes) -> bytes:
        if fault.tamper is not None:
            content: dict[str, Any] = orjson.loads(body)
            fault.tamper(content)
            return orjson.dumps(content)
        if fault.body is None:
            return body
        if isinstance(fault.body, bytes):
            return fault.body
        return fault.body.encode() if isinstance(fault.body, str) else orjson.dumps(dict(fault.body))


async def _beginning(response: httpx.Response) -> bytes:
    """What *response* says, or its beginning: nobody but the log is waiting for it."""
    said = b""
    with anyio.move_on_after(_LISTENING), contextlib.suppress(httpx.TransportError):
        async for chunk in cast("httpx.AsyncByteStream", response.stream):
            said += chunk
            if len(said) > LARGEST:
                break
    await response.aclose()
    return said
