"""The provider's front: HTTP/2 for its API and HTTP/1.1 for its storage, over the network in memory, in any weather.

What a request meets is drawn when it arrives. `honest` lets the sandbox do its work; everything else is a deed of the
weather, before or after that work.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import h11
import httpx
from h2_server import Antic, Asking, H2Server, _Connection, honest
from simulator.deeds import DEEDS, DOUBTFUL, passing
from simulator.weather import Weather
from simulator.wire import Port, Side

from smile_async.sandbox import Sandbox

if TYPE_CHECKING:
    from simulator.errands import Errand
    from simulator.loop import Process

__all__ = ["API_PORT", "HOST", "STORAGE_PORT", "Gateway"]

HOST, API_PORT, STORAGE_PORT = "smile.test", 8443, 8444

#: What a storage says that means: again, or with a fresh URL, or never.
STORAGE_WORDS = (
    (400, "RequestTimeout"),
    (400, "IncompleteBody"),
    (400, "ExpiredToken"),
    (403, "AccessDenied"),
    (403, "RequestTimeTooSkewed"),
    (409, "OperationAborted"),
    (503, "SlowDown"),
    (500, "InternalError"),
)


class Gateway:
    """Both fronts of *sandbox*."""

    def __init__(
        self, sandbox: Sandbox, weather: Weather, whose: "Callable[[Process | None, str], Errand | None]"
    ) -> None:
        self._sandbox = sandbox
        self._weather = weather
        self._whose = whose
        self._h2 = H2Server(sandbox.api_app, None)  # type: ignore[arg-type]
        self._h2.choose = self._choose
        self._h2.window = lambda _number: 0 if weather.strikes("a window of zero") else 65_535
        self._storage = httpx.ASGITransport(sandbox.storage_app)
        self.ports = {
            API_PORT: Port(lambda: _Connection(self._h2), lambda _: "h2"),
            STORAGE_PORT: Port(lambda: _Http1(self), lambda _: "http/1.1"),
        }
        for number, port in self.ports.items():
            port.closed = lambda number=number: self._closed(number)  # type: ignore[misc]
            port.opened = self._opened

    def _closed(self, number: int) -> str:
        where = "api" if number == API_PORT else "storage"
        for how in ("refused", "silent"):
            if self._weather.reigns(f"the {where} is {how}"):
                return how
        return ""

    def _opened(self, side: Side) -> None:
        weather = self._weather
        loop = side._loop
        if weather.strikes("connections die"):
            # At any moment, in mid-frame as well.
            side.at(loop.now + weather.uniform(0.01, 20.0), side.break_off)
        if weather.strikes("a slow line"):
            side.drag = side.peer.drag = 1e-4
        for kind, deed in (("idle connections are closed", side.close), ("idle connections die", side.die_unseen)):
            if weather.strikes(kind):
                self._end_idle(side, weather.uniform(0.3, 6.0), deed)

    def _end_idle(self, side: Side, after: float, deed: Callable[[], None]) -> None:
        """Do *deed* once nothing has come for *after* seconds."""
        left = side.last_used + after - side._loop.now
        if side.gone or not self._weather.bad:
            return
        if left <= 0:
            self._weather.tell("a connection has ended idle")
            deed()
            return
        side.at(side._loop.now + left + 0.001, self._end_idle, side, after, deed)

    # The API.

    def _choose(self, path: str, fields: dict[str, Any]) -> Antic | None:
        word = path.rpartition("/")[2]
        leg = word if word in ("upload", "job_status") else "request"
        told = fields.get("partner_params", {})
        job_id = str(told.get("job_id") or fields.get("job_id", ""))
        deed = self._weather.deed(leg, job_id)
        self._weather.tell(f"{word} {job_id[:8]}: {deed or 'honest'}")
        antic = passing(self._weather, DEEDS[deed](self._weather) if deed else honest)
        return self._counted(antic, job_id, deed) if leg == "request" else antic

    def _counted(self, antic: Antic, job_id: str, deed: str) -> Antic:
        """A request that is billed if it is taken."""

        async def counted(asking: Asking) -> None:
            client: Any = asking.line._transport
            errand = self._whose(client.peer.process, job_id)
            record = self._sandbox.jobs.get(job_id)
            if errand is not None:
                errand.came(0 if record is None else record.submissions, doubtful=deed in DOUBTFUL)
            await antic(asking)

        return counted

    # The storage.

    async def put(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes, line: "_Http1"
    ) -> None:
        weather = self._weather
        deed = weather.deed("put", target)
        weather.tell(f"put: {deed or 'honest'}")
        await asyncio.sleep(weather.uniform(0.001, 0.02))
        if deed in ("lost", "after the upload it is lost"):
            if deed != "lost":
                await self._work(method, target, headers, body)
            line.drop()
            return
        if deed == "silence":
            if weather.chance(0.5):
                await self._work(method, target, headers, body)
            return
        if deed == "slow":
            await asyncio.sleep(weather.uniform(0.5, 60.0))
        if deed == "storage words":
            status, code = weather.choice(STORAGE_WORDS)
            line.answer(status, [(b"content-type", b"application/xml")], f"<Error><Code>{code}</Code></Error>".encode())
            return
        if deed in ("502", "502 after all"):
            if deed != "502":
                await self._work(method, target, headers, body)
            line.answer(502, [], b"<html>Bad Gateway</html>")
            return
        reply = await self._work(method, target, headers, body)
        line.answer(reply.status_code, reply.headers.raw, reply.content)

    async def _work(self, method: str, target: str, headers: Any, body: bytes) -> httpx.Response:
        url = f"https://{HOST}:{STORAGE_PORT}{target}"
        response = await self._storage.handle_async_request(httpx.Request(method, url, headers=headers, content=body))
        await response.aread()
        return response


class _Http1(asyncio.Protocol):
    """One client of the storage."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=65_536)
        self._transport: Any = None
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def eof_received(self) -> None:
        """Who hangs up reads no more."""

    def data_received(self, data: bytes) -> None:
        with contextlib.suppress(h11.RemoteProtocolError):
            self._h11.receive_data(data)
            self._take()

    def _take(self) -> None:
        while (event := self._h11.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                self._request, self._body = event, bytearray()
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage) and self._request is not None:
                asked = self._request
                target, method = asked.target.decode(), asked.method.decode()
                work = self._gateway.put(method, target, list(asked.headers), bytes(self._body), self)
                self._task = asyncio.get_running_loop().create_task(work, name="scripted connection")
            elif isinstance(event, h11.ConnectionClosed):
                return

    def answer(self, status: int, headers: Any, body: bytes) -> None:
        """A whole reply."""
        if self._transport.is_closing() or self._h11.our_state is not h11.SEND_RESPONSE:
            return
        kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        kept.append((b"content-length", str(len(body)).encode()))
        self._transport.write(self._h11.send(h11.Response(status_code=status, headers=kept)))
        self._transport.write(self._h11.send(h11.Data(body)))
        self._transport.write(self._h11.send(h11.EndOfMessage()))
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._take()
        else:
            self._transport.close()

    def drop(self) -> None:
        """Hang up."""
        self._transport.abort()
