"""The engine on pyreqwest, an HTTP client in Rust (extra `rust`): HTTP, TLS and sockets run beside the event loop.

Its own interface is driven, not its transport for httpx: that builds httpx's objects on top of its own, which doubles
what a small request costs.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio.lowlevel

from smile_async.protocol.steps import Sent
from smile_async.transport.engine import (
    API_SECONDS,
    BROKEN_AT_MOST,
    CONNECT_TIMEOUT,
    MAX_REPLY_BYTES,
    PIECE_BYTES,
    STORAGE_PIECE_BYTES,
    UPLOAD_SECONDS,
    Body,
    Headers,
    NoReply,
    Pieces,
    Reply,
    Watched,
    whole,
)
from smile_async.transport.proxies import ProxyFor
from smile_async.transport.tls import tls_context
from smile_async.urls import is_loopback

__all__ = ["PyreqwestEngine", "pins", "unconnected"]

#: Seconds after closing in which pyreqwest's thread lets go of Python; a millisecond was enough in 40 of 40 processes.
DRAIN = 0.05
#: What the last of an error's causes begins with if its stream was above a GOAWAY's last, or was refused by itself.
_REFUSED = ("connection error received: ", "stream error received: refused stream")


class PyreqwestEngine:
    """An engine over one pyreqwest client; *http2*: where the server offers it.

    *ca_file* is added to the system's CAs, as pyreqwest can not replace them: who makes one checks that it `pins`.
    """

    def __init__(self, ca_file: str | None, *, http2: bool, proxies: ProxyFor | None = None) -> None:
        # An extra: imported only by those who chose it.
        from pyreqwest.client import ClientBuilder  # noqa: PLC0415
        from pyreqwest.exceptions import ConnectError, ConnectTimeoutError  # noqa: PLC0415
        from pyreqwest.proxy import ProxyBuilder  # noqa: PLC0415

        builder = ClientBuilder().follow_redirects(False).connect_timeout(timedelta(seconds=CONNECT_TIMEOUT))
        builder = builder.min_tls_version("TLSv1.2").gzip(False).brotli(False).zstd(False).deflate(False)
        if proxies is None:
            builder = builder.no_proxy()
        else:
            builder = builder.proxy(ProxyBuilder.custom(lambda url: proxies(url.scheme, url.host_str or "")))
        if ca_file:
            tls_context(ca_file, http2=http2)
            builder = builder.add_root_certificate_pem(Path(ca_file).read_bytes())
        # It goes on with a request whose caller was cancelled: this bounds for how long.
        builder = builder.timeout(timedelta(seconds=(API_SECONDS if http2 else UPLOAD_SECONDS) + 1))
        self._client = builder.http2(http2).referer(False).build()
        self._piece = PIECE_BYTES if http2 else STORAGE_PIECE_BYTES
        self._replies = 0
        self._unsent = (ConnectError, ConnectTimeoutError)

    def __repr__(self) -> str:
        return "<PyreqwestEngine>"

    async def send(self, method: str, url: str, headers: Headers, body: bytes | Body) -> Reply:
        """Send and read the whole reply."""
        failure: BaseException
        try:
            return await self._exchange(method, url, headers, body)
        except (NoReply, asyncio.CancelledError) as told:
            failure = told
        except self._unsent as error:
            failure = unconnected(error)
        except Exception as error:  # noqa: BLE001 - whatever it was, it may have been sent
            failure = NoReply(Sent.UNSENT if _refused(error) else Sent.AMBIGUOUS, type(error).__name__)
        # Raised here, without context: frames below hold the request, whose repr shows a presigned URL.
        del url, body
        if isinstance(failure, asyncio.CancelledError):
            # pyreqwest raises one of its own making, which a cancel scope takes for somebody else's and lets through:
            # here the scope raises the one that it knows.
            await anyio.lowlevel.checkpoint_if_cancelled()
        failure.__context__ = None
        raise failure.with_traceback(None)

    async def _exchange(self, method: str, url: str, headers: Headers, body: bytes | Body) -> Reply:
        """On the first connection that takes the request up."""
        # Refusals since anybody got an answer: one that serves each connection's first request gets on with them all.
        broken = 0
        while True:
            replies = self._replies
            try:
                async with self._request(method, url, headers, body) as response:
                    self._replies += 1
                    return await _reply_of(response)
            except Exception as error:
                broken = broken + 1 if replies == self._replies else 0
                if broken > BROKEN_AT_MOST or not _refused(error):
                    raise

    def _request(self, method: str, url: str, headers: Headers, body: bytes | Body) -> Any:
        builder = self._client.request(method, url).headers(headers)
        if isinstance(body, bytes):
            return builder.body_bytes(body).build_streamed()
        if body.length <= self._piece and not isinstance(body, Watched):
            return builder.body_bytes(b"".join(body.pieces(self._piece))).build_streamed()
        # Or else it would be sent in chunks, to which S3 answers 501.
        builder = builder.header("Content-Length", str(body.length))
        return builder.body_stream(aiter(Pieces(body, self._piece))).build_streamed()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.close()
        # Its thread still holds the GIL when that returns: a process that ends then dies of SIGABRT (3 to 8 of 20 did).
        await asyncio.sleep(DRAIN)


def pins(ca_file: str, host: str) -> bool:
    """Whether *ca_file* alone vouches for *host*, although pyreqwest can only add it to the system's CAs.

    It does for loopback names, which no public CA may certify (CA/Browser Forum, Baseline Requirements §4.2.2), and on
    Linux where the variables that name the system's CAs name that file and no other.
    """
    if is_loopback(host):
        return True
    named = os.environ.get("SSL_CERT_FILE")
    alone = sys.platform == "linux" and named is not None and "SSL_CERT_DIR" not in os.environ
    return alone and Path(str(named)).resolve() == Path(ca_file).resolve()


async def _reply_of(response: Any) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    said = headers.get("content-length", "")
    if said.isdigit() and int(said) <= MAX_REPLY_BYTES:
        content = bytes(await response.bytes())
    else:
        content = await whole(_chunks(response.body_reader))
    return Reply(response.status, headers, content, response.version.replace("HTTP/2.0", "HTTP/2"))


async def _chunks(reader: Any) -> AsyncIterator[bytes]:
    while (chunk := await reader.read_chunk()) is not None:
        yield bytes(chunk)


def _causes(error: Any) -> list[str]:
    return [cause["message"] for cause in (getattr(error, "details", None) or {}).get("causes") or ()]


def _refused(error: Exception) -> bool:
    """Whether the server says that it has not processed the request (RFC 9113 §8.7).

    Of GOAWAY pyreqwest's h2 tells those streams alone that are above its last: below, it is the connection that ends.
    https://github.com/hyperium/h2/blob/master/src/proto/streams/streams.rs
    """
    _, *causes = _causes(error) or [""]
    return causes[:2] == ["client error (SendRequest)", "http2 error"] and causes[-1].startswith(_REFUSED)


def unconnected(error: Any) -> NoReply:
    """What a connection error comes to. pyreqwest calls a reset after the request one as well, and names the URL."""
    causes = _causes(error)
    sent = Sent.UNSENT if "client error (Connect)" in causes or _refused(error) else Sent.AMBIGUOUS
    # The first words name the URL, whose query may be a credential; the last the reason.
    why = [type(error).__name__, *causes[1:][-1:]]
    return NoReply(sent, ": ".join(why))
