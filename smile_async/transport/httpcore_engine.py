"""The engine on httpcore, the transport below httpx, or on httpcore2, which is below httpx2.

httpx's own request, response and URL objects cost a fifth of a small request and would log presigned URLs, and
httpcore's pool looks at every connection for every request. So a request is built here, and an engine keeps its few
connections itself: one HTTP/2 connection that all requests share, or as many of HTTP/1.1 as are needed at once.
"""

import asyncio
import ssl
import sys
from functools import partial
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from h2.errors import ErrorCodes
from h2.events import StreamReset

from smile_async.protocol.steps import Sent
from smile_async.transport.engine import (
    BROKEN_AT_MOST,
    CONNECT_TIMEOUT,
    KEPT_FOR,
    PIECE_BYTES,
    STORAGE_PIECE_BYTES,
    Body,
    Headers,
    NoReply,
    Pieces,
    Reply,
    Watched,
    host_header,
    plain,
    readable,
    whole,
)
from smile_async.transport.proxies import ProxyFor
from smile_async.transport.shared_reading import SharedReading
from smile_async.transport.sockets import Backend
from smile_async.undivided import undivided

__all__ = ["HttpcoreEngine"]

#: For connecting alone: how long a request may take is the business of whoever sends it.
_TIMEOUT = {"connect": CONNECT_TIMEOUT}
#: Errors that say that nothing has left.
_UNSENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol")


class HttpcoreEngine:
    """An engine over *library* (httpcore or httpcore2); *http2*: where the server offers it."""

    def __init__(
        self,
        library: ModuleType,
        context: ssl.SSLContext,
        *,
        http2: bool,
        proxies: ProxyFor | None = None,
    ) -> None:
        self._library = library
        self._http2 = http2
        self._piece = PIECE_BYTES if http2 else STORAGE_PIECE_BYTES
        # Used for what a pool knows of proxies and TLS; it never gets to see a request.
        self._new_maker = partial(
            library.AsyncConnectionPool,
            ssl_context=context,
            http1=True,
            http2=http2,
            keepalive_expiry=KEPT_FOR[http2],
            network_backend=Backend(library),
        )
        #: By the proxy on the way, None for straight away.
        self._makers: dict[str | None, Any] = {}
        self._proxies = proxies
        #: The one that all requests share: HTTP/2, or not yet known not to be.
        self._shared: Any = None
        #: Connections of HTTP/1.1 that wait for a request, the latest used last.
        self._idle: list[Any] = []
        #: Every open connection, and how many requests are on it.
        self._users: dict[Any, int] = {}
        #: Who reads from those of HTTP/2.
        self._reading: WeakKeyDictionary[Any, SharedReading] = WeakKeyDictionary()
        #: Those of them that take no new ones.
        self._condemned: set[Any] = set()
        self._closed = False
        self._targets: dict[str, tuple[Any, tuple[str, str]]] = {}

    def __repr__(self) -> str:
        return f"<HttpcoreEngine on {self._library.__name__}>"

    @property
    def _unsent(self) -> tuple[type[Exception], ...]:
        # respx stands in front of httpcore and raises the errors of httpx, which it has then imported.
        libraries = filter(None, (self._library, sys.modules.get("httpx")))
        return tuple(getattr(library, name) for library in libraries for name in _UNSENT)

    async def send(self, method: str, url: str, headers: Headers, body: bytes | Body) -> Reply:
        """Send and read the whole reply."""
        failure: BaseException
        try:
            return await self._exchange(self._request(method, url, headers, body))
        except (NoReply, asyncio.CancelledError) as told:
            failure = told
        except self._unsent as error:
            failure = NoReply(Sent.UNSENT, plain(error))
        except Exception as error:  # noqa: BLE001 - h2, h11 and ssl raise what they like
            failure = NoReply(Sent.AMBIGUOUS, type(error).__name__)
        # Raised here, without context: frames below hold the request, which knows a presigned URL.
        del url, body
        failure.__context__ = None
        raise failure.with_traceback(None)

    def _request(self, method: str, url: str, headers: Headers, body: bytes | Body) -> Any:
        target, host = self._target(url, remember=isinstance(body, (bytes, Watched)))
        content = Pieces(body, self._piece)
        whole = [host, *headers, ("Content-Length", str(content.length))]
        return self._library.Request(method, target, headers=whole, content=content, extensions={"timeout": _TIMEOUT})

    def _target(self, url: str, *, remember: bool) -> tuple[Any, tuple[str, str]]:
        # The API's two URLs are parsed once; presigned ones come once and would only fill the memory.
        found = self._targets.get(url)
        if found is None:
            found = self._library.URL(url), ("Host", host_header(url))
            if remember and len(self._targets) < 8:
                self._targets[url] = found
        return found

    async def _exchange(self, request: Any) -> Reply:
        """On the first connection that takes the request up; to a new one it is offered once."""
        broken = 0
        while True:
            connection, new = await self._connection(request.url.origin)
            request.stream.begun = False
            if self._http2:
                request.extensions["trace"] = partial(self._heed, connection)
            try:
                return await self._exchange_on(connection, request)
            except self._library.ConnectionNotAvailable:
                # It is HTTP/1.1 and busy: nothing was taken up, and another one will.
                continue
            except self._unsent:
                raise
            except Exception as error:
                await self._look_after(connection)
                refused = _refused(error)
                broken += not refused
                if request.stream.begun and not refused:
                    raise
                if new or broken > BROKEN_AT_MOST:
                    raise NoReply(Sent.UNSENT, type(error).__name__) from None
            finally:
                await self._give_back(connection)

    async def _look_after(self, connection: Any) -> None:
        """A request has failed on it: it takes no new ones; if it is broken, the others are not to wait in vain."""
        self._condemned.add(connection)
        if connection is self._shared:
            self._shared = None
        if not connection.is_available():
            await self._hang_up(connection)

    async def _exchange_on(self, connection: Any, request: Any) -> Reply:
        response = await connection.handle_async_request(request)
        try:
            reply = await _reply_of(response)
        finally:
            await response.aclose()
        if reply.http_version != "HTTP/2":
            self._http2 = False
        return reply

    async def _heed(self, connection: Any, event: str, info: dict[str, Any]) -> None:
        """What httpcore tells of a request; where the connection is shared, it waits for its turn to read."""
        match event:
            case "http2.send_request_headers.started":
                self._reading[connection].begin(info["stream_id"])
            case "http2.receive_response_headers.started":
                await self._reading[connection].wait(info["stream_id"])
            case "http2.response_closed.started":
                self._reading[connection].leave(info["stream_id"])
            case _ if event.endswith(".start_tls.complete"):
                self._reading[connection] = info["return_value"].reading

    async def _connection(self, origin: Any) -> tuple[Any, bool]:
        """A connection, and whether it is made for this request."""
        await self._drop_expired()
        if self._closed:
            raise NoReply(Sent.UNSENT, "the session is closed")
        for connection in [self._shared, *reversed(self._idle)]:
            new = False
            if connection is not None and connection.is_available() and connection.can_handle_request(origin):
                break
        else:
            new = True
            connection = self._maker(origin).create_connection(origin)
            if self._http2 and origin.scheme == b"https":
                self._shared = connection
        if connection in self._idle:
            self._idle.remove(connection)
        self._users[connection] = self._users.get(connection, 0) + 1
        return connection, new

    def _maker(self, origin: Any) -> Any:
        """What makes connections to *origin*, by the proxy on the way there."""
        proxy = None if self._proxies is None else self._proxies(origin.scheme.decode(), origin.host.decode())
        if proxy not in self._makers:
            self._makers[proxy] = self._new_maker(proxy=_proxy(self._library, proxy) if proxy else None)
        return self._makers[proxy]

    async def _drop_expired(self) -> None:
        # The one idle for longest expires first; the one that would be taken next may have been hung up by the server.
        for place in (0, -1):
            while self._idle and self._idle[place].has_expired():
                await self._hang_up(self._idle.pop(place))
        shared = self._shared
        if shared is not None and not self._users.get(shared) and shared.has_expired():
            self._shared = None
            await self._hang_up(shared)

    async def _give_back(self, connection: Any) -> None:
        if connection not in self._users:
            # Hung up meanwhile. Was it still being made then, it has come to stand since.
            if not connection.is_closed():
                await self._hang_up(connection)
            return
        left = self._users[connection] = self._users[connection] - 1
        usable = connection.is_available() and connection not in self._condemned and not self._closed
        if connection is self._shared and not (usable and self._http2):
            self._shared = None
        if left or connection is self._shared:
            return
        if usable and connection.is_idle():
            self._idle.append(connection)
        else:
            await self._hang_up(connection)

    async def _hang_up(self, connection: Any) -> None:
        self._users.pop(connection, None)
        self._condemned.discard(connection)
        await undivided(connection.aclose)

    async def aclose(self) -> None:
        """Close every connection; what is still in flight fails."""
        self._closed = True
        self._shared = None
        self._idle.clear()
        for connection in list(self._users):
            await self._hang_up(connection)


def _proxy(library: ModuleType, url: str) -> Any:
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    known = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return library.Proxy(bare, auth=known)


def _refused(error: Exception) -> bool:
    """Whether the server says that it has not processed the request (RFC 9113 §8.7)."""
    reset = error.args[0] if error.args else None
    return isinstance(reset, StreamReset) and reset.error_code == ErrorCodes.REFUSED_STREAM


async def _reply_of(response: Any) -> Reply:
    version = response.extensions.get("http_version", b"").decode("ascii")
    return Reply(response.status, readable(response.headers), await whole(response.stream), version)
