"""Which HTTP engine a session uses, and the one for transports of httpx's kind: the only file that imports httpx.

A transport that a user brings (a mock, a recorder, a proxy's) is driven itself, without httpx's client, because that
logs every URL, and a presigned one is a credential.
"""

from types import ModuleType
from typing import Any

import httpx

from smile_async.contained import is_ours
from smile_async.errors import BadConfiguration
from smile_async.protocol.steps import Sent
from smile_async.transport.engine import (
    CONNECT_TIMEOUT,
    PIECE_BYTES,
    Body,
    Engine,
    EngineFactory,
    Headers,
    NoReply,
    Pieces,
    Reply,
    plain,
    readable,
    whole,
)
from smile_async.transport.httpcore_engine import HttpcoreEngine
from smile_async.transport.proxies import environment_proxies
from smile_async.transport.pyreqwest_engine import PyreqwestEngine, pins, unconnected
from smile_async.transport.tls import check_variables, tls_context
from smile_async.urls import host_of

__all__ = ["HttpxEngine", "engine_factory"]

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
#: For connecting alone: how long a request may take is the business of whoever sends it.
_EXTENSIONS = {"timeout": {"connect": CONNECT_TIMEOUT, "read": None, "write": None, "pool": None}}


_NO_PIN = (
    "http='pyreqwest' would trust the system's CAs beside ca_file: use 'httpx', or on Linux let SSL_CERT_FILE name that"
    " file and unset SSL_CERT_DIR"
)


class HttpxEngine:
    """An engine over any `httpx.AsyncBaseTransport`; closes it with itself if it is *owned*."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *, owned: bool = True) -> None:
        self._transport = transport
        self._owned = owned

    def __repr__(self) -> str:
        return f"<HttpxEngine over {type(self._transport).__name__}>"

    async def send(self, method: str, url: str, headers: Headers, body: bytes | Body) -> Reply:
        """Send and read the whole reply."""
        failure: BaseException
        try:
            response = await self._transport.handle_async_request(_request(method, url, headers, body))
            try:
                return await _reply_of(response)
            finally:
                await response.aclose()
        except NoReply as told:
            failure = told
        except _UNSENT as error:
            failure = _unconnected(error)
        except BaseException as error:  # noqa: BLE001 - foreign transports raise what they like
            failure = error if is_ours(error) else NoReply(Sent.AMBIGUOUS, type(error).__name__)
        # Raised here, without context: frames below hold the request, whose repr shows a presigned URL.
        del url, body
        failure.__context__ = None
        raise failure.with_traceback(None)

    async def aclose(self) -> None:
        """Close the transport, unless it is the user's own."""
        if self._owned:
            await self._transport.aclose()


def _request(method: str, url: str, headers: Headers, body: bytes | Body) -> httpx.Request:
    if not isinstance(body, bytes) and body.length <= PIECE_BYTES:
        body = b"".join(body.pieces(PIECE_BYTES))
    if isinstance(body, bytes):
        return httpx.Request(method, url, headers=headers, content=body, extensions=_EXTENSIONS)
    target = httpx.URL(url)
    whole = [("Host", target.netloc.decode("ascii")), *headers, ("Content-Length", str(body.length))]
    return httpx.Request(method, target, headers=whole, stream=_Pieces(body, PIECE_BYTES), extensions=_EXTENSIONS)


def _unconnected(error: Exception) -> NoReply:
    native = error.__cause__
    if isinstance(getattr(native, "details", None), dict):
        # pyreqwest's transport for httpx, whose errors mean less, and show more, than those of httpx.
        return unconnected(native)
    return NoReply(Sent.UNSENT, plain(error))


class _Pieces(Pieces, httpx.AsyncByteStream):
    """As httpx wants it."""


async def _reply_of(response: httpx.Response) -> Reply:
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - an asynchronous transport made it
    headers = readable(response.headers.raw)
    return Reply(response.status_code, headers, await whole(response.stream), _version(response))


def _version(response: httpx.Response) -> str:
    said = response.extensions.get("http_version")
    if said is not None:
        return str(said.decode("ascii"))
    native = response.extensions.get("pyreqwest_response")
    return str(native.version).replace("HTTP/2.0", "HTTP/2") if native is not None else ""


def engine_factory(
    http: Any, *, ca_file: str | None = None, trust_env: bool = False, base_url: str = "https://"
) -> tuple[EngineFactory, bool]:
    """How to make engines of the kind *http*, and whether the API leg may have several (shards).

    "httpx", "httpx2" or "pyreqwest"; an `httpx.AsyncBaseTransport`, which serves both legs as it is and stays open; or
    a callable that makes one for each shard. Raises BadConfiguration.
    """
    if (ca_file or trust_env) and callable(http) | isinstance(http, httpx.AsyncBaseTransport):
        raise BadConfiguration("ca_file (SMILE_CA_FILE) or trust_env is for our own engines: give it to your transport")
    if isinstance(http, httpx.AsyncBaseTransport):
        own = HttpxEngine(http, owned=False)
        return (lambda _http2: own), False
    if callable(http):
        return (lambda _http2: HttpxEngine(http())), True
    proxies = environment_proxies() if trust_env else None

    if not ca_file:
        check_variables()

    def on_httpcore(library: ModuleType, http2: bool) -> Engine:
        # respx stands in front of httpcore and raises httpx's errors.
        context = tls_context(ca_file, http2=http2)
        return HttpcoreEngine(library, context, http2=http2, proxies=proxies, unsent=_UNSENT)

    if http == "httpx":
        return (lambda http2: on_httpcore(_imported("httpcore", "httpx"), http2)), True
    if http == "httpx2":
        _imported("httpx2", "httpx2")
        return (lambda http2: on_httpcore(_imported("httpcore2", "httpx2"), http2)), True
    if http == "pyreqwest":
        _imported("pyreqwest", "rust")
        if ca_file and not pins(ca_file, host_of(base_url)):
            raise BadConfiguration(_NO_PIN)
        return (lambda http2: PyreqwestEngine(ca_file, http2=http2, proxies=proxies)), True
    raise BadConfiguration(f"http is {http!r}: give 'httpx', 'httpx2', 'pyreqwest' or an httpx.AsyncBaseTransport")


def _imported(name: str, extra: str) -> ModuleType:
    try:
        return __import__(name)
    except ImportError:
        raise BadConfiguration(f"http={name!r} needs an extra: pip install 'smile-async[{extra}]'") from None
