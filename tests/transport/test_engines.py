"""Every engine passes the same tests: what one does, all do."""

import asyncio
import os
import ssl
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from h2.errors import ErrorCodes
from h2_server import Antic, H2Server, cut_connection, goaway, h2_served, nonsense, reset_stream
from pyreqwest.client import ClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport
from scripted import (
    PRESIGNED,
    Act,
    Authority,
    ScriptedServer,
    cut,
    drip,
    raw_reply,
    reset,
    reset_after_reading,
    say,
    silence,
)
from street import ENGINES, nothing_left, until

from smile_async import SmileSession
from smile_async.errors import BadConfiguration
from smile_async.protocol.steps import Sent
from smile_async.sandbox import RunningSandbox
from smile_async.transport.engine import BROKEN_AT_MOST, MAX_REPLY_BYTES, Body, Engine, NoReply, Reply, Watched
from smile_async.transport.engines import engine_factory
from smile_async.transport.httpx_engine import HttpxEngine
from smile_async.transport.tls import _tls

pytestmark = pytest.mark.usefixtures("tidy")
engines = pytest.mark.parametrize("http", ENGINES)
JSON = [("Content-Type", "application/json")]
LOOPBACK = "https://127.0.0.1/v1"
PATH = f"/videos/1/selfie.zip?{PRESIGNED}"


class Pieces:
    """A body of *count* pieces that counts how often it was read."""

    def __init__(self, count: int = 20, size: int = 60_000) -> None:
        self.length = count * size
        self.read = 0
        self._pieces = [bytes([number]) * size for number in range(count)]

    def pieces(self, size: int) -> Iterator[bytes]:
        self.read += 1
        return iter(self._pieces)

    @property
    def whole(self) -> bytes:
        return b"".join(self._pieces)


@asynccontextmanager
async def engine_of(http: Any, http2: bool = False, **settings: Any) -> AsyncIterator[Engine]:
    """An engine of the kind *http*, closed at the end."""
    make, _ = engine_factory(http, **{"base_url": LOOPBACK, **settings})
    engine = make(http2)
    try:
        yield engine
    finally:
        await engine.aclose()


@pytest.fixture
async def served(authority: Authority) -> AsyncIterator[Callable[..., Any]]:
    """To be awaited with the name of an engine and an act: gives a scripted server, and an engine that trusts it."""
    async with AsyncExitStack() as stack:

        async def start(http: str, act: Act, **settings: Any) -> tuple[ScriptedServer, Engine]:
            server = await stack.enter_async_context(ScriptedServer(act, authority.context))
            known = {"ca_file": authority.ca_file, **settings}
            return server, await stack.enter_async_context(engine_of(http, **known))

        yield start


async def refused(engine: Engine, url: str, body: bytes | Body = b"{}", method: str = "POST") -> NoReply:
    """The NoReply that this request ends with."""
    with pytest.raises(NoReply) as caught:
        await engine.send(method, url, JSON, body)
    assert caught.value.__context__ is None
    assert PRESIGNED not in str(caught.value)
    return caught.value


@engines
async def test_bytes_go_out_and_a_whole_reply_comes_back(http: str, served: Any) -> None:
    """A POST of bytes arrives as it is, with an exact length, and the reply's parts are what was sent."""
    server, engine = await served(http, say(418, b'{"a": 1}', {"X-Kettle": "on"}))
    reply = await engine.send("POST", f"{server.url}/v1/upload", JSON, b'{"b": 2}')
    assert (reply.status, reply.body, reply.headers["x-kettle"]) == (418, b'{"a": 1}', "on")
    assert reply.http_version == "HTTP/1.1"
    assert repr(reply) == "<Reply 418 over HTTP/1.1, 8 bytes>"
    (asked,) = server.requests
    assert (asked.method, asked.target, asked.body) == ("POST", "/v1/upload", b'{"b": 2}')
    assert asked.header("content-length") == "8"
    assert asked.header("content-type") == "application/json"
    assert asked.header("host") == f"127.0.0.1:{server.port}"


@engines
async def test_a_streamed_body_has_an_exact_length_and_is_not_chunked(http: str, served: Any) -> None:
    """A PUT in pieces arrives whole, once, under Content-Length, because S3 answers 501 to chunks."""
    server, engine = await served(http, say(200))
    body = Pieces()
    await engine.send("PUT", f"{server.url}{PATH}", [("Content-Type", "application/zip")], body)
    await engine.send("PUT", f"{server.url}{PATH}", [("Content-Type", "application/zip")], body)
    for asked in server.requests:
        assert asked.target == PATH
        assert asked.header("content-length") == str(body.length)
        assert asked.header("transfer-encoding") is None
        assert asked.header("content-type") == "application/zip"
        assert asked.header("host") == f"127.0.0.1:{server.port}"
        assert asked.body == body.whole
    assert body.read == 2


@engines
@pytest.mark.parametrize(("http2", "version"), [(True, "HTTP/2"), (False, "HTTP/1.1")])
async def test_the_negotiated_version_is_told(http: str, http2: bool, version: str, running: RunningSandbox) -> None:
    """Where the server speaks both, the API leg gets HTTP/2, the storage leg HTTP/1.1, and both say so."""
    async with engine_of(http, http2, ca_file=running.ca_file) as engine:
        replies = [await engine.send("POST", f"{running.base_url}/upload", JSON, b"{}") for _ in range(3)]
    assert {reply.http_version for reply in replies} == {version}
    assert {reply.status for reply in replies} == {400}


@engines
async def test_http1_serves_where_there_is_no_http2(http: str, served: Any, authority: Authority) -> None:
    """The API leg falls back to HTTP/1.1 by ALPN."""
    server, _ = await served(http, say(200, b"{}"))
    async with engine_of(http, True, ca_file=authority.ca_file) as engine:
        assert (await engine.send("POST", f"{server.url}/v1/upload", JSON, b"{}")).http_version == "HTTP/1.1"


@engines
async def test_plain_http_works_on_loopback(http: str) -> None:
    """Without TLS, as a sandbox on this machine may be."""
    async with ScriptedServer(say(200, b"{}"), None) as server, engine_of(http) as engine:
        assert (await engine.send("POST", f"{server.url}/v1/upload", JSON, b"{}")).status == 200


@engines
async def test_a_refused_connection_is_unsent(http: str, served: Any) -> None:
    """Nobody listens: nothing can have arrived."""
    server, engine = await served(http, say(200))
    await server.__aexit__(None, None, None)
    for body in (b"{}", Pieces()):
        assert (await refused(engine, server.url + PATH, body)).sent is Sent.UNSENT


@engines
async def test_an_unknown_host_is_unsent(http: str) -> None:
    """A name that does not resolve: nothing can have arrived."""
    async with engine_of(http) as engine:
        assert (await refused(engine, "https://nobody.invalid/v1/upload")).sent is Sent.UNSENT


@engines
async def test_a_reset_after_the_request_is_ambiguous(http: str, served: Any) -> None:
    """The server read the request and hung up: it may have done its work."""
    server, engine = await served(http, reset_after_reading)
    for body in (b"{}", Pieces()):
        assert (await refused(engine, server.url + PATH, body, "PUT")).sent is Sent.AMBIGUOUS
    assert len(server.requests) == 2


@engines
@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200", raw_reply(200, b"12345")[:-1], b"SSH-2.0-surprise\r\n\r\n"])
async def test_half_a_reply_is_ambiguous(http: str, reply: bytes, served: Any) -> None:
    """Whatever is cut off or no HTTP at all leaves it open whether the request had its effect."""
    server, engine = await served(http, cut(reply))
    assert (await refused(engine, server.url + PATH)).sent is Sent.AMBIGUOUS
    assert len(server.requests) == 1


@engines
async def test_a_reset_before_the_request_is_read_is_never_called_answered(http: str, served: Any) -> None:
    """The server hangs up as soon as the connection stands: unsent or ambiguous, both true for what we can know."""
    server, engine = await served(http, say(200))
    server.greetings.extend([reset] * 3)
    assert (await refused(engine, server.url + PATH)).sent in (Sent.UNSENT, Sent.AMBIGUOUS)


@engines
async def test_a_reply_has_a_cap(http: str, served: Any) -> None:
    """A reply of 20 MB is dropped at the cap; one just below it is read."""
    server, engine = await served(http, say(200, b" " * 20_000_000))
    told = await refused(engine, server.url + PATH)
    assert told.sent is Sent.ANSWERED
    assert "8,000,000" in told.why
    server.act = say(200, b" " * MAX_REPLY_BYTES)
    assert len((await engine.send("POST", server.url + PATH, JSON, b"{}")).body) == MAX_REPLY_BYTES


@engines
async def test_a_redirect_is_a_reply(http: str, served: Any) -> None:
    """Locations are not followed, wherever they lead: a selfie goes where it was sent."""
    server, engine = await served(http, say(307, b"", {"Location": "/elsewhere"}))
    for body in (b"{}", Pieces(2)):
        assert (await engine.send("PUT", server.url + PATH, JSON, body)).status == 307
    assert [asked.target for asked in server.requests] == [PATH, PATH]


@engines
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_proxies_of_the_environment_are_ignored(
    http: str, name: str, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy variable diverts a request unless the user asked for it."""
    async with ScriptedServer(say(502), None) as proxy:
        monkeypatch.setenv(name, proxy.url)
        server, engine = await served(http, say(200))
        assert (await engine.send("POST", server.url + PATH, JSON, b"{}")).status == 200
        assert not proxy.connections


def let_proxies_be(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """The proxy variables are these and no others."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@engines
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "all_proxy"])
async def test_no_proxy_is_honoured_for_each_host(
    http: str, name: str, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """trust_env: the host that NO_PROXY names is reached directly and the other is not, whichever is the API's."""
    async with ScriptedServer(say(502), None) as proxy:
        let_proxies_be(
            monkeypatch, **{name: proxy.url.replace("http://", "http://me:p%40ss@"), "NO_PROXY": "127.0.0.1"}
        )
        server, engine = await served(http, say(200), trust_env=True)
        assert (await engine.send("POST", server.url + PATH, JSON, b"{}")).status == 200
        assert not proxy.connections
        await refused(engine, "https://api.example/v1/upload")
        assert (await engine.send("POST", server.url + PATH, JSON, b"{}")).status == 200
    (tunnel,) = proxy.requests
    credentials = [value for name, value in tunnel.headers if name.lower() == "proxy-authorization"]
    assert (tunnel.target, credentials) == ("api.example:443", ["Basic bWU6cEBzcw=="])


@engines
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "http_proxy"])
@pytest.mark.parametrize("value", ["127.0.0.1:3128", "socks5://127.0.0.1:1080", "http://s3cret@", "http://host:port"])
def test_a_broken_proxy_variable_is_told_by_its_name(
    http: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no proxy's URL is refused at once if the environment is trusted; its value is not shown."""
    let_proxies_be(monkeypatch, **{name: value})
    with pytest.raises(
        BadConfiguration, match=f"^{name} names no proxy that can be used: give http://host:port"
    ) as caught:
        engine_factory(http, trust_env=True)
    assert "s3cret" not in str(caught.value)
    engine_factory(http)


@engines
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_a_broken_ca_variable_is_told_by_its_name(
    http: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that name nothing, or a file without certificates, would let no server be trusted."""
    monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    with pytest.raises(BadConfiguration, match=f"^{name} names .*nowhere"):
        engine_factory(http)
    monkeypatch.delenv(name)
    (tmp_path / "ca.pem").write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(BadConfiguration, match=r"^SSL_CERT_FILE .*ca\.pem' can not be used \(.*no certificate"):
        async with SmileSession("001", "key", http=http):
            pass


def test_a_transport_of_the_user_has_its_own_trust(authority: Authority) -> None:
    """A ca_file or trust_env that no engine of ours would look at is refused: it would be ignored in silence."""
    for http in (httpx.MockTransport(lambda _: httpx.Response(200)), httpx.AsyncHTTPTransport):
        for asked in ({"ca_file": authority.ca_file}, {"trust_env": True}):
            with pytest.raises(BadConfiguration, match="for our own engines: give it to your transport"):
                engine_factory(http, **asked)  # type: ignore[arg-type]


@engines
async def test_a_foreign_certificate_is_refused(http: str, served: Any, foreign_authority: Authority) -> None:
    """A server whose certificate ca_file does not vouch for gets nothing."""
    server, engine = await served(http, say(200), ca_file=foreign_authority.ca_file)
    told = await refused(engine, server.url + PATH)
    assert told.sent is Sent.UNSENT
    # By this word the session knows to say what SMILE_CA_FILE is for.
    assert "certificate" in told.why.lower()
    assert not server.requests


ELSEWHERE = "https://smile.example/v1"


@pytest.fixture
def system_trusts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """To be called with the file of the only CA that this machine's settings name."""

    def name(ca_file: str) -> None:
        _tls.cache_clear()
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", ca_file)

    yield name
    _tls.cache_clear()


@engines
async def test_what_the_system_trusts_is_not_added_to_the_ca_file(
    http: str, authority: Authority, foreign_authority: Authority, system_trusts: Callable[[str], None]
) -> None:
    """With ca_file a server that only the system's CAs vouch for gets nothing; an engine that would serve it is refused
    before there is a session.
    """
    system_trusts(foreign_authority.ca_file)
    async with ScriptedServer(say(200), foreign_authority.context) as server:
        async with engine_of(http, base_url=ELSEWHERE) as engine:
            assert (await engine.send("POST", server.url + PATH, JSON, b"{}")).status == 200
        server.requests.clear()
        if http == "pyreqwest":
            with pytest.raises(BadConfiguration, match="would trust the system's CAs beside ca_file: use 'httpx'"):
                engine_factory(http, ca_file=authority.ca_file, base_url=ELSEWHERE)
        else:
            async with engine_of(http, ca_file=authority.ca_file, base_url=ELSEWHERE) as engine:
                assert (await refused(engine, server.url + PATH)).sent is Sent.UNSENT
        assert not server.requests


@engines
async def test_a_file_that_is_all_the_system_trusts_is_a_pin_on_every_engine(
    http: str,
    authority: Authority,
    foreign_authority: Authority,
    system_trusts: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where SSL_CERT_FILE names the ca_file and nothing names other CAs, pyreqwest trusts it alone as the others do."""
    system_trusts(authority.ca_file)
    pinned = {"ca_file": authority.ca_file, "base_url": ELSEWHERE}
    async with (
        ScriptedServer(say(200), foreign_authority.context) as foreign,
        ScriptedServer(say(200), authority.context) as server,
        engine_of(http, **pinned) as engine,
    ):
        assert (await engine.send("POST", server.url + PATH, JSON, b"{}")).status == 200
        assert (await refused(engine, foreign.url + PATH)).sent is Sent.UNSENT
        assert not foreign.requests
    monkeypatch.setenv("SSL_CERT_DIR", str(Path(foreign_authority.ca_file).parent))
    if http == "pyreqwest":
        with pytest.raises(BadConfiguration, match="unset SSL_CERT_DIR"):
            engine_factory(http, **pinned)


@engines
async def test_the_system_does_not_trust_a_test_certificate(http: str, served: Any) -> None:
    """Without ca_file, the system's CAs decide."""
    server, engine = await served(http, say(200), ca_file=None)
    assert (await refused(engine, server.url + PATH)).sent is Sent.UNSENT
    assert not server.requests


@engines
async def test_old_tls_is_refused(http: str, authority: Authority, tmp_path: Path) -> None:
    """TLS below 1.2 is not spoken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with ScriptedServer(say(200), context) as server, engine_of(http, ca_file=authority.ca_file) as engine:
        assert (await refused(engine, server.url + PATH)).sent is Sent.UNSENT


@engines
@pytest.mark.parametrize("act", [silence, drip()])
async def test_cancelling_is_safe(http: str, act: Act, served: Any) -> None:
    """Many requests cancelled in flight leave no task behind and do not keep the next from getting its answer."""
    server, engine = await served(http, act)
    async with nothing_left():
        for body in (b"{}", Pieces(2)):
            tasks = [asyncio.create_task(engine.send("PUT", server.url + PATH, JSON, body)) for _ in range(10)]
            seen = len(server.requests)
            await until(lambda seen=seen: len(server.requests) == seen + 10)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    server.act = say(200, b"fine")
    assert (await engine.send("POST", server.url + PATH, JSON, b"{}")).body == b"fine"


@engines
@pytest.mark.parametrize("act", [silence, drip()])
async def test_a_deadline_around_a_request_is_its_caller_s(http: str, act: Act, served: Any) -> None:
    """A cancel scope that runs out during a request ends it, and swallows its own cancellation and no other."""
    server, engine = await served(http, act)
    with anyio.move_on_after(0.05) as scope:
        await engine.send("PUT", server.url + PATH, JSON, Pieces(2))
    assert scope.cancelled_caught
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await engine.send("PUT", server.url + PATH, JSON, b"{}")
    me = asyncio.current_task()
    assert me is not None
    assert not me.cancelling()


@engines
async def test_an_abandoned_request_does_not_live_for_ever(
    http: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection of a cancelled request to a silent server is closed: at once, or with its leg's longest time."""
    monkeypatch.setattr("smile_async.transport.pyreqwest_engine.UPLOAD_SECONDS", -0.5)
    gone = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            pass
        gone.set()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server, engine_of(http) as engine:
        port = server.sockets[0].getsockname()[1]
        with anyio.move_on_after(0.1):
            await engine.send("PUT", f"http://127.0.0.1:{port}/x", JSON, b"{}")
        await asyncio.wait_for(gone.wait(), 5)


@engines
async def test_cancelling_over_http2_is_safe(http: str, running: RunningSandbox) -> None:
    """A few requests cancelled in flight over HTTP/2 do not keep the next from getting its answer."""
    running.sandbox.fault("upload", delay=30, times=10)
    async with engine_of(http, True, ca_file=running.ca_file) as engine:
        sending = [
            asyncio.create_task(engine.send("POST", f"{running.base_url}/upload", JSON, b"{}")) for _ in range(10)
        ]
        await until(lambda: not running.sandbox.faults.pending("upload"))
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        assert (await engine.send("POST", f"{running.base_url}/upload", JSON, b"{}")).status == 400


@asynccontextmanager
async def h2_engine(http: str, folder: Path) -> AsyncIterator[tuple[H2Server, Engine, list[bytes]]]:
    """An HTTP/2 server that can be told to misbehave, an engine, and what the server's app has read."""
    taken: list[bytes] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        taken.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async with h2_served(app, folder) as (server, ca_file), engine_of(http, True, ca_file=ca_file) as engine:
        yield server, engine, taken


@engines
async def test_a_goaway_after_every_first_request(http: str, tmp_path: Path) -> None:
    """A server that says GOAWAY on each connection after its first request answers all requests, each once."""
    async with h2_engine(http, tmp_path) as (server, engine, taken):
        # Not closed: a stream that GOAWAY has counted may not be here as a whole yet.
        server.choose = lambda _path, _fields: goaway(seen=True, close=False)
        said = [b'{"number": %d}' % number for number in range(40)]
        # One kind of body can be sent again by pyreqwest itself, the other can not.
        bodies = [Watched(each, lambda: None) if number % 2 else each for number, each in enumerate(said)]
        replies = await asyncio.gather(*(engine.send("POST", server.base_url, JSON, body) for body in bodies))
        assert {reply.status for reply in replies} == {200}
        assert sorted(taken) == sorted(said)


@engines
@pytest.mark.parametrize(
    "refusal",
    [
        goaway(seen=False),
        goaway(ErrorCodes.ENHANCE_YOUR_CALM, seen=False),
        reset_stream(ErrorCodes.REFUSED_STREAM),
    ],
)
async def test_what_every_connection_refuses_is_unsent(http: str, refusal: Antic, tmp_path: Path) -> None:
    """A request that the server says it has not processed is unsent, and is not offered for ever."""
    async with h2_engine(http, tmp_path) as (server, engine, _):
        server.choose = lambda _path, _fields: refusal
        assert (await refused(engine, server.base_url, Watched(b"{}", lambda: None))).sent is Sent.UNSENT
        assert 1 <= server.requests <= 1 + BROKEN_AT_MOST


@engines
@pytest.mark.parametrize(
    "end",
    [
        goaway(seen=True, work=False),
        goaway(ErrorCodes.ENHANCE_YOUR_CALM, seen=True, work=False),
        reset_stream(ErrorCodes.CANCEL),
        reset_stream(ErrorCodes.INTERNAL_ERROR, work=True),
        nonsense,
        cut_connection,
    ],
)
@pytest.mark.parametrize("watched", [True, False])
async def test_what_may_have_been_taken_is_not_sent_again(http: str, end: Antic, watched: bool, tmp_path: Path) -> None:
    """A stream that ends without an answer or a refusal is ambiguous, and the server saw its request once."""
    async with h2_engine(http, tmp_path) as (server, engine, _):
        server.choose = lambda _path, _fields: end
        body = Watched(b"{}", lambda: None) if watched else b"{}"
        assert (await refused(engine, server.base_url, body)).sent is Sent.AMBIGUOUS
        assert server.requests == 1


@engines
async def test_replies_are_read_raw(http: str, served: Any) -> None:
    """No engine asks for or undoes a compression: a small reply can not unfold into a large one."""
    server, engine = await served(http, say(200, b"not gzip at all", {"Content-Encoding": "gzip"}))
    assert (await engine.send("POST", server.url + PATH, JSON, b"{}")).body == b"not gzip at all"
    assert "gzip" not in (server.requests[0].header("accept-encoding") or "")


async def test_a_transport_of_the_user_serves_both_legs_and_stays_open(authority: Authority) -> None:
    """An AsyncBaseTransport is used as it is for both legs, unsharded, and is not closed by us."""

    class Mine(httpx.AsyncBaseTransport):
        closed = False

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=await request.aread())

        async def aclose(self) -> None:
            self.closed = True

    mine = Mine()
    make, sharded = engine_factory(mine)
    assert not sharded
    assert make(True) is make(False)
    body = Pieces(3)
    reply = await make(True).send("PUT", "https://api.example/x", JSON, body)
    assert (reply.body, reply.http_version) == (body.whole, "")
    await make(True).aclose()
    assert not mine.closed
    assert repr(make(True)) == "<HttpxEngine over Mine>"


async def test_a_factory_gives_each_shard_its_own_transport() -> None:
    """A callable makes one transport per shard, and those are closed by us."""
    made: list[httpx.AsyncBaseTransport] = []

    class Mine(httpx.MockTransport):
        closed = False

        async def aclose(self) -> None:
            self.closed = True

    def factory() -> httpx.AsyncBaseTransport:
        made.append(Mine(lambda _request: httpx.Response(204)))
        return made[-1]

    make, sharded = engine_factory(factory)
    assert sharded
    one, two = make(True), make(False)
    assert len(made) == 2
    await one.send("POST", "https://api.example/x", JSON, b"{}")
    await one.aclose()
    await two.aclose()
    assert all(transport.closed for transport in made)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("raised", "sent"),
    [
        (httpx.ConnectError("no route"), Sent.UNSENT),
        (httpx.ConnectTimeout(""), Sent.UNSENT),
        (httpx.PoolTimeout("full"), Sent.UNSENT),
        (httpx.UnsupportedProtocol("ftp"), Sent.UNSENT),
        (httpx.ReadError("gone"), Sent.AMBIGUOUS),
        (httpx.ReadTimeout("slow"), Sent.AMBIGUOUS),
        (httpx.RemoteProtocolError("GOAWAY"), Sent.AMBIGUOUS),
        (ssl.SSLError("bad record"), Sent.AMBIGUOUS),
        (RuntimeError(f"https://bucket.example/?{PRESIGNED}"), Sent.AMBIGUOUS),
    ],
)
async def test_unknown_means_ambiguous(raised: Exception, sent: Sent) -> None:
    """Only what surely happened before a byte left is unsent; any other exception of a transport is ambiguous."""

    def fail(_request: httpx.Request) -> httpx.Response:
        raise raised

    engine = HttpxEngine(httpx.MockTransport(fail))
    assert (await refused(engine, f"https://api.example{PATH}")).sent is sent


async def test_pyreqwest_s_own_transport_is_understood(authority: Authority) -> None:
    """Given as a factory, its connection errors are taken for what they are, and show no URL."""

    def factory() -> httpx.AsyncBaseTransport:
        return HttpxTransport(ClientBuilder().no_proxy().build())

    async with ScriptedServer(reset_after_reading, None) as server, engine_of(factory) as engine:
        assert (await refused(engine, server.url + PATH, method="PUT")).sent is Sent.AMBIGUOUS
        gone = server.url
    async with engine_of(factory) as engine:
        assert (await refused(engine, gone + PATH)).sent is Sent.UNSENT
        await asyncio.sleep(0.05)  # see pyreqwest_engine.DRAIN


@pytest.mark.parametrize("http", ["requests", "", None, 7])
def test_an_unknown_engine_is_refused(http: Any) -> None:
    """A name that is no engine is a BadConfiguration that lists those there are."""
    with pytest.raises(BadConfiguration, match="'httpx2', 'pyreqwest'"):
        engine_factory(http)


@pytest.mark.parametrize(("http", "extra"), [("httpx2", "httpx2"), ("pyreqwest", "rust")])
def test_a_missing_extra_is_named(http: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the message says what to install."""
    monkeypatch.setitem(sys.modules, http, None)
    with pytest.raises(BadConfiguration, match=rf"smile-async\[{extra}\]"):
        engine_factory(http)[0](True)


@engines
def test_a_ca_file_that_is_none_is_refused(http: str, tmp_path: Path) -> None:
    """A ca_file that is missing or holds no certificate is a BadConfiguration that names it."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("-----BEGIN NONSENSE-----")
    for path in (nonsense, tmp_path / "missing.pem"):
        with pytest.raises(BadConfiguration, match=path.name):
            engine_factory(http, ca_file=str(path), base_url=LOOPBACK)[0](False)


def test_a_reply_over_an_unknown_version_says_so() -> None:
    """The repr of a reply whose version nobody told stays readable."""
    assert repr(Reply(200, {}, b"", "")) == "<Reply 200 over HTTP, 0 bytes>"
