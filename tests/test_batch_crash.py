"""A batch that is killed with SIGKILL, wherever that hits, is finished by the next runs: nobody is billed twice."""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from batch_support import write_csv
from street import Pictures

from smile_async.cli.demo import neighbour
from smile_async.ledger.failpoints import POINTS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

ROWS = 60
#: `make soak` raises it.
RANDOM_KILLS = int(os.environ.get("SMILE_RANDOM_KILLS", "10"))


def manifest_of(folder: Path, pictures: Pictures, rows: int) -> Path:
    """Registrations of which every fifth is rejected."""
    found = [
        {
            "user_id": f"user-{number}",
            "selfie": pictures.selfie_path,
            "job_type": 4,
            "param.sandbox_result": 0 if number % 5 else 1,
        }
        for number in range(rows)
    ]
    return write_csv(folder / "campaign.csv", found)


async def perform(
    plan: Sequence[dict[str, Any]], folder: Path, latency: float = 0.0, *more: str
) -> tuple[list[int], Counter[str]]:
    """The exit status of each step, and how often each job_id was created at a sandbox in a process of its own."""
    state = folder / "state"
    async with neighbour(latency, state, *more) as found:
        script = Path(__file__).with_name("crash_runs.py")
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            str(script),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **found},
        )
        said, _ = await child.communicate(json.dumps(plan).encode())
    created: Counter[str] = Counter()
    jobs = {}
    for line in (state / "journal.jsonl").read_text().splitlines():
        key, value = json.loads(line)
        if key.startswith("job:"):
            jobs[key] = value
    for value in jobs.values():
        created[value["job_id"]] += value["submissions"]
    return json.loads(said), created


def check(folder: Path, created: Counter[str], rows: int) -> None:
    """One final outcome a row, and one provider job each."""
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert len(lines) == len({line["job_id"] for line in lines}) == rows
    assert Counter(line["decision"] for line in lines) == {"approved": rows - rows // 5, "rejected": rows // 5}
    assert all(line["final"] for line in lines)
    assert created == Counter({line["job_id"]: 1 for line in lines})


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
