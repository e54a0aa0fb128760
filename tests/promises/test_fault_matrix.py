"""Every leg of a job's journey, crossed with every way we know to break it, on every engine.

A cell is one `session.verify` on connections of its own: a fault that passes must end in the verdict, one that stays in
a truthful error; afterwards the fault is gone, and what the error promised (`retryable`, `ticket`) must hold. Never may
the provider have made two jobs. The run writes the whole table to tests/output/fault_matrix.md.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme
from fault_support import APPROVED, H2, HTTP, LONG, TCP, Bench, End, Fault, Lab, Leg, Row, ending, played, slowness
from h2_server import h2_context
from street import ENGINES, Pictures, lateness, nothing_left, session_of

from smile_async import Document, IdInfo, Job, Pace, SmileError, SmileSession, Verdict
from smile_async.sandbox import Sandbox

#: Too little for a fault that stays.
SHORT = {"upload": 1.5, "put": 2.5, "job_status": 5.0}
OUTPUT = Path(__file__).parent.parent / "output" / "fault_matrix.md"
#: No poll is answered with a verdict before the fault that waits for it was set.
LATENCY = 0.1
CELLS = [(leg, fault) for fault in (*TCP, *HTTP, *H2) for leg in fault.legs]
CELL_NUMBERS = {(leg, fault.name): number for number, (leg, fault) in enumerate(CELLS)}

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
#: What a cell may end with as well, where patience ends in the middle of an attempt.
CUT_SHORT: dict[tuple[str, str], End] = {("put", "502 with HTML, stays"): End("Unavailable", retryable=True)}
#: Cells that an engine can not pass like the others: what its user sees, and why.
OVERRIDES: dict[tuple[str, Leg, str], tuple[End, str]] = {}


async def again(session: SmileSession, bench: Bench, error: SmileError) -> list[End]:
    """Do what the error says, now that the fault is gone; the ends of each call, the last of them good."""
    if error.retryable or error.ticket is None:
        return [(await ending(session.verify(bench.job, patience=LONG)))[0]]
    if bench.landed():
        return [(await ending(session.wait(error.ticket, patience=LONG)))[0]]
    # The provider knows the job but has no zip: waiting is safe, and vain; the same Job brings the zip.
    waited, _ = await ending(session.wait(error.ticket, patience=0.3))
    return [waited, (await ending(session.verify(bench.job, patience=LONG)))[0]]


def job_of(pictures: Pictures, leg: Leg, fault: str) -> Job:
    """The cell's job, of one of the products that travel by upload, by turns."""
    job_id = f"{leg}: {fault}"
    turn = CELL_NUMBERS[leg, fault] % 3
    if turn == 1:
        info = IdInfo("NG", "NIN_V2", "00000000000")
        return Job.biometric_kyc(job_id, pictures.selfie_path, info, liveness=pictures.liveness_paths, job_id=job_id)
    if turn == 2:
        card = Document("NG", pictures.selfie_path, pictures.other, "PASSPORT")
        return Job.enhanced_document_verification(job_id, pictures.selfie_path, card, job_id=job_id)
    return pictures.filed("ada", job_id=job_id)


async def play(lab: Lab, leg: Leg, fault: Fault) -> Row:
    """One cell."""
    complaints = []
    async with AsyncExitStack() as stack:
        job = job_of(lab.pictures, leg, fault.name)
        bench = Bench(lab, leg, job, stack, lab.running.base_url)
        arranged = fault.arrange(bench)
        if arranged is not None:
            await arranged
        pace = Pace.fixed(0.04, 1, 0.06)
        where = {"base_url": bench.base_url, "ca_file": lab.ca_file, "http": lab.http}
        async with session_of(lab.running, pace=pace, **where) as session:
            if fault.warm:
                assert (await ending(session.status(job.ticket)))[0].name == "JobNotFound"
            hopeless = fault.lasts and expected(lab.http, leg, fault.name) != APPROVED
            patience = SHORT[leg] * lab.slow if hopeless else LONG
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
    if took > patience + 1 + lab.late():
        complaints.append(f"took {took:.1f} s")
    return Row(leg, fault.name, end, took, " → ".join(str(each) for each in later), tuple(complaints))


def expected(http: str, leg: Leg, fault: str) -> End:
    """What this cell must end with."""
    if (http, leg, fault) in OVERRIDES:
        return OVERRIDES[http, leg, fault][0]
    return EXPECTED.get((leg, fault), APPROVED)


def as_promised(http: str, row: Row) -> bool:
    """Whether this cell went as it must."""
    ends = (expected(http, row.leg, row.fault), CUT_SHORT.get((row.leg, row.fault)))
    return not row.complaints and row.end in ends


_rows: dict[str, list[Row]] = {}


def table() -> Iterator[str]:
    """The matrix as Markdown."""
    yield "# Fault matrix"
    yield ""
    yield f"{len(CELLS)} cells an engine: one `verify` each, then, after an error, what the error advises."
    yield ""
    for http, rows in _rows.items():
        ends = Counter(row.end.name for row in rows)
        good = sum(as_promised(http, row) for row in rows)
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
    async with nothing_left(), lateness() as late, Sandbox.serve(latency=LATENCY) as running:
        running.sandbox.enroll("ada")
        ca_file.write_bytes(Path(running.ca_file).read_bytes() + authority.cert_pem.bytes())  # noqa: ASYNC240
        lab = Lab(http, running, h2_context(authority), str(ca_file), pictures, late, await slowness(running, http))
        rows = [await play(lab, leg, fault) for leg, fault in CELLS if fault.heavy]
        # How polls back off is the pacing's business, and tested there.
        monkeypatch.setattr(
            "smile_async.traffic.pending.failing_delay", lambda failures, delay, **_: delay * (1 + failures)
        )
        for name in ("session.API_SECONDS", "session.UPLOAD_SECONDS", "traffic.poller.API_SECONDS"):
            monkeypatch.setattr(f"smile_async.{name}", lab.leg_seconds)
        light = [cell for cell in CELLS if not cell[1].heavy]
        rows += await played(light, lambda cell: cell[1], lambda cell: play(lab, *cell))
        _rows[http] = rows
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text("\n".join(table()) + "\n")
    wrong = [
        f"{row.leg}: {row.fault}: {row.end} instead of {expected(http, row.leg, row.fault)} {row.complaints or ''}"
        for row in rows
        if not as_promised(http, row)
    ]
    print(f"{http}: {len(rows)} cells in {time.monotonic() - started:.1f} s")
    assert not wrong, "\n".join(wrong)


def test_the_matrix_is_large_enough() -> None:
    """At least 40 cells an engine and 120 in all, each leg and each fault named once."""
    assert len(CELLS) >= 40
    assert len(CELLS) * len(ENGINES) >= 120
    assert len({(leg, fault.name) for leg, fault in CELLS}) == len(CELLS)
    assert set(EXPECTED) <= {(leg, fault.name) for leg, fault in CELLS}
