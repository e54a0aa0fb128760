"""A batch that is killed with SIGKILL, wherever that hits, is finished by the next runs: nobody is billed twice."""

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from batch_support import write_csv
from crash_support import HASTY, RANDOM_KILLS, SHORT, check, check_mixed, manifest_of, mixed_manifest_of, perform
from product_rows import number_of
from street import Pictures

from smile_async.ledger.failpoints import POINTS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

ROWS = 60


async def test_a_kill_at_every_failpoint_loses_nothing_and_doubles_nothing(tmp_path: Path, pictures: Pictures) -> None:
    """A run killed at each numbered moment in turn is taken up by the next one: one outcome and one job a row."""
    # In this order, or nothing were left to claim, to renew and at last to end.
    points = ("chunk claimed", "chunk renewed", *POINTS, "chunk ending")
    manifest = manifest_of(tmp_path, pictures, ROWS)
    arguments = ["batch", "run", str(manifest), "--out", str(tmp_path / "out.jsonl")]
    killed = [{"arguments": arguments, "point": point, "defaults": {"lease": 0.3}} for point in points]
    # Slow machines come to the end of a chunk within its lease, and fast ones to a renewal before there are verdicts.
    killed[-1]["defaults"] = {"lease": 1.0}
    statuses, created = await perform([*killed, {"arguments": arguments}], tmp_path, 0.2)
    assert dict(zip(points, statuses, strict=False)) == dict.fromkeys(points, -9)
    assert statuses[-1] == 0
    check(tmp_path, created, ROWS)


async def test_a_kill_while_reviews_are_put_aside(tmp_path: Path, pictures: Pictures) -> None:
    """A run killed before or after it has parked its chunk finds every job under review again, and sends none twice."""
    job = {"selfie": pictures.selfie_path, "job_type": 4, "param.sandbox_result": 2}
    manifest = write_csv(tmp_path / "m.csv", [{"user_id": f"u{n}", "job_id": f"j{n}", **job} for n in range(5)])
    out = tmp_path / "out.jsonl"
    run = {"arguments": ["batch", "run", str(manifest), "--out", str(out), "--until", "final"], "defaults": HASTY}
    plan = [{**run, "point": point} for point in ("chunk parking", "chunk parked")]
    approvals = [{"arguments": ["sandbox", "review", f"j{n}", "approve"]} for n in range(5)]
    statuses, created = await perform([*plan, *approvals, run], tmp_path)
    assert statuses == [-9, -9, *[0] * 6]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["final"] for line in lines] == [True] * 5
    assert created == Counter({line["job_id"]: 1 for line in lines})


async def test_kills_at_random_moments_lose_nothing_and_double_nothing(tmp_path: Path, pictures: Pictures) -> None:
    """Runs killed at random moments, and then one that is not, end with one outcome and one job a row."""
    luck = random.Random(20261123)
    rows = 15 * RANDOM_KILLS
    manifest = manifest_of(tmp_path, pictures, rows)
    arguments = ["batch", "run", str(manifest), "--out", str(tmp_path / "out.jsonl")]
    kills = [{"arguments": arguments, "after": luck.uniform(0.05, 0.6)} for _ in range(RANDOM_KILLS)]
    statuses, created = await perform([*kills, {"arguments": arguments}], tmp_path)
    assert set(statuses[:-1]) <= {-9, 0}
    assert -9 in statuses
    assert statuses[-1] == 0
    check(tmp_path, created, rows)


async def test_kills_in_a_batch_of_every_product(tmp_path: Path, pictures: Pictures) -> None:
    """Whoever may have been looked up is not looked up again, and of nobody an id number is left in the ledger."""
    luck = random.Random(20261127)
    rows, kept = 24, tmp_path / "kept"
    kept.mkdir()
    manifest = mixed_manifest_of(tmp_path, pictures, rows)
    arguments = ["batch", "run", str(manifest), "--ledger", str(kept / "l.db"), "--out", str(tmp_path / "out.jsonl")]
    run: dict[str, Any] = {"arguments": arguments, "defaults": SHORT}
    kills = [{**run, "point": point} for point in ("intent committed", "verdict noted")]
    plan = [*kills, {**run, "after": luck.uniform(0.05, 0.2)}, run]
    statuses, created = await perform(plan, tmp_path, 0.02)
    assert (statuses[:2], statuses[-1] in (0, 3)) == ([-9] * 2, True)
    unknown = check_mixed(tmp_path, created, rows)
    assert (statuses[-1] == 0) == (unknown == 0)
    left = b"".join(path.read_bytes() for path in kept.iterdir())
    assert not [number for number in range(rows) if number_of(number).encode() in left]
    assert b"Canarina" not in left
