"""An HTTP/2 server written on the bare `h2` package that breaks the protocol, or its promises, as a test scripts it.

What it answers comes from an ASGI app, so that a sandbox behind it counts its jobs truthfully. An `Antic` is one
misbehaviour at one request; which request it hits is decided by `choose`, which sees the path and the JSON body.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

__all__ = ["Antic", "Asking", "H2Server", "h2_context", "h2_served"]

Choose = Callable[[str, dict[str, Any]], "Antic | None"]


def h2_context(authority: trustme.CA) -> ssl.SSLContext:
    """A server context for the loopback names that offers HTTP/2 alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@dataclass
class Asking:
    """One request on one stream: what came, and the ways to answer it."""

    line: "_Connection"
    stream: int
    path: str = ""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def work(self) -> httpx.Response:
        """Let the app do its work, unless GOAWAY has said that it will not; the reply has not left yet."""
        if self.stream > self.line.last:
            raise ProtocolError("this stream came after the last one")
        self.line.begun = max(self.line.begun, self.stream)
        return await self.line.server.relay(self)

    def answer(self, reply: httpx.Response) -> None:
        """Send a whole reply."""
        self.line.answer(self.stream, reply.status_code, reply.headers.raw, reply.content)


Antic = Callable[[Asking], Awaitable[None]]


async def honest(asking: Asking) -> None:
    """Do the work, and answer."""
    asking.answer(await asking.work())


class H2Server:
    """Serves *app* over TLS and HTTP/2; `choose` gives the antic for a request, None for an honest answer.

    *streams* is what the SETTINGS announce; so is *window*, bytes a client may send on each stream, given the number of
    the connection (from 1). *strict*: the limit of streams holds before the client can know it, and breaking it breaks
    the connection, as h2 does by itself.
    """

    def __init__(
        self,
        app: Any,
        context: ssl.SSLContext,
        *,
        streams: int = 100,
        window: Callable[[int], int] = lambda _number: 65_535,
        strict: bool = False,
    ) -> None:
        self._transport = httpx.ASGITransport(app)
        self._context = context
        self.streams = streams
        self.window = window
        self.strict = strict
        self.choose: Choose = lambda _path, _fields: None
        self.connections = 0
        self.requests = 0
        #: The most streams open at once on one connection.
        self.most = 0
        self._lines: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", 0, ssl=self._context, ssl_handshake_timeout=5.0
        )
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for line in list(self._lines):
            line.drop()
        tasks = [task for line in list(self._lines) for task in line.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Lets the loop close the sockets.
        await asyncio.sleep(0.01)

    @property
    def base_url(self) -> str:
        """The API's, as a session wants it."""
        return f"https://127.0.0.1:{self.port}/v1"

    async def relay(self, asking: Asking) -> httpx.Response:
        """The app's own answer."""
        request = httpx.Request(
            next(value.decode() for name, value in asking.headers if name == b":method"),
            f"https://127.0.0.1:{self.port}{asking.path}",
            headers=[(name, value) for name, value in asking.headers if not name.startswith(b":")],
            content=asking.body,
        )
        response = await self._transport.handle_async_request(request)
        await response.aread()
        return response

    def opened(self, line: "_Connection") -> None:
        """A connection stands."""
        self.connections += 1
        self._lines.add(line)

    def closed(self, line: "_Connection") -> None:
        """A connection is gone."""
        self._lines.discard(line)

    async def play(self, asking: Asking) -> None:
        """Answer one request, honestly or not."""
        self.requests += 1
        fields = json.loads(asking.body) if asking.body.startswith(b"{") else {}
        antic = self.choose(asking.path, fields) or honest
        # A client that has gone, or a stream that it has reset, is no concern of the script's.
        with contextlib.suppress(ProtocolError, KeyError):
            await antic(asking)


@contextlib.asynccontextmanager
async def h2_served(app: Any, folder: Path, **settings: Any) -> AsyncIterator[tuple[H2Server, str]]:
    """*app* served under a CA of its own, and the file of its certificate in *folder*."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    async with H2Server(app, h2_context(authority), **settings) as server:
        yield server, str(folder / "ca.pem")


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: H2Server) -> None:
        self.server = server
        config = H2Configuration(client_side=False, header_encoding=None, validate_outbound_headers=False)
        self.h2 = H2Connection(config)
        self.tasks: set[asyncio.Task[None]] = set()
        self.deaf = False
        #: The highest stream that the app has begun to work for, and the last one that it may.
        self.begun, self.last = 0, 2**31 - 1
        self._asking: dict[int, Asking] = {}
        self._pending: dict[int, bytearray] = {}
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.server.opened(self)
        streams = {SettingCodes.MAX_CONCURRENT_STREAMS: self.server.streams}
        if self.server.strict:
            self.h2.local_settings = Settings(client=False, initial_values={**dict(self.h2.local_settings), **streams})
        self.h2.initiate_connection()
        # Updated, not initial: a client may send by the defaults until it has read them.
        window = self.server.window(self.server.connections)
        self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window, **streams})
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.closed(self)
        for task in self.tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        try:
            events = self.h2.receive_data(data)
        except ProtocolError:
            self.flush()
            self.drop()
            return
        for event in events:
            self._take(event)
        self._pump()
        self.flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            headers = [(bytes(name), bytes(value)) for name, value in event.headers]
            path = next(value for name, value in headers if name == b":path").decode()
            self._asking[event.stream_id] = Asking(self, event.stream_id, path, headers)
            self.server.most = max(self.server.most, self.h2.open_inbound_streams)
        elif isinstance(event, DataReceived):
            if event.stream_id in self._asking:
                self._asking[event.stream_id].body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            asking = self._asking.pop(event.stream_id, None)
            if asking is not None:
                task = asyncio.get_running_loop().create_task(self.server.play(asking), name="scripted connection")
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
        elif isinstance(event, StreamReset):
            self._asking.pop(event.stream_id, None)
            self._pending.pop(event.stream_id, None)
        elif isinstance(event, ConnectionTerminated):
            self.drop()

    def answer(self, stream: int, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole reply, as fast as the client's window lets it go."""
        plain = [(name.lower(), value) for name, value in headers if name.lower() != b"content-length"]
        self.h2.send_headers(
            stream, [(b":status", str(status).encode()), *plain, (b"content-length", str(len(body)).encode())]
        )
        self._pending[stream] = bytearray(body)
        self._pump()
        self.flush()

    def _pump(self) -> None:
        for stream, rest in list(self._pending.items()):
            try:
                self._pump_one(stream, rest)
            except ProtocolError:
                self._pending.pop(stream, None)

    def _pump_one(self, stream: int, rest: bytearray) -> None:
        while rest:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(rest))
            if room <= 0:
                return
            self.h2.send_data(stream, bytes(rest[:room]))
            del rest[:room]
        self.h2.end_stream(stream)
        self._pending.pop(stream, None)

    def flush(self) -> None:
        """Send what h2 wants to say."""
        self.raw(self.h2.data_to_send())

    def raw(self, frames: bytes) -> None:
        """Send *frames* as they are."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames)

    def drop(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


# Antics. Each is an async function of one Asking, or makes one.


def goaway(code: ErrorCodes = ErrorCodes.NO_ERROR, *, seen: bool, work: bool = True, close: bool = True) -> Antic:
    """GOAWAY that counts this stream among the *seen* or not; with *work* (and seen) the answer still comes.

    It keeps its word: no later stream is worked for, and none that is being worked for counts as later.
    """

    async def antic(asking: Asking) -> None:
        line = asking.line
        # A second GOAWAY takes no word back: what the first has left out stays out (RFC 9113 §6.8).
        last = line.last = min(line.last, max(line.begun, asking.stream - (0 if seen else 2), 0))
        # By hand: h2 refuses to say anything more after its own GOAWAY.
        payload = last.to_bytes(4, "big") + int(code).to_bytes(4, "big")
        asking.line.raw(len(payload).to_bytes(3, "big") + b"\x07\x00" + (0).to_bytes(4, "big") + payload)
        if seen and work:
            await honest(asking)
        await asyncio.sleep(0.02)
        if close:
            asking.line.drop()

    return antic


def reset_stream(code: ErrorCodes, *, work: bool = False) -> Antic:
    """RST_STREAM, before or after the *work* is done."""

    async def antic(asking: Asking) -> None:
        if work:
            await asking.work()
        asking.line.h2.reset_stream(asking.stream, code)
        asking.line.flush()

    return antic


def lower_streams(limit: int) -> Antic:
    """New SETTINGS that allow only *limit* concurrent streams, then the honest answer."""

    async def antic(asking: Asking) -> None:
        asking.line.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: limit})
        asking.line.flush()
        await asyncio.sleep(0.01)
        await honest(asking)

    return antic


def drips(gap: float) -> Antic:
    """Headers, then a byte every *gap* seconds, for ever."""

    async def antic(asking: Asking) -> None:
        asking.line.h2.send_headers(asking.stream, [(b":status", b"200"), (b"content-type", b"application/json")])
        while True:
            asking.line.h2.send_data(asking.stream, b" ")
            asking.line.flush()
            await asyncio.sleep(gap)

    return antic


async def endless_body(asking: Asking) -> None:
    """Headers, then spaces as fast as the client takes them, for ever."""
    line = asking.line
    line.h2.send_headers(asking.stream, [(b":status", b"200"), (b"content-type", b"application/json")])
    while True:
        room = min(line.h2.local_flow_control_window(asking.stream), line.h2.max_outbound_frame_size)
        if room > 0:
            line.h2.send_data(asking.stream, b" " * room)
            line.flush()
        await asyncio.sleep(0 if room > 0 else 0.002)


async def headers_only(asking: Asking) -> None:
    """The work, headers that promise a reply, then silence on this stream."""
    await asking.work()
    asking.line.h2.send_headers(asking.stream, [(b":status", b"200"), (b"content-type", b"application/json")])
    asking.line.flush()
    await asyncio.Event().wait()


async def empty_reply(asking: Asking) -> None:
    """The work, then 200 without a body."""
    await asking.work()
    asking.line.answer(asking.stream, 200, [], b"")


async def fall_silent(asking: Asking) -> None:
    """The work, then nothing more on the whole connection, whatever comes."""
    await asking.work()
    asking.line.deaf = True
    await asyncio.Event().wait()


async def ping_flood(asking: Asking) -> None:
    """Two thousand PINGs, then the honest answer."""
    for number in range(2000):
        asking.line.h2.ping(number.to_bytes(8, "big"))
    asking.line.flush()
    await honest(asking)


async def nonsense(asking: Asking) -> None:
    """The work, then a DATA frame on stream 0, which is a protocol error."""
    await asking.work()
    asking.line.raw(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x")


async def cut_connection(asking: Asking) -> None:
    """The work, half of a reply, and the end of the connection."""
    await asking.work()
    asking.line.h2.send_headers(asking.stream, [(b":status", b"200"), (b"content-type", b"application/json")])
    asking.line.h2.send_data(asking.stream, b'{"upload_url": "https://')
    asking.line.flush()
    asking.line.drop()
