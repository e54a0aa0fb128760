"""Connections on asyncio's transports: what is written together leaves together, and what is closed is closed."""

import asyncio
import gc
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import httpcore
import pytest
import uvloop
from scripted import Authority
from street import until

from smile_async.transport.frames import Frames
from smile_async.transport.sockets import TURNS, UNREAD_BYTES, Backend, Stream

pytestmark = pytest.mark.usefixtures("tidy")

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def peer_of(peer: Peer, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that treats each connection like *peer*: its port."""

    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("scripted connection")
        try:
            await peer(reader, writer)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(treat, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says back what it hears."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def connected(port: int) -> Stream:
    """A connection to the peer."""
    return await Backend(httpcore).connect_tcp("127.0.0.1", port, timeout=5.0)


async def test_bytes_go_there_and_back_in_order() -> None:
    """What is written comes back whole and in order, in pieces no larger than was asked for."""
    async with peer_of(echo) as port:
        stream = await connected(port)
        sent = b"".join(bytes([number]) * 1000 for number in range(100))
        for start in range(0, len(sent), 1000):
            await stream.write(sent[start : start + 1000])
        got = b""
        while len(got) < len(sent):
            piece = await stream.read(777)
            assert 0 < len(piece) <= 777
            got += piece
        assert got == sent
        # Or else a frame that follows another waits 40 ms for the other side's acknowledgement.
        assert stream.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await stream.aclose()


async def test_what_is_written_in_one_turn_leaves_together() -> None:
    """Three frames of three writers are one write of the transport, in the order in which they were written."""

    class Transport(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.written: list[bytes] = []

        def write(self, data: Any) -> None:
            self.written.append(bytes(data))

    stream, transport = Stream(httpcore), Transport()
    stream.connection_made(transport)
    await asyncio.gather(stream.write(b"a"), stream.write(b""), stream.write(b"b"), stream.write(b"c"))
    await asyncio.sleep(0)
    assert transport.written == [b"abc"]
    await stream.write(b"d")
    await asyncio.sleep(0)
    assert transport.written == [b"abc", b"d"]


async def test_a_request_leaves_with_its_end() -> None:
    """The frames of an HTTP/2 request are one write, though httpcore takes a turn of the loop for each of them."""

    class Transport(asyncio.Transport):
        written: ClassVar[list[bytes]] = []

        def write(self, data: Any) -> None:
            self.written.append(bytes(data))

    stream, transport = Stream(httpcore), Transport()
    stream.connection_made(transport)
    stream._frames = Frames()
    head, body, end = map(
        bytes.fromhex, ("00000101 00 00000001 aa", "00000100 00 00000001 bb", "000000 00 01 00000001")
    )
    for frame in (head, body, end):
        await stream.write(frame)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert transport.written == [head + body + end]
    # Who never comes to an end is not waited for.
    await stream.write(head.replace(b"\1\xaa", b"\3\xaa"))
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert len(transport.written) == 2


@pytest.mark.parametrize("in_turns", [True, False])
async def test_a_slow_reader_makes_the_writer_wait(in_turns: bool) -> None:
    """A peer that does not read stops the writer, also one who never lets go of the loop, until it reads again."""
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await echo(reader, writer)

    async with peer_of(slow) as port:
        stream = await connected(port)

        async def pour() -> int:
            for _ in range(400):
                await stream.write(b"x" * 65_536)
                if in_turns:
                    await asyncio.sleep(0)
            return 400 * 65_536

        pouring = asyncio.create_task(pour())
        await asyncio.sleep(0.2)
        assert not pouring.done()
        go_on.set()
        got = 0
        while got < 400 * 65_536:
            got += len(await stream.read(65_536))
        assert await pouring == got
        await stream.aclose()


async def test_what_nobody_reads_does_not_pile_up() -> None:
    """A peer that floods us is stopped after a few hundred kilobytes, and heard again when we read."""
    said = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        for _ in range(500):
            writer.write(b"y" * 65_536)
            await writer.drain()
            said += 65_536

    async with peer_of(flood) as port:
        stream = await connected(port)
        await asyncio.sleep(0.3)
        assert stream._unread <= UNREAD_BYTES + 262_144
        assert said < 500 * 65_536
        got = 0
        while piece := await stream.read(1_000_000):
            got += len(piece)
        assert got == said == 500 * 65_536
        await stream.aclose()


async def test_the_end_is_told_to_whoever_reads_or_writes() -> None:
    """After the peer has hung up there is nothing to read, and a connection that is gone takes no more."""

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")

    async with peer_of(hang_up) as port:
        stream = await connected(port)
        assert await stream.read(100) == b"bye"
        assert await stream.read(100) == b""
        assert stream.get_extra_info("is_readable")
        await stream.aclose()
        await stream.aclose()
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"x")


async def test_a_reset_is_an_error_of_the_reader() -> None:
    """A connection that breaks is no end of file."""

    async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.get_extra_info("socket").setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # SO_LINGER 0
        writer.transport.abort()

    async with peer_of(reset) as port:
        stream = await connected(port)
        with pytest.raises(httpcore.ReadError, match="ConnectionResetError"):
            await stream.read(100)
        await stream.aclose()


async def for_ever(*_: Any) -> None:
    """Never ends."""
    await asyncio.Event().wait()


async def test_nobody_there_and_nobody_who_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection and one that is not answered in time are httpcore's errors, and say where."""
    async with peer_of(echo) as port:
        pass
    with pytest.raises(httpcore.ConnectError, match="Connect call failed"):
        await connected(port)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", for_ever)
    with pytest.raises(httpcore.ConnectTimeout, match=f"127.0.0.1:{port} did not answer within 0.01 s"):
        await Backend(httpcore).connect_tcp("127.0.0.1", port, timeout=0.01)


@pytest.mark.parametrize("first", ["refuses", "says nothing"])
async def test_the_next_address_is_tried(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose first address refuses, or says nothing, is reached at its second."""
    loop = asyncio.get_running_loop()
    connect, resolve = loop.sock_connect, loop.getaddrinfo

    async def resolved(host: str, port: int, **how: Any) -> list[Any]:
        (good,) = await resolve(host, port, **how)
        return [(*good[:4], ("127.0.0.1", 1)), good]

    async def connect_to(sock: Any, address: Any) -> None:
        if address[1] == 1 and first == "says nothing":
            await for_ever()
        await connect(sock, address)

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    monkeypatch.setattr(loop, "sock_connect", connect_to)
    async with peer_of(echo) as port:
        stream = await connected(port)
        await stream.write(b"hello")
        assert await stream.read(100) == b"hello"
        await stream.aclose()


async def test_an_address_family_that_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that can not even be made, as for IPv6 where there is none, costs the other addresses nothing."""
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def resolved(host: str, port: int, **how: Any) -> list[Any]:
        (good,) = await resolve(host, port, **how)
        return [good, (-1, *good[1:])]

    async def slowly(sock: Any, address: Any, connect: Any = loop.sock_connect) -> None:
        await asyncio.sleep(0.3)
        await connect(sock, address)

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    monkeypatch.setattr(loop, "sock_connect", slowly)
    async with peer_of(echo) as port:
        stream = await connected(port)
        await stream.aclose()


async def test_who_waited_for_a_silent_host_need_not_wait_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a host has said nothing for the whole time, the next in line is told so at once."""
    backend = Backend(httpcore)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", for_ever)
    for timeout in (0.02, 30.0):
        with pytest.raises(httpcore.ConnectTimeout):
            await asyncio.wait_for(backend.connect_tcp("127.0.0.1", 1, timeout=timeout), 5)


async def test_a_peer_that_hung_up_before_the_handshake(authority: Authority) -> None:
    """A connection that is closed already is not handed to the handshake, which would wait for ever."""

    async def hang_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        return

    async with peer_of(hang_up) as port:
        stream = await connected(port)
        assert await stream.read(1) == b""
        with pytest.raises(httpcore.ConnectError, match="hung up"):
            await stream.start_tls(ssl.create_default_context(cafile=authority.ca_file), "localhost", 5.0)
        await stream.aclose()


async def test_cancelling_at_any_moment_leaves_no_socket(authority: Authority) -> None:
    """However far connecting has come when it is cancelled, no socket is left to the garbage collector."""
    context = ssl.create_default_context(cafile=authority.ca_file)

    async def connect(port: int) -> None:
        stream = await connected(port)
        await stream.start_tls(context, "localhost", 5.0)
        await stream.aclose()

    async with peer_of(echo, authority.context) as port:
        for turns in range(25):
            connecting = asyncio.create_task(connect(port))
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
        await asyncio.sleep(0.05)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        gc.collect()
    assert not [warning for warning in seen if "127.0.0.1" in str(warning.message)]


async def test_a_cancelled_handshake_closes_its_socket(authority: Authority) -> None:
    """A peer that never answers the handshake costs no socket once the waiting is cancelled."""
    gone = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            pass
        gone.set()

    async with peer_of(mute) as port:
        stream = await connected(port)
        context = ssl.create_default_context(cafile=authority.ca_file)
        shaking = asyncio.create_task(stream.start_tls(context, "localhost"))
        await asyncio.sleep(0.05)
        shaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await shaking
        await asyncio.wait_for(gone.wait(), 5)


async def test_a_failed_handshake_is_a_connection_error(authority: Authority, foreign_authority: Authority) -> None:
    """A certificate nobody vouches for is a ConnectError that says so."""
    async with peer_of(echo, authority.context) as port:
        stream = await connected(port)
        with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await stream.start_tls(ssl.create_default_context(cafile=foreign_authority.ca_file), "localhost")
        await until(stream._gone.is_set)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_tls_on_each_loop(factory: Any, authority: Authority) -> None:
    """Encrypted bytes go there and back on asyncio's own loop and on uvloop."""

    async def story() -> None:
        async with peer_of(echo, authority.context) as port:
            stream = await connected(port)
            secure = await stream.start_tls(ssl.create_default_context(cafile=authority.ca_file), "localhost", 5.0)
            assert secure.get_extra_info("ssl_object") is not None
            assert secure.get_extra_info("peername")[1] == port
            assert not secure.get_extra_info("is_readable")
            await secure.write(b"hello")
            assert await secure.read(100) == b"hello"
            await secure.aclose()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(story())
