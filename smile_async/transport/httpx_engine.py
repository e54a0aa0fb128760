"""The engine for transports of httpx's kind, imported by sessions that are given one.

A transport that a user brings (a mock, a recorder, a proxy's) is driven itself, without httpx's client, because that
logs every URL, and a presigned one is a credential.
"""

import httpx

from smile_async.contained import is_ours
from smile_async.protocol.steps import Sent
from smile_async.transport.engine import (
    CONNECT_TIMEOUT,
    PIECE_BYTES,
    Body,
    Headers,
    NoReply,
    Pieces,
    Reply,
    plain,
    readable,
    whole,
)
from smile_async.transport.pyreqwest_engine import unconnected

__all__ = ["HttpxEngine"]

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
#: For connecting alone: how long a request may take is the business of whoever sends it.
_EXTENSIONS = {"timeout": {"connect": CONNECT_TIMEOUT, "read": None, "write": None, "pool": None}}


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
