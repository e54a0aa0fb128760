"""Decide what is to be done with each row of a manifest: put it into a chunk, leave it, or refuse it.

The ledger is asked about some hundred rows at a time, so that a million rows need memory for some hundred.
"""

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import Any

import anyio.to_thread
import orjson

from smile_async.batch.manifest import Flaw, Row, job_of
from smile_async.errors import InvalidJob, SubmissionUnknown
from smile_async.jobs.checks import FLAGS
from smile_async.jobs.job import Job
from smile_async.jobs.parts import PERSON
from smile_async.jobs.product import Product
from smile_async.jobs.ticket import Ticket
from smile_async.ledger import Ledger, State
from smile_async.ledger.batches import Batches, Planned
from smile_async.ledger.rows import other_person, product_in
from smile_async.protocol.steps import Reach
from smile_async.traffic.payload import read_in_thread

__all__ = ["PAGE", "Planner", "Work", "job_id_of", "sent_otherwise"]

#: Rows that are planned together: enough that a commit costs each little, few enough that the first job starts at once.
PAGE = 500
#: Seconds a database server may be away before planning gives up.
OUTAGE = 60.0
#: Our own namespace for job_ids; a random UUID, fixed for good.
_NAMESPACE = uuid.UUID("0f6c5be1-6d0e-4a5b-9d43-2f1f5a8e7c11")


def job_id_of(batch: str, key: str) -> str:
    """The job_id of row *key* of *batch*: the same for ever, so that no run submits a row twice."""
    return str(uuid.uuid5(uuid.uuid5(_NAMESPACE, batch), key))


@dataclass(slots=True)
class Work:
    """What a page of rows asks for."""

    rows: int = 0
    #: The chunks that hold what is to be sent or asked about, open in the ledger.
    chunks: list[int] = field(default_factory=list)
    #: What is to be sent, and the line of each job.
    send: list[tuple[int, Job]] = field(default_factory=list)
    #: Rows that became no job.
    problems: list[Flaw] = field(default_factory=list)
    #: Rows that are on record as failed, because no job can be made of them.
    flaws: list[Flaw] = field(default_factory=list)


class Planner:
    """Plans run number *run* of *batch*; *retry*: "passing" failures, "all" of them, "none", or "duplicates".

    Those are all, and among them what V3 may have taken already: each may be a second job, and a second bill.
    *chunk_jobs*: how many jobs make a chunk. *dry*: nobody will drive them, and no id field is written down.
    """

    def __init__(
        self,
        ledger: Ledger,
        batch: str,
        run: int,
        retry: str = "passing",
        *,
        chunk_jobs: int = PAGE,
        dry: bool = False,
    ) -> None:
        self.batch = batch
        self.chunk_jobs = chunk_jobs
        self._ledger = ledger
        self._batches = Batches(ledger)
        self._run = run
        self._retry = retry
        self._dry = dry

    async def next(self, rows: Iterator[Row | Flaw]) -> Work | None:
        """What the next rows ask for; None after the last."""
        found = await anyio.to_thread.run_sync(_looked_up, rows, self.batch)
        if not found:
            return None
        # What a server that restarts has written down after all is known again by its lines.
        return await self._ledger.insist(partial(self._planned, found), OUTAGE)

    async def _planned(self, found: Sequence[tuple[Row | Flaw, Planned | None]]) -> Work:
        work = Work()
        lines: dict[str, int] = {}
        offered: list[tuple[Row, Planned]] = []
        for row, planned in found:
            if isinstance(row, Flaw) or planned is None:
                assert isinstance(row, Flaw)  # noqa: S101 - only a flaw has no plan
                work.problems.append(row)
            elif planned.job_id in lines:
                work.problems.append(_twice(row, lines[planned.job_id]))
            else:
                lines[planned.job_id] = row.line
                offered.append((row, planned))
        await self._sort(offered, work)
        return work

    async def _sort(self, offered: Sequence[tuple[Row, Planned]], work: Work) -> None:
        known = await self._batches.known([planned.job_id for _, planned in offered])
        new: list[Planned] = []
        seen: list[Planned] = []
        refused: list[Planned] = []
        about: dict[str, str] = {}
        again: list[str] = []
        broken: list[tuple[Ticket, InvalidJob]] = []
        pending: list[Mapping[str, Any] | str] = []
        for row, planned in offered:
            before = known.get(planned.job_id)
            why = "" if before is None else await self._objection(row, planned, before)
            if why:
                work.problems.append(Flaw(row.line, why, row.user_id))
                refused.append(planned)
                continue
            (new if before is None else seen).append(planned)
            work.rows += 1
            if before is not None and self._is_over(before):
                continue
            if before is None or before["accepted_at"] is None:
                try:
                    work.send.append((row.line, job_of(row, planned.job_id)))
                except InvalidJob as error:
                    ticket = Ticket(row.user_id, planned.job_id, row.job_type, product=row.product)
                    broken.append((ticket, error.with_traceback(None)))
                    work.flaws.append(Flaw(row.line, str(error)))
                    continue
                if row.about and not self._dry:
                    about[planned.job_id] = orjson.dumps(dict(row.about)).decode()
            pending.append(planned.job_id if before is None else before)
            if before is not None and _is_unknown(before):
                again.append(planned.job_id)
        flaws = [(flaw.line, flaw.why, flaw.user_id) for flaw in work.problems]
        work.chunks = await self._batches.plan(
            *(self.batch, self._run, new, seen),
            refused=refused,
            flaws=flaws,
            pending=pending,
            again=again,
            about=about,
            at_once=self.chunk_jobs,
        )
        for ticket, flaw in broken:
            self._ledger.failed(ticket, flaw, Reach.NOTHING)

    async def _objection(self, row: Row, planned: Planned, before: dict[str, Any]) -> str:
        """Why a row that is there already can not be this one; "" if it is."""
        if before["batch"] == self.batch and before["run"] == self._run and before["line"] != row.line:
            return _twice(row, before["line"]).why
        if before["user_id"] != row.user_id:
            whose = f"stands for user {before['user_id']} in the ledger"
            return f"key {row.key!r} (job {planned.job_id}) {whose}: {_cure(row)}"
        if before["batch"] not in (None, self.batch):
            return f"key {row.key!r} (job {planned.job_id}) is a row of batch {before['batch']} already: {_cure(row)}"
        if before["reach"] == Reach.NOTHING:
            return ""
        changed = _changed(row, planned, before)
        if changed:
            return f"key {row.key!r} was sent with another {', '.join(changed)}: {_cure(row)}"
        return self._other_person(row, planned, before) or await _other_pictures(row, planned, before)

    def _other_person(self, row: Row, planned: Planned, before: Mapping[str, Any]) -> str:
        """What is wrong with the id fields of a row that was sent already; "" if they are those it was sent with."""
        if not row.about and before["id_digest"] is None:
            return ""
        try:
            changed = other_person(before, self._ledger.seals(job_of(row, planned.job_id)))
        except InvalidJob:
            changed = before["id_digest"] is not None
        about = "person or id fields" if any(word.startswith(PERSON) for word in row.about) else "id fields"
        return f"key {row.key!r}: its {about} have changed since it was sent: {_cure(row)}" if changed else ""

    def _is_over(self, before: Mapping[str, Any]) -> bool:
        if before["state"] != State.FAILED or before["accepted_at"] is not None:
            return bool(before["state"] == State.FINAL)
        if _is_unknown(before):
            return self._retry != "duplicates"
        if self._retry == "duplicates":
            return False
        return not (self._retry == "all" or (self._retry == "passing" and before["retryable"]))


def _is_unknown(before: Mapping[str, Any]) -> bool:
    """Whether V3 may have taken the row, and nobody can tell: those of v1 are asked about again."""
    lost = before["error"] == SubmissionUnknown.__name__ and before["accepted_at"] is None
    return lost and before["state"] == State.FAILED and before["api"] is not None


async def sent_otherwise(batches: Batches, batch: str, rows: Iterator[Row | Flaw], was: Product) -> Row | None:
    """The first of *rows* that was sent as a job of *was* and is another product's now; None if there is none."""
    while page := await anyio.to_thread.run_sync(_read, rows):
        wanted = {row.job_id or job_id_of(batch, row.key): row for row in page if isinstance(row, Row)}
        for job_id, before in (await batches.known(list(wanted))).items():
            row = wanted[job_id]
            sent = before["batch"] == batch and before["reach"] > Reach.NOTHING
            if sent and product_in(before) is was is not row.product:
                return row
    return None


def _read(rows: Iterator[Row | Flaw]) -> list[Row | Flaw]:
    return list(islice(rows, PAGE))


def _looked_up(rows: Iterator[Row | Flaw], batch: str) -> list[tuple[Row | Flaw, Planned | None]]:
    return [(row, None if isinstance(row, Flaw) else _planned(row, batch)) for row in _read(rows)]


def _planned(row: Row, batch: str) -> Planned:
    return Planned(
        line=row.line,
        key=row.key,
        job_id=row.job_id or job_id_of(batch, row.key),
        user_id=row.user_id,
        job_type=row.job_type,
        product=row.product,
        spec=row.spec(),
        marks=_marks(row),
    )


def _changed(row: Row, planned: Planned, before: Mapping[str, Any]) -> list[str]:
    """What *row* says otherwise than the job that was sent for it; its pictures are looked at elsewhere."""
    kind = before["job_type"]
    changed = [] if kind == row.job_type else [f"job_type ({kind} then, {row.job_type} now)"]
    if not changed and product_in(before) is not row.product:
        changed = [f"product ({product_in(before)} then, {row.product} now)"]
    # A job that a program sent without a manifest has no spec.
    if before["spec"] in (None, planned.spec):
        return changed
    was = Row.of(before)
    if was.callback_url != row.callback_url:
        changed.append("callback_url")
    # The same pictures, but with one of them as the selfie, or against the one on file.
    changed += [
        name
        for name in ("selfie", "front", "back", "comparison")
        if (getattr(was, name) is None) != (getattr(row, name) is None)
    ]
    changed += ["comparison_type"] if was.comparison_type != row.comparison_type else []
    changed += [name for name in FLAGS if was.flags.get(name) != row.flags.get(name)]
    return changed + [f"param.{name}" for name in sorted({name for name, _ in was.params.items() ^ row.params.items()})]


async def _other_pictures(row: Row, planned: Planned, before: Mapping[str, Any]) -> str:
    """What is wrong with the pictures of a row that was sent already; "" if they are the ones it was sent with."""
    if before["spec"] == planned.spec and before["marks"] == planned.marks:
        return ""
    try:
        digest = (await read_in_thread(job_of(row, planned.job_id))).digest().hex()
    except InvalidJob:
        # Pictures that were sent may be gone since: they are not needed any more, or else sending will say so.
        return ""
    if digest == before["digest"]:
        return ""
    return (
        f"key {row.key!r}: its pictures have changed since it was sent (sha256 {before['digest']} then,"
        f" {digest} now): {_cure(row)}"
    )


def _cure(row: Row) -> str:
    if row.job_id:
        return "give the row a job_id of its own"
    return "give the row a key or job_id of its own, or the batch a new --name"


def _marks(row: Row) -> str:
    """Size and age of a row's files: reading all of them in every run would take as long as sending them."""
    marks = blake2b(digest_size=12)
    for path in row.pictures:
        try:
            about = os.stat(path or "")  # noqa: PTH116 - a Path for each of nine million files costs more than the look
            marks.update(b"%d:%d;" % (about.st_size, about.st_mtime_ns))
        except (OSError, ValueError):
            marks.update(b"-;")
    return marks.hexdigest()


def _twice(row: Row, line: int) -> Flaw:
    why = f"key {row.key!r} is there twice, in lines {line} and {row.line}: give each row its own key"
    return Flaw(row.line, why, row.user_id)
