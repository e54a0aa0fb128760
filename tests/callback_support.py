"""What the tests of callbacks share: a desk with a sandbox, a session and a receiver, and a sender with bad manners."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx

from smile_async import CallbackReceiver, Job, Pace, SmileSession, Ticket, Verdict
from smile_async.sandbox import Sandbox
from smile_async.testing import SELFIE
from smile_async.timing.virtual_clock import VirtualClock

#: All that a receiver ever says.
FIXED = {
    *("taken", "known", "busy", "post only", "json only", "no content-encoding", "too large", "too slow"),
    *("unreadable", "not signed by smile id, or stale", "no token of this job", "no such job", "try again"),
    *("not from here", "not ready"),
}
#: Where a sandbox inside the process sends callbacks; any https will do, the transport decides.
URL = "https://app.test/smile"
#: So long that no poll of it can be what woke somebody.
SELDOM = Pace.fixed(50_000.0, 1, 50_000.0)


async def post(
    app: Any,
    *pieces: bytes,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    query: str = "",
    client: Any = ("127.0.0.1", 9),
    ends: bool = True,
    on_send: Callable[[Any], Any] | None = None,
) -> tuple[int, str]:
    """Send *pieces* as one body to *app*, in one chunk each; not *ends*: the sender then falls silent.

    The status and the message of the answer, which must be one of the fixed ones.
    """
    given = {"content-type": "application/json"} | dict(headers or {})
    scope = {
        "type": "http",
        "method": method,
        "path": "/",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
        "client": client,
    }
    inbox = [
        {"type": "http.request", "body": piece, "more_body": not ends or number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        if inbox:
            return inbox.pop(0)
        if not ends:
            await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if on_send is not None:
            on_send(message)
        sent.append(message)

    await app(scope, receive, send)
    start, body = sent
    message = json.loads(body["body"])
    assert message.keys() == {"message"}
    assert message["message"] in FIXED
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    return start["status"], message["message"]


class Ahead:
    """The time of *clock*, by a clock on the wall that may be set."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.skew = 0.0

    def time(self) -> float:
        return self._clock.time() + self.skew

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


class Desk:
    """A sandbox, an open session on it, and a receiver whose handler keeps what it hears and when."""

    def __init__(self, sandbox: Sandbox, session: SmileSession, clock: VirtualClock, **knobs: Any) -> None:
        self.sandbox, self.session, self.clock = sandbox, session, clock
        self.heard: list[Verdict] = []
        self.times: list[float] = []
        self.receiver = CallbackReceiver(session, self.hear, **knobs)

    async def hear(self, verdict: Verdict) -> None:
        self.heard.append(verdict)
        self.times.append(self.clock.monotonic())

    @property
    def codes(self) -> list[str]:
        return [verdict.code for verdict in self.heard]

    async def submit(self, job_id: str = "j1", **script: Any) -> Ticket:
        """Upload a job of ada's that comes to what *script* says; by default it is approved at once."""
        self.sandbox.enroll("ada")
        self.sandbox.script("ada", **({"code": "0820", "after": 0} | script))
        return await self.session.submit(Job.authenticate("ada", SELFIE, job_id=job_id))

    def queries(self, job_id: str = "j1") -> int:
        """How often anybody has asked for the status of the job."""
        return self.sandbox.jobs[job_id].polls

    @asynccontextmanager
    async def calling_back(self, *receivers: Any) -> AsyncIterator[None]:
        """The sandbox posts its callbacks to our receiver."""
        self.sandbox.settings.callback_url = URL
        async with self.sandbox.sending_callbacks(httpx.ASGITransport(self.receiver)):
            yield


class Tapped(httpx.AsyncBaseTransport):
    """A session's transport, tapped: it notes each signed timestamp, and holds requests back until it may go on."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.stamps: list[str] = []
        self.go_on = anyio.Event()
        self.go_on.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.stamps.append(json.loads(request.content)["timestamp"])
        await self.go_on.wait()
        return await self.inner.handle_async_request(request)
