"""Two workers over PostgreSQL, of which one is killed with SIGKILL, wherever that hits: nobody is billed twice."""

import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from batch_support import write_csv
from crash_support import (
    RANDOM_KILLS,
    SHORT,
    batch_run,
    check,
    check_mixed,
    manifest_of,
    mixed_manifest_of,
    perform,
    worker,
)
from postgres import Postgres
from street import Pictures
from workers_support import fresh, run_sql

from smile_async.ledger import Ledger
from smile_async.ledger.failpoints import CHUNK_POINTS, POINTS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


async def test_a_worker_killed_at_every_failpoint(server: Postgres, tmp_path: Path, pictures: Pictures) -> None:
    """Beside a worker that lives, others die at each numbered moment in turn: one outcome and one job a row."""
    rows = 100
    url = fresh(server)
    manifest = manifest_of(tmp_path, pictures, rows)
    # Of the others, the first belong to the run that plans, the second to reviews.
    points = [point for point in (*POINTS, *CHUNK_POINTS) if not point.startswith(("plan", "chunk park", "chunk q"))]
    small = ("--chunk", "3")
    killed = [batch_run(manifest, tmp_path, url, *small, point="chunk queued", passes=20)]
    killed += [worker(url, point=point) for point in points]
    plan = [killed[0], worker(url, beside=True, share=1), *killed[1:], batch_run(manifest, tmp_path, url, *small)]
    statuses, created = await perform(plan, tmp_path, 0.05)
    assert statuses == [-9, 0, *[-9] * len(points), 0]
    check(tmp_path, created, rows)


async def test_whoever_plans_or_parks_is_killed(server: Postgres, tmp_path: Path, pictures: Pictures) -> None:
    """The run dies around each moment of planning and queueing, workers while they park: reviews still end well."""
    url = fresh(server)
    rows = [{"user_id": f"u{n}", "selfie": pictures.selfie_path, "job_type": 4} for n in range(12)]
    manifest = write_csv(tmp_path / "m.csv", [{**row, "param.sandbox_result": 2} for row in rows])
    points = ("planning", "planned", "chunk queueing", "chunk queued")
    plan = [batch_run(manifest, tmp_path, url, "--until", "final", point=point) for point in points]
    plan += [worker(url, point=point) for point in ("chunk parking", "chunk parked")]
    plan += [batch_run(manifest, tmp_path, url, "--until", "final")]
    statuses, created = await perform(plan, tmp_path, 0.0, "--review", "3")
    assert statuses == [-9] * 6 + [0]
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["final"] for line in lines] == [True] * 12
    assert created == Counter({line["job_id"]: 1 for line in lines})


async def test_kills_at_random_moments_of_two_workers(server: Postgres, tmp_path: Path, pictures: Pictures) -> None:
    """Of two workers one is killed again and again at random moments: one outcome and one job a row."""
    luck = random.Random(20261124)
    rows = 20 * RANDOM_KILLS
    url = fresh(server)
    manifest = manifest_of(tmp_path, pictures, rows)
    plan = [batch_run(manifest, tmp_path, url, "--enqueue"), worker(url, beside=True)]
    plan += [worker(url, after=luck.uniform(0.1, 0.7)) for _ in range(RANDOM_KILLS)]
    statuses, created = await perform([*plan, batch_run(manifest, tmp_path, url)], tmp_path, 0.2)
    assert (statuses[0], statuses[-1]) == (2, 0)
    assert -9 in statuses
    assert set(statuses[1:-1]) <= {-9, 0}
    check(tmp_path, created, rows)


async def test_kills_in_a_batch_of_every_product(server: Postgres, tmp_path: Path, pictures: Pictures) -> None:
    """Of two workers on lookups and uploads one dies: one outcome, at most one provider job, and no id field a row."""
    luck = random.Random(20261127)
    url = fresh(server)
    manifest = mixed_manifest_of(tmp_path, pictures, 25)
    plan = [batch_run(manifest, tmp_path, url, "--enqueue"), worker(url, beside=True, share=2)]
    plan += [
        worker(url, point="verdict noted"),
        worker(url, after=luck.uniform(0.1, 0.4)),
        batch_run(manifest, tmp_path, url),
    ]
    statuses, created = await perform([{**step, "defaults": SHORT} for step in plan], tmp_path, 0.05)
    assert (statuses[0], statuses[2], statuses[-1] in (0, 3)) == (2, -9, True)
    assert (check_mixed(tmp_path, created, 25) == 0) == (statuses[-1] == 0)
    async with Ledger(url) as ledger:
        assert (await run_sql(ledger, "SELECT * FROM smile_id_info")) == []
