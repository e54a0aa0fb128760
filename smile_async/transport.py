"""HTTP engines behind one seam: the only file that imports httpx or one of its kin.

An engine sends one request and gives back one whole reply, or raises NoReply saying whether anything may have left.
Nothing here retries, follows a redirect, reads a proxy variable unless asked, or logs a URL: requests go through the
transports themselves, because httpx's client logs every URL, and a presigned one is a credential.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio.lowlevel
import httpx

from smile_async.conversation import Sent
from smile_async.errors import BadConfiguration

__all__ = ["MAX_REPLY_BYTES", "Body", "Engine", "EngineFactory", "NoReply", "Reply", "engine_factory"]

#: A status reply with history and base64 photos stays far below this; more is not worth anybody's memory.
MAX_REPLY_BYTES = 8_000_000
#: Bytes; httpcore cuts an HTTP/2 body into frames by re-slicing what is left: larger pieces make that quadratic.
PIECE_BYTES = 65_536
#: Bytes; over HTTP/1.1, which our own storage engines speak, each piece costs 60 to 100 µs: a usual job goes as one.
STORAGE_PIECE_BYTES = 1_048_576
#: Seconds to reach a host; the rest of a request's time is its leg's own deadline.
CONNECT_TIMEOUT = 10.0


@runtime_checkable
class Body(Protocol):
    """A request body of known length that can be read again for a retry."""

    length: int

    def pieces(self, size: int) -> Iterator[bytes]:
        """The whole body in pieces of at most *size* bytes."""
        ...


class Reply:
    """A whole reply. Its repr holds neither body nor headers."""

    __slots__ = ("body", "headers", "http_version", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes, http_version: str) -> None:
        self.status = status
        #: Names in lower case.
        self.headers = headers
        self.body = body
        #: "HTTP/2", "HTTP/1.1", or "" where the engine does not tell.
        self.http_version = http_version

    def __repr__(self) -> str:
        return f"<Reply {self.status} over {self.http_version or 'HTTP'}, {len(self.body):,} bytes>"


class NoReply(Exception):
    """No usable reply: *sent* says whether the request may have arrived, *why* is fit for a message."""

    def __init__(self, sent: Sent, why: str) -> None:
        super().__init__(why)
        self.sent = sent
        self.why = why


class Engine(Protocol):
    """One HTTP client: one method to send, one to close. Cancelling `send` abandons the request."""

    async def send(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes | Body) -> Reply:
        """Send and read the whole reply. Raises NoReply; *body* as bytes, or as a Body to be streamed."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


#: Makes a new engine; True for the API leg (HTTP/2 where the server offers it), False for storage (HTTP/1.1).
EngineFactory = Callable[[bool], Engine]


class HttpxEngine:
    """An engine over any transport of httpx's shape; *library* is the module whose Request the transport takes."""

    def __init__(
        self, transport: Any, library: ModuleType = httpx, *, owned: bool = True, piece: int = PIECE_BYTES
    ) -> None:
        self._transport = transport
        self._library = library
        self._owned = owned
        self._piece = piece
        self._urls: dict[str, Any] = {}
        self._unsent = (library.ConnectError, library.ConnectTimeout, library.PoolTimeout, library.UnsupportedProtocol)

    def __repr__(self) -> str:
        return f"<HttpxEngine over {type(self._transport).__name__}>"

    async def send(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes | Body) -> Reply:
        """Send and read the whole reply."""
        request = self._request(method, url, headers, body)
        failure: BaseException
        try:
            response = await self._transport.handle_async_request(request)
            try:
                return await self._whole(response)
            finally:
                await response.aclose()
        except (NoReply, asyncio.CancelledError) as told:
            failure = told
        except self._unsent as error:
            failure = NoReply(Sent.UNSENT if _never_connected(error) else Sent.AMBIGUOUS, _plain(error))
        except Exception as error:  # noqa: BLE001 - h2, h11, ssl and foreign transports raise what they like
            failure = NoReply(Sent.AMBIGUOUS, type(error).__name__)
        # Raised here, without context: frames below hold the request, whose repr shows a presigned URL.
        del request, url, body
        if isinstance(failure, asyncio.CancelledError):
            # pyreqwest raises one of its own making, which a cancel scope takes for somebody else's and lets through:
            # here the scope raises the one that it knows.
            await anyio.lowlevel.checkpoint_if_cancelled()
            failure.__context__ = None
        raise failure.with_traceback(None)

    def _request(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes | Body) -> Any:
        # The API's two URLs are parsed once (30 µs each); presigned ones come once and would only fill the memory.
        target = self._urls.get(url)
        if target is None:
            target = self._library.URL(url)
            if isinstance(body, bytes) and len(self._urls) < 8:
                self._urls[url] = target
        extensions = {"timeout": {"connect": CONNECT_TIMEOUT, "read": None, "write": None, "pool": None}}
        if not isinstance(body, bytes) and body.length <= self._piece:
            body = b"".join(body.pieces(self._piece))
        if isinstance(body, bytes):
            return self._library.Request(method, target, headers=headers, content=body, extensions=extensions)
        whole = [("Host", target.netloc.decode("ascii")), *headers, ("Content-Length", str(body.length))]
        stream = _stream_class(self._library)(body, self._piece)
        return self._library.Request(method, target, headers=whole, stream=stream, extensions=extensions)

    async def _whole(self, response: Any) -> Reply:
        pieces: list[bytes] = []
        size = 0
        async for piece in response.stream:
            size += len(piece)
            if size > MAX_REPLY_BYTES:
                raise NoReply(Sent.ANSWERED, f"the reply is larger than {MAX_REPLY_BYTES:,} bytes")
            pieces.append(piece)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw}
        return Reply(response.status_code, headers, b"".join(pieces), _version(response))

    async def aclose(self) -> None:
        """Close the transport, unless it is the user's own."""
        if self._owned:
            await self._transport.aclose()


def _never_connected(error: Exception) -> bool:
    """Whether a connection error says what it seems to: pyreqwest calls a reset after the request one as well."""
    details = getattr(error.__cause__, "details", None)
    if not isinstance(details, dict):
        return True
    return any(cause["message"] == "client error (Connect)" for cause in details["causes"] or ())


def _plain(error: Exception) -> str:
    # Connection errors name hosts, ports and certificates, never a path or a query.
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _version(response: Any) -> str:
    said = response.extensions.get("http_version")
    if said is not None:
        return str(said.decode("ascii"))
    native = response.extensions.get("pyreqwest_response")
    return str(native.version).replace("HTTP/2.0", "HTTP/2") if native is not None else ""


@lru_cache
def _stream_class(library: ModuleType) -> Callable[[Body, int], Any]:
    class Pieces(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, body: Body, piece: int) -> None:
            self._body = body
            self._piece = piece

        def __repr__(self) -> str:
            return f"<{self._body.length:,} bytes>"

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in self._body.pieces(self._piece):
                yield piece

    return Pieces


@lru_cache(maxsize=8)
def _tls(ca_file: str | None, _stamp: tuple[int, int], _http2: bool) -> ssl.SSLContext:
    """One context a leg: httpcore sets the ALPN offer on the context itself. Loading the system's CAs takes 25 ms."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def tls_context(ca_file: str | None, *, http2: bool) -> ssl.SSLContext:
    """The system's CAs, or those of *ca_file* (PEM); TLS 1.2 or later. Raises BadConfiguration."""
    try:
        about = Path(ca_file).stat() if ca_file else None
        return _tls(ca_file, (about.st_mtime_ns, about.st_size) if about else (0, 0), http2)
    except (OSError, ssl.SSLError) as error:
        raise BadConfiguration(
            f"ca_file {ca_file!r} can not be used ({error}): give a PEM file of CA certificates"
        ) from None


def _environment_proxy(base_url: str) -> str | None:
    parts = urlsplit(base_url)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def engine_factory(
    http: Any, *, ca_file: str | None = None, trust_env: bool = False, base_url: str = "https://"
) -> tuple[EngineFactory, bool]:
    """How to make engines of the kind *http*, and whether the API leg may have several (shards).

    "httpx", "httpx2" or "pyreqwest"; an `httpx.AsyncBaseTransport`, which serves both legs as it is and stays open; or
    a callable that makes one for each shard. Raises BadConfiguration.
    """
    if isinstance(http, httpx.AsyncBaseTransport):
        own = HttpxEngine(http, owned=False)
        return (lambda _http2: own), False
    if callable(http):
        return (lambda _http2: HttpxEngine(http())), True
    proxy = _environment_proxy(base_url) if trust_env else None
    if http == "httpx":
        return (lambda http2: _httpx_engine(httpx, ca_file, proxy, http2)), True
    if http == "httpx2":
        return (lambda http2: _httpx_engine(_imported("httpx2", "httpx2"), ca_file, proxy, http2)), True
    if http == "pyreqwest":
        _imported("pyreqwest", "rust")
        return (lambda http2: _pyreqwest_engine(ca_file, proxy, http2)), True
    raise BadConfiguration(f"http is {http!r}: give 'httpx', 'httpx2', 'pyreqwest' or an httpx.AsyncBaseTransport")


def _imported(name: str, extra: str) -> ModuleType:
    try:
        return __import__(name)
    except ImportError:
        raise BadConfiguration(f"http={name!r} needs an extra: pip install 'smile-async[{extra}]'") from None


def _httpx_engine(library: ModuleType, ca_file: str | None, proxy: str | None, http2: bool) -> Engine:
    transport = library.AsyncHTTPTransport(
        verify=tls_context(ca_file, http2=http2),
        http1=True,
        http2=http2,
        trust_env=False,
        proxy=proxy,
        # We gate in front of the pool: what queues inside costs O(connections) a request, and cancels leak its slots.
        limits=library.Limits(
            max_connections=None, max_keepalive_connections=100, keepalive_expiry=30.0 if http2 else 5.0
        ),
    )
    _close_cancelled_handshakes(transport._pool._network_backend)  # noqa: SLF001 - httpx takes no backend
    return HttpxEngine(transport, library, piece=PIECE_BYTES if http2 else STORAGE_PIECE_BYTES)


def _close_cancelled_handshakes(backend: Any) -> None:
    """At once: httpcore leaves the socket of a TLS handshake that was cancelled to the garbage collector."""
    connect = backend.connect_tcp

    async def connect_tcp(*where: Any, **how: Any) -> Any:
        stream = await connect(*where, **how)
        handshake = stream.start_tls

        async def start_tls(*context: Any, **names: Any) -> Any:
            try:
                return await handshake(*context, **names)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await stream.aclose()
                raise

        stream.start_tls = start_tls
        return stream

    backend.connect_tcp = connect_tcp


def _pyreqwest_engine(ca_file: str | None, proxy: str | None, http2: bool) -> Engine:
    # An extra: imported only by those who chose it.
    from pyreqwest.client import ClientBuilder  # noqa: PLC0415
    from pyreqwest.compatibility.httpx import HttpxTransport  # noqa: PLC0415
    from pyreqwest.proxy import ProxyBuilder  # noqa: PLC0415

    builder = ClientBuilder().follow_redirects(False).connect_timeout(timedelta(seconds=CONNECT_TIMEOUT))
    builder = builder.min_tls_version("TLSv1.2").gzip(False).brotli(False).zstd(False).deflate(False)
    builder = builder.proxy(ProxyBuilder.all(proxy)) if proxy else builder.no_proxy()
    builder = builder.http2(http2)
    if ca_file:
        tls_context(ca_file, http2=http2)
        builder = builder.add_root_certificate_pem(Path(ca_file).read_bytes())
    return HttpxEngine(HttpxTransport(builder.build()), piece=PIECE_BYTES if http2 else STORAGE_PIECE_BYTES)
