"""Chunks: some hundred jobs of a batch, driven by whichever worker holds them, on whichever machine.

A worker claims a chunk for the length of a lease and keeps renewing it. Each claim raises the chunk's token, and what
could send a job is written under that token (`write_batch`): a worker that lost its chunk without knowing, because it
was stopped or cut off, can not send anything new. All times are the database's, since the clocks of machines disagree.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from smile_async.errors import Unavailable
from smile_async.ledger.failpoints import failpoint
from smile_async.ledger.ledger import Ledger
from smile_async.ledger.rows import NO_ERROR
from smile_async.ledger.schema import NOW, OPEN_STATES, State, batches, chunks, id_info, jobs
from smile_async.ledger.write_batch import Fence
from smile_async.protocol.steps import Reach

__all__ = ["CHUNK_JOBS", "Chunks", "Held", "chunked"]

#: Jobs of one chunk: enough that claiming costs each little, few enough that two workers end at the same time.
CHUNK_JOBS = 100


@dataclass(frozen=True, slots=True)
class Held:
    """A chunk as its worker claimed it."""

    id: int
    token: int
    batch: str
    parks: int

    @property
    def fence(self) -> Fence:
        """What its jobs are written under."""
        return Fence(self.id, self.token)


async def chunked(
    connection: AsyncConnection, batch: str, pending: Sequence[Mapping[str, Any] | str], at_once: int
) -> list[int]:
    """Put the jobs *pending* of *batch* (job_ids, or rows that are there already) into chunks; their numbers.

    A row whose chunk is still open stays in it: somebody may be driving it. That chunk is due again at once, and its
    patience starts anew. In the caller's transaction.
    """
    ids = {each if isinstance(each, str) else each["job_id"]: None for each in pending}
    were = {each["job_id"]: each["chunk"] for each in pending if not isinstance(each, str)}
    revive = (
        chunks.update()
        .where(chunks.c.id.in_({chunk for chunk in were.values() if chunk is not None}), chunks.c.done_at.is_(None))
        .values(due_at=NOW, planned_at=NOW, parks=0)
        .returning(chunks.c.id)
    )
    still_open = set((await connection.execute(revive)).scalars())
    await connection.execute(_anew(jobs.c.job_id.in_(list(ids))))
    fresh = [job_id for job_id in ids if were.get(job_id) not in still_open]
    made: list[int] = []
    insert = chunks.insert().values(batch=batch, token=0, parks=0, due_at=NOW, planned_at=NOW).returning(chunks.c.id)
    for start in range(0, len(fresh), at_once):
        chunk = (await connection.execute(insert)).scalar_one()
        # Another batch may have come with the same job_id in between.
        which = (jobs.c.job_id.in_(fresh[start : start + at_once]), jobs.c.batch == batch)
        await connection.execute(jobs.update().where(*which).values(chunk=chunk))
        made.append(chunk)
    return [*sorted(still_open), *made]


def _anew(*which: sa.ColumnElement[bool]) -> sa.Update:
    """What failed and is to be tried again waits for it like the others."""
    untold = sa.case((jobs.c.reach > int(Reach.NOTHING), str(State.SENDING)), else_=str(State.PLANNED))
    state = sa.case((jobs.c.accepted_at.is_(None), untold), else_=str(State.ACCEPTED))
    return jobs.update().where(jobs.c.state == State.FAILED, *which).values(state=state, **NO_ERROR)


class Chunks:
    """The chunks of one ledger, for the worker *holder*; *lease*: seconds a claim lasts unless it is renewed.

    Every method raises LedgerFailed while the database can not be reached.
    """

    def __init__(self, ledger: Ledger, holder: str = "", lease: float = 60.0) -> None:
        self._ledger = ledger
        self._holder = holder
        self._lease = lease

    async def claim(self, chunk: int) -> Held | None:
        """Take a chunk that is open, due and in nobody's hands; None if it is not."""
        change = (
            chunks.update()
            .where(chunks.c.id == chunk, chunks.c.due_at <= NOW, *_FREE)
            .values(token=chunks.c.token + 1, holder=self._holder, lease_until=NOW + self._lease)
            .returning(chunks.c.token, chunks.c.batch, chunks.c.parks)
        )
        async with self._ledger.writing() as connection:
            row = (await connection.execute(change)).one_or_none()
        failpoint("chunk claimed")
        return None if row is None else Held(chunk, row.token, row.batch, row.parks)

    async def renew(self, held: Collection[Held]) -> set[int]:
        """Keep what is held for another lease; the numbers of those that are still ours."""
        tokens = {each.id: each.token for each in held}
        # In order, like everybody who locks several.
        mine = sa.select(chunks.c.id).where(chunks.c.id.in_(tokens), chunks.c.done_at.is_(None))
        async with self._ledger.writing() as connection:
            await connection.execute(mine.order_by(chunks.c.id).with_for_update())
            change = (
                chunks.update()
                # Not one that is being given back at this very moment.
                .where(chunks.c.holder == self._holder, sa.or_(*(_held(each) for each in held)))
                .values(lease_until=NOW + self._lease)
                .returning(chunks.c.id)
            )
            kept = set((await connection.execute(change)).scalars())
        failpoint("chunk renewed")
        return kept

    async def give_back(self, held: Held, after: float = 0.0, *, park: bool = False) -> bool:
        """Let anybody claim it again in *after* seconds; whether it was still ours. *park*: it was put aside."""
        change: dict[str, Any] = {"holder": None, "lease_until": None, "due_at": NOW + after}
        if park:
            failpoint("chunk parking")
            change["parks"] = chunks.c.parks + 1
        ours = await self._changed(held, change)
        if park:
            failpoint("chunk parked")
        return ours

    async def finish(self, held: Held) -> bool:
        """Nothing is left to do with it; whether it was still ours."""
        failpoint("chunk ending")
        ours = await self._changed(held, {"holder": None, "lease_until": None, "done_at": NOW})
        failpoint("chunk done")
        return ours

    async def _changed(self, held: Held, change: Mapping[str, Any]) -> bool:
        async with self._ledger.writing() as connection:
            found = await connection.execute(chunks.update().where(_held(held)).values(**change))
        return bool(found.rowcount)

    async def reopen(self, held: Held) -> int:
        """What found nobody at the other end waits again like the others; how many jobs those are."""
        mine = jobs.c.chunk.in_(sa.select(chunks.c.id).where(_held(held)))
        async with self._ledger.writing() as connection:
            found = await connection.execute(_anew(mine, jobs.c.error == Unavailable.__name__))
        return int(found.rowcount)

    async def rows(self, chunk: int) -> list[dict[str, Any]]:
        """The jobs of a chunk, with the id `fields` that are kept of them, in the order of the manifest."""
        whole = jobs.outerjoin(id_info, id_info.c.job_id == jobs.c.job_id)
        query = sa.select(jobs, id_info.c.fields).select_from(whole).where(jobs.c.chunk == chunk).order_by(jobs.c.seq)
        async with self._ledger.reading() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def undecided(self, chunk: int, *, until_final: bool) -> tuple[int, float | None]:
        """How many jobs were not accepted yet, and since when the youngest of those without a verdict waits.

        Seconds, None if none waits. A provisional verdict counts as none where *until_final*.
        """
        states = [state for state in OPEN_STATES if until_final or state is not State.PROVISIONAL]
        open_jobs = (jobs.c.chunk == chunk, jobs.c.state.in_(states))
        unsent = sa.func.count().filter(jobs.c.accepted_at.is_(None))
        since = sa.func.max(_later(jobs.c.accepted_at, chunks.c.planned_at))
        accepted = sa.and_(jobs.c.chunk == chunks.c.id, jobs.c.accepted_at.is_not(None))
        async with self._ledger.reading() as connection:
            left = (await connection.execute(sa.select(unsent).where(*open_jobs))).scalar_one()
            query = sa.select(NOW - since).select_from(jobs.join(chunks, accepted)).where(*open_jobs)
            waited = (await connection.execute(query)).scalar_one()
        return int(left), None if waited is None else float(waited)

    async def still_open(self, batch: str | None = None) -> int:
        """How many chunks (of *batch*) are not done."""
        query = sa.select(sa.func.count()).select_from(chunks).where(chunks.c.done_at.is_(None))
        async with self._ledger.reading() as connection:
            found = await connection.execute(query if batch is None else query.where(chunks.c.batch == batch))
            return int(found.scalar_one())

    async def forgotten(self, at_most: int, *unless: sa.TextClause) -> list[int]:
        """Chunks that anybody could claim now, and of which the queue says that it holds them not."""
        query = sa.select(chunks.c.id).where(chunks.c.due_at <= NOW, *_FREE, *unless)
        async with self._ledger.reading() as connection:
            return list((await connection.execute(query.order_by(chunks.c.id).limit(at_most))).scalars())

    async def reserve(self, batch: str, starts: int, rate: float) -> float:
        """Reserve *starts* new jobs of *batch*, at *rate* a second for all workers: seconds until the first of them."""
        begins = _later(sa.func.coalesce(batches.c.next_start, 0.0), NOW)
        change = (
            batches.update()
            .where(batches.c.name == batch)
            .values(next_start=begins + starts / rate)
            .returning(batches.c.next_start - starts / rate - NOW)
        )
        async with self._ledger.writing() as connection:
            return float((await connection.execute(change)).scalar_one())


_FREE = (
    chunks.c.done_at.is_(None),
    sa.or_(chunks.c.lease_until.is_(None), chunks.c.lease_until < NOW),
)


def _later(one: sa.ColumnElement[float], other: sa.ColumnElement[float]) -> sa.ColumnElement[float]:
    # SQLite has max() for what others call greatest().
    return sa.case((one > other, one), else_=other)


def _held(held: Held) -> sa.ColumnElement[bool]:
    return sa.and_(chunks.c.id == held.id, chunks.c.token == held.token, chunks.c.done_at.is_(None))
