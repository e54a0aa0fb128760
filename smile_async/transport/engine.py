"""The seam between this library and whatever speaks HTTP: one request out, one whole reply back.

An engine sends one request and gives back one whole reply, or raises NoReply saying whether anything may have left.
None of them retries, follows a redirect, reads a proxy variable unless asked, or logs a URL.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from smile_async.protocol.steps import Sent

__all__ = [
    "API_SECONDS",
    "BROKEN_AT_MOST",
    "CONNECT_TIMEOUT",
    "KEPT_FOR",
    "MAX_REPLY_BYTES",
    "PIECE_BYTES",
    "STORAGE_PIECE_BYTES",
    "UPLOAD_SECONDS",
    "Body",
    "Engine",
    "EngineFactory",
    "Headers",
    "NoReply",
    "Pieces",
    "Reply",
    "Watched",
    "host_header",
    "plain",
    "readable",
    "whole",
]

#: A status reply with history and base64 photos stays far below this; more is not worth anybody's memory.
MAX_REPLY_BYTES = 8_000_000
#: Bytes; httpcore cuts an HTTP/2 body into frames by re-slicing what is left: larger pieces make that quadratic.
PIECE_BYTES = 65_536
#: Bytes; over HTTP/1.1, which our own storage engines speak, each piece costs 60 to 100 µs: a usual job goes as one.
STORAGE_PIECE_BYTES = 1_048_576
#: Seconds to reach a host; the rest of a request's time is its leg's own deadline.
CONNECT_TIMEOUT = 10.0
#: Seconds one API request, or one upload, may take; the Java SDK allows 60 a phase and 120 in all (wire.md §8).
API_SECONDS, UPLOAD_SECONDS = 30.0, 120.0
#: Connections that may break under a request before it has begun; each was there before, and some may be long dead.
BROKEN_AT_MOST = 4
#: Seconds an idle connection is kept: for the API, and for storage, which hangs up early.
KEPT_FOR = {True: 30.0, False: 5.0}

Headers = list[tuple[str, str]]


@runtime_checkable
class Body(Protocol):
    """A request body of known length that can be read again for a retry."""

    length: int

    def pieces(self, size: int) -> Iterator[bytes]:
        """The whole body in pieces of at most *size* bytes."""
        ...


class Watched:
    """*body* of a request that must not be made twice; *on_read* is called when somebody begins to read it.

    Before that the request can not have had any effect; once it is withdrawn it never will, although an engine may go
    on with a request whose caller has left.
    """

    __slots__ = ("_body", "_on_read", "begun", "length")

    def __init__(self, body: bytes | Body, on_read: Callable[[], object]) -> None:
        self._body: bytes | Body | None = body
        self._on_read = on_read
        self.length = len(body) if isinstance(body, bytes) else body.length
        self.begun = False

    def __repr__(self) -> str:
        return f"<{self.length:,} bytes>"

    def pieces(self, size: int) -> Iterator[bytes]:
        """The whole body. Raises NoReply once it is withdrawn."""
        if self._body is None:
            raise NoReply(Sent.UNSENT, "nobody waits for it any more")
        self.begun = True
        self._on_read()
        return iter((self._body,)) if isinstance(self._body, bytes) else self._body.pieces(size)

    def withdraw(self) -> None:
        """Let nobody begin to read it any more."""
        self._body = None


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

    def __init__(self, sent: Sent, why: str, *, echo: bool = False, silent: bool = False) -> None:
        super().__init__(why)
        self.sent = sent
        self.why = why
        #: The connection broke under another request first: this is the same piece of bad news.
        self.echo = echo
        #: It failed at once on a connection that had given answers before, which says little of the server.
        self.stale = False
        #: Time enough was given for an answer, and none came.
        self.silent = silent
        #: None came, but hardly any time was given.
        self.hurried = False


class Engine(Protocol):
    """One HTTP client: one method to send, one to close. Cancelling `send` abandons the request."""

    async def send(self, method: str, url: str, headers: Headers, body: bytes | Body) -> Reply:
        """Send and read the whole reply. Raises NoReply; *body* as bytes, or as a Body to be streamed."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


#: Makes a new engine; True for the API leg (HTTP/2 where the server offers it), False for storage (HTTP/1.1).
EngineFactory = Callable[[bool], Engine]


class Pieces:
    """A body as the asynchronous stream that HTTP libraries take; it begins anew for each request it is part of."""

    def __init__(self, body: bytes | Body, piece: int) -> None:
        self._body = body
        self._piece = piece
        self.length = len(body) if isinstance(body, bytes) else body.length
        #: Somebody has begun to read it. A request whose body nobody has read can not have had any effect.
        self.begun = False

    def __repr__(self) -> str:
        return f"<{self.length:,} bytes>"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun = True
        for piece in (self._body,) if isinstance(self._body, bytes) else self._body.pieces(self._piece):
            yield piece


async def whole(stream: AsyncIterable[bytes]) -> bytes:
    """All of a reply's body; NoReply (answered) for one above MAX_REPLY_BYTES, which nobody should keep."""
    pieces: list[bytes] = []
    size = 0
    async for piece in stream:
        size += len(piece)
        if size > MAX_REPLY_BYTES:
            raise NoReply(Sent.ANSWERED, f"the reply is larger than {MAX_REPLY_BYTES:,} bytes")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def readable(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as they came, as a Reply has them."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def plain(error: BaseException) -> str:
    """The words of an error met while connecting: those name hosts, ports and certificates, never a path or a query."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def host_header(url: str) -> str:
    """The Host of *url*, without the port that its scheme implies."""
    parts = urlsplit(url)
    return parts.netloc.removesuffix(":443" if parts.scheme == "https" else ":80")
