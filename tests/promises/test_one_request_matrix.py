"""The products of one request, crossed with every way we know to break that request, on every engine.

A cell is one session, on connections of its own, and one fault, which meets five jobs at once: one of each product, and
an impostor under the job_id of somebody who was approved long before. The provider is as unkind as its documents allow:
of basic KYC and AML checks `/job_status` knows nothing, and their job_id is good for any number of lookups. Nobody may
be looked up twice, whatever an error says must hold, and the impostor never gets a verdict. The run writes
tests/output/one_request_matrix.md.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from fault_support import APPROVED, H2, HTTP, LONG, TCP, Bench, End, Fault, Lab, ending, played, slowness
from h2_server import h2_context
from street import ENGINES, Pictures, lateness, nothing_left, session_of

from smile_async import IdInfo, Job, Pace, SmileError, SmileSession, Verdict
from smile_async.jobs.product import AfterSilence
from smile_async.sandbox import Sandbox

OUTPUT = Path(__file__).parent.parent / "output" / "one_request_matrix.md"
FAULTS = [fault for fault in (*TCP, *HTTP, *H2) if "upload" in fault.legs]
#: Seconds between questions about a request that got no answer, instead of a minute's worth.
GAPS = (0.05, 0.1, 0.2)
#: Patience with a fault that stays.
SHORT = 6.0
#: Of these nobody can tell afterwards what has become of a request without an answer.
UNTOLD = ("basic_kyc", "aml_check")


def jobs_of(cell: str) -> list[Job]:
    """One job of each product."""
    info = IdInfo("NG", "NIN_V2", "00000000000", first_name="Ada", last_name="Obi", dob="1990-01-31")
    company = IdInfo("NG", "BASIC_BUSINESS_REGISTRATION", "0000000", business_type="co")
    return [
        Job.enhanced_kyc("ada", info, job_id=f"enhanced_kyc: {cell}"),
        Job.basic_kyc("ada", info, job_id=f"basic_kyc: {cell}"),
        Job.business_verification("ada", company, job_id=f"business_verification: {cell}"),
        Job.aml_check("ada", "Ada Obi", ["NG"], job_id=f"aml_check: {cell}"),
    ]


def old_job(cell: str, number: str = "00000000000") -> Job:
    """A lookup under a job_id that may have been used before."""
    return Job.enhanced_kyc("ada", IdInfo("NG", "NIN_V2", number), job_id=f"old: {cell}")


@dataclass
class Desk(Bench):
    """A cell under way, with all its jobs."""

    jobs: tuple[Job, ...] = ()

    def landed(self) -> bool:
        """Whether a request of the cell has had its effect."""
        return any(job.job_id in self.sandbox.jobs for job in self.jobs[:-1])

    worked = landed

    def concerns(self, path: str) -> bool:
        """Whether a request to *path* is one of a product's."""
        return not path.endswith("job_status")

    def ask(self, **fault: Any) -> None:
        """A fault of the sandbox's own on each job's request."""
        for job in self.jobs:
            self.sandbox.fault("request", job_id=job.job_id, **fault)
        self.healing.append(self.mend)

    def mend(self) -> None:
        waiting = self.sandbox.faults._waiting["request"]
        ours = {job.job_id for job in self.jobs}
        waiting[:] = [fault for fault in waiting if fault.job_id not in ours]


UNKNOWN = End("SubmissionUnknown")
UNSENT = End("Unavailable", ticket=False, retryable=True)
#: Of a product whose job_id is good for one job.
LATE = {End("Unavailable", retryable=True), End("SubmissionUnknown", retryable=True)}
#: What is an answer, and so ends all jobs alike.
ANSWERS = {
    "403, once": End("NotAuthorized"),
    "400 without a code, once": End("Refused"),
    "forged reply, once": End("ForgedReply"),
}


def allowed(fault: Fault, name: str) -> set[End]:
    """The ends that the job of that *name* may come to; which of them depends on whom a broken connection carried."""
    if name == "impostor":
        ends = {End("JobExists"), UNSENT, *LATE} if fault.lasts else {End("JobExists")}
        # A 2215 carries no signature that could be forged.
        return {ANSWERS[fault.name]} if fault.name in ANSWERS and "forged" not in fault.name else ends
    if fault.name in ANSWERS:
        return {ANSWERS[fault.name]}
    if name == "enhanced_kyc":
        return {APPROVED, UNSENT, *LATE} if fault.lasts else {APPROVED}
    return {APPROVED, UNKNOWN, UNSENT} if fault.lasts else {APPROVED, UNKNOWN}


@dataclass(frozen=True)
class Row:
    """A cell as it went: how each job ended, by its product."""

    fault: str
    ends: dict[str, End]
    took: float
    complaints: tuple[str, ...]


def _truthful(job: Job, what: Verdict | SmileError, count: int) -> Iterator[str]:
    """What is wrong with the end of *job*, of which the provider has made *count* lookups."""
    if count > 1:
        yield f"looked up {count} times"
    if isinstance(what, Verdict):
        if what.ticket != replace(job.ticket, smile_job_id=what.ticket.smile_job_id):
            yield f"the verdict of {what.ticket}"
        return
    if count and what.ticket is None:
        yield "no ticket, but the provider has the job"
    assert job.product is not None
    if count and what.retryable and job.product.spec.after_silence is AfterSilence.NOTHING:
        yield "retryable, but a repetition is a second bill"


async def _afterwards(session: SmileSession, sandbox: Sandbox, job: Job, error: SmileError) -> Iterator[str]:
    """Do what *error* says, now that the fault is gone."""
    complaints = []
    end, _ = await ending(session.verify(job, patience=LONG))
    if error.retryable and end != APPROVED:
        complaints.append(f"retryable, but afterwards {end}")
    if sandbox.count(job.job_id) > 1:
        complaints.append("looked up again when called again")
    return iter(complaints)


async def play(lab: Lab, fault: Fault) -> Row:
    """One cell."""
    complaints: list[str] = []
    async with AsyncExitStack() as stack:
        impostor = old_job(fault.name, "11111111110")
        jobs = (*jobs_of(fault.name), impostor)
        desk = Desk(lab, "request", impostor, stack, lab.running.base_url, jobs=jobs)
        if (arranged := fault.arrange(desk)) is not None:
            await arranged
        where = {"base_url": desk.base_url, "ca_file": lab.ca_file, "http": lab.http}
        async with session_of(lab.running, pace=Pace.fixed(0.04, 1, 0.06), **where) as session:
            if fault.warm:
                assert (await ending(session.status(jobs[0].ticket)))[0].name == "JobNotFound"
            patience = SHORT * lab.slow if fault.lasts else LONG
            started = time.monotonic()
            found = await asyncio.gather(*(ending(session.verify(job, patience=patience)) for job in jobs))
            took = time.monotonic() - started
            await desk.heal()
            for job, (_, what) in zip(jobs[:-1], found, strict=False):
                wrong = list(_truthful(job, what, lab.sandbox.count(job.job_id)))
                if isinstance(what, SmileError):
                    wrong += await _afterwards(session, lab.sandbox, job, what)
                complaints += [f"{job.product}: {each}" for each in wrong]
            if isinstance(found[-1][1], Verdict) or lab.sandbox.count(impostor.job_id) != 1:
                complaints.append("the impostor got somebody's verdict")
            end, _ = await ending(session.verify(impostor, patience=LONG))
            if end.name != "JobExists":
                complaints.append(f"the impostor's second try: {end}")
    if took > patience + 1 + lab.late():
        complaints.append(f"took {took:.1f} s")
    names = [*(str(job.product) for job in jobs[:-1]), "impostor"]
    ends = {name: end for name, (end, _) in zip(names, found, strict=True)}
    complaints += [f"{name} ended with {end}" for name, end in ends.items() if end not in allowed(fault, name)]
    return Row(fault.name, ends, took, tuple(complaints))


_rows: dict[str, list[Row]] = {}


def table() -> Iterator[str]:
    """The matrix as Markdown."""
    yield "| fault | engine | " + " | ".join(next(iter(_rows.values()))[0].ends) + " | seconds |"
    yield "|---|---|" + "---|" * 6
    for rows in zip(*_rows.values(), strict=True):
        for http, row in zip(_rows, rows, strict=True):
            wrong = f" **{'; '.join(row.complaints)}**" if row.complaints else ""
            ends = " | ".join(str(end) for end in row.ends.values())
            yield f"| {row.fault}{wrong} | {http} | {ends} | {row.took:.1f} |"


# About jobs: sockets that httpcore leaves to the garbage collector are test_cancellation.py's business.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("http", ENGINES)
async def test_the_matrix(http: str, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is looked up twice, no impostor is let in, and every error tells the truth, whatever breaks."""
    monkeypatch.setattr("smile_async.protocol.v1.one_request.INSISTED_GAPS", GAPS)
    monkeypatch.setattr("smile_async.protocol.v1.one_request.FORGETFUL_GAPS", GAPS)
    authority = trustme.CA()
    ca_file = tmp_path / "both.pem"
    async with nothing_left(), lateness() as late, Sandbox.serve() as running:
        running.sandbox.settings.without_status = running.sandbox.settings.run_again = UNTOLD
        ca_file.write_bytes(Path(running.ca_file).read_bytes() + authority.cert_pem.bytes())  # noqa: ASYNC240
        lab = Lab(http, running, h2_context(authority), str(ca_file), pictures, late, await slowness(running, http))
        for name in ("session.API_SECONDS", "traffic.poller.API_SECONDS"):
            monkeypatch.setattr(f"smile_async.{name}", lab.leg_seconds)
        async with session_of(running, http=http) as session:
            for fault in FAULTS:
                assert (await session.verify(old_job(fault.name))).approved
        rows = [await play(lab, fault) for fault in FAULTS if fault.heavy]
        light = [fault for fault in FAULTS if not fault.heavy]
        rows += await played(light, lambda fault: fault, lambda fault: play(lab, fault))
    _rows[http] = rows
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text("\n".join(table()) + "\n")
    wrong = [f"{row.fault}: {row.complaints}" for row in rows if row.complaints]
    assert not wrong, "\n".join(wrong)
