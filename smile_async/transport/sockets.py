"""Connections for httpcore's engines, on asyncio's own transports.

httpcore writes each HTTP/2 frame by itself, and its own backend gives each write and read a cancel scope of anyio's and
a record of TLS: a third of what a request costs. Here frames that are written within one turn of the loop leave
together, whoever wrote them. Nothing is decided here: when to give up is the caller's cancel scope.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, cast

import anyio

from smile_async.transport.frames import NOTHING, Frames
from smile_async.transport.shared_reading import SharedReading

__all__ = ["Backend"]

#: Bytes that may have come and not been read yet.
UNREAD_BYTES = 262_144
#: Bytes that may be written and not yet have left: more is handed on at once, so that a slow reader is noticed.
UNSENT_BYTES = 1_048_576
#: Seconds until the next address of a host is tried beside the first (RFC 8305 §8).
NEXT_ADDRESS = 0.25
#: Seconds for a connection that was closed to be gone.
GONE_WITHIN = 1.0
#: Seconds for which a host that said nothing is taken to go on like that: those who waited for the same connection need
#: not wait for it one after the other.
SILENT_FOR = 0.1
#: Turns of the loop that the beginning of a request waits for its end, so that both leave together: httpcore takes one
#: for each frame, and a gateway is not to meet a body without its end. And turns that the end of a connection waits for
#: requests that are being written and will be refused.
TURNS, LAST_TURNS = 4, 100

_HUNG_UP = "the other side hung up before the handshake"


class Stream(asyncio.Protocol):
    """One connection, as httpcore's AsyncNetworkStream; *errors* is the module whose exceptions it raises."""

    def __init__(self, errors: ModuleType) -> None:
        self._errors = errors
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received: deque[bytes] = deque()
        self._unread = 0
        self._written: list[bytes] = []
        self._held = 0
        self._turns = 0
        #: Once HTTP/2 has been agreed on.
        self._frames: Frames | None = None
        self.reading = SharedReading()
        self._reader: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._gone = asyncio.Event()
        self._ended = False
        self._failure = ""

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep what came, and let the other side wait if nobody reads."""
        self._keep(data if self._frames is None else self._frames.received(data))
        if self._unread > UNREAD_BYTES and self._transport is not None:
            self._transport.pause_reading()

    def _keep(self, data: bytes) -> None:
        if data:
            self._received.append(data)
            self._unread += len(data)
            if self._frames is not None:
                # First, so that they stand in line before the reader does again.
                self.reading.came(self._frames.addressed)
                self._frames.addressed.clear()
            self._wake()

    def eof_received(self) -> None:
        """Nothing more will come, and who hangs up reads no more either."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, for good or for a reason."""
        self._failure = type(exc).__name__ if exc is not None else ""
        self._gone.set()
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._room.set()
        if self._frames is not None:
            self._keep(self._frames.ended())
        self.reading.end()
        self._wake()

    def pause_writing(self) -> None:
        """The other side is slow."""
        self._room.clear()

    def resume_writing(self) -> None:
        """The other side has caught up."""
        self._room.set()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # What httpcore asks for.

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - our deadlines are scopes
        """What has come, at most *max_bytes*; b"" at the end."""
        turns = 0
        while not self._received:
            if self._frames is not None and not self._frames.within_headers and self.reading.look():
                return NOTHING
            if not self._ended:
                self._reader = self._loop.create_future()
                await self._reader
            elif self._frames is not None and self._frames.refusing and turns < LAST_TURNS:
                # Who learns of the end before being refused would take it for an answer that is lost.
                turns += 1
                await asyncio.sleep(0)
            elif not self._failure:
                return b""
            else:
                raise self._errors.ReadError(self._failure)
        data = self._received.popleft()
        if len(data) > max_bytes:
            self._received.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        self._unread -= len(data)
        if self._unread <= UNREAD_BYTES and self._transport is not None and not self._gone.is_set():
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Let *buffer* leave with the end of this turn of the loop, or soon after; waits if the other side is slow."""
        if self._frames is not None:
            buffer, told = self._frames.written(buffer)
            self._keep(told)
        elif self._ended and buffer:
            raise self._errors.WriteError(self._failure or "the connection is closed")
        if self._ended or not buffer:
            return
        if not self._written:
            self._turns = TURNS
            self._loop.call_soon(self._leave)
        self._written.append(buffer)
        self._held += len(buffer)
        if self._held >= UNSENT_BYTES:
            self._flush()
        if not self._room.is_set():
            await self._room.wait()

    def _leave(self) -> None:
        self._turns -= 1
        if self._turns > 0 and self._written and self._frames is not None and not self._frames.whole:
            self._loop.call_soon(self._leave)
        else:
            self._flush()

    def _flush(self) -> None:
        written, self._written, self._held = self._written, [], 0
        if written and self._transport is not None and not self._ended:
            self._transport.write(written[0] if len(written) == 1 else b"".join(written))
            if self._frames is not None:
                self._frames.left()

    async def aclose(self) -> None:
        """Hang up, and wait until the socket is closed."""
        self._flush()
        if self._transport is not None and not self._gone.is_set():
            self._transport.abort()
            with anyio.move_on_after(GONE_WITHIN):
                await self._gone.wait()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "Stream":
        """The same connection, encrypted; closed if that fails or is cancelled."""
        plain = self._transport
        if plain is None or self._ended:
            raise self._errors.ConnectError(_HUNG_UP)
        try:
            self._transport = await self._loop.start_tls(
                plain, self, ssl_context, server_hostname=server_hostname, ssl_handshake_timeout=timeout
            )
        except BaseException as error:
            plain.abort()
            if isinstance(error, OSError):
                raise self._errors.ConnectError(str(error)) from None
            raise
        if self._transport is None:
            raise self._errors.ConnectError(_HUNG_UP)
        if self._transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
            self._frames = Frames()
            # The first frames may have come with the end of the handshake.
            early, self._unread = b"".join(self._received), 0
            self._received.clear()
            self._keep(self._frames.received(early))
            if self._gone.is_set():
                self._end()
        return self

    def get_extra_info(self, info: str) -> Any:
        """What httpcore wants to know of a connection."""
        if info == "is_readable":  # Nobody has asked for anything: what is readable now can only be the end.
            return self._ended or bool(self._received)
        return None if self._transport is None else self._transport.get_extra_info(info)


class Backend:
    """Makes connections, as httpcore's AsyncNetworkBackend."""

    def __init__(self, errors: ModuleType) -> None:
        self._errors = errors
        self._silent: dict[tuple[str, int], float] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - never given
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - never given
    ) -> Stream:
        """A connection to *host*, whichever of its addresses answers first."""
        loop = asyncio.get_running_loop()
        stream = Stream(self._errors)
        silence = f"{host}:{port} did not answer within {timeout} s"
        if loop.time() < self._silent.get((host, port), 0.0):
            raise self._errors.ConnectTimeout(silence)
        try:
            with anyio.fail_after(timeout):
                connected = await _reach(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
                try:
                    await loop.create_connection(lambda: stream, sock=connected)
                except BaseException:
                    connected.close()
                    raise
        except TimeoutError:
            self._silent[host, port] = loop.time() + SILENT_FOR
            raise self._errors.ConnectTimeout(silence) from None
        except OSError as error:
            raise self._errors.ConnectError(str(error)) from None
        return stream


async def _reach(addresses: Sequence[Any]) -> socket.socket:
    """A socket connected to whichever of *addresses* answers first, each tried a moment after the one before it.

    asyncio can do that as well (happy_eyeballs_delay), but leaves the socket open if it is cancelled meanwhile.
    """
    found: list[socket.socket] = []
    failures: list[OSError] = []

    async def attempt(family: int, protocol: int, address: Any, failed: anyio.Event) -> None:
        try:
            # With its protocol: asyncio switches Nagle's algorithm off only for what calls itself TCP.
            trying = socket.socket(family, socket.SOCK_STREAM, protocol)
        except OSError as error:
            # IPv6 is switched off here, for one.
            failures.append(error)
            failed.set()
            return
        try:
            trying.setblocking(False)
            await asyncio.get_running_loop().sock_connect(trying, address)
        except OSError as error:
            trying.close()
            failures.append(error)
            failed.set()
        except BaseException:
            trying.close()
            raise
        else:
            found.append(trying)
            tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            for family, _, protocol, _, address in addresses:
                failed = anyio.Event()
                tasks.start_soon(attempt, family, protocol, address, failed)
                with anyio.move_on_after(NEXT_ADDRESS):
                    await failed.wait()
        if not found:
            raise failures[0]
        return found.pop(0)
    finally:
        for other in found:
            other.close()
