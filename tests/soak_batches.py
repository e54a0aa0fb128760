"""Batches killed again and again at full size: part of `make soak`, not of `make test`.

Prints a line each for 100 random kills on one machine and of one of two workers with every pair of troubles, for a
large batch that is killed three times and resumed, and for the same on two workers over PostgreSQL; exits 1 if a row
was lost or a job doubled. `--rows`, `--kills` and `--seed` change what is done.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from crash_support import batch_run, check, manifest_of, perform, worker
from postgres import a_server
from street import Pictures
from workers_support import fresh

Plan = Callable[[Path, Path], list[dict[str, Any]]]


def random_kills(kills: int) -> bool:
    """So many random kills of a run, and of one of two workers, and every pair of troubles, as the tests do it."""
    began = time.monotonic()
    here = Path(__file__).parent
    files = ("batch/test_batch_crash.py", "workers/test_workers_crash.py", "promises/test_pairs.py")
    chosen = [sys.executable, "-m", "pytest", "-q", *(str(here / name) for name in files), "-k", "random or pairs"]
    environment = {**os.environ, "SMILE_RANDOM_KILLS": str(kills)}
    ended = subprocess.run(chosen, env=environment, check=False).returncode
    return say(
        not ended,
        f"{kills} random kills of a run, {kills} of one of two workers, all pairs of troubles",
        began,
        {"exit code": ended},
    )


def killed(rows: int, what: str, plan: Plan) -> bool:
    """A batch of *rows* through *plan*: every row one final outcome and one provider job."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="smile-soak-") as name:
        folder = Path(name)
        manifest = manifest_of(folder, Pictures.made_in(folder), rows)
        statuses, created = asyncio.run(perform(plan(manifest, folder), folder))
        with (folder / "out.jsonl").open("rb") as lines:
            decisions = Counter(orjson.loads(line)["decision"] for line in lines)
        found = {"statuses": statuses, "outcomes": dict(decisions), "provider jobs": created.total()}
        try:
            check(folder, created, rows)
        except AssertionError:
            return say(False, what, began, found)
    return say(True, what, began, found)


def say(held: bool, what: str, began: float, found: dict[str, Any]) -> bool:
    """One line of the report."""
    print(f"{'ok  ' if held else 'FAIL'} {what}: {found}, {time.monotonic() - began:.0f} s", flush=True)
    return held


def main() -> int:
    """Run everything; 0 if every promise held."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=20_261_124)
    asked = options.parse_args()
    luck = random.Random(asked.seed)
    # A kill in the first third of the time that all rows take, at some 100 a second.
    moments = [luck.uniform(0.02, 0.3) * asked.rows / 100 for _ in range(6)]
    good = random_kills(asked.kills) if asked.kills else True

    def alone(manifest: Path, folder: Path) -> list[dict[str, Any]]:
        arguments = ["batch", "run", str(manifest), "--out", str(folder / "out.jsonl")]
        return [*({"arguments": arguments, "after": moment} for moment in moments[:3]), {"arguments": arguments}]

    good &= killed(asked.rows, f"{asked.rows} rows, killed three times", alone)
    with a_server() as server:
        url = fresh(server)

        def together(manifest: Path, folder: Path) -> list[dict[str, Any]]:
            ends = [worker(url, after=moment) for moment in moments[3:]]
            run = batch_run(manifest, folder, url, "--chunk", "100")
            return [{**run, "arguments": [*run["arguments"], "--enqueue"]}, worker(url, beside=True), *ends, run]

        good &= killed(asked.rows, f"{asked.rows} rows on two workers, one of them killed three times", together)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
