"""A ledger of an earlier release, with rows in every state, is migrated and its jobs come to their end."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from batch_support import ledger_of_version
from ledger_support import row_of, two_at
from street import Pictures, session_of

from smile_async import Finished, Job
from smile_async.ledger import State, schema
from smile_async.sandbox import RunningSandbox
from smile_async.traffic.payload import read_in_thread

pytestmark = pytest.mark.usefixtures("tidy")

#: What each release wrote, by job_id: the columns that differ from a row of which nothing is known.
ROWS: dict[str, dict[str, Any]] = {
    "planned": {"state": "planned"},
    "sending-1": {"state": "sending", "reach": 1, "attempts": 1, "sent_at": 8.0},
    "sending-2": {"state": "sending", "reach": 2, "attempts": 1, "sent_at": 8.0},
    "accepted": {"state": "accepted", "reach": 2, "attempts": 1, "sent_at": 8.0, "accepted_at": 9.0},
    "provisional": {
        "state": "provisional",
        "reach": 2,
        "attempts": 1,
        "sent_at": 8.0,
        "accepted_at": 9.0,
        "decided_at": 9.5,
        "decision": "provisional",
        "final": False,
        "code": "0822",
        "text": "said",
        "source": "poll",
        "timestamp": "",
        "actions": "{}",
    },
    "final": {
        "state": "final",
        "reach": 2,
        "attempts": 1,
        "sent_at": 8.0,
        "accepted_at": 9.0,
        "decided_at": 9.5,
        "decision": "approved",
        "final": True,
        "code": "0820",
        "text": "said",
        "source": "callback",
        "timestamp": "",
        "actions": "{}",
        "final_at": 9.5,
    },
    "failed-0": {
        "state": "failed",
        "reach": 0,
        "attempts": 1,
        "sent_at": 8.0,
        "error": "UserNotEnrolled",
        "error_code": "2210",
        "error_text": "register first",
        "retryable": False,
    },
    "failed-2": {
        "state": "failed",
        "reach": 2,
        "attempts": 2,
        "sent_at": 8.0,
        "error": "Unavailable",
        "error_text": "gone",
        "retryable": True,
    },
}
#: Of these the provider has the pictures.
ARRIVED = ("sending-2", "accepted", "provisional", "final", "failed-2")


def fill(place: Path | str, version: int, digest: str) -> None:
    """A ledger as release *version* left it behind."""
    file = isinstance(place, Path)
    mark = "?" if file else "%s"
    with contextlib.closing(sqlite3.connect(place) if isinstance(place, Path) else psycopg.connect(place)) as old:
        for statement in ledger_of_version(version, "INTEGER" if file else "BIGSERIAL"):
            old.execute(statement)  # type: ignore[arg-type]
        for job_id, told in ROWS.items():
            row = {
                "job_id": job_id,
                "user_id": "ada",
                "job_type": 2,
                "reach": 0,
                "attempts": 0,
                "created_at": 7.5,
                **told,
            }
            if row["attempts"]:
                row["digest"] = digest
            marks = ", ".join([mark] * len(row))
            old.execute(f"INSERT INTO smile_jobs ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))  # type: ignore[arg-type]
        old.execute("INSERT INTO smile_events (job_id, at, kind, detail) VALUES ('final', 8.0, 'sending', '')")
        old.commit()


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_every_job_of_an_earlier_release_comes_to_its_end(
    place: Path | str, version: int, running: RunningSandbox, pictures: Pictures
) -> None:
    """Rows in every state are kept as they were, sent where they were not, asked about where they were, never twice."""
    jobs = {job_id: Job.authenticate("ada", pictures.selfie, job_id=job_id) for job_id in ROWS}
    async with session_of(running) as earlier:
        for job_id in ARRIVED:
            await earlier.submit(jobs[job_id])
    fill(place, version, (await read_in_thread(jobs["planned"])).digest().hex())
    async with two_at(place) as (ledger, _):
        for job_id, told in ROWS.items():
            row = await row_of(ledger, job_id)
            assert {name: row[name] for name in told} == told
            assert row["created_at"] == 7.5
        async with (
            session_of(running, ledger=ledger) as session,
            session.stream(jobs.values(), until="final") as outcomes,
        ):
            ends = {outcome.job.job_id: outcome async for outcome in outcomes}
        rows = {job_id: await row_of(ledger, job_id) for job_id in ROWS}
        async with ledger.reading() as connection:
            query = sa.select(schema.events.c.user_id).where(schema.events.c.at == 8.0)
            assert (await connection.execute(query)).scalars().all() == [None]
    assert all(isinstance(end, Finished) and end.verdict.approved for end in ends.values()), ends
    assert {row["state"] for row in rows.values()} == {State.FINAL}
    begun = {"planned": 1, "sending-1": 2, "sending-2": 2, "failed-0": 2, "failed-2": 3}
    assert {job_id: row["attempts"] for job_id, row in rows.items()} == {**dict.fromkeys(ROWS, 1), **begun}
    assert all(row["error"] is None and row["reach"] == 2 for row in rows.values())
    assert {job_id: running.sandbox.count(job_id) for job_id in ROWS} == dict.fromkeys(ROWS, 1)
    assert (rows["final"]["final_at"], running.sandbox.jobs["final"].polls) == (9.5, 0)
