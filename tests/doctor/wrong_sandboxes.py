"""Sandboxes that are wrong in one named point each, and what a doctor must say of that point."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trustme
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smile_async.doctor import State
from smile_async.sandbox import RunningSandbox, Sandbox
from smile_async.sandbox.certificates import Certificates
from smile_async.sandbox.listener import Listener
from smile_async.timing.clock import SystemClock

Account = dict[str, Any]
#: Stands in front of a running sandbox, and says what of the account leads there.
Front = Callable[[RunningSandbox, Path], contextlib.AbstractAsyncContextManager[Account]]


@dataclass(frozen=True)
class Wrong:
    """*point*: what is wrong. *finding*, *state*, *says*: the one line that must tell it.

    *settings* of the sandbox; *spoil* breaks it; *front* stands before it; *told* is of the account. *selfie*,
    *thorough*, *api*, *patience*: how it is examined.
    """

    point: str
    finding: str
    state: State
    says: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    spoil: Callable[[Sandbox], None] = lambda _: None
    front: Front | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    selfie: bool = False
    thorough: bool = False
    api: str = "v1"
    patience: float = 20.0


class Ahead(SystemClock):
    """A clock that is so many seconds ahead."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def time(self) -> float:
        return super().time() + self.seconds


def faulty(leg: Any, **what: Any) -> Callable[[Sandbox], None]:
    """Let every reply of *leg* be so."""
    return lambda sandbox: sandbox.fault(leg, **{"times": None, **what})


def without(*names: str) -> Callable[[dict[str, Any]], None]:
    """Leave *names* out of a reply."""

    def tamper(body: dict[str, Any]) -> None:
        for name in names:
            body.pop(name, None)

    return tamper


def foreign_host(body: dict[str, Any]) -> None:
    """Lead the pictures elsewhere."""
    if "upload_url" in body:
        query = urlsplit(body["upload_url"]).query
        body["upload_url"] = f"https://pictures.evil.example/videos/selfie.zip?{query}"


def approving(body: dict[str, Any]) -> None:
    """Approve whatever was rejected."""
    if isinstance(body.get("result"), dict) and body["result"]["ResultCode"] == "0821":
        body["result"]["ResultCode"] = "0820"


def refusing(app: ASGIApp, method: str, path: str, status: int, *, first: int = 0) -> ASGIApp:
    """*app*, but requests of *method* to what begins with *path* are answered *status*, after the *first* so many."""
    seen = 0

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal seen
        if scope["type"] != "http" or scope["method"] != method or not scope["path"].startswith(path):
            await app(scope, receive, send)
            return
        seen += 1
        if seen <= first:
            await app(scope, receive, send)
            return
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    return front


def relabelled(app: ASGIApp, name: bytes, value: bytes, path: str = "/") -> ASGIApp:
    """*app*, but its replies from *path* on carry this header."""

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["path"].startswith(path):
                others = [pair for pair in message["headers"] if pair[0] != name]
                message["headers"] = [*others, (name, value)]
            await send(message)

        await app(scope, receive, sending)

    return front


def api_of(wrap: Callable[..., ASGIApp], *how: Any, **more: Any) -> Callable[[Sandbox], None]:
    """Let *wrap* stand before a sandbox's API."""

    def spoil(sandbox: Sandbox) -> None:
        sandbox.api_app = wrap(sandbox.api_app, *how, **more)

    return spoil


def storage_of(wrap: Callable[..., ASGIApp], *how: Any, **more: Any) -> Callable[[Sandbox], None]:
    """Let *wrap* stand before a sandbox's storage."""

    def spoil(sandbox: Sandbox) -> None:
        sandbox.storage_app = wrap(sandbox.storage_app, *how, **more)

    return spoil


def served(*names: str, trusted: bool = True, http1_only: bool = False, days: int = 365) -> Front:
    """The same API at another port: for *names*, by a CA that the account trusts or not, good for *days*."""

    @contextlib.asynccontextmanager
    async def front(running: RunningSandbox, folder: Path) -> AsyncIterator[Account]:
        authority = trustme.CA()
        ends = datetime.now(UTC) + timedelta(days=days)
        begins = ends - timedelta(days=400)
        issued = authority.issue_cert(*names or ("127.0.0.1",), not_before=begins, not_after=ends)
        files = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
        authority.cert_pem.write_to_path(str(files.ca_file))
        issued.private_key_and_cert_chain_pem.write_to_path(str(files.cert_file))
        issued.private_key_pem.write_to_path(str(files.key_file))
        listener = Listener(running.sandbox.api_app, "127.0.0.1", 0, files, http1_only=http1_only)
        await listener.start()
        try:
            account = {"base_url": f"https://127.0.0.1:{listener.port}/v1"}
            yield {**account, "ca_file": str(files.ca_file)} if trusted else account
        finally:
            await listener.stop()

    return front


@contextlib.asynccontextmanager
async def closed(running: RunningSandbox, folder: Path) -> AsyncIterator[Account]:
    """A port that is held, and at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield {"base_url": f"https://127.0.0.1:{held.getsockname()[1]}/v1"}


@contextlib.asynccontextmanager
async def not_tls(running: RunningSandbox, folder: Path) -> AsyncIterator[Account]:
    """A port that speaks HTTP without TLS."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield {"base_url": f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"}


_OTHER_KEY = {"api_key": "another-key-0b1946"}

WRONG = (
    # The way there.
    Wrong("a name nobody knows", "dns API", State.FAILURE, "resolver", told={"base_url": "https://api.invalid/v1"}),
    Wrong("a storage nobody knows", "dns storage", State.FAILURE, "resolver", told={"upload_hosts": "bucket.invalid"}),
    Wrong("a port nobody listens at", "tcp API", State.FAILURE, "firewall", front=closed),
    Wrong("no TLS", "tls API", State.FAILURE, "no TLS that we know", front=not_tls),
    Wrong("a wrong CA", "tls API", State.FAILURE, "SMILE_CA_FILE", front=served(trusted=False)),
    Wrong("a certificate for another name", "tls API", State.FAILURE, "another name", front=served("else.example")),
    Wrong("a certificate that has ended", "tls API", State.FAILURE, "has expired", front=served(days=-1)),
    Wrong("a certificate that ends soon", "tls API", State.WARNING, "more days", front=served(days=5)),
    Wrong("HTTP/1.1 only", "alpn API", State.WARNING, "h2 was hoped for", front=served(http1_only=True)),
    Wrong("HTTP/1.1 only, seen by a request", "http API", State.WARNING, "instead", front=served(http1_only=True)),
    # Clock, key, lists.
    Wrong("a clock off by an hour", "clock", State.FAILURE, "s behind", settings={"clock": Ahead(3_600.4)}),
    Wrong("a clock off by a minute", "clock", State.WARNING, "s ahead", settings={"clock": Ahead(-59.6)}),
    Wrong("2205", "key", State.FAILURE, "2205", told=_OTHER_KEY),
    Wrong("2205 for the partner", "key", State.FAILURE, "partner id with its zeros", told={"partner_id": "002"}),
    Wrong("a gateway that finds nobody", "key", State.FAILURE, "502", spoil=faulty("job_status", status=502)),
    Wrong("another service", "key", State.FAILURE, "base URL", spoil=api_of(refusing, "POST", "/v1/job", 404)),
    Wrong("404 with HTTP 200", "HTTP status of 2304", State.DIFFERENT, "200", settings={"not_found_status": 200}),
    Wrong("no lists", "catalogue", State.WARNING, "HTTP 500", spoil=faulty("account", status=500, body=b"")),
    Wrong(
        "lists that may be kept",
        *("lists", State.DIFFERENT, "max-age"),
        spoil=api_of(relabelled, b"cache-control", b"max-age=3600", "/v1/services"),
    ),
    Wrong("a narrow window", "timestamp window", State.DIFFERENT, "at 240", settings={"window": 60}, thorough=True),
    # Uploads.
    Wrong(
        "no SmartSelfie",
        *("upload prepared", State.FAILURE, "2213"),
        spoil=faulty("upload", status=400, body={"error": "not enabled", "code": "2213"}),
        selfie=True,
    ),
    Wrong(
        "a foreign upload host",
        *("upload host", State.FAILURE, "SMILE_UPLOAD_HOSTS=pictures.evil.example"),
        spoil=faulty("upload", tamper=foreign_host),
        selfie=True,
    ),
    Wrong(
        "URLs of a minute", "upload URL's lifetime", State.DIFFERENT, "s by", settings={"url_lifetime": 60}, selfie=True
    ),
    Wrong(
        "an unsigned status",
        *("signed status", State.FAILURE, "carries no signature"),
        spoil=faulty("job_status", tamper=without("signature")),
        selfie=True,
    ),
    Wrong(
        "a status of somebody else's",
        *("signed status", State.FAILURE, "another key"),
        spoil=faulty("job_status", tamper=lambda body: body.update(signature="AAAA")),
        selfie=True,
    ),
    Wrong("a storage that refuses", "zip put", State.FAILURE, "403", spoil=faulty("put", status=403), selfie=True),
    Wrong(
        "a URL for one zip",
        *("zip put again", State.DIFFERENT, "409"),
        spoil=storage_of(refusing, "PUT", "/videos", 409, first=1),
        selfie=True,
    ),
    Wrong(
        "a duplicate with HTTP 409",
        *("job_id used again", State.DIFFERENT, "409"),
        spoil=lambda sandbox: _prepared_by(_conflict, sandbox),
        selfie=True,
    ),
    # Results.
    Wrong(
        "a provisional result that is complete",
        *("job_complete", State.DIFFERENT, "job_complete True"),
        settings={"complete_on_provisional": True, "review": 2.0},
        selfie=True,
    ),
    Wrong(
        "sandbox_result ignored",
        *("sandbox_result: SmartSelfie Authentication with 1", State.DIFFERENT, "approved"),
        spoil=faulty("job_status", tamper=approving),
        selfie=True,
    ),
    Wrong(
        "no history",
        *("history", State.DIFFERENT, "none"),
        spoil=faulty("job_status", tamper=without("history")),
        selfie=True,
    ),
    Wrong(
        "no links",
        *("image links", State.DIFFERENT, "none"),
        spoil=faulty("job_status", tamper=without("image_links")),
        selfie=True,
    ),
    Wrong(
        "no update of the photo",
        *("job type 8", State.DIFFERENT, "2212"),
        spoil=lambda sandbox: _prepared_by(_without_updates, sandbox),
        selfie=True,
    ),
    Wrong(
        "verdicts that take long",
        *("registration", State.WARNING, "still pending"),
        spoil=faulty("job_status", tamper=lambda body: body.update(result="No result yet", job_complete=False)),
        selfie=True,
        patience=0.1,
    ),
    # Lookups and the widget.
    Wrong(
        "an AML check that no status finds",
        *("lookups by status: aml_check", State.DIFFERENT, "2304"),
        settings={"without_status": {"aml_check"}},
        selfie=True,
    ),
    Wrong(
        "a job_id that looks up again",
        *("lookups' job_id: basic_kyc", State.DIFFERENT, "second bill"),
        settings={"run_again": {"basic_kyc"}},
        selfie=True,
    ),
    Wrong(
        "unsigned lookups",
        *("signed replies: enhanced_kyc", State.DIFFERENT, "no signature"),
        spoil=faulty("request", tamper=without("signature")),
        selfie=True,
    ),
    Wrong(
        "lookups of somebody else's",
        *("signed replies: enhanced_kyc", State.FAILURE, "another key"),
        spoil=faulty("request", tamper=lambda body: body.update(signature="AAAA")),
        selfie=True,
    ),
    Wrong(
        "a product that is not enabled",
        *("test numbers: business_verification", State.UNKNOWN, "403"),
        spoil=api_of(refusing, "POST", "/v1/business_verification", 403),
        selfie=True,
    ),
    Wrong(
        "no widget without a callback",
        *("web token's callback", State.DIFFERENT, "refused without one"),
        spoil=api_of(refusing, "POST", "/v1/token", 400),
        selfie=True,
    ),
    # V3.
    Wrong("a wrong CA, V3", "tls API", State.FAILURE, "SMILE_CA_FILE", front=served(trusted=False), api="v3"),
    Wrong("a key that is none, V3", "key", State.FAILURE, "no token", told=_OTHER_KEY, api="v3"),
    Wrong("a clock off, V3", "clock", State.FAILURE, "s behind", settings={"clock": Ahead(3_600.4)}, api="v3"),
    Wrong("short tokens", "token's lifetime", State.DIFFERENT, "60 s", settings={"token_lifetime": 60}, api="v3"),
    Wrong("tokens nobody takes", "token", State.FAILURE, "401", settings={"token_lifetime": 0}, api="v3"),
    Wrong(
        "a list that is not there, V3",
        *("catalogue", State.WARNING, "config"),
        spoil=api_of(refusing, "GET", "/v3/services/config", 404),
        api="v3",
    ),
    Wrong(
        "an empty wallet", "submission", State.FAILURE, "402", settings={"empty_wallet": True}, selfie=True, api="v3"
    ),
    Wrong(
        "a job that is found late",
        *("V3 fresh job", State.DIFFERENT, "404"),
        # Once for what nobody made, and once for the first job.
        spoil=faulty("status", status=404, times=2),
        selfie=True,
        api="v3",
    ),
    Wrong(
        "a token for one job",
        *("V3 token reuse", State.DIFFERENT, "401"),
        spoil=api_of(refusing, "POST", "/v3/authentication", 401),
        selfie=True,
        api="v3",
    ),
    Wrong(
        "an identity that overrules sandbox_result",
        *("V3 sandbox_result", State.DIFFERENT, "the identity decides"),
        spoil=faulty("status", tamper=lambda body: body.update(status="clear")),
        selfie=True,
        api="v3",
    ),
    Wrong(
        "a product that is not enabled, V3",
        *("V3 identity: enhanced_kyc", State.UNKNOWN, "403"),
        settings={"forbidden": {"enhanced_kyc"}},
        selfie=True,
        api="v3",
    ),
    Wrong(
        "a job that nobody made",
        *("status of nobody", State.DIFFERENT, "202"),
        spoil=faulty("status", status=202, body={"status": "processing"}),
        api="v3",
    ),
)


def _prepared_by(how: Callable[[Callable[[Any], Any], Any], Any], sandbox: Sandbox) -> None:
    sandbox.registry.__dict__.update(prepare=partial(how, sandbox.registry.prepare))


def _without_updates(prepare: Callable[[Any], Any], prep: Any) -> Any:
    from smile_async.sandbox.requests import Refusal  # noqa: PLC0415

    if prep.product.job_type == 8:
        raise Refusal("2212", "invalid job type")
    return prepare(prep)


def _conflict(prepare: Callable[[Any], Any], prep: Any) -> Any:
    from smile_async.sandbox.requests import Refusal  # noqa: PLC0415

    try:
        return prepare(prep)
    except Refusal as refusal:
        raise Refusal(refusal.code, refusal.text, 409) from None
