"""V3's front: one port, over HTTP/2 for tokens and queries and over HTTP/1.1 for submissions, in any weather.

It watches as well: who asks for a token that he need not have, and who submits what may have been taken.
"""

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from h2_server import Antic, Asking, _Connection, honest
from simulator.deeds import DEEDS, DOUBTFUL, Made, _status, passing
from simulator.gateway import API_PORT, Gateway, _Http1
from simulator.loop import Process
from simulator.weather import Weather
from simulator.wire import Port

from smile_async.protocol.v3.needs import JOB_PARAM
from smile_async.protocol.v3.tokens import EARLY, EARLY_PART
from smile_async.transport.engine import API_SECONDS
from smile_async.transport.tls import tls_context

__all__ = ["V3Gateway"]

#: By the first word of a path, the leg of v1 whose troubles it shares; all others are submissions.
_LEGS = {"token": "upload", "status": "job_status"}
_JOB = re.compile(rb'"%b":"([^"]+)"' % JOB_PARAM.encode())
_SCOPE = re.compile(rb'name="(product|user_id)"\r\n\r\n([^\r]*)\r\n')
#: Seconds that a token may have been asked for before its request came, and that bytes are on their way.
_ON_THE_WAY = API_SECONDS + 1.0
#: After these, too, nobody knows whether a submission was taken: there is no frame that says that it was not.
_DOUBTFUL = (*DOUBTFUL, "503", "a stream reset", "nonsense frames", "goaway")


# What a request may meet here alone.


def _another(_: Weather) -> Antic:
    """A true reply that speaks of somebody else."""

    async def antic(asking: Asking) -> None:
        reply = await asking.work()
        try:
            content = {**json.loads(reply.content), "user_id": "eve"}
        except ValueError:
            content = {}
        headers = [(name, value) for name, value in reply.headers.items() if name not in ("content-length", "user-id")]
        asking.answer(httpx.Response(reply.status_code, json=content, headers=[*headers, ("User-ID", "eve")]))

    return antic


async def _unsigned(asking: Asking) -> None:
    reply = await asking.work()
    for name in ("response-signature", "response-timestamp"):
        reply.headers.pop(name, None)
    asking.answer(reply)


_REFUSED = json.dumps({"status": "unauthorized", "message": "Invalid token", "job_id": None}).encode()
_OVER_H2: dict[str, Made] = {
    **DEEDS,
    "a reply of another": _another,
    "an unsigned reply": lambda _: _unsigned,
    "a token is refused": lambda _: _status(401, _REFUSED),
}


async def _honest_last(asking: Any) -> None:
    asking.answer(await asking.work())
    asking.line.close()


def _raw(said: bytes, *, work: bool = True, drop: bool = False, drips: bool = False) -> Made:
    """Bytes instead of a reply, then the end, silence, or drops."""

    async def antic(asking: Any) -> None:
        if work:
            await asking.work()
        asking.line.raw(said)
        if drop:
            asking.line.drop()
        while drips and not asking.line.over:
            await asyncio.sleep(1.0)
            asking.line.raw(b" ")

    return lambda _: antic


_HEAD = b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n"
_OVER_HTTP1: dict[str, Made] = {
    **_OVER_H2,
    "its reply is lost": _raw(_HEAD + b'{"status": "acc', drop=True),
    "silence": _raw(b""),
    "headers, then silence": _raw(_HEAD),
    "a reply in drops": _raw(_HEAD, work=False, drips=True),
    "an empty reply": lambda _: _status(200, b"", work=True),
    "goaway": lambda _: _honest_last,
    "a stream reset": lambda weather: _raw(b"", work=weather.chance(0.5), drop=True)(weather),
    "fewer streams": lambda _: _honest_last,
    "nonsense frames": _raw(b"\x00\x01 nonsense\r\n\r\n"),
}


class _Line(_Http1):
    """A client that speaks HTTP/1.1."""

    def raw(self, said: bytes) -> None:
        """Send *said* as it is."""
        if not self.over:
            self._transport.write(said)

    @property
    def over(self) -> bool:
        """Whether it has hung up."""
        return bool(self._transport.is_closing())

    def close(self) -> None:
        """The end, once all is said."""
        self._transport.close()


class _Either(asyncio.Protocol):
    """A client that has not said a word yet."""

    def __init__(self, gateway: "V3Gateway") -> None:
        self._gateway = gateway
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        gateway = self._gateway
        protocol: Any = _Connection(gateway._h2) if data.startswith(b"PRI ") else _Line(gateway)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(data)


@dataclass
class _Letter:
    """One request over HTTP/1.1, with what an antic wants of it."""

    line: _Line
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    work: Callable[[], Awaitable[httpx.Response]]

    def answer(self, reply: httpx.Response) -> None:
        """Send a whole reply."""
        self.line.answer(reply.status_code, reply.headers.raw, reply.content)


@dataclass
class _Purse:
    """The tokens that one process has of one scope: which it was seen to have, and which it was told are no good."""

    made: dict[str, float] = field(default_factory=dict)
    seen: str = ""
    refused: set[str] = field(default_factory=set)
    #: Fetches that are being answered, and when they came.
    flights: dict[int, tuple[float, Asking]] = field(default_factory=dict)


class V3Gateway(Gateway):
    """Both fronts in one."""

    def __init__(self, sandbox: Any, weather: Weather, whose: Any) -> None:
        super().__init__(sandbox, weather, whose)
        self._app = httpx.ASGITransport(sandbox.api_app)
        self._purses: dict[tuple[Process | None, str, str], _Purse] = {}
        #: Replaced by the world: told of a promise that was broken.
        self.broke: Callable[[str], None] = lambda _: None
        self.records: Callable[[Any], list[Any]] = lambda _errand: []
        self.now: Callable[[], float] = sandbox.settings.clock.time
        port = Port(lambda: _Either(self), _protocol_of)
        port.closed, port.opened = self.ports[API_PORT].closed, self.ports[API_PORT].opened
        self.ports = {API_PORT: port}

    # Over HTTP/2.

    def _choose(self, path: str, fields: dict[str, Any]) -> Antic | None:
        async def antic(asking: Asking) -> None:
            await self._played(asking, _OVER_H2)

        return antic

    # Over HTTP/1.1.

    async def put(self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes, line: Any) -> None:
        async def do() -> httpx.Response:
            url = f"https://smile.test:{API_PORT}{target}"
            request = httpx.Request(method, url, headers=headers, content=body)
            response = await self._app.handle_async_request(request)
            await response.aread()
            return response

        await self._played(_Letter(line, target, headers, body, do), _OVER_HTTP1)

    # Over either.

    async def _played(self, asking: Any, deeds: dict[str, Made]) -> None:
        word = asking.path.removeprefix("/v3/").partition("/")[0]
        leg = _LEGS.get(word, "request")
        found = _JOB.search(asking.body) if leg == "request" else None
        job_id = found[1].decode() if found else ""
        deed = self._weather.deed(leg, job_id)
        self._weather.tell(f"{word} {job_id[:8]}: {deed or 'honest'}")
        process: Process | None = asking.line._transport.peer.process
        token = next((value.decode() for name, value in asking.headers if name.lower() == b"smileid-token"), "")
        answer = asking.answer

        def heard(reply: httpx.Response) -> None:
            if reply.status_code == 401 and token:
                self._purse(process, _claims(token)).refused.add(token)
            answer(reply)

        asking.answer = heard
        if token:
            purse = self._purse(process, _claims(token))
            purse.seen = max(purse.seen, token, key=lambda each: purse.made.get(each, 0.0))
        if leg == "request":
            errand = self._whose(process, job_id)
            if errand is not None:
                errand.came(len(self.records(errand)), doubtful=deed in _DOUBTFUL)
        antic = passing(self._weather, deeds[deed](self._weather) if deed else honest)
        if token and self._weather.bad and self._weather.has("tokens expire") and self._weather.chance(0.5):
            # Of those that are under way when a token ends, some hear of it when the next one has come.
            await asyncio.sleep(self._weather.uniform(0.0, 3.0))
        if word == "token":
            await self._fetched(process, asking, antic)
        else:
            await antic(asking)

    # Tokens.

    def _purse(self, process: Process | None, claims: dict[str, Any]) -> _Purse:
        scope = (process, str(claims.get("product") or ""), str(claims.get("user_id") or ""))
        return self._purses.setdefault(scope, _Purse())

    async def _fetched(self, process: Process | None, asking: Any, antic: Antic) -> None:
        purse = self._purse(process, {name.decode(): value.decode() for name, value in _SCOPE.findall(asking.body)})
        came = self.now()
        for began, other in purse.flights.values():
            if came - began < API_SECONDS - 1.0 and _is_waited_for(other):
                self.broke(f"two fetches of one token at once, {came - began:.3f} s apart")
        held = purse.seen
        if held in purse.made and held not in purse.refused and came < purse.made[held]:
            self.broke(f"a token is fetched, and the one at hand is good for {purse.made[held] - came:.0f} s more")
        work = asking.work

        async def worked() -> httpx.Response:
            reply = await work()
            if reply.status_code == 200:
                claims = _claims(text := json.loads(reply.content)["token"])
                life = claims["exp"] - claims["iat"]
                # Some part of it before that moment, so long as the token may have been asked for earlier.
                purse.made[text] = came + life - min(EARLY, EARLY_PART * life) - _ON_THE_WAY
            return reply

        asking.work = worked
        purse.flights[id(asking)] = (came, asking)
        try:
            await antic(asking)
        finally:
            del purse.flights[id(asking)]


def _is_waited_for(asking: Asking) -> bool:
    """Whether whoever asked has not given it up, as far as that shows."""
    side, stream = asking.line._transport, asking.line.h2.streams.get(asking.stream)
    lost = side.gone or side.peer.gone or side.forgotten or side.peer.forgotten  # type: ignore[union-attr]
    return not (lost or asking.line.deaf or stream is None or stream.closed)


def _claims(token: str) -> dict[str, Any]:
    try:
        middle = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (ValueError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}


def _protocol_of(context: Any) -> str:
    return "http/1.1" if context is tls_context(None, http2=False) else "h2"
