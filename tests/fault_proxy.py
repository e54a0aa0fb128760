"""A TCP relay in front of a real port, which breaks connections the way networks do; TLS passes through unread.

A `Trouble` says on which occasion it acts (a connection is accepted, bytes come from the client, bytes come from the
server), what it does then, and how often. `when` is asked at each occasion, so that trouble can wait for a fact of the
provider's ("the zip has landed") rather than for a number of encrypted bytes.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

__all__ = ["FaultProxy", "Trouble"]

Occasion = Literal["accept", "request", "reply"]
Deed = Literal["reset", "close", "silence", "drip", "slow", "garbage"]


def _always() -> bool:
    return True


@dataclass
class Trouble:
    """One way to break a connection.

    Deeds: "reset" (TCP RST), "close" (FIN), "silence" (nothing is read or written any more, in either direction),
    "drip" (one byte a second from the server), "slow" (both directions in small pieces, *gap* seconds apart),
    "garbage" (an answer that is no TLS). *half* lets the first half of the bytes through before a reset or close.
    *after*: bytes of this direction that pass first, counted from the moment `when` became true. *times* None: always.
    """

    occasion: Occasion
    deed: Deed
    when: Callable[[], bool] = _always
    after: int = 0
    half: bool = False
    times: int | None = 1
    gap: float = 1.0
    #: How often it has acted.
    done: int = 0

    def strikes(self, passed: int) -> bool:
        """Whether it acts now, after *passed* bytes."""
        if self.times is not None and self.done >= self.times:
            return False
        if passed < self.after or not self.when():
            return False
        self.done += 1
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class FaultProxy:
    """Relays 127.0.0.1:`port` to *target*, with the troubles in `troubles`; `refuse` closes the port itself."""

    def __init__(self, target: int, *troubles: Trouble) -> None:
        self.target = target
        self.troubles = list(troubles)
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse(hold=False)
        if self._held is not None:
            self._held.close()

    async def listen(self) -> None:
        """Open the port, the same one each time."""
        if self._server is not None:
            return
        held = self._held or self._bound()
        self._held = None
        self._server = await asyncio.start_server(self._serve, sock=held, limit=1 << 16)

    def _bound(self) -> socket.socket:
        """The port, held but not listened at: who connects is refused, and nobody else can take it."""
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind(("127.0.0.1", self.port))
        except OSError:
            held.close()
            raise
        self.port = int(held.getsockname()[1])
        return held

    async def refuse(self, *, hold: bool = True) -> None:
        """Close the port and hang up on everybody: whoever connects now is refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._held = self._bound() if hold else None
        self.hang_up()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hang_up(self) -> None:
        """Reset all connections."""
        for writer in list(self._writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        # The name that tells `nothing_left` that this is a server's task.
        task.set_name("scripted connection")
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            await self._live(reader, writer)
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _live(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for trouble in self.troubles:
            if trouble.occasion == "accept" and trouble.strikes(0):
                await self._act(trouble, writer, b"")
                return
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(writer)
            return
        self._writers.add(forth)
        line = _Line(self, writer)
        both = [
            asyncio.create_task(line.relay("request", reader, forth), name="scripted connection"),
            asyncio.create_task(line.relay("reply", back, writer), name="scripted connection"),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self._writers.discard(forth)
            forth.transport.abort()

    async def _act(self, trouble: Trouble, writer: asyncio.StreamWriter, piece: bytes) -> None:
        """End a connection; returns when it may be dropped."""
        if trouble.deed == "garbage":
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        if trouble.deed == "silence":
            await asyncio.Event().wait()
        if trouble.deed == "drip":
            for byte in piece:
                writer.write(bytes([byte]))
                await asyncio.sleep(trouble.gap)
            await asyncio.Event().wait()
        if trouble.deed == "reset":
            _reset(writer)
        writer.close()


class _Line:
    """One connection under way; trouble in one direction stops both."""

    def __init__(self, proxy: FaultProxy, client: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._clear = asyncio.Event()
        self._clear.set()

    async def relay(self, occasion: Occasion, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        counted: dict[int, int] = {}
        with contextlib.suppress(OSError):
            while piece := await source.read(1 << 16):
                await self._clear.wait()
                trouble = self._struck(occasion, counted, len(piece))
                if trouble is None:
                    sink.write(piece)
                elif trouble.deed == "slow":
                    for start in range(0, len(piece), 512):
                        await asyncio.sleep(trouble.gap)
                        sink.write(piece[start : start + 512])
                else:
                    self._clear.clear()
                    if trouble.half:
                        sink.write(piece[: max(1, len(piece) // 2)])
                        await sink.drain()
                        await asyncio.sleep(0.005)
                    await self._proxy._act(trouble, self._client, piece)
                    return
                await sink.drain()

    def _struck(self, occasion: Occasion, counted: dict[int, int], size: int) -> Trouble | None:
        for number, trouble in enumerate(self._proxy.troubles):
            if trouble.occasion != occasion:
                continue
            passed = counted.get(number, 0)
            if trouble.strikes(passed):
                return trouble
            if trouble.when():
                counted[number] = passed + size
        return None
