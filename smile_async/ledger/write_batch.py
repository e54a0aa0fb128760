"""One commit for many jobs: what is written together, in which order, and who waits for it.

Notes come before intents, because a job that begins again is noted about its earlier attempt; among the notes, a ticket
comes before its verdict.

A job of a chunk is written under a fence: the chunk, and the token its worker claimed it with. What could make the job
be sent, and what would give it up, is refused unless the token still stands, and the chunk stays locked until the
commit, so that a claim comes wholly before or after it. Tickets and verdicts need no fence: they are true whoever
brings them, and their statements only move a row forward.

Rows are written many in one statement. Where the database refuses one of them for what it says, the whole is done again
one by one, and only that one is dropped.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from smile_async.errors import InvalidJob, LeaseLost, LedgerFailed, SmileError
from smile_async.jobs.job import Job
from smile_async.ledger.database import is_outage
from smile_async.ledger.failpoints import failpoint
from smile_async.ledger.rows import FORGET, MARK, NOTES, RECALL, RESUME, TAKE_OVER, Begun, judged, new_row
from smile_async.ledger.schema import NOW, chunks, events, jobs
from smile_async.log import log
from smile_async.protocol.steps import Reach
from smile_async.timing.clock import between

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

Done = TypeVar("Done")
Answer = Begun | SmileError | None


#: The parameters of RESUME, and the columns of a new row that they are.
_AGAIN = {"b_job": "job_id", "b_digest": "digest", "b_type": "job_type", "b_attempt": "attempts", "b_reach": "reach"}
_AGAIN |= {"b_seal": "id_digest", "b_product": "product", "b_api": "api", "b_stamp": "sent_stamp"}


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
    answer: "asyncio.Future[Begun]"
    fence: Fence | None = None
    #: What its id fields may have been written down as, the present key's first; () where nobody knows.
    seals: tuple[str, ...] = ()
    #: Which API it goes to, None for the first.
    api: str | None = None
    #: The moment (`clock.stamp`).
    stamp: str = ""


@dataclass(eq=False)
class Mark:
    """Somebody who waits until it is on record how far the next request may bring a job."""

    job_id: str
    reach: Reach
    attempt: int
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

    def over(self) -> list[dict[str, Any]]:
        """The jobs whose id fields may be of no use any more."""
        noted = (note.about for notes in self.notes.values() for note in notes)
        ended = [about for about in noted if about.get("b_final") or about.get("b_retryable") is False]
        return [{"b_job": about["b_job"]} for about in ended]

    @property
    def crowd(self) -> int:
        """How many wait for it."""
        return len(self.marks) + len(self.intents) + len(self.waiters)

    def leave_out_who_left(self) -> None:
        """What is not on record yet need not be any more: nobody would do what it is about."""
        self.marks = [mark for mark in self.marks if not mark.answer.done()]
        self.intents = [intent for intent in self.intents if not intent.answer.done()]

    def asked(self) -> "list[Mark | Intent]":
        """Who gets an answer, in the order of the answers."""
        return [*self.marks, *self.intents]


def perform(connection: Connection, group: WriteBatch, *, shared: bool, singly: bool = False) -> list[Answer]:
    """Write *group* in the transaction of *connection*; gives each mark, then each intent, its answer.

    *shared*: other processes may write the same rows. *singly*: something in it was refused, so write one by one what
    is not. Blocking: for a thread, or for `run_sync`.
    """
    if singly and not shared:
        # Of itself sqlite3 does not begin a transaction before a savepoint, and each would be a commit.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    write = _Writing(connection, singly)
    lost = _lost(connection, group.fences())
    marked = _marked(write, group.marks, lost)
    for kind, statement in NOTES.items():
        notes = [note.about for note in group.notes.get(kind, ()) if note.fence not in lost]
        if (unmoved := len(notes) - write.rows(statement, notes)) and kind == "failure":
            log.debug("%d failures are of attempts that others have overtaken: their rows stay as they are", unmoved)
    write.rows(FORGET, group.over())
    begun = write.begun(group.intents, lost, shared=shared)
    sending = [
        _event(intent)
        for intent, answer in zip(group.intents, begun, strict=True)
        if isinstance(answer, Begun) and answer.ticket is None
    ]
    write.rows(events.insert(), [*group.happened, *sending])
    for moment in moments(group):
        failpoint(f"{moment} committing")
    return marked + begun


def commit(engine: Engine, group: WriteBatch, *, singly: bool) -> list[Answer]:
    """Write *group* in a transaction of its own, from the one thread that writes to a file."""
    with engine.begin() as connection:
        return perform(connection, group, shared=False, singly=singly)


class _Writing:
    """Writes many rows by one statement, or *singly*: then what is refused for what it says is logged and left out."""

    def __init__(self, connection: Connection, singly: bool) -> None:
        self._connection = connection
        self._singly = singly

    def rows(self, statement: sa.Executable, rows: Sequence[Mapping[str, Any]]) -> int:
        """How many rows *statement* has changed, or added, for *rows*."""
        if not rows:
            return 0
        if not self._singly:
            return int(self._connection.execute(statement, rows).rowcount)
        alone = _Writing(self._connection, singly=False)
        return sum(
            self._alone(row.get("b_job") or row["job_id"], partial(alone.rows, statement, [row]), 0) for row in rows
        )

    def begun(self, intents: list[Intent], lost: set[Fence | None], *, shared: bool) -> list[Answer]:
        """The answers to *intents*, whose rows are written."""
        if not self._singly:
            return _begun(self._connection, intents, lost, shared=shared) if intents else []
        answers: list[Answer] = []
        for each in intents:
            begin = partial(_begun, self._connection, [each], lost, shared=shared)
            answers += self._alone(each.job.job_id, begin, [_unfit(each.job.job_id)])
        return answers

    def _alone(self, job_id: str, work: Callable[[], Done], otherwise: Done) -> Done:
        try:
            with self._connection.begin_nested():
                return work()
        except Exception as error:
            if is_outage(error):
                raise
            log.error("the ledger has refused what was to be noted of job %s (%s)", job_id, type(error).__name__)
            return otherwise


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


def _marked(write: _Writing, marks: list[Mark], lost: set[Fence | None]) -> list[Answer]:
    standing = [_mark(mark) for mark in marks if mark.fence not in lost]
    all_stand = write.rows(MARK, standing) == len(standing)
    answers: list[Answer] = []
    for mark in marks:
        if mark.fence in lost:
            answers.append(_refusal(mark.job_id, mark.fence))
        elif all_stand or write.rows(MARK, [_mark(mark)]) or write.rows(TAKE_OVER, [_mark(mark)]):
            answers.append(None)
        else:
            why = f"job {mark.job_id} is being sent by another call, or was: call again for what became of it"
            answers.append(LedgerFailed(why, retryable=True))
    return answers


def _mark(mark: Mark) -> dict[str, Any]:
    return {"b_job": mark.job_id, "b_reach": int(mark.reach), "b_attempt": mark.attempt}


def _begun(connection: Connection, intents: list[Intent], lost: set[Fence | None], *, shared: bool) -> list[Answer]:
    query = RECALL.with_for_update() if shared else RECALL
    rows = connection.execute(query, {"ids": [intent.job.job_id for intent in intents]}).mappings()
    # The same job may be submitted twice in one commit: what the first makes of a row is what the second finds.
    found: dict[str, Mapping[Any, Any]] = {row["job_id"]: row for row in rows}
    fresh: list[dict[str, Any]] = []
    again: list[dict[str, Any]] = []
    answers: list[Answer] = []
    for intent in intents:
        job_id = intent.job.job_id
        row = found.get(job_id)
        answer = _refusal(job_id, intent.fence) if intent.fence in lost else _answer(row, intent, shared=shared)
        answers.append(answer)
        if not isinstance(answer, Begun) or answer.ticket is not None:
            continue
        seal = next(iter(intent.seals), "") or None
        created = {**new_row(intent.job, intent.digest, seal, intent.api, intent.stamp), "attempts": answer.attempt}
        if row is None:
            fresh.append(created)
        else:
            created["reach"] = int(max(answer.reach, Reach.RESERVED))
            if answer.reach > Reach.NOTHING:
                created["sent_stamp"] = row["sent_stamp"]
            again.append({name: created[column] for name, column in _AGAIN.items()})
        found[job_id] = {"accepted_at": None, "smile_job_id": None, **created}
    if fresh:
        connection.execute(jobs.insert().values(sent_at=NOW), fresh)
    if again:
        connection.execute(RESUME, again)
    return answers


def _answer(row: Mapping[Any, Any] | None, intent: Intent, *, shared: bool) -> Answer:
    if row is None:
        return Begun(1, Reach.NOTHING)
    try:
        age = between(row["sent_stamp"], intent.stamp)
        if age is None and shared:
            # Another machine's: the server's clock is everybody's.
            age = row.get("age")
        return judged(row, intent.job, intent.digest, intent.seals, age)
    except InvalidJob as error:
        return error.with_traceback(None)
    except (ValueError, TypeError):
        # A row that somebody else has written.
        return _unfit(intent.job.job_id)


def _unfit(job_id: str) -> LedgerFailed:
    return LedgerFailed(f"job {job_id} was not sent: the ledger can not hold it, or not read what it holds of it")


def _event(intent: Intent) -> dict[str, Any]:
    job = intent.job
    return {"job_id": job.job_id, "user_id": job.user_id, "kind": "sending", "detail": intent.digest}


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
