"""A batch that is killed with SIGKILL, wherever that hits, is finished by the next runs: nobody is billed twice."""

import os
import random
from pathlib import Path

import pytest
from crash_support import RANDOM_KILLS, check, manifest_of, perform
from street import Pictures

from smile_async.ledger.failpoints import POINTS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

ROWS = 60


async def test_a_kill_at_every_failpoint_loses_nothing_and_doubles_nothing(tmp_path: Path, pictures: Pictures) -> None:
    """A run killed at each numbered moment in turn is taken up by the next one: one outcome and one job a row."""
    manifest = manifest_of(tmp_path, pictures, ROWS)
    arguments = ["batch", "run", str(manifest), "--out", str(tmp_path / "out.jsonl")]
    chunked = [{"arguments": arguments, "point": point, "passes": 0} for point in POINTS]
    statuses, created = await perform([*chunked, {"arguments": arguments}], tmp_path)
    assert dict(zip(POINTS, statuses, strict=False)) == dict.fromkeys(POINTS, -9)
    assert statuses[-1] == 0
    check(tmp_path, created, ROWS)


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
