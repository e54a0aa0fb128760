"""Batches killed again and again at full size: part of `make soak`, not of `make test`.

Prints a line each for 100 random kills on one machine and of one of two workers with every pair of troubles, for a
large batch that is killed three times and resumed, and for the same on two workers over PostgreSQL, and for both once
more with rows of every product; exits 1 if a row was lost, a job doubled, or an id number left in a ledger. `--rows`,
`--mixed`, `--kills` and `--seed` change what is done.
"""

import argparse
import asyncio
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from crash_support import SHORT, batch_run, check, check_mixed, manifest_of, mixed_manifest_of, perform, worker
from postgres import a_server
from street import Pictures
from workers_support import fresh, run_sql

from smile_async.ledger import Ledger

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


def mixed(rows: int, what: str, plan: Plan, left: Callable[[Path], bool]) -> bool:
    """The same of every product: one outcome and at most one provider job a row, and none of their id fields *left*."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="smile-soak-") as name:
        folder = Path(name)
        manifest = mixed_manifest_of(folder, Pictures.made_in(folder), rows)
        steps = [{**step, "defaults": SHORT} for step in plan(manifest, folder)]
        statuses, created = asyncio.run(perform(steps, folder))
        found: dict[str, Any] = {"statuses": statuses, "provider jobs": created.total()}
        try:
            found["nobody can tell of"] = check_mixed(folder, created, rows)
        except AssertionError:
            return say(False, what, began, found)
        return say(not left(folder), what, began, found)


def left_in_file(folder: Path) -> bool:
    """Whether a number or a name of somebody is still in the ledger's files."""
    left = b"".join(path.read_bytes() for path in folder.glob("mixed.jsonl.ledger*"))
    numbers = re.findall(rb'"id.number": "(\d+)"', (folder / "mixed.jsonl").read_bytes())
    return not left or b"Canarina" in left or any(number in left for number in numbers if len(number) > len("1234567"))


async def left_on_server(url: str) -> bool:
    """Whether id fields are still in the ledger's rows."""
    async with Ledger(url) as ledger:
        return bool(await run_sql(ledger, "SELECT * FROM smile_id_info"))


def say(held: bool, what: str, began: float, found: dict[str, Any]) -> bool:
    """One line of the report."""
    print(f"{'ok  ' if held else 'FAIL'} {what}: {found}, {time.monotonic() - began:.0f} s", flush=True)
    return held


def main() -> int:
    """Run everything; 0 if every promise held."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--mixed", type=int, default=3_000)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=20_261_124)
    asked = options.parse_args()
    luck = random.Random(asked.seed)
    good = random_kills(asked.kills) if asked.kills else True
    for rows, every_product in ((asked.rows, False), (asked.mixed, True)):
        if rows:
            good &= at_full_size(rows, luck, every_product=every_product)
    return 0 if good else 1


def at_full_size(rows: int, luck: random.Random, *, every_product: bool) -> bool:
    """A batch of *rows* on one machine, and one on two workers, each killed three times."""
    what = f"{rows} rows of every product" if every_product else f"{rows} rows"
    one, two = f"{what}, killed three times", f"{what} on two workers, one of them killed three times"
    plan = alone(moments_of(luck, rows))
    good = mixed(rows, one, plan, left_in_file) if every_product else killed(rows, one, plan)
    with a_server() as server:
        url = fresh(server)
        plan = together(url, moments_of(luck, rows))
        if every_product:
            return mixed(rows, two, plan, lambda _: asyncio.run(left_on_server(url))) and good
        return killed(rows, two, plan) and good


def moments_of(luck: random.Random, rows: int) -> list[float]:
    """Three kills in the first third of the time that all rows take, at some 100 a second."""
    return [luck.uniform(0.02, 0.3) * rows / 100 for _ in range(3)]


def alone(moments: list[float]) -> Plan:
    """A run on one machine, killed at each of *moments*."""

    def plan(manifest: Path, folder: Path) -> list[dict[str, Any]]:
        arguments = ["batch", "run", str(manifest), "--out", str(folder / "out.jsonl")]
        return [*({"arguments": arguments, "after": moment} for moment in moments), {"arguments": arguments}]

    return plan


def together(url: str, moments: list[float]) -> Plan:
    """Two workers, of which one is killed at each of *moments*."""

    def plan(manifest: Path, folder: Path) -> list[dict[str, Any]]:
        ends = [worker(url, after=moment) for moment in moments]
        run = batch_run(manifest, folder, url, "--chunk", "100")
        return [{**run, "arguments": [*run["arguments"], "--enqueue"]}, worker(url, beside=True), *ends, run]

    return plan


if __name__ == "__main__":
    sys.exit(main())
