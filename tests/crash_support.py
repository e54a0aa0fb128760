"""What tests of killed runs share: a manifest, a plan performed in children that die, and what must come of it."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from batch_support import write_csv
from product_rows import PRODUCTS, rows_of
from street import Pictures

#: `make soak` raises it.
RANDOM_KILLS = int(os.environ.get("SMILE_RANDOM_KILLS", "5"))
#: A lease and a park that a test can wait for.
HASTY = {"lease": 1.0, "park_after": 0.3, "FIRST_PARK": 0.2, "LONGEST_PARK": 0.5}
#: And a lookup that an authority is no longer at work on.
SHORT: dict[str, Any] = {**HASTY, "INSISTED_GAPS": [0.05, 0.1], "FORGETFUL_GAPS": [0.05, 0.1]}


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


def mixed_manifest_of(folder: Path, pictures: Pictures, rows: int) -> Path:
    """Strangers, of each product in turn; of those with a number every fifth is found nowhere."""
    path = folder / "mixed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_of(pictures, rows)))
    return path


def check_mixed(folder: Path, created: Counter[str], rows: int) -> int:
    """One outcome a row and at most one provider job; how many rows nobody can tell of: they are never sent again."""
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert len(lines) == len({line["job_id"] for line in lines}) == rows
    unknown = [line for line in lines if line["error"] == "SubmissionUnknown"]
    assert all(line["final"] for line in lines if line not in unknown)
    assert set(created.values()) == {1}
    assert {line["job_id"] for line in lines if line["final"]} <= {*created} <= {line["job_id"] for line in lines}
    assert {PRODUCTS.index(line["product"]) - int(line["key"][1:]) % len(PRODUCTS) for line in lines} == {0}
    return len(unknown)


@cache
def nursery() -> tuple[subprocess.Popen[str], str]:
    """This process's nursery, which ends with it, and the path of its socket."""
    # Not measured: those who are killed would write nothing down, at half as much again for every run.
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    warnings = os.environ.get("PYTHONWARNINGS", "error")
    command = [sys.executable, "-W", warnings, str(Path(__file__).with_name("nursery.py"))]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings, start_new_session=True
    )
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def python() -> tuple[str, ...]:
    """A command that is `python -W error`, for what follows it, but has imported our package already."""
    return sys.executable, "-IS", str(Path(__file__).with_name("warm.py")), nursery()[1]


async def perform(
    plan: Sequence[dict[str, Any]], folder: Path, latency: float = 0.0, *more: str, runs: str = "crash_runs"
) -> tuple[list[int], Counter[str]]:
    """The exit status of each step, and how often each job_id was created at a sandbox in a process of its own.

    *more*: options of the sandbox; *runs*: who performs the plan.
    """
    state = folder / "state"
    sandbox = ("--latency", str(latency), "--state", str(state), *more)
    reader, writer = await asyncio.open_unix_connection(nursery()[1])
    try:
        order = {"runs": runs, "plan": plan, "folder": str(folder), "sandbox": sandbox}
        writer.write(json.dumps(order).encode() + b"\n")
        said = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
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


def worker(url: str, **more: Any) -> dict[str, Any]:
    """A step: a worker until nothing is left to do, or until it is killed."""
    arguments = ["worker", "--ledger", url, "--until-empty", "--lease", "1", "--concurrency", "1"]
    return {"arguments": arguments, "defaults": HASTY, **more}


def batch_run(manifest: Path, folder: Path, url: str, *options: str, **more: Any) -> dict[str, Any]:
    """A step: the run that plans the batch and works along."""
    out = ["--out", str(folder / "out.jsonl"), "--chunk", "5", *options]
    return {"arguments": ["batch", "run", str(manifest), "--ledger", url, *out], "defaults": HASTY, **more}
