"""The connections an engine on httpcore keeps: shared over HTTP/2, taken and given back over HTTP/1.1, closed once."""

import asyncio
import gc
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpcore
import httpcore2
import httpx
import pytest
from h2_server import Asking, H2Server, goaway, h2_served, honest, nonsense
from scripted import Authority, ScriptedServer, Wire, raw_reply, say, silence
from street import until

from smile_async.protocol.steps import Sent
from smile_async.sandbox import RunningSandbox
from smile_async.transport.engine import KEPT_FOR, NoReply
from smile_async.transport.httpcore_engine import HttpcoreEngine
from smile_async.transport.tls import tls_context

pytestmark = pytest.mark.usefixtures("tidy")
libraries = pytest.mark.parametrize("library", [httpcore, httpcore2])
JSON = [("Content-Type", "application/json")]


@pytest.fixture
async def server(authority: Authority) -> AsyncIterator[ScriptedServer]:
    """A server that speaks HTTP/1.1 and says 200."""
    async with ScriptedServer(say(200, b"{}"), authority.context) as server:
        yield server


def engine_on(library: Any, ca_file: str, *, http2: bool) -> HttpcoreEngine:
    """An engine that trusts this CA."""
    return HttpcoreEngine(library, tls_context(ca_file, http2=http2), http2=http2)


@libraries
async def test_requests_share_one_http2_connection(library: Any, running: RunningSandbox) -> None:
    """Many requests at once, the first of them while the connection is being made, open one connection."""
    engine = engine_on(library, running.ca_file, http2=True)
    url = f"{running.base_url}/upload"
    for _ in range(2):
        replies = await asyncio.gather(*(engine.send("POST", url, JSON, b"{}") for _ in range(40)))
        assert {reply.http_version for reply in replies} == {"HTTP/2"}
    assert len(engine._users) == 1
    await engine.aclose()
    assert not engine._users
    assert repr(engine) == f"<HttpcoreEngine on {library.__name__}>"


@libraries
@pytest.mark.parametrize("http2", [True, False])
async def test_http1_takes_as_many_connections_as_are_needed(
    library: Any, http2: bool, authority: Authority, server: ScriptedServer
) -> None:
    """Where the server speaks HTTP/1.1, requests at once have a connection each, and later ones use them again."""
    engine = engine_on(library, authority.ca_file, http2=http2)
    for _ in range(3):
        await asyncio.gather(*(engine.send("POST", f"{server.url}/x", JSON, b"{}") for _ in range(5)))
    for _ in range(5):
        await engine.send("POST", f"{server.url}/x", JSON, b"{}")
    assert len(server.requests) == 20
    assert server.connections == len(engine._idle) == len(engine._users) == 5
    await engine.aclose()


@libraries
async def test_an_expired_connection_is_closed_and_replaced(
    library: Any, authority: Authority, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that has been idle for too long is not used any more, and is closed at the next request."""
    monkeypatch.setitem(KEPT_FOR, False, 0.02)
    engine = engine_on(library, authority.ca_file, http2=False)
    await asyncio.gather(*(engine.send("POST", f"{server.url}/x", JSON, b"{}") for _ in range(3)))
    await asyncio.sleep(0.05)
    await engine.send("POST", f"{server.url}/x", JSON, b"{}")
    assert server.connections == 4
    assert len(engine._users) == 1
    await engine.aclose()


@libraries
async def test_a_connection_that_the_server_hung_up_is_not_used(library: Any, authority: Authority) -> None:
    """The idle connection that was used last is looked at, too, before it is used: the server may have closed it."""
    wires: list[Wire] = []

    async def act(wire: Wire) -> None:
        await wire.send(raw_reply(200, b"{}"))
        wires.append(wire)

    async with ScriptedServer(act, authority.context) as server:
        engine = engine_on(library, authority.ca_file, http2=False)
        url = f"{server.url}/x"
        await asyncio.gather(*(engine.send("POST", url, JSON, b"{}") for _ in range(2)))
        wires[0].writer.close()
        await until(lambda: any(connection.has_expired() for connection in engine._idle))
        # Whichever of the two it was: let it be the one used last.
        engine._idle.sort(key=lambda connection: connection.has_expired())
        assert [connection.has_expired() for connection in engine._idle] == [False, True]
        assert (await engine.send("POST", url, JSON, b"{}")).status == 200
        assert len(engine._users) == 1
        await engine.aclose()


@libraries
async def test_an_expired_http2_connection_is_replaced(
    library: Any, running: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shared connection, too, is closed when it has been idle for too long."""
    monkeypatch.setitem(KEPT_FOR, True, 0.02)
    engine = engine_on(library, running.ca_file, http2=True)
    await engine.send("POST", f"{running.base_url}/upload", JSON, b"{}")
    first = engine._shared
    await asyncio.sleep(0.05)
    await engine.send("POST", f"{running.base_url}/upload", JSON, b"{}")
    assert engine._shared is not first
    assert first.is_closed()
    assert len(engine._users) == 1
    await engine.aclose()


@libraries
async def test_two_hosts_keep_their_own_connections(library: Any, authority: Authority, server: ScriptedServer) -> None:
    """A connection is used again for its own host alone."""
    engine = engine_on(library, authority.ca_file, http2=False)
    async with ScriptedServer(say(200, b"{}"), authority.context) as other:
        for _ in range(3):
            for each in (server, other):
                await engine.send("POST", f"{each.url}/x", JSON, b"{}")
        assert server.connections == other.connections == 1
        await engine.aclose()


@libraries
async def test_closing_under_a_request_leaves_no_connection(library: Any, authority: Authority) -> None:
    """What is in flight when the engine closes fails, and its connection is closed with it."""
    async with ScriptedServer(silence, authority.context) as mute:
        engine = engine_on(library, authority.ca_file, http2=True)
        asking = [asyncio.create_task(engine.send("POST", f"{mute.url}/x", JSON, b"{}")) for _ in range(3)]
        await until(lambda: len(mute.requests) == 3)
        await engine.aclose()
        ends = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(end, NoReply) for end in ends)
        assert not engine._users


@libraries
async def test_closing_while_a_connection_is_made_leaves_none(library: Any, running: RunningSandbox) -> None:
    """At whichever moment of its making the engine is closed: once its requests are over, it is closed as well."""
    for turns in range(0, 200, 5):
        engine = engine_on(library, running.ca_file, http2=True)
        asking = [asyncio.create_task(engine.send("POST", f"{running.base_url}/upload", JSON, b"{}")) for _ in range(2)]
        for _ in range(turns):
            await asyncio.sleep(0)
        connections = list(engine._users)
        await engine.aclose()
        await asyncio.gather(*asking, return_exceptions=True)
        assert all(connection.is_closed() for connection in connections), turns
        assert not engine._users


@libraries
async def test_a_closed_engine_sends_nothing(library: Any, authority: Authority, server: ScriptedServer) -> None:
    """A request that comes after the end is refused as unsent, and opens no connection."""
    engine = engine_on(library, authority.ca_file, http2=True)
    await engine.aclose()
    with pytest.raises(NoReply, match="closed") as caught:
        await engine.send("POST", f"{server.url}/x", JSON, b"{}")
    assert caught.value.sent is Sent.UNSENT
    assert server.connections == 0


@libraries
async def test_a_proxy_is_told_who_we_are(library: Any, authority: Authority) -> None:
    """User and password of a proxy's URL are sent to it, and show in no error."""
    async with ScriptedServer(say(502), None) as proxy:
        url = proxy.url.replace("http://", "http://ada:lo%40e@")
        engine = HttpcoreEngine(library, tls_context(authority.ca_file, http2=True), http2=True, proxies=lambda *_: url)
        with pytest.raises(NoReply) as caught:
            await engine.send("POST", "https://api.example/v1/upload", JSON, b"{}")
        assert "lo@e" not in str(caught.value)
        await engine.aclose()
    (asked,) = proxy.requests
    assert asked.header("proxy-authorization") == "Basic " + b64encode(b"ada:lo@e").decode()
    assert not engine._users


@libraries
async def test_a_url_that_is_none_is_no_traceback(library: Any, authority: Authority) -> None:
    """A URL that can not be sent ends in a NoReply that does not show it."""
    engine = engine_on(library, authority.ca_file, http2=False)
    with pytest.raises(NoReply) as caught:
        await engine.send("PUT", "https://bucket.example/\u00e9?Signature=secret", JSON, b"{}")
    assert "secret" not in f"{caught.value!r}{caught.value.__context__!r}"
    await engine.aclose()


@libraries
async def test_cancelling_while_connecting_disturbs_nobody_else(library: Any, running: RunningSandbox) -> None:
    """Of requests that wait for one connection, those cancelled end, the others get their answers; all is closed."""
    engine = engine_on(library, running.ca_file, http2=True)
    url = f"{running.base_url}/upload"
    for turns in range(12):
        asking = [asyncio.create_task(engine.send("POST", url, JSON, b"{}")) for _ in range(6)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in asking[::2]:
            task.cancel()
        ends = await asyncio.gather(*asking, return_exceptions=True)
        assert all(not isinstance(end, BaseException) for end in ends[1::2])
        await engine.aclose()
        assert not engine._users
        engine = engine_on(library, running.ca_file, http2=True)
    await engine.aclose()
    gc.collect()


async def ok(scope: Any, receive: Any, send: Any) -> None:
    """An app that says 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


@asynccontextmanager
async def h2_engine(library: Any, folder: Path, **settings: Any) -> AsyncIterator[tuple[H2Server, HttpcoreEngine]]:
    """An engine, and an HTTP/2 server that can be told to misbehave."""
    async with h2_served(ok, folder, **settings) as (server, ca_file):
        engine = engine_on(library, ca_file, http2=True)
        yield server, engine
        await engine.aclose()


@libraries
@pytest.mark.parametrize("said", [True, False])
async def test_an_idle_http2_connection_that_was_hung_up_costs_nothing(
    library: Any, said: bool, tmp_path: Path
) -> None:
    """A request that finds its connection hung up, with GOAWAY or without, goes out at once on another, once."""
    async with h2_engine(library, tmp_path) as (server, engine):
        url = f"{server.base_url}/job_status"
        for number in range(1, 4):
            assert (await engine.send("POST", url, JSON, b"{}")).status == 200
            (line,) = server._lines
            if said:
                line.raw(bytes.fromhex("0000080700000000000000000100000000"))
            line.drop()
            await until(lambda: engine._shared is None or _ended(engine._shared))
            assert server.requests == server.connections == number
        replies = await asyncio.gather(*(engine.send("POST", url, JSON, b"{}") for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
        assert (server.requests, server.connections) == (23, 4)


def _ended(connection: Any) -> bool:
    return bool(connection._connection._network_stream.get_extra_info("is_readable"))


@libraries
async def test_a_goaway_while_idle_is_heeded(library: Any, tmp_path: Path) -> None:
    """A connection on which GOAWAY has come is not asked again, though the server keeps it open."""
    async with h2_engine(library, tmp_path) as (server, engine):
        url = f"{server.base_url}/job_status"
        server.choose = lambda _path, _fields: goaway(seen=True, close=False)
        for _ in range(5):
            assert (await engine.send("POST", url, JSON, b"{}")).status == 200
            await asyncio.sleep(0.03)
        assert server.requests == server.connections == 5


@libraries
async def test_what_a_goaway_leaves_standing_is_answered(library: Any, tmp_path: Path) -> None:
    """Answers to streams below a GOAWAY's number come after it, and nobody asks twice."""
    async with h2_engine(library, tmp_path) as (server, engine):
        url = f"{server.base_url}/upload"
        assert (await engine.send("POST", url, JSON, b"{}")).status == 200
        all_here = asyncio.Event()

        async def antic(asking: Asking) -> None:
            if server.requests == 21:
                all_here.set()
                await goaway(seen=True)(asking)
            else:
                await all_here.wait()
                await asyncio.sleep(0.005)
                await honest(asking)

        server.choose = lambda _path, _fields: antic
        replies = await asyncio.gather(*(engine.send("POST", url, JSON, b"{}") for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
        assert (server.requests, server.connections) == (21, 1)


@libraries
async def test_a_broken_connection_keeps_nobody_waiting(library: Any, tmp_path: Path) -> None:
    """When one request finds the connection broken it is closed, and all others on it fail at once, not at their end.

    Of eight streams twenty requests are to have one: those that had none yet are sent elsewhere.
    """
    async with h2_engine(library, tmp_path, streams=8) as (server, engine):
        url = f"{server.base_url}/upload"
        assert (await engine.send("POST", url, JSON, b"{}")).status == 200
        all_here = asyncio.Event()

        async def antic(asking: Asking) -> None:
            if server.requests == 9:
                all_here.set()
                await nonsense(asking)
            await asyncio.Event().wait()

        server.choose = lambda _path, _fields: antic if server.connections == 1 else None
        async with asyncio.timeout(20):
            ends = await asyncio.gather(
                *(engine.send("POST", url, JSON, b"{}") for _ in range(20)), return_exceptions=True
            )
        broken = [end for end in ends if isinstance(end, NoReply)]
        assert {end.sent for end in broken} == {Sent.AMBIGUOUS}
        assert len(broken) == 8
        # httpcore opens too many streams on the new one now and then, before it has read how many there may be.
        assert server.connections <= 4


@libraries
async def test_a_server_that_hangs_up_on_every_connection_is_given_up(library: Any, tmp_path: Path) -> None:
    """A request that was never taken up is unsent, and is not offered for ever."""
    async with h2_engine(library, tmp_path) as (server, engine):
        server.choose = lambda _path, _fields: goaway(seen=False)
        with pytest.raises(NoReply) as caught:
            await engine.send("POST", f"{server.base_url}/upload", JSON, b"{}")
        assert caught.value.sent is Sent.UNSENT
        assert server.connections == 1


def held(release: asyncio.Event) -> Any:
    """An antic that answers `/held` once *release* is set, and all else at once."""

    async def antic(asking: Asking) -> None:
        if asking.path.endswith("/held"):
            await release.wait()
        asking.answer(httpx.Response(200, json={"bytes": len(asking.body)}))

    return lambda _path, _fields: antic


@libraries
@pytest.mark.parametrize("size", [2, 400_000])
async def test_nobody_waits_for_the_answer_to_another(library: Any, size: int, tmp_path: Path) -> None:
    """While others wait for theirs, a small request and one above the window are answered as if they were alone."""
    async with h2_engine(library, tmp_path) as (server, engine), asyncio.timeout(20):
        release = asyncio.Event()
        server.choose = held(release)
        waiting = [asyncio.create_task(engine.send("POST", f"{server.base_url}/held", JSON, b"{}")) for _ in range(4)]
        await until(lambda: server.requests == 4)
        for at_once in (1, 5, 1, 5):
            sent = (engine.send("POST", f"{server.base_url}/upload", JSON, bytes(size)) for _ in range(at_once))
            replies = await asyncio.gather(*sent)
            assert [reply.body for reply in replies] == [b'{"bytes":%d}' % size] * at_once
        assert not any(task.done() for task in waiting)
        release.set()
        assert {reply.status for reply in await asyncio.gather(*waiting)} == {200}
        assert server.connections == 1


@libraries
async def test_whoever_reads_for_all_may_be_cancelled(library: Any, tmp_path: Path) -> None:
    """One after the other is given up, the first of them first, and those that are left are answered."""
    async with h2_engine(library, tmp_path) as (server, engine), asyncio.timeout(20):
        release = asyncio.Event()
        server.choose = held(release)
        waiting = [asyncio.create_task(engine.send("POST", f"{server.base_url}/held", JSON, b"{}")) for _ in range(6)]
        await until(lambda: server.requests == 6)
        for task in waiting[:4]:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await engine.send("POST", f"{server.base_url}/upload", JSON, b"{}")).status == 200
        release.set()
        assert {reply.status for reply in await asyncio.gather(*waiting[4:])} == {200}


@libraries
async def test_headers_that_come_in_pieces_are_read(library: Any, tmp_path: Path) -> None:
    """Between the parts of a block of headers no frame of our own is put before the library, whoever else waits."""
    async with h2_engine(library, tmp_path) as (server, engine), asyncio.timeout(20):
        release = asyncio.Event()

        async def in_pieces(asking: Asking) -> None:
            line = asking.line
            line.flush()
            block = line.h2.encoder.encode([(":status", "200"), ("content-length", "2")])
            for kind, flags, part in ((1, 0, block[:1]), (9, 0, b""), (9, 4, block[1:]), (0, 1, b"{}")):
                head = len(part).to_bytes(3, "big") + bytes([kind, flags]) + asking.stream.to_bytes(4, "big")
                line.raw(head + part)
                await asyncio.sleep(0.01)

        others = held(release)
        server.choose = lambda path, fields: in_pieces if path.endswith("/upload") else others(path, fields)
        waiting = [asyncio.create_task(engine.send("POST", f"{server.base_url}/held", JSON, b"{}")) for _ in range(3)]
        await until(lambda: server.requests == 3)
        for _ in range(2):
            assert (await engine.send("POST", f"{server.base_url}/upload", JSON, b"{}")).body == b"{}"
        release.set()
        await asyncio.gather(*waiting)
