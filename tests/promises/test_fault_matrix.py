"""Every leg of a job's journey, crossed with every way we know to break it, on every engine.

A cell is one `session.verify` on connections of its own: a fault that passes must end in the verdict, one that stays in
a truthful error; afterwards the fault is gone, and what the error promised (`retryable`, `ticket`) must hold. Never may
the provider have made two jobs. The run writes the whole table to tests/output/fault_matrix.md.
"""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import h2_server
import pytest
import trustme
from fault_proxy import FaultProxy, Trouble
from h2_server import ErrorCodes, H2Server, h2_context
from street import ENGINES, Pictures, nothing_left, session_of, until

from smile_async import Job, Pace, SmileError, SmileSession, Verdict
from smile_async.sandbox import RunningSandbox, Sandbox

Leg = Literal["upload", "put", "job_status"]
LEGS: tuple[Leg, ...] = ("upload", "put", "job_status")

#: Seconds a leg may take in here: a hung connection is to be noticed while the test runs.
LEG_SECONDS = 2.5
#: Enough for every fault that passes; too little for one that stays.
LONG, SHORT = 60.0, {"upload": 1.5, "put": 2.5, "job_status": 5.0}
#: Cells at a time.
AT_ONCE = 24
OUTPUT = Path(__file__).parent.parent / "output" / "fault_matrix.md"
#: No poll is answered with a verdict before the fault that waits for it was set.
LATENCY = 0.1


@dataclass
class Lab:
    """What the cells of one engine share."""

    http: str
    running: RunningSandbox
    context: ssl.SSLContext
    ca_file: str
    pictures: Pictures

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
        return (
            job is not None and {"upload": True, "put": job.zip_at is not None, "job_status": job.polls > 0}[self.leg]
        )

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
            if antic is None or not path.endswith(self.leg) or not left[0]:
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
    asked("late beyond the leg's deadline, once", delay=LEG_SECONDS + 1, effect=True),
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
    spoken("body that never ends, dripping", h2_server.drip_body),
    spoken("body that never ends, full speed", h2_server.endless_body, heavy=True),
    spoken("headers, then silence", h2_server.headers_only),
    spoken("200 without a body", h2_server.empty_reply),
    spoken("connection falls silent", h2_server.fall_silent),
    spoken("PING flood", h2_server.ping_flood),
    spoken("frame that breaks the protocol", h2_server.nonsense),
    spoken("connection cut in the middle of the reply", h2_server.cut_connection),
)
CELLS = [(leg, fault) for fault in (*TCP, *HTTP, *H2) for leg in fault.legs]


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
#: What a cell ends with where that is not "approved".
EXPECTED: dict[tuple[Leg, str], End] = {
    ("upload", "port closed"): End("Unavailable", ticket=False, retryable=True),
    **{
        ("upload", name): End("Unavailable", retryable=True)
        for name in (
            "black hole, stays",
            "half-open, stays",
            "every reply lost, stays",
            "every reply lost to silence, stays",
            "502 with HTML, stays",
            "500 after the effect, stays",
            "RST_STREAM on every request, stays",
        )
    },
    **{
        ("put", name): End("Unavailable", retryable=True)
        for name in ("port closed", "black hole, stays", "half-open, stays", "every reply lost to silence, stays")
    },
    ("put", "502 with HTML, stays"): End("UploadFailed", retryable=True),
    ("put", "redirect, once"): End("UploadFailed"),
    ("put", "400 without a code, once"): End("UploadFailed"),
    **{
        ("job_status", name): End("StillPending")
        for name in (
            "port closed",
            "black hole, stays",
            "half-open, stays",
            "every reply lost, stays",
            "every reply lost to silence, stays",
            "502 with HTML, stays",
            "500 after the effect, stays",
            "RST_STREAM on every request, stays",
        )
    },
    **{
        (leg, name): End(error)
        for leg in ("upload", "job_status")
        for name, error in (
            ("200 with nonsense, once", "UnreadableReply"),
            ("redirect, once", "UnreadableReply"),
            ("reply of 9 MB, once", "UnreadableReply"),
            ("body that never ends, full speed", "UnreadableReply"),
            ("200 without a body", "UnreadableReply"),
            ("403, once", "NotAuthorized"),
            ("400 without a code, once", "Refused"),
            ("forged reply, once", "ForgedReply"),
        )
    },
}
#: Cells that an engine can not pass like the others: what its user sees, and why.
OVERRIDES: dict[tuple[str, Leg, str], tuple[End, str]] = {}


@dataclass(frozen=True)
class Row:
    """A cell as it went."""

    leg: Leg
    fault: str
    end: End
    took: float
    again: str
    complaints: tuple[str, ...]


async def again(session: SmileSession, bench: Bench, error: SmileError) -> list[End]:
    """Do what the error says, now that the fault is gone; the ends of each call, the last of them good."""
    if error.retryable or error.ticket is None:
        return [(await ending(session.verify(bench.job, patience=LONG)))[0]]
    if bench.landed():
        return [(await ending(session.wait(error.ticket, patience=LONG)))[0]]
    # The provider knows the job but has no zip: waiting is safe, and vain; the same Job brings the zip.
    waited, _ = await ending(session.wait(error.ticket, patience=0.3))
    return [waited, (await ending(session.verify(bench.job, patience=LONG)))[0]]


async def play(lab: Lab, leg: Leg, fault: Fault) -> Row:
    """One cell."""
    complaints = []
    async with AsyncExitStack() as stack:
        job = lab.pictures.filed("ada", job_id=f"{leg}: {fault.name}")
        bench = Bench(lab, leg, job, stack, lab.running.base_url)
        arranged = fault.arrange(bench)
        if arranged is not None:
            await arranged
        pace = Pace.fixed(0.04, 1, 0.06)
        where = {"base_url": bench.base_url, "ca_file": lab.ca_file, "http": lab.http}
        async with session_of(lab.running, pace=pace, **where) as session:
            if fault.warm:
                assert (await ending(session.status(job.ticket)))[0].name == "JobNotFound"
            patience = SHORT[leg] if fault.lasts and expected(lab.http, leg, fault.name) != APPROVED else LONG
            started = time.monotonic()
            end, what = await ending(session.verify(job, patience=patience))
            took = time.monotonic() - started
            if not isinstance(what, Verdict) and what.ticket is None and lab.sandbox.count(job.job_id):
                complaints.append("no ticket, but the provider has the job")
            promised = not isinstance(what, Verdict) and what.retryable
            await bench.heal()
            later = [] if isinstance(what, Verdict) else await again(session, bench, what)
        record = lab.sandbox.jobs.get(job.job_id)
    if lab.sandbox.count(job.job_id) != 1 or record is None:
        complaints.append(f"{lab.sandbox.count(job.job_id)} provider jobs")
    elif record.processed != 1:
        complaints.append(f"{record.processed} zips processed")
    if later and later[-1] != APPROVED:
        complaints.append(f"{'retryable, but ' if promised else ''}afterwards: {later[-1]}")
    if took > patience + 1:
        complaints.append(f"took {took:.1f} s")
    return Row(leg, fault.name, end, took, " → ".join(str(each) for each in later), tuple(complaints))


def expected(http: str, leg: Leg, fault: str) -> End:
    """What this cell must end with."""
    if (http, leg, fault) in OVERRIDES:
        return OVERRIDES[http, leg, fault][0]
    return EXPECTED.get((leg, fault), APPROVED)


_rows: dict[str, list[Row]] = {}


def table() -> Iterator[str]:
    """The matrix as Markdown."""
    yield "# Fault matrix"
    yield ""
    yield f"{len(CELLS)} cells an engine: one `verify` each, then, after an error, what the error advises."
    yield ""
    for http, rows in _rows.items():
        ends = Counter(row.end.name for row in rows)
        good = sum(not row.complaints and row.end == expected(http, row.leg, row.fault) for row in rows)
        said = ", ".join(f"{count} {name}" for name, count in ends.most_common())
        yield f"- **{http}**: {good} of {len(rows)} as promised ({said})"
    yield ""
    yield f"| leg | fault | {' | '.join(_rows)} | afterwards |"
    yield f"|---|---|{'---|' * len(_rows)}---|"
    by_cell = {(row.leg, row.fault): {} for rows in _rows.values() for row in rows}  # type: dict[Any, dict[str, Row]]
    for http, rows in _rows.items():
        for row in rows:
            by_cell[row.leg, row.fault][http] = row
    for (leg, fault), row_of in by_cell.items():
        cells = [_cell(http, row_of.get(http)) for http in _rows]
        afterwards = next((row.again for row in row_of.values() if row.again), "")
        yield f"| {leg} | {fault} | {' | '.join(cells)} | {afterwards} |"
    yield ""
    for (http, leg, fault), (_, why) in OVERRIDES.items():
        yield f"- {http}, {leg}, {fault}: {why}"


def _cell(http: str, row: Row | None) -> str:
    if row is None:
        return ""
    wrong = "; ".join(row.complaints)
    mark = " (!)" if (http, row.leg, row.fault) in OVERRIDES else ""
    return f"{row.end}{mark}{f' **{wrong}**' if wrong else ''}, {row.took:.1f} s"


# About jobs: sockets that httpcore leaves to the garbage collector are test_cancellation.py's business.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("http", ENGINES)
async def test_the_matrix(http: str, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault on each leg ends as the table says, with one provider job and an error that tells the truth."""
    started = time.monotonic()
    authority = trustme.CA()
    ca_file = tmp_path / "both.pem"
    async with nothing_left(), Sandbox.serve(latency=LATENCY) as running:
        running.sandbox.enroll("ada")
        ca_file.write_bytes(Path(running.ca_file).read_bytes() + authority.cert_pem.bytes())  # noqa: ASYNC240
        lab = Lab(http, running, h2_context(authority), str(ca_file), pictures)
        places = asyncio.Semaphore(AT_ONCE)

        async def placed(leg: Leg, fault: Fault) -> Row:
            async with places:
                return await play(lab, leg, fault)

        rows = [await play(lab, leg, fault) for leg, fault in CELLS if fault.heavy]
        # How polls back off is the pacing's business, and tested there.
        monkeypatch.setattr(
            "smile_async.traffic.pending.failing_delay", lambda failures, delay, **_: delay * (1 + failures)
        )
        for name in ("session.API_SECONDS", "session.UPLOAD_SECONDS", "traffic.poller.API_SECONDS"):
            monkeypatch.setattr(f"smile_async.{name}", LEG_SECONDS)
        rows += await asyncio.gather(*(placed(leg, fault) for leg, fault in CELLS if not fault.heavy))
        _rows[http] = rows
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text("\n".join(table()) + "\n")
    wrong = [
        f"{row.leg}: {row.fault}: {row.end} instead of {expected(http, row.leg, row.fault)} {row.complaints or ''}"
        for row in rows
        if row.complaints or row.end != expected(http, row.leg, row.fault)
    ]
    print(f"{http}: {len(rows)} cells in {time.monotonic() - started:.1f} s")
    assert not wrong, "\n".join(wrong)


def test_the_matrix_is_large_enough() -> None:
    """At least 40 cells an engine and 120 in all, each leg and each fault named once."""
    assert len(CELLS) >= 40
    assert len(CELLS) * len(ENGINES) >= 120
    assert len({(leg, fault.name) for leg, fault in CELLS}) == len(CELLS)
    assert set(EXPECTED) <= {(leg, fault.name) for leg, fault in CELLS}
