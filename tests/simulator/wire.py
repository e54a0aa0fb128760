"""A network in memory: asyncio transports between the library's real engines and servers of the simulation.

It carries bytes, with a delay, in order. A connection may be refused, fall silent, be cut with bytes on the way, or end
while nobody uses it: with a farewell that lies unread, or without one, so that the next byte meets a reset.
"""

import asyncio
import contextvars
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from simulator.loop import PROCESS, Process, SimLoop
from simulator.weather import Weather

__all__ = ["Network", "Port", "Side"]

#: Seconds a byte is on its way.
LATENCY = 0.003
#: Bytes on the way above which a writer is asked to wait, and below which it may go on.
HIGH, LOW = 65_536, 16_384


class Port:
    """Where a server listens; *serve* makes the protocol of a connection."""

    def __init__(self, serve: Callable[[], asyncio.BaseProtocol], alpn: Callable[[Any], str]) -> None:
        self.serve = serve
        #: What a client gets that comes with this TLS context.
        self.alpn = alpn
        #: What becomes of who connects now: "", "refused" or "silent".
        self.closed: Callable[[], str] = lambda: ""
        #: Told of each connection, the server's side of it.
        self.opened: Callable[[Side], None] = lambda _side: None


class _Alpn:
    def __init__(self, name: str) -> None:
        self._name = name

    def selected_alpn_protocol(self) -> str:
        return self._name


class Side(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, loop: SimLoop, process: Process | None, alpn: Callable[[Any], str], weather: Weather) -> None:
        super().__init__()
        self._weather = weather
        self._loop = loop
        self.process = process
        self._choose = alpn
        self._alpn: _Alpn | None = None
        self._protocol: Any = None
        self.peer: Side
        self.sock: socket.socket | None = None
        self.closing = self.gone = False
        #: Nothing it writes arrives any more, and nobody is told.
        self.silent = False
        #: The other side has forgotten it: whatever is written is answered with a reset.
        self.forgotten = False
        self.last_used = loop.now
        self._paused = False
        self._held: list[bytes] = []
        self._coming: deque[bytes] = deque()
        self._arrives = 0.0
        self._on_the_way = 0
        self._full = False
        #: Seconds more for each byte: a slow line.
        self.drag = 0.0

    # What the other side makes happen here.

    def at(self, when: float, what: Callable[..., None], *args: Any) -> None:
        """Let *what* happen in this side's process."""
        context = PROCESS_FREE if self.process is None else self.process.context
        self._loop.call_at(when, what, *args, context=context.copy())

    def _arrived(self) -> None:
        # Timers of one moment fire in any order, bytes do not.
        data = self._coming.popleft()
        self.peer._on_the_way -= len(data)
        self.peer._relieved()
        if self.gone:
            # It was on its way when this side hung up.
            self._weather.struck()
            return
        self.last_used = self._loop.now
        if self._paused:
            self._held.append(data)
        else:
            self._protocol.data_received(data)

    def _farewell(self) -> None:
        if self.gone:
            return
        if not self._protocol.eof_received():
            self.closing = True
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self.gone:
            return
        self.gone = self.closing = True
        if self.sock is not None:
            self.sock.close()
        self._protocol.connection_lost(error)

    def _relieved(self) -> None:
        if self._full and self._on_the_way < LOW and not self.gone:
            self._full = False
            if self.process is None or not self.process.dead:
                self.at(self._loop.now, self._protocol.resume_writing)

    # What the protocol of this side does.

    def write(self, data: Any) -> None:
        if self.closing or not data or (self.process is not None and self.process.dead):
            return
        now = self.last_used = self._loop.now
        if self.forgotten:
            self._weather.struck()
            self.at(now + 2 * LATENCY, self._end, ConnectionResetError("reset"))
            return
        if self.silent:
            return
        self._arrives = max(self._arrives, now + LATENCY) + self.drag * len(data)
        self._on_the_way += len(data)
        self.peer._coming.append(bytes(data))
        self.peer.at(self._arrives, self.peer._arrived)
        if self._on_the_way > HIGH and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """What is written arrives, then the end."""
        if not self.closing:
            self.closing = True
            if not self.silent:
                self.peer.at(max(self._arrives, self._loop.now + LATENCY) + 1e-6, self.peer._farewell)
            self.at(self._loop.now, self._end, None)

    def abort(self) -> None:
        """The end, for both; what is on the way is lost."""
        if not self.gone:
            self.closing = True
            if not self.silent:
                self.peer.at(self._loop.now + LATENCY, self.peer._end, ConnectionResetError("reset"))
            self.at(self._loop.now, self._end, None)

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        held, self._held = self._held, []
        for data in held:
            self._protocol.data_received(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._alpn if name == "ssl_object" else default

    def get_write_buffer_size(self) -> int:
        return self._on_the_way

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Fixed."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    async def shake_hands(self, context: Any) -> "Side":
        """TLS, as far as it shows: a while, or the end."""
        await asyncio.sleep(4 * LATENCY)
        self._alpn = _Alpn(self._choose(context))
        if self.gone or self.peer.closing:
            raise ConnectionResetError("reset in the handshake")
        return self

    # What the weather does to it.

    def break_off(self) -> None:
        """Bytes on their way are lost, and whoever waits for an answer waits for nothing."""
        self._weather.struck()
        self.abort()

    def abort_dead(self) -> None:
        """The process of this side is no more: the system hangs up for it."""
        if not self.gone:
            self.gone = self.closing = True
            if self.sock is not None:
                self.sock.close()
            self.peer.at(self._loop.now + LATENCY, self.peer._end, ConnectionResetError("reset"))

    def die_unseen(self) -> None:
        """This side is gone, and the other is not told before it writes."""
        self.peer.forgotten = True
        self.closing = True
        self.at(self._loop.now, self._end, None)


#: The context of servers, and of the network itself.
PROCESS_FREE = contextvars.Context()


class Network:
    """One host, by the ports it listens at."""

    def __init__(self, loop: SimLoop, host: str, ports: dict[int, Port], weather: Weather) -> None:
        self._loop = loop
        self._host = host
        self._ports = ports
        #: Sockets that have reached a port.
        self.reached: dict[Any, int] = {}
        #: The client's sides that are open.
        self.open: dict[Side, None] = {}
        self.weather = weather

    def knows(self, host: Any) -> bool:
        """Whether *host* is of this network."""
        return host == self._host

    async def resolve(self, host: str, port: int) -> list[Any]:
        """Its address, which is its name."""
        await asyncio.sleep(LATENCY)
        if self.weather.reigns("no name resolves"):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]

    async def reach(self, sock: Any, address: Any) -> None:
        """A connection of TCP, which may be refused or never come about."""
        process = PROCESS.get()
        if process is not None:
            process.closers.append(sock.close)
        closed = self._ports[address[1]].closed()
        if closed == "silent":
            await asyncio.Event().wait()
        await asyncio.sleep(2 * LATENCY)
        if closed == "refused":
            raise ConnectionRefusedError(111, "Connection refused")
        self.reached[sock] = address[1]

    def connect(self, make: Callable[[], Any], sock: Any) -> tuple[Side, Any]:
        """Both sides of a connection that stands."""
        port = self._ports[self.reached.pop(sock)]
        process = PROCESS.get()
        client, server = (Side(self._loop, whose, port.alpn, self.weather) for whose in (process, None))
        client.peer, server.peer = server, client
        client.sock = sock
        protocol = make()
        client.set_protocol(protocol)
        self.open[client] = None
        if process is not None:
            process.closers.append(client.abort_dead)
        protocol.connection_made(client)
        server.at(self._loop.now + LATENCY, self._accepted, server, port)
        return client, protocol

    def _accepted(self, server: Side, port: Port) -> None:
        protocol = port.serve()
        server.set_protocol(protocol)
        protocol.connection_made(server)
        port.opened(server)

    def left_open(self, process: Process) -> int:
        """How many connections of *process* are open."""
        self.open = {side: None for side in self.open if not side.gone}
        return sum(side.process is process for side in self.open)
