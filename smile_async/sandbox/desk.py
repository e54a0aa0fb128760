"""What every HTTP endpoint of the sandbox shares: bodies under a cap, faults on request, the sandbox's own Date."""

import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from email.utils import formatdate
from typing import Protocol

import anyio
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from .credentials import Keys
from .faults import Faults, Leg
from .images import Images
from .records import JobRecord
from .registry import Registry
from .request_log import Exchange, RequestLog
from .settings import Settings
from .v3.tokens import Tokens

__all__ = ["CutOff", "Desk", "build_app", "exchange_of", "read_body", "with_fault"]


class Desk(Protocol):
    """What the HTTP endpoints need of a sandbox."""

    settings: Settings
    keys: Keys
    registry: Registry
    images: Images
    faults: Faults
    log: RequestLog
    #: Threads of its own: those of the loop may all be busy with blocking clients that wait for this sandbox.
    readers: Executor
    #: Where storage listens, such as `https://127.0.0.1:8444`; None = on the same host and port as the API.
    storage_url: str | None
    #: Set when the server is about to stop; None without a server.
    closing: anyio.Event | None

    #: The tokens of V3.
    tokens: Tokens

    def replay(self, job: JobRecord, url: str) -> None:
        """Send the callback of *job*'s latest result once more, to *url* if there is one."""
        ...

    def notify(self, job: JobRecord) -> None:
        """*job* has got a new plan: callbacks may be due."""
        ...


#: Where a request's scope keeps its exchange in the log.
_EXCHANGE = "smile_async.exchange"


class CutOff(ConnectionError):
    """Raised in the middle of a reply to make the server drop the connection."""


def build_app(desk: Desk, *routes: BaseRoute, no_route: ExceptionHandler) -> ASGIApp:
    """An ASGI app of *routes*, whose requests are logged and whose replies carry the Date of the sandbox's own clock.

    *no_route* answers to what is none of them.
    """
    app = Starlette(routes=list(routes), exception_handlers={404: no_route, 405: no_route})
    app.router.redirect_slashes = False  # many a client does not follow with its body

    async def logged(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = scope[_EXCHANGE] = desk.log.request(scope)

        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(desk.settings.clock.time(), usegmt=True).encode()
                message["headers"] = [*message["headers"], (b"date", date)]
            if exchange is not None and exchange.hear(message):
                desk.log.add(exchange)  # before whoever reads the reply can ask for it
            await send(message)

        try:
            await app(scope, receive, send_dated)
        finally:
            if exchange is not None:
                desk.log.add(exchange)

    return logged


def exchange_of(request: Request) -> Exchange:
    """The exchange that a request of the API begins."""
    exchange: Exchange = request.scope[_EXCHANGE]
    return exchange


async def read_body(request: Request, limit: int) -> bytes | None:
    """The whole request body; None if it is larger than *limit* bytes.

    Too large a body is read on for a while: a reply to a half-sent request reaches many clients as a broken pipe.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif size > 2 * limit:
            break
    return b"".join(chunks) if size <= limit else None


def whose(desk: Desk, leg: Leg, body: bytes) -> tuple[str | None, str | None]:
    """User and job of a JSON request, so that a fault can pick its victim; read only when a fault waits."""
    if desk.faults.pending(leg):
        with contextlib.suppress(orjson.JSONDecodeError, AttributeError):
            data = orjson.loads(body)
            params = data.get("partner_params") or {}
            return params.get("user_id") or data.get("user_id"), params.get("job_id") or data.get("job_id")
    return None, None


async def with_fault(
    desk: Desk,
    exchange: Exchange,
    leg: Leg,
    victim: tuple[str | None, str | None],
    work: Callable[[], Awaitable[Response]],
) -> Response:
    """What *work* answers, unless a fault is waiting for a request of *victim* (user, job) on this *leg*."""
    fault = desk.faults.take(leg, *victim)
    if fault is None:
        return await work()
    exchange.fault = fault.text
    reply = await work() if fault.effect else None
    await _linger(desk, fault.delay)
    if reply is None and fault.honest:
        reply = await work()
    spoiled = fault.spoil(reply)
    return _Cut(spoiled) if fault.cut else spoiled


async def _linger(desk: Desk, seconds: float) -> None:
    # Real time, not the sandbox's clock: the client's deadlines for a request in flight are real as well.
    if desk.closing is None:
        await anyio.sleep(seconds)
        return
    with anyio.move_on_after(seconds):
        await desk.closing.wait()


class _Cut(Response):
    """A reply that promises more than it delivers, and ends with the connection."""

    def __init__(self, reply: Response) -> None:
        super().__init__(bytes(reply.body), reply.status_code, dict(reply.headers))
        self.headers["content-length"] = str(len(self.body) + 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        raise CutOff("connection dropped on request")
