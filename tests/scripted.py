"""A raw HTTPS server (HTTP/1.1) that answers what a test scripts, byte by byte, and a Smile ID played on it.

An `Act` gets one request and does what it likes with the connection: answer, cut, drip, fall silent, reset. Acts are
values, so that a table of faults can be crossed with a table of legs. `ScriptedSmile` keeps just enough of a provider's
memory to tell whether a job was created twice.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import socket
import ssl
import struct
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import trustme

PARTNER, KEY = "001", "scripted-api-key-5d3c1f"
#: A query that nobody may ever see in a log.
PRESIGNED = "Signature=presigned-canary-81f2&Expires=1"

Leg = Literal["upload", "put", "job_status"]


@dataclass(frozen=True)
class Authority:
    """A CA made for a test run: where clients find it, and a server's TLS context signed by it."""

    ca_file: str
    context: ssl.SSLContext


def make_authority(folder: Path) -> Authority:
    """A new CA, its certificate in *folder*, and a server context for the loopback names."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    ca_file = folder / "scripted-ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return Authority(str(ca_file), context)


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        """The value of one header; fails if it came more than once."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) < 2, f"{name} came {len(found)} times"
        return found[0] if found else None

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON body."""
        return dict(json.loads(self.body))


@dataclass
class Wire:
    """A connection on which a request has just been read."""

    asked: Asked
    writer: asyncio.StreamWriter

    async def send(self, raw: bytes) -> None:
        """Write *raw*."""
        self.writer.write(raw)
        await self.writer.drain()

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        reset(self.writer)


Act = Callable[[Wire], Awaitable[None]]


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset: no TLS goodbye, no FIN."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def raw_reply(
    status: int = 200, body: bytes | Mapping[str, Any] = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of a whole reply; a mapping is sent as JSON. A header of the value "" is left out."""
    content = body if isinstance(body, bytes) else json.dumps(dict(body)).encode()
    lines = {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Date": formatdate(usegmt=True),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + content


def say(status: int = 200, body: bytes | Mapping[str, Any] = b"", headers: Mapping[str, str] | None = None) -> Act:
    """Answer this, whatever was asked."""

    async def act(wire: Wire) -> None:
        await wire.send(raw_reply(status, body, headers))

    return act


def cut(raw: bytes = b"") -> Act:
    """Send *raw*, perhaps the beginning of a reply, and close the connection."""

    async def act(wire: Wire) -> None:
        await wire.send(raw)
        wire.writer.close()

    return act


async def reset_after_reading(wire: Wire) -> None:
    """Read the request, then reset the connection."""
    wire.reset()


async def silence(wire: Wire) -> None:
    """Never answer."""
    await asyncio.Event().wait()


def drip(gap: float = 0.02) -> Act:
    """Promise a long reply and send it a byte at a time, *gap* seconds apart, without end in sight."""

    async def act(wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await wire.send(b" ")
            await asyncio.sleep(gap)

    return act


class ScriptedServer:
    """Serves *act* on a free loopback port; keeps every request in `requests`."""

    def __init__(self, act: Act, context: ssl.SSLContext | None) -> None:
        self.act = act
        self.context = context
        self.requests: list[Asked] = []
        #: What to do with the next connections before anything is read from them.
        self.greetings: deque[Callable[[asyncio.StreamWriter], None]] = deque()
        self.connections = 0
        self._handlers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = int(self._server.sockets[0].getsockname()[1])
        scheme = "https" if self.context else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        task.set_name("scripted connection")
        self.connections += 1
        try:
            if self.greetings:
                self.greetings.popleft()(writer)
            # What a client does to its end is its own business; a test looks at what arrived.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, TimeoutError):
                while (asked := await self._read(reader, self.connections)) is not None:
                    self.requests.append(asked)
                    await self.act(Wire(asked, writer))
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._handlers.discard(task)
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Asked | None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        length = next((int(value) for name, value in headers if name == "content-length"), 0)
        body = await reader.readexactly(length)
        return Asked(method, target, headers, body, connection)


def iso(moment: float) -> str:
    """*moment* as Smile ID writes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sign(timestamp: str, key: str = KEY) -> str:
    """The signature of wire.md §2.1, written anew so that two wrongs can not agree."""
    digest = hmac.new(key.encode(), f"{timestamp}{PARTNER}sid_request".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


@dataclass
class Story:
    """What the provider knows of one job_id."""

    user_id: str
    job_type: int
    number: str
    created: int = 1
    zips: list[bytes] = field(default_factory=list)
    #: Result codes, the earlier ones seen by one status query each, the last by all that follow.
    codes: deque[str] = field(default_factory=lambda: deque(["0820"]))


class ScriptedSmile(ScriptedServer):
    """Smile ID over one HTTP/1.1 port: honest, except where `script` says otherwise.

    `fault(leg, act, …)` queues acts for the next requests of a leg; `effect=True` lets the request do its work first.
    """

    def __init__(self, authority: Authority | None) -> None:
        super().__init__(self._play, authority.context if authority else None)
        self.ca_file = authority.ca_file if authority else None
        self.jobs: dict[str, Story] = {}
        #: Job id to codes, for jobs still to come.
        self.plans: dict[str, list[str]] = {}
        self.asked: dict[Leg, list[Asked]] = defaultdict(list)
        #: Edits the fields of every honest reply of a leg.
        self.tampers: dict[Leg, Callable[[dict[str, Any]], None]] = {}
        self.headers: dict[str, str] = {}
        self._faults: dict[Leg, deque[tuple[Act, bool]]] = defaultdict(deque)
        self._always: dict[Leg, Act] = {}

    @property
    def base_url(self) -> str:
        """The API's, as a session wants it."""
        return f"{self.url}/v1"

    def fault(self, leg: Leg, *acts: Act, effect: bool = False, always: bool = False) -> None:
        """Let *acts* answer the next requests of *leg*, or, *always*, all of them."""
        for act in acts:
            if always:
                self._always[leg] = act
            else:
                self._faults[leg].append((act, effect))

    def tickets_of(self, leg: Leg) -> list[str]:
        """The timestamps of the requests of *leg*."""
        return [str(asked.fields["timestamp"]) for asked in self.asked[leg]]

    async def _play(self, wire: Wire) -> None:
        leg: Leg = "put" if wire.asked.method == "PUT" else wire.asked.target.rsplit("/", 1)[-1]  # type: ignore[assignment]
        self.asked[leg].append(wire.asked)
        act, effect = self._faults[leg].popleft() if self._faults[leg] else (self._always.get(leg), False)
        status, body = self._work(leg, wire.asked) if act is None or effect else (0, b"")
        if act is not None:
            await act(wire)
            return
        if isinstance(body, dict) and leg in self.tampers:
            self.tampers[leg](body)
        await wire.send(raw_reply(status, body, self.headers))

    def _work(self, leg: Leg, asked: Asked) -> tuple[int, dict[str, Any] | bytes]:
        if leg == "put":
            job_id = asked.target.split("/")[2]
            self.jobs[job_id].zips.append(asked.body)
            return 200, b""
        return self._upload(asked.fields) if leg == "upload" else self._status(asked.fields)

    def _upload(self, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        params = fields["partner_params"]
        job = self.jobs.get(params["job_id"])
        if job is not None and (not fields.get("retry") or job.zips):
            return 400, {"error": "Job already exists.", "code": "2215"}
        if job is None:
            number = f"{len(self.jobs) + 1:010}"
            job = self.jobs[params["job_id"]] = Story(params["user_id"], params["job_type"], number)
            job.codes = deque(self.plans.get(params["job_id"], ["0820"]))
        url = f"{self.url}/videos/{params['job_id']}/selfie.zip?{PRESIGNED}"
        return 200, {"upload_url": url, "smile_job_id": job.number, "code": "2202", "camera_config": None}

    def _status(self, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        job = self.jobs.get(fields["job_id"])
        if job is None:
            return 404, {"error": "Job not found", "code": "2304"}
        timestamp = iso(time.time())
        whole = {"timestamp": timestamp, "signature": sign(timestamp), "code": "2302", "job_complete": False}
        if not job.zips:
            return 200, {**whole, "code": "2314", "result": "No zip uploaded yet"}
        code = job.codes.popleft() if len(job.codes) > 1 else job.codes[0]
        if code == "":
            return 200, {**whole, "result": "No result yet"}
        params = {"user_id": fields["user_id"], "job_id": fields["job_id"], "job_type": job.job_type}
        result = {"ResultCode": code, "ResultText": "Scripted", "SmileJobID": job.number, "PartnerParams": params}
        return 200, {**whole, "job_complete": code not in ("0822", "0844"), "result": result}
