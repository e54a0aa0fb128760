"""Every leg of a V3 job's journey, crossed with every way we know to break it, on every engine.

A cell is one `session.verify` on connections of its own. Never may we send a submission twice that may have arrived:
whose answer is lost ends as SubmissionUnknown with its ticket, calling again changes nothing, and a webhook completes
it. Everything else ends in the provider's verdict, or in an error that holds what it promises. Of an AML check, whose
key makes repeating safe, nothing is lost. The run writes the whole table to tests/output/v3_matrix.md.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
import trustme
from callback_support import post
from fault_proxy import FaultProxy, Trouble
from fault_support import (
    APPROVED,
    H2,
    HTTP,
    LONG,
    TCP,
    Bench,
    End,
    Fault,
    Lab,
    Row,
    asked,
    ending,
    overdue,
    played,
    slowness,
)
from h2_server import H2Server, h2_context
from street import ENGINES, Pictures, lateness, nothing_left
from v3_client_support import ME, NIN, made_of, v3_session

from smile_async import CallbackReceiver, Job, Pace, SmileError, SmileSession, Verdict
from smile_async.sandbox import JobRecord, Sandbox
from smile_async.sandbox.v3.records import V3Job
from smile_async.sandbox.v3.webhooks import webhook

#: "keyed" is the submission of an AML check.
Leg = Literal["token", "submit", "keyed", "status"]
#: Where nobody listens: what the sandbox says there, the tests say to the receiver themselves.
NOBODY = "https://127.0.0.1:9/smile"
OUTPUT = Path(__file__).parent.parent / "output" / "v3_matrix.md"
#: Patience with a fault that stays.
SHORT = 6.0
LATENCY = 0.1
#: As many times what another leg may take: a submission that is slow is not sent again.
UPLOAD_LEGS = 2


def forge(reply: dict[str, Any]) -> None:
    """A token that nobody made, another user's job."""
    reply["token"] = "x.y.z"
    reply["user_id"] = "eve"


MORE = (
    asked("401, once", status=401),
    asked("425, once", status=425),
    asked("AWS's own 504, once", status=504, body='{"message": "Endpoint request timed out"}', effect=True),
    asked("gateway's envelope, once", status=400, body='{"status": "bad_request", "message": "no", "job_id": null}'),
    asked("accepted without a job_id, once", status=202, body='{"status": "accepted"}', effect=True),
)
OTHERWISE = {
    "forged reply, once": asked("", tamper=forge).arrange,
    "late beyond the leg's deadline, once": overdue("", UPLOAD_LEGS).arrange,
}
OVER_HTTP = tuple(replace(fault, arrange=OTHERWISE.get(fault.name, fault.arrange)) for fault in (*HTTP, *MORE))
#: Bodies here are too short for what breaks in the middle of a long one.
OVER_TCP = tuple(fault for fault in TCP if fault.legs != ("put",))
CELLS: list[tuple[Leg, Fault]] = [
    *((leg, fault) for leg in get_args(Leg) for fault in (*OVER_TCP, *OVER_HTTP)),
    *((leg, fault) for leg in ("token", "status") for fault in H2),
]

UNSENT = End("Unavailable", ticket=False, retryable=True)
LOST = End("SubmissionUnknown")
#: Faults of the network before the request can have left; what they end with where they stay.
BEFORE = {
    "port closed",
    "reset on accept, once",
    "closed on accept, once",
    "answer is no TLS, once",
    "black hole (accepts, never reads), once",
    "black hole, stays",
}
HARMLESS = {"slow reader", "latency 0.1 s", "429, once", "401, once"}
ANSWERS = {
    "403, once": "NotAuthorized",
    "400 without a code, once": "Refused",
    "gateway's envelope, once": "Refused",
    "forged reply, once": "ForgedReply",
}
#: What can not be read, where asking again is no help.
ODD = {
    *("200 with nonsense, once", "redirect, once", "reply of 9 MB, once", "body that never ends, full speed"),
    *("200 without a body", "accepted without a job_id, once"),
}


def expected(leg: Leg, fault: Fault) -> End:
    """What this cell must end with."""
    name = fault.name
    # A token can not be told from another, and of a reply that was tampered with the sandbox drops the headers.
    if name == "forged reply, once" and leg in ("token", "keyed"):
        return APPROVED if leg == "token" else End("UnreadableReply")
    if name in ANSWERS:
        return End(ANSWERS[name], ticket=leg != "token")
    if leg == "token":
        return _of_a_token(fault)
    if leg == "status":
        lost = End("UnreadableReply") if name in ODD else APPROVED
        return End("StillPending") if fault.lasts else lost
    if leg == "keyed" and not fault.lasts:
        return End("UnreadableReply") if name in ODD else APPROVED
    if name in HARMLESS or name in BEFORE:
        return UNSENT if fault.lasts else APPROVED
    return End("Unavailable", retryable=True) if leg == "keyed" else LOST


def _of_a_token(fault: Fault) -> End:
    if fault.lasts:
        return UNSENT
    if fault.name in ODD:
        return End("UnreadableReply", ticket=False)
    return End("NotAuthorized", ticket=False) if fault.name == "401, once" else APPROVED


class _Either:
    """Equal to each of the provider's names of one job."""

    def __init__(self, found: Callable[[], list[JobRecord]]) -> None:
        self._found = found

    def __eq__(self, other: object) -> bool:
        return any(job.job_id == other for job in self._found())

    __hash__ = None  # type: ignore[assignment]


class Detour:
    """The pool of submissions, led to another port."""

    def __init__(self, pool: Any, was: str, now: str) -> None:
        self._pool, self._was, self._now = pool, was, now

    async def send(self, method: str, url: str, *rest: Any) -> Any:
        return await self._pool.send(method, url.replace(self._was, self._now), *rest)


@dataclass
class V3Bench(Bench):
    """One cell under way: submissions go to `uploads`, everything else to `base_url`."""

    step: Leg = "token"
    uploads: str = ""
    faults: list[Any] = field(default_factory=list)

    @property
    def made(self) -> list[JobRecord]:
        """The provider's jobs of this cell."""
        return made_of(self.sandbox, self.job.job_id)

    def due(self) -> bool:
        return self.step != "status" or self.landed()

    def landed(self) -> bool:
        return bool(self.made)

    def worked(self) -> bool:
        if self.step == "token":
            return any(user == self.job.user_id for _, user in self.sandbox.tokens.issued)
        return self.landed() and (self.step != "status" or self.made[0].polls > 0)

    def concerns(self, path: str) -> bool:
        return f"/{self.step}" in path

    async def relay(self, *troubles: Trouble) -> FaultProxy:
        proxy = FaultProxy(self.lab.api_port, *troubles)
        await self.stack.enter_async_context(proxy)
        self.healing += [proxy.troubles.clear, proxy.hang_up]
        led = f"https://127.0.0.1:{proxy.port}/v3"
        if self.step in ("submit", "keyed"):
            self.uploads = led
        else:
            self.base_url = led
        return proxy

    async def speak(self, antic: Any, **more: Any) -> H2Server:
        server = await super().speak(antic, **more)
        self.base_url = f"https://127.0.0.1:{server.port}/v3"
        return server

    def ask(self, **fault: Any) -> None:
        status = self.step == "status"
        whose = {"job_id": _Either(lambda: self.made)} if status else {"user_id": self.job.user_id}
        leg: Any = "submit" if self.step == "keyed" else self.step
        self.sandbox.fault(leg, **whose, **fault)
        self.faults.append((leg, self.sandbox.faults._waiting[leg][-1]))
        self.healing.append(self.mend)

    def mend(self) -> None:
        for leg, fault in self.faults:
            waiting = self.sandbox.faults._waiting[leg]
            waiting[:] = [each for each in waiting if each is not fault]


def job_of(pictures: Pictures, leg: Leg, fault: str) -> Job:
    """The cell's job, of a user of its own."""
    cell = f"{leg}: {fault}"
    if leg == "keyed":
        return Job.aml_check(cell, "Amina Clearwater", ["NG"], person=ME, job_id=cell)
    if leg == "submit" and len(fault) % 3 == 0 and "forged" not in fault:
        return Job.enhanced_kyc(cell, NIN, person=ME, job_id=cell)
    return Job.register(cell, pictures.selfie_path, liveness=pictures.liveness_paths[:6], person=ME, job_id=cell)


async def told(sandbox: Sandbox, receiver: CallbackReceiver, made: JobRecord) -> tuple[int, str]:
    """What the receiver says to the webhook of *made*."""
    assert isinstance(made, V3Job)
    body, headers = webhook(sandbox, made, made.latest or made.plan[-1], sandbox.settings.clock.time())
    named = {name.lower(): value for name, value in headers.items()}
    return await post(receiver, body, headers=named, query=made.callback_url.partition("?")[2])


async def afterwards(session: SmileSession, bench: V3Bench, error: SmileError) -> tuple[list[End], list[str]]:
    """Do what the error says, now that the fault is gone; the ends of each call, the last of them good."""
    if error.ticket is None or error.retryable:
        return [(await ending(session.verify(bench.job, patience=LONG)))[0]], []
    if bench.step == "status":
        return [(await ending(session.wait(error.ticket, patience=LONG)))[0]], []
    end, _ = await ending(session.verify(bench.job, patience=LONG))
    if end.name != "SubmissionUnknown":
        return [end], []
    if not bench.landed():
        # It never arrived, which nobody can tell: a new job has no history.
        anew = replace(bench.job, job_id=f"{bench.job.job_id}, anew")
        return [end, (await ending(session.verify(anew, patience=LONG)))[0]], []
    waiting = asyncio.create_task(ending(session.wait(error.ticket, patience=LONG)))
    await asyncio.sleep(0)
    answer = await told(bench.sandbox, CallbackReceiver(session), bench.made[0])
    complaints = [] if answer == (200, "taken") else [f"the webhook was answered {answer}"]
    completed, what = await waiting
    if isinstance(what, Verdict) and what.ticket.smile_job_id != bench.made[0].job_id:
        complaints.append("the verdict of another job")
    return [end, completed], complaints


async def play(lab: Lab, leg: Leg, fault: Fault) -> Row:
    """One cell."""
    async with AsyncExitStack() as stack:
        job = job_of(lab.pictures, leg, fault.name)
        own = lab.running.base_url_v3
        bench = V3Bench(lab, "job_status" if leg == "status" else "request", job, stack, own, step=leg, uploads=own)
        arranged = fault.arrange(bench)
        if arranged is not None:
            await arranged
        pace = Pace.fixed(0.04, 1, 0.06)
        where: dict[str, Any] = {"base_url": bench.base_url, "ca_file": lab.ca_file, "http": lab.http}
        where |= {"callback_url": NOBODY, "tokens": "per_job" if leg == "token" else "shared"}
        async with v3_session(lab.running, pace=pace, **where) as session:
            origin = session._driver.dialect._uploads  # type: ignore[attr-defined]
            origin._pool = Detour(origin._pool, bench.base_url, bench.uploads)
            if fault.warm:
                assert await session.catalogue.documents()
            wanted = expected(leg, fault)
            patience = SHORT * lab.slow if fault.lasts and wanted != APPROVED else LONG
            started = time.monotonic()
            end, what = await ending(session.verify(job, patience=patience))
            took = time.monotonic() - started
            await bench.heal()
            again, complaints = ([], []) if isinstance(what, Verdict) else await afterwards(session, bench, what)
        if isinstance(what, SmileError):
            if what.ticket is None and bench.landed() and not again:
                complaints.append("no ticket, but the provider has the job")
            if again[-1] != APPROVED:
                complaints.append(f"afterwards: {again[-1]}")
        if len(bench.made) > 1:
            complaints.append(f"{len(bench.made)} provider jobs")
    if took > patience + 1 + lab.late():
        complaints.append(f"took {took:.1f} s")
    return Row(leg, fault.name, end, took, " → ".join(map(str, again)), tuple(complaints))


_rows: dict[str, list[Row]] = {}


def wrongs(row: Row) -> list[str]:
    """What is not as promised in a cell."""
    fault = next(fault for leg, fault in CELLS if (leg, fault.name) == (row.leg, row.fault))
    wanted = expected(row.leg, fault)
    return [*row.complaints, *([] if row.end == wanted else [f"{row.end} instead of {wanted}"])]


def table() -> Iterator[str]:
    """The matrix as Markdown."""
    yield "# Fault matrix of V3"
    yield ""
    yield f"{len(CELLS)} cells an engine: one `verify` each, then, after an error, what the error advises."
    yield ""
    for http, rows in _rows.items():
        yield f"- **{http}**: {sum(not wrongs(row) for row in rows)} of {len(rows)} as promised"
    yield ""
    yield f"| leg | fault | {' | '.join(_rows)} | afterwards |"
    yield f"|---|---|{'---|' * len(_rows)}---|"
    for cells in zip(*_rows.values(), strict=True):
        ends = [f"{row.end}{''.join(f' **{wrong}**' for wrong in wrongs(row))}, {row.took:.1f} s" for row in cells]
        yield f"| {cells[0].leg} | {cells[0].fault} | {' | '.join(ends)} | {cells[0].again} |"


# About jobs: sockets that httpcore leaves to the garbage collector are test_cancellation.py's business.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("http", ENGINES)
async def test_the_matrix(http: str, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks, nothing is submitted twice, every lost answer keeps its ticket, and every error is truthful."""
    authority = trustme.CA()
    ca_file = tmp_path / "both.pem"
    async with nothing_left(), lateness() as late, Sandbox.serve(latency=LATENCY, callback_retries=0) as running:
        ca_file.write_bytes(Path(running.ca_file).read_bytes() + authority.cert_pem.bytes())  # noqa: ASYNC240
        lab = Lab(http, running, h2_context(authority), str(ca_file), pictures, late, await slowness(running, http))
        rows = {cell: await play(lab, *cell) for cell in CELLS if cell[1].heavy}
        # How polls back off is the pacing's business, and tested there.
        monkeypatch.setattr(
            "smile_async.traffic.pending.failing_delay", lambda failures, delay, **_: delay * (1 + failures)
        )
        for name in ("session", "traffic.poller", "traffic.v3"):
            monkeypatch.setattr(f"smile_async.{name}.API_SECONDS", lab.leg_seconds)
        monkeypatch.setattr("smile_async.session.UPLOAD_SECONDS", UPLOAD_LEGS * lab.leg_seconds)
        light = [cell for cell in CELLS if not cell[1].heavy]
        told = await played(light, lambda cell: cell[1], lambda cell: play(lab, *cell))
        rows |= dict(zip(light, told, strict=True))
    _rows[http] = [rows[cell] for cell in CELLS]
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text("\n".join(table()) + "\n")
    wrong = [f"{row.leg}: {row.fault}: {'; '.join(wrongs(row))}" for row in _rows[http] if wrongs(row)]
    assert not wrong, "\n".join(wrong)
