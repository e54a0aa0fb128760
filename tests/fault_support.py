"""Ways to break a leg of a job's journey, and the bench on which one job meets one of them.

What a matrix of them must come to says the test that plays it.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import h2_server
from fault_proxy import FaultProxy, Trouble
from h2_server import ErrorCodes, H2Server
from street import Pictures, session_of, until

from smile_async import IdInfo, Job, SmileError, Verdict
from smile_async.sandbox import RunningSandbox, Sandbox

Leg = Literal["upload", "put", "job_status", "request"]
#: Those of a job that travels by /upload.
LEGS: tuple[Leg, ...] = ("upload", "put", "job_status")

#: Seconds a leg may take in here, on an idle machine: a hung connection is to be noticed while the test runs.
LEG_SECONDS = 2.5
#: Enough for every fault that passes.
LONG = 300.0
#: Seconds that `slowness` takes on an idle machine, at most.
USUAL = 0.3
#: Cells at a time, beside those of a fault that stays: those mostly wait.
AT_ONCE = 10


@dataclass
class Lab:
    """What the cells of one engine share."""

    http: str
    running: RunningSandbox
    context: ssl.SSLContext
    ca_file: str
    pictures: Pictures
    #: Seconds that the machine may take on top.
    late: Callable[[], float]
    #: How many times slower than an idle one it is.
    slow: float

    @property
    def leg_seconds(self) -> float:
        """Seconds a leg may take on this machine."""
        return LEG_SECONDS * self.slow

    @property
    def sandbox(self) -> Sandbox:
        return self.running.sandbox

    @property
    def api_port(self) -> int:
        return urlsplit(self.running.base_url).port or 0

    @property
    def storage_port(self) -> int:
        return urlsplit(self.running.storage_url).port or 0


@dataclass
class Bench:
    """One cell under way: its job, and the facts at the provider's."""

    lab: Lab
    leg: Leg
    job: Job
    stack: AsyncExitStack
    base_url: str
    healing: list[Callable[[], Any]] = field(default_factory=list)

    @property
    def sandbox(self) -> Sandbox:
        return self.lab.sandbox

    def due(self) -> bool:
        """Whether the next request of this job is one of this leg."""
        return self.leg != "job_status" or self.landed()

    def landed(self) -> bool:
        """Whether the zip has arrived."""
        job = self.sandbox.jobs.get(self.job.job_id)
        return job is not None and job.zip_at is not None

    def worked(self) -> bool:
        """Whether a request of this leg has had its effect."""
        job = self.sandbox.jobs.get(self.job.job_id)
        if job is None:
            return False
        return {"put": job.zip_at is not None, "job_status": job.polls > 0}.get(self.leg, True)

    def concerns(self, path: str) -> bool:
        """Whether a request to *path* is one of this leg."""
        return path.endswith(self.leg)

    async def relay(self, *troubles: Trouble) -> FaultProxy:
        """A fault proxy on this leg's way."""
        storage = self.leg == "put"
        proxy = FaultProxy(self.lab.storage_port if storage else self.lab.api_port, *troubles)
        await self.stack.enter_async_context(proxy)
        self.healing.append(proxy.troubles.clear)
        self.healing.append(proxy.hang_up)
        if storage:

            def lead(reply: dict[str, Any]) -> None:
                if "upload_url" in reply:
                    reply["upload_url"] = reply["upload_url"].replace(f":{self.lab.storage_port}/", f":{proxy.port}/")

            self.sandbox.fault("upload", tamper=lead, times=None, job_id=self.job.job_id)
        else:
            self.base_url = f"https://127.0.0.1:{proxy.port}/v1"
        return proxy

    def ask(self, **fault: Any) -> None:
        """A fault of the sandbox's own on this leg."""
        self.sandbox.fault(self.leg, job_id=self.job.job_id, **fault)
        self.healing.append(self.mend)

    def mend(self) -> None:
        waiting = self.sandbox.faults._waiting[self.leg]
        waiting[:] = [fault for fault in waiting if fault.job_id != self.job.job_id]

    async def speak(self, antic: h2_server.Antic | None, *, times: int = 1, **settings: Any) -> H2Server:
        """An HTTP/2 server of our own in front of the sandbox, with *antic* at this leg's first requests."""
        server = H2Server(self.sandbox.api_app, self.lab.context, **settings)
        await self.stack.enter_async_context(server)
        self.base_url = server.base_url
        left = [times]

        def choose(path: str, fields: dict[str, Any]) -> h2_server.Antic | None:
            if antic is None or not self.concerns(path) or not left[0]:
                return None
            left[0] -= 1
            return antic

        def heal() -> None:
            server.choose = lambda _path, _fields: None

        server.choose = choose
        self.healing.append(heal)
        return server

    async def heal(self) -> None:
        for step in self.healing:
            result = step()
            if result is not None:
                await result


@dataclass(frozen=True)
class Fault:
    """A way to break a leg. `lasts`: it does not go away until healed, so patience is short. `warm`: it hits a
    connection that has served a request before. `heavy`: megabytes, so one at a time and with time enough.
    """

    name: str
    arrange: Callable[[Bench], Any]
    legs: tuple[Leg, ...] = LEGS
    lasts: bool = False
    warm: bool = False
    heavy: bool = False


def proxied(name: str, *make: Callable[[Bench], Trouble], **more: Any) -> Fault:
    """A fault of the network: these troubles on the leg's way."""

    async def arrange(bench: Bench) -> None:
        await bench.relay(*(one(bench) for one in make))

    return Fault(name, arrange, **more)


def on_accept(deed: Any, times: int | None = 1) -> tuple[Callable[[Bench], Trouble], ...]:
    """Trouble for a new connection; the status leg's is made new by hanging up on the old one first."""

    def hang_up(bench: Bench) -> Trouble:
        return Trouble("request", "reset", bench.landed, times=1 if bench.leg == "job_status" else 0)

    return hang_up, lambda bench: Trouble("accept", deed, bench.due, times=times)


def on_request(deed: Any, after: int | None = None, **more: Any) -> Callable[[Bench], Trouble]:
    """Trouble once TLS stands (the first bytes are its hello; the status leg's connection stands already)."""

    def make(bench: Bench) -> Trouble:
        first = 0 if bench.leg == "job_status" else 1
        return Trouble("request", deed, bench.due, after=first if after is None else after, **more)

    return make


def on_reply(deed: Any, **more: Any) -> Callable[[Bench], Trouble]:
    """Trouble when the work is done and the reply is on its way."""
    return lambda bench: Trouble("reply", deed, bench.worked, **more)


async def refused(bench: Bench) -> None:
    """Nobody listens on the port."""
    proxy = await bench.relay()
    if bench.leg == "job_status":

        async def later() -> None:
            await until(bench.landed, LONG)
            await proxy.refuse()

        task = asyncio.create_task(later())
        bench.stack.callback(task.cancel)
    else:
        await proxy.refuse()
    bench.healing.append(proxy.listen)


def asked(name: str, **fault: Any) -> Fault:
    """A fault of the sandbox's own: an HTTP reply that is wrong, late or cut off."""
    more = {key: fault.pop(key) for key in ("legs", "lasts", "heavy") if key in fault}
    return Fault(name, lambda bench: bench.ask(**fault), **more)


def overdue(name: str, legs: int) -> Fault:
    """A reply that comes when so many times the seconds of a leg are over."""
    return Fault(name, lambda bench: bench.ask(delay=legs * bench.lab.leg_seconds + 1, effect=True))


def spoken(name: str, antic: h2_server.Antic | None, **settings: Any) -> Fault:
    """A fault of the HTTP/2 server: *antic* at this leg's first request, or odd *settings* from the start."""
    more = {key: settings.pop(key) for key in ("lasts", "warm", "heavy") if key in settings}

    async def arrange(bench: Bench) -> None:
        await bench.speak(antic, **settings)

    return Fault(name, arrange, legs=("upload", "job_status"), **more)


def forge(reply: dict[str, Any]) -> None:
    """Another upload host, another signature."""
    if "upload_url" in reply:
        reply["upload_url"] = reply["upload_url"].replace("127.0.0.1", "collector.example")
    if "signature" in reply:
        reply["signature"] = "A" * 43 + "="


TCP = (
    Fault("port closed", refused, lasts=True),
    proxied("reset on accept, once", *on_accept("reset")),
    proxied("closed on accept, once", *on_accept("close")),
    proxied("answer is no TLS, once", *on_accept("garbage")),
    proxied("black hole (accepts, never reads), once", *on_accept("silence")),
    proxied("black hole, stays", *on_accept("silence", None), lasts=True),
    proxied("half-open (silence after handshake), once", on_request("silence")),
    proxied("half-open, stays", on_request("silence", times=None), lasts=True),
    proxied("reset in the middle of the request, once", on_request("reset", half=True)),
    proxied("closed in the middle of the request, once", on_request("close", half=True)),
    proxied("reset after 20 kB of the request, once", on_request("reset", after=20_000), legs=("put",)),
    proxied("reply lost to a reset, once", on_reply("reset")),
    proxied("reply lost to a close, once", on_reply("close")),
    proxied("reply lost to silence, once", on_reply("silence")),
    proxied("reply reset in the middle, once", on_reply("reset", half=True)),
    proxied("every reply lost, stays", on_reply("reset", times=None), lasts=True),
    proxied("every reply lost to silence, stays", on_reply("silence", times=None), lasts=True),
    proxied("reply drips a byte a second, once", on_reply("drip")),
    proxied("slow reader", lambda bench: Trouble("request", "slow", bench.due, times=None, gap=0.002)),
    proxied("latency 0.1 s", lambda bench: Trouble("reply", "slow", bench.due, times=None, gap=0.1, after=3000)),
)
HTTP = (
    asked("500 before any effect, once", status=500),
    asked("500 after the effect, once", status=500, effect=True),
    asked("503 with Retry-After 1, once", status=503, headers={"Retry-After": "1"}),
    asked("429, once", status=429, headers={"Retry-After": "1"}),
    asked("502 with HTML, stays", status=502, body="<html>Bad Gateway</html>", times=None, lasts=True),
    asked("500 after the effect, stays", status=500, effect=True, times=None, lasts=True),
    asked("cut off after the effect, once", effect=True, cut=True),
    overdue("late beyond the leg's deadline, once", 1),
    asked("200 with nonsense, once", body="surprise", effect=True),
    asked("redirect, once", status=302, headers={"Location": "https://collector.example/"}),
    asked("403, once", status=403),
    asked("400 without a code, once", status=400, body="{}"),
    asked("reply of 9 MB, once", body=b" " * 9_000_000, effect=True, legs=("upload", "job_status"), heavy=True),
    asked("forged reply, once", tamper=forge, legs=("upload", "job_status")),
)
H2 = (
    spoken("GOAWAY, this stream is answered", h2_server.goaway(seen=True)),
    spoken("GOAWAY, this stream was not seen", h2_server.goaway(seen=False)),
    spoken("GOAWAY, not seen, stays open", h2_server.goaway(seen=False, close=False)),
    spoken("GOAWAY with ENHANCE_YOUR_CALM", h2_server.goaway(ErrorCodes.ENHANCE_YOUR_CALM, seen=True, work=False)),
    spoken("RST_STREAM REFUSED_STREAM", h2_server.reset_stream(ErrorCodes.REFUSED_STREAM)),
    spoken("RST_STREAM INTERNAL_ERROR after the work", h2_server.reset_stream(ErrorCodes.INTERNAL_ERROR, work=True)),
    spoken("RST_STREAM CANCEL after the work", h2_server.reset_stream(ErrorCodes.CANCEL, work=True)),
    spoken("RST_STREAM on every request, stays", h2_server.reset_stream(ErrorCodes.CANCEL), times=99, lasts=True),
    spoken("stream limit lowered to 1", h2_server.lower_streams(1)),
    spoken("stream limit of 1 from the start", None, streams=1),
    spoken("zero window on the first connection", None, warm=True, window=lambda number: 0 if number == 1 else 65_535),
    spoken("window of 100 bytes", None, warm=True, window=lambda _number: 100),
    spoken("body that never ends, dripping", h2_server.drips(0.05)),
    spoken("body that never ends, full speed", h2_server.endless_body, heavy=True),
    spoken("headers, then silence", h2_server.headers_only),
    spoken("200 without a body", h2_server.empty_reply),
    spoken("connection falls silent", h2_server.fall_silent),
    spoken("PING flood", h2_server.ping_flood),
    spoken("frame that breaks the protocol", h2_server.nonsense),
    spoken("connection cut in the middle of the reply", h2_server.cut_connection),
)


@dataclass(frozen=True)
class End:
    """How a verify ended: the name of the error or the decision, and what the error said of itself."""

    name: str
    ticket: bool = True
    retryable: bool = False

    def __str__(self) -> str:
        if self.name == "approved":
            return self.name
        return f"{self.name}, {'ticket' if self.ticket else 'no ticket'}{', retryable' if self.retryable else ''}"


@dataclass(frozen=True)
class Row:
    """A cell as it went."""

    leg: str
    fault: str
    end: End
    took: float
    again: str
    complaints: tuple[str, ...]


async def slowness(running: RunningSandbox, http: str) -> float:
    """How many times slower than an idle machine this one is now, by eight lookups on connections of their own."""

    async def one(number: int) -> None:
        async with session_of(running, http=http) as session:
            await session.verify(
                Job.basic_kyc("probe", IdInfo("NG", "NIN_V2", "00000000000"), job_id=f"probe {number}")
            )

    began = time.monotonic()
    await asyncio.gather(*map(one, range(8)))
    return max(1.0, (time.monotonic() - began) / USUAL)


async def played(cells: Sequence[Any], fault_of: Callable[[Any], Fault], play: Callable[[Any], Any]) -> list[Any]:
    """What comes of each of *cells*."""
    places = asyncio.Semaphore(AT_ONCE)

    async def placed(cell: Any) -> Any:
        if fault_of(cell).lasts:
            return await play(cell)
        async with places:
            return await play(cell)

    return await asyncio.gather(*map(placed, cells))


async def ending(work: Any) -> tuple[End, Verdict | SmileError]:
    """How *work* ends; anything but a verdict or a SmileError will not be what the table expects."""
    try:
        verdict: Verdict = await work
    except SmileError as error:
        return End(type(error).__name__, error.ticket is not None, error.retryable), error
    except (Exception, asyncio.CancelledError) as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        foreign = SmileError(f"{type(error).__name__} came out: {error}")
        return End(f"{type(error).__name__} (not ours)"), foreign
    return End(str(verdict.decision)), verdict


APPROVED = End("approved")
