"""One commit for many jobs: what is written together, in which order, and who waits for it.

Notes come before intents, because a job that begins again is noted about its earlier attempt; among the notes, a ticket
comes before its verdict.

A job of a chunk is written under a fence: the chunk, and the token its worker claimed it with. What could make the job
be sent, and what would give it up, is refused unless the token still stands, and the chunk stays locked until the
commit, so that a claim comes wholly before or after it. Tickets and verdicts need no fence: they are true whoever
brings them, and their statements only move a row forward.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from smile_async.errors import InvalidJob, LeaseLost
from smile_async.jobs.job import Job
from smile_async.ledger.failpoints import failpoint
from smile_async.ledger.rows import MARK, NOTES, RECALL, RESUME, Recall, judged, new_row
from smile_async.ledger.schema import chunks, events, jobs
from smile_async.protocol.steps import Reach

__all__ = [
    "Answer",
    "Fence",
    "Intent",
    "Mark",
    "Note",
    "WriteBatch",
    "answer_all",
    "commit",
    "moments",
    "perform",
    "settle",
]

Answer = Recall | InvalidJob | LeaseLost | None


class Fence(NamedTuple):
    """What a worker claimed a chunk with."""

    chunk: int
    token: int


class Note(NamedTuple):
    """The parameters of a statement of NOTES, and the fence it is written under, if it needs one."""

    about: dict[str, Any]
    fence: Fence | None = None


@dataclass(eq=False)
class Intent:
    """Somebody who waits until a job that is about to be sent is on record."""

    job: Job
    digest: str
    answer: "asyncio.Future[Recall | None]"
    fence: Fence | None = None


@dataclass(eq=False)
class Mark:
    """Somebody who waits until it is on record how far the next request may bring a job."""

    job_id: str
    reach: Reach
    answer: "asyncio.Future[None]"
    fence: Fence | None = None


@dataclass(eq=False)
class WriteBatch:
    """What the next commit writes, and who waits for it."""

    marks: list[Mark] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    notes: dict[str, list[Note]] = field(default_factory=dict)
    happened: list[dict[str, Any]] = field(default_factory=list)
    waiters: "list[asyncio.Future[None]]" = field(default_factory=list)

    def fences(self) -> set[Fence]:
        """What must still stand for all of it to be written."""
        noted = (note.fence for notes in self.notes.values() for note in notes)
        asked = (each.fence for each in self.asked())
        return {fence for fence in (*noted, *asked) if fence is not None}

    @property
    def crowd(self) -> int:
        """How many wait for it."""
        return len(self.marks) + len(self.intents) + len(self.waiters)

    def asked(self) -> "list[Mark | Intent]":
        """Who gets an answer, in the order of the answers."""
        return [*self.marks, *self.intents]


def perform(connection: Connection, group: WriteBatch, at: float, *, shared: bool) -> list[Answer]:
    """Write *group* in the transaction of *connection*; gives each mark, then each intent, its answer.

    *shared*: other processes may write the same rows. Blocking: for a thread, or for `run_sync`.
    """
    lost = _lost(connection, group.fences())
    marked: list[Answer] = [_refusal(mark.job_id, mark.fence) if mark.fence in lost else None for mark in group.marks]
    standing = [mark for mark in group.marks if mark.fence not in lost]
    if standing:
        connection.execute(MARK, [{"b_job": mark.job_id, "b_reach": int(mark.reach)} for mark in standing])
    for kind, statement in NOTES.items():
        notes = [note.about for note in group.notes.get(kind, ()) if note.fence not in lost]
        if notes:
            connection.execute(statement, notes)
    begun = _begun(connection, group.intents, lost, at, shared=shared) if group.intents else []
    happened = list(group.happened)
    for intent, answer in zip(group.intents, begun, strict=True):
        if answer is None or (isinstance(answer, Recall) and answer.ticket is None):
            happened.append({"job_id": intent.job.job_id, "at": at, "kind": "sending", "detail": intent.digest})
    if happened:
        connection.execute(events.insert(), happened)
    for moment in moments(group):
        failpoint(f"{moment} committing")
    return marked + begun


def commit(engine: Engine, group: WriteBatch, at: float) -> list[Answer]:
    """Write *group* in a transaction of its own, from the one thread that writes to a file."""
    with engine.begin() as connection:
        return perform(connection, group, at, shared=False)


def _lost(connection: Connection, fences: set[Fence]) -> set[Fence | None]:
    """Those of *fences* behind which another worker has claimed the chunk; the others stand until the commit."""
    if not fences:
        return set()
    # In order: who locks several must lock them as everybody does.
    wanted = chunks.c.id.in_({fence.chunk for fence in fences})
    query = sa.select(chunks.c.id, chunks.c.token).where(wanted).order_by(chunks.c.id).with_for_update(read=True)
    standing = {Fence(row.id, row.token) for row in connection.execute(query)}
    return set(fences - standing)


def _refusal(job_id: str, fence: Fence | None) -> LeaseLost:
    chunk = fence.chunk if fence else "?"
    return LeaseLost(f"job {job_id} was not sent: another worker has taken over its chunk {chunk}", retryable=True)


def _begun(
    connection: Connection, intents: list[Intent], lost: set[Fence | None], at: float, *, shared: bool
) -> list[Answer]:
    ids = [intent.job.job_id for intent in intents]
    query = RECALL.with_for_update() if shared else RECALL
    rows = connection.execute(query, {"ids": ids}).mappings()
    found: dict[str, Mapping[Any, Any]] = {row["job_id"]: row for row in rows}
    fresh: list[dict[str, Any]] = []
    again: list[dict[str, Any]] = []
    answers: list[Answer] = []
    for intent in intents:
        if intent.fence in lost:
            answers.append(_refusal(intent.job.job_id, intent.fence))
            continue
        row = found.get(intent.job.job_id)
        if row is None:
            created = new_row(intent.job, intent.digest, at)
            fresh.append(created)
            # The same job may be submitted twice in one commit.
            found[intent.job.job_id] = {**created, "accepted_at": None}
            answers.append(None)
            continue
        answer = _recalled(row, intent)
        answers.append(answer)
        if isinstance(answer, Recall) and answer.ticket is None:
            again.append(_again(intent, answer.reach, at))
    if fresh:
        connection.execute(jobs.insert(), fresh)
    if again:
        connection.execute(RESUME, again)
    return answers


def _recalled(row: Mapping[Any, Any], intent: Intent) -> Answer:
    try:
        return judged(row, intent.job, intent.digest)
    except InvalidJob as error:
        return error.with_traceback(None)


def _again(intent: Intent, reach: Reach, at: float) -> dict[str, Any]:
    return {
        "b_job": intent.job.job_id,
        "b_digest": intent.digest,
        "b_reach": int(max(reach, Reach.RESERVED)),
        "b_type": int(intent.job.job_type),
        "b_at": at,
    }


def moments(group: WriteBatch) -> list[str]:
    """The failpoints around the commit of *group*."""
    asked = [name for name, asks in (("intent", group.intents), ("mark", group.marks)) if asks]
    return asked + [kind for kind in ("ticket", "verdict") if kind in group.notes]


def answer_all(group: WriteBatch, answers: list[Answer]) -> None:
    """Tell everybody who waited that *group* is durable."""
    for each, answer in zip(group.asked(), answers, strict=True):
        settle(each.answer, answer)
    for waiter in group.waiters:
        settle(waiter, None)


def settle(future: "asyncio.Future[Any]", answer: object) -> None:
    """Give *answer* (an exception: raise it) to who waits, if anybody still does."""
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
        # Whoever asked may be gone: then nobody retrieves it, and that is no defect.
        future.exception()
    else:
        future.set_result(answer)
