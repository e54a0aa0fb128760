"""What a batch asks of the ledger: write rows down before they are sent, and read them all back in order.

A row is planned once and keeps its job_id for good, so that the same manifest, run again, finds every job it has sent.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import bindparam

from smile_async.errors import BadConfiguration, JobExists, LedgerFailed, SubmissionUnknown
from smile_async.ledger.chunks import CHUNK_JOBS, chunked
from smile_async.ledger.database import dialect_insert
from smile_async.ledger.failpoints import failpoint
from smile_async.ledger.ledger import Ledger
from smile_async.ledger.rows import PAGE
from smile_async.ledger.schema import (
    NOW,
    PrivateText,
    State,
    Text,
    batches,
    chunks,
    events,
    id_info,
    jobs,
    meta,
    problems,
)
from smile_async.protocol.steps import Reach

__all__ = ["Batches", "Planned"]

_SEEN = (
    jobs.update()
    # Not another batch's: that may have come in between.
    .where(
        jobs.c.job_id == bindparam("b_job"),
        sa.or_(jobs.c.batch.is_(None), jobs.c.batch == bindparam("b_batch")),
    )
    .values(
        run=bindparam("b_run"),
        line=bindparam("b_line"),
        # A worker may have sent it since it was looked up.
        job_type=sa.case(
            (jobs.c.reach == int(Reach.NOTHING), bindparam("b_type", type_=sa.Integer)), else_=jobs.c.job_type
        ),
        product=sa.case((jobs.c.reach == int(Reach.NOTHING), bindparam("b_product", type_=Text)), else_=jobs.c.product),
        spec=bindparam("b_spec"),
        marks=bindparam("b_marks"),
        batch=bindparam("b_batch"),
        row_key=bindparam("b_key"),
    )
)

#: What may be with V3 and nobody can tell; unless a webhook did meanwhile.
_UNKNOWN = (
    jobs.c.state == State.FAILED,
    jobs.c.error == SubmissionUnknown.__name__,
    jobs.c.api.is_not(None),
    jobs.c.accepted_at.is_(None),
)
#: From now on as if they had never been sent: the only rows whose reach falls, at somebody's word.
_ONCE_MORE = jobs.update().where(jobs.c.job_id == bindparam("b_job"), *_UNKNOWN).values(reach=int(Reach.NOTHING))
#: Not where another row of the same run has its key: that one is the row on record.
_REFUSED = (
    jobs.update()
    .where(jobs.c.job_id == bindparam("b_job"), jobs.c.batch == bindparam("b_batch"), jobs.c.run < bindparam("b_run"))
    .values(run=bindparam("b_run"), line=bindparam("b_line"))
)


@dataclass(frozen=True, slots=True)
class Planned:
    """A row as it is offered to the ledger."""

    line: int
    key: str
    job_id: str
    user_id: str
    job_type: int
    spec: str
    marks: str
    product: str | None = None


#: After rows and chunks: only of rows of this batch that are still to be sent, and in place of what was there.
_FORGET_OLD = id_info.delete().where(id_info.c.job_id == bindparam("b_job"))
_KEEP = id_info.insert().from_select(
    ["job_id", "fields"],
    sa.select(jobs.c.job_id, bindparam("b_fields", type_=PrivateText)).where(
        jobs.c.job_id == bindparam("b_job"),
        jobs.c.batch == bindparam("b_batch"),
        # Not NOT IN: a list of parameters can not be part of a statement that is performed for many jobs at once.
        jobs.c.state != State.FINAL,
        jobs.c.state != State.FAILED,
    ),
)


class Batches:
    """The batches of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def names(self) -> list[str]:
        """The names of all batches."""
        async with self._ledger.reading() as connection:
            return list((await connection.execute(sa.select(batches.c.name).order_by(batches.c.name))).scalars())

    async def only(self, wanted: str | None) -> str:
        """*wanted*, or the one batch there is. Raises BadConfiguration."""
        names = await self.names()
        if wanted is None and len(names) == 1:
            return names[0]
        if wanted not in names:
            there = ", ".join(names) or "none"
            raise BadConfiguration(f"which batch? give its name with --name; the ledger has: {there}")
        return wanted

    @contextlib.asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """Be the only run of *name* while the block lasts; raises LedgerFailed if somebody is. A file has one writer.

        The lock is the server's and dies with our connection, also when the server restarts; two runs at once would
        then plan and drive each row once all the same, because rows and chunks are the database's.
        """
        if self._ledger.database.is_file:
            yield
            return
        key = sa.func.hashtextextended(f"smile-batch:{name}", 0)
        async with self._ledger.reading() as connection:
            lock = await connection.execution_options(isolation_level="AUTOCOMMIT")
            if not (await lock.execute(sa.select(sa.func.pg_try_advisory_lock(key)))).scalar_one():
                raise LedgerFailed(f"batch {name} is being run by another process: wait, or help it by a worker")
            try:
                yield
            finally:
                # Not back into the pool: whoever got it next would hold the lock.
                await lock.invalidate()

    async def start(self, name: str, options: Mapping[str, Any]) -> int:
        """A new run of batch *name*, told *options*: its number, from 1."""
        text = orjson.dumps(dict(options)).decode()
        async with self._ledger.writing() as connection:
            if self._ledger.database.is_file:
                # Nobody drives what earlier runs have left: each makes chunks of what it finds in its manifest.
                await connection.execute(chunks.update().where(chunks.c.done_at.is_(None)).values(done_at=NOW))
            last = (await connection.execute(sa.select(batches.c.run).where(batches.c.name == name))).scalar()
            if last is None:
                about = {"name": name, "run": 1, "options": text}
                await connection.execute(batches.insert(), about)
                return 1
            change = batches.update().where(batches.c.name == name).values(run=last + 1, options=text, lines=None)
            await connection.execute(change)
            return int(last) + 1

    async def options(self, name: str) -> dict[str, Any]:
        """What the latest run of *name* was told."""
        async with self._ledger.reading() as connection:
            text = (await connection.execute(sa.select(batches.c.options).where(batches.c.name == name))).scalar_one()
        return dict(orjson.loads(text))

    async def account(self) -> str | None:
        """Partner and host that the ledger belongs to, None before anything was sent."""
        async with self._ledger.reading() as connection:
            found = await connection.execute(sa.select(meta.c.value).where(meta.c.name == "account"))
            return found.scalar()

    async def known(self, job_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The rows that are there already, by job_id."""
        query = sa.select(jobs).where(jobs.c.job_id.in_(job_ids))
        async with self._ledger.reading() as connection:
            return {row["job_id"]: dict(row) for row in (await connection.execute(query)).mappings()}

    async def plan(
        self,
        name: str,
        run: int,
        new: Sequence[Planned],
        seen: Sequence[Planned],
        *,
        refused: Sequence[Planned],
        flaws: Sequence[tuple[int, str, str | None]] = (),
        pending: Sequence[Mapping[str, Any] | str] = (),
        again: Sequence[str] = (),
        about: Mapping[str, str] = MappingProxyType({}),
        at_once: int = CHUNK_JOBS,
    ) -> list[int]:
        """Write *new* rows down, and note that *seen* ones are still in the manifest.

        *refused*: so are these, but what they say does not count. *flaws*: lines that became no job, why, and whose
        they were. *pending*: what is to be sent or asked about, as job_ids or rows that are there already: goes into
        chunks of *at_once*, whose numbers are returned. *again*: jobs among them of which nobody can tell whether V3
        has them, and that are to be sent once more. *about*: id fields, as JSON by job_id. All in one transaction.
        """
        failpoint("planning")
        async with self._ledger.writing() as connection:
            if new:
                insert = dialect_insert(connection)(jobs).on_conflict_do_nothing()
                await connection.execute(insert, [_row_of(row, name, run) for row in new])
            if seen:
                await connection.execute(_SEEN, [_seen_of(row, name, run) for row in seen])
            if refused:
                await connection.execute(_REFUSED, [_place_of(row, name, run) for row in refused])
            if flaws:
                names = ("line", "why", "user_id")
                found = [{"batch": name, "run": run, **dict(zip(names, flaw, strict=True))} for flaw in flaws]
                await connection.execute(problems.insert(), found)
            if again:
                await connection.execute(_ONCE_MORE, [{"b_job": job_id} for job_id in again])
            made = await chunked(connection, name, pending, at_once) if pending else []
            if about:
                fields = [{"b_job": job_id, "b_batch": name, "b_fields": text} for job_id, text in about.items()]
                await connection.execute(_FORGET_OLD, [{"b_job": job_id} for job_id in about])
                await connection.execute(_KEEP, fields)
        failpoint("planned")
        return made

    async def problems(self, name: str, run: int) -> list[tuple[int, str]]:
        """Line and reason of each row of *run* that became no job."""
        query = sa.select(problems.c.line, problems.c.why).where(problems.c.batch == name, problems.c.run == run)
        async with self._ledger.reading() as connection:
            return [(line, why) for line, why in await connection.execute(query.order_by(problems.c.id))]

    async def read_whole(self, name: str, run: int) -> int:
        """The manifest was read to its end in *run*; how many earlier rows it does not hold any more."""
        mine = jobs.c.batch == name
        async with self._ledger.writing() as connection:
            total = (await connection.execute(sa.select(sa.func.count()).where(mine, jobs.c.run == run))).scalar_one()
            await connection.execute(batches.update().where(batches.c.name == name).values(lines=total))
        return await self.gone(name, run)

    async def gone(self, name: str, run: int) -> int:
        """How many rows of earlier runs the manifest does not hold any more, once it was read to its end in *run*."""
        earlier = sa.select(sa.func.count()).where(jobs.c.batch == name, jobs.c.run < run)
        async with self._ledger.reading() as connection:
            return int((await connection.execute(earlier)).scalar_one())

    async def used_before(self, name: str, run: int) -> int:
        """How many rows that *run* has read have failed because Smile ID knew their job_ids already."""
        failed = (jobs.c.state == State.FAILED, jobs.c.error == JobExists.__name__)
        query = sa.select(sa.func.count()).where(jobs.c.batch == name, jobs.c.run == run, *failed)
        async with self._ledger.reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def unknown(self, name: str) -> int:
        """How many rows may be with V3, and nobody can tell: they are sent again only by who accepts duplicates."""
        query = sa.select(sa.func.count()).where(jobs.c.batch == name, *_UNKNOWN)
        async with self._ledger.reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def failures(self, name: str, limit: int | None = None) -> list[dict[str, Any]]:
        """Line, ids and cause of the rows that have failed, in the order of the manifest: the first *limit*, or all."""
        error = (jobs.c.error, jobs.c.error_code.label("code"), jobs.c.error_text.label("why"))
        query = sa.select(jobs.c.line, jobs.c.user_id, jobs.c.job_id, *error)
        query = query.where(jobs.c.batch == name, jobs.c.state == State.FAILED).order_by(jobs.c.line, jobs.c.seq)
        async with self._ledger.reading() as connection:
            return [dict(row) for row in (await connection.execute(query.limit(limit))).mappings()]

    async def latest(self, name: str) -> tuple[int, bool]:
        """The number of the latest run, and whether it has read the manifest to its end."""
        query = sa.select(batches.c.run, batches.c.lines).where(batches.c.name == name)
        async with self._ledger.reading() as connection:
            run, lines = (await connection.execute(query)).one()
        return run, lines is not None

    async def counts(self, name: str) -> dict[str, int]:
        """Rows by state."""
        query = sa.select(jobs.c.state, sa.func.count()).where(jobs.c.batch == name).group_by(jobs.c.state)
        async with self._ledger.reading() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

    async def decisions(self, name: str) -> dict[str, int]:
        """Rows by decision."""
        query = sa.select(jobs.c.decision, sa.func.count()).where(jobs.c.batch == name, jobs.c.decision.is_not(None))
        async with self._ledger.reading() as connection:
            return {row[0]: row[1] for row in await connection.execute(query.group_by(jobs.c.decision))}

    async def kept(self, name: str) -> int:
        """Of how many rows the id fields are kept: of those that are not over, or that may be tried again."""
        query = sa.select(sa.func.count()).select_from(id_info.join(jobs, id_info.c.job_id == jobs.c.job_id))
        async with self._ledger.reading() as connection:
            return int((await connection.execute(query.where(jobs.c.batch == name))).scalar_one())

    async def rows(self, name: str) -> AsyncIterator[Mapping[str, Any]]:
        """Every row in the order of the manifest, a page at a time."""
        last = 0
        while True:
            query = sa.select(jobs).where(jobs.c.batch == name, jobs.c.seq > last).order_by(jobs.c.seq).limit(PAGE)
            async with self._ledger.reading() as connection:
                page = [dict(row) for row in (await connection.execute(query)).mappings()]
            for row in page:
                yield row
            if len(page) < PAGE:
                return
            last = page[-1]["seq"]

    async def erase(self, user_id: str) -> int:
        """Forget everything about *user_id*, rows that became no job and what others' rows say too; how many jobs."""
        # What is wrong with another's row may name them; an older ledger says in no other way whose a row is.
        named = [problems.c.why.contains(words, autoescape=True) for words in (f"user {user_id} ", f"key {user_id!r} ")]
        flaws = sa.or_(problems.c.user_id == user_id, *named)
        return await self._forget(jobs.c.user_id == user_id, flaws, events.c.user_id == user_id)

    async def purge(self, before: float) -> int:
        """Forget jobs that ended before *before* (seconds since 1970), and flaws of earlier runs; how many jobs."""
        # What is still open is not old: it may have to be resumed.
        final = (jobs.c.state == State.FINAL) & (jobs.c.final_at < before)
        over = final | (jobs.c.state == State.FAILED) & (jobs.c.created_at < before)
        latest = sa.select(batches.c.run).where(batches.c.name == problems.c.batch).scalar_subquery()
        return await self._forget(over, problems.c.run < latest, sa.false())

    async def _forget(
        self, which: sa.ColumnElement[bool], flaws: sa.ColumnElement[bool], more: sa.ColumnElement[bool]
    ) -> int:
        """Delete jobs and all about them, rows that became no job, and *more* events: they outlive their job."""
        await self._ledger.flush()
        async with self._ledger.writing() as connection:
            chosen = sa.select(jobs.c.job_id).where(which)
            await connection.execute(events.delete().where(events.c.job_id.in_(chosen) | more))
            await connection.execute(id_info.delete().where(id_info.c.job_id.in_(chosen)))
            await connection.execute(problems.delete().where(flaws))
            gone = (await connection.execute(jobs.delete().where(which))).rowcount
        await self._ledger.vacuum()
        return int(gone)


def _row_of(row: Planned, name: str, run: int) -> dict[str, Any]:
    return {
        "job_id": row.job_id,
        "user_id": row.user_id,
        "job_type": row.job_type,
        "product": row.product,
        "state": State.PLANNED,
        "reach": int(Reach.NOTHING),
        "attempts": 0,
        "batch": name,
        "row_key": row.key,
        "line": row.line,
        "run": run,
        "spec": row.spec,
        "marks": row.marks,
    }


def _place_of(row: Planned, name: str, run: int) -> dict[str, Any]:
    return {"b_job": row.job_id, "b_batch": name, "b_run": run, "b_line": row.line}


def _seen_of(row: Planned, name: str, run: int) -> dict[str, Any]:
    return {
        **_place_of(row, name, run),
        "b_type": row.job_type,
        "b_product": row.product,
        "b_spec": row.spec,
        "b_marks": row.marks,
        "b_key": row.key,
    }
