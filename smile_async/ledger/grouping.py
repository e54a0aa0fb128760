"""One commit for many jobs: what is written together, in which order, and who waits for it.

Notes come before intents, because a job that begins again is noted about its earlier attempt; among the notes, a ticket
comes before its verdict.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine

from smile_async.conversation import Reach
from smile_async.errors import InvalidJob
from smile_async.job import Job
from smile_async.ledger.failpoints import failpoint
from smile_async.ledger.rows import NOTES, RECALL, RESUME, Recall, judged, new_row
from smile_async.ledger.schema import events, jobs

__all__ = ["Answer", "Group", "Intent", "answer_all", "commit", "moments", "perform", "settle"]

Answer = Recall | InvalidJob | None


@dataclass(eq=False)
class Intent:
    """Somebody who waits until a job that is about to be sent is on record."""

    job: Job
    digest: str
    answer: "asyncio.Future[Recall | None]"


@dataclass(eq=False)
class Group:
    """What the next commit writes, and who waits for it."""

    intents: list[Intent] = field(default_factory=list)
    notes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    happened: list[dict[str, Any]] = field(default_factory=list)
    waiters: "list[asyncio.Future[None]]" = field(default_factory=list)


def perform(connection: Connection, group: Group, at: float, *, shared: bool) -> list[Answer]:
    """Write *group* in the transaction of *connection*; gives each intent its answer.

    *shared*: other processes may write the same rows. Blocking: for a thread, or for `run_sync`.
    """
    for kind, statement in NOTES.items():
        if kind in group.notes:
            connection.execute(statement, group.notes[kind])
    answers = _begun(connection, group.intents, at, shared=shared) if group.intents else []
    happened = list(group.happened)
    for intent, answer in zip(group.intents, answers, strict=True):
        if not isinstance(answer, InvalidJob) and (answer is None or answer.ticket is None):
            happened.append({"job_id": intent.job.job_id, "at": at, "kind": "sending", "detail": intent.digest})
    if happened:
        connection.execute(events.insert(), happened)
    for moment in moments(group):
        failpoint(f"{moment} committing")
    return answers


def commit(engine: Engine, group: Group, at: float) -> list[Answer]:
    """Write *group* in a transaction of its own, from the one thread that writes to a file."""
    with engine.begin() as connection:
        return perform(connection, group, at, shared=False)


def _begun(connection: Connection, intents: list[Intent], at: float, *, shared: bool) -> list[Answer]:
    ids = [intent.job.job_id for intent in intents]
    query = RECALL.with_for_update() if shared else RECALL
    rows = connection.execute(query, {"ids": ids}).mappings()
    found: dict[str, Mapping[Any, Any]] = {row["job_id"]: row for row in rows}
    fresh: list[dict[str, Any]] = []
    again: list[dict[str, Any]] = []
    answers: list[Answer] = []
    for intent in intents:
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


def moments(group: Group) -> list[str]:
    """The failpoints around the commit of *group*."""
    moments = ["intent"] if group.intents else []
    return moments + [kind for kind in ("mark", "ticket", "verdict") if kind in group.notes]


def answer_all(group: Group, answers: list[Answer]) -> None:
    """Tell everybody who waited that *group* is durable."""
    for intent, answer in zip(group.intents, answers, strict=True):
        settle(intent.answer, answer)
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
