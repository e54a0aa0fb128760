"""Many seeds: `PYTHONPATH=tests python -m simulator --seeds 2000`, or one seed's story: `--seed 17`.

A seed that breaks a promise is printed, with what it has broken; so is one that does not give the same run twice.
"""

import argparse
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterator, Sequence

from postgres import a_server
from simulator.trying import tried
from simulator.v3_world import WORLDS
from simulator.weather import KINDS, V3_KINDS
from simulator.week import week
from simulator.world import Report, run
from workers_support import fresh


def story(seed: int, kinds: Sequence[str] | None, api: str) -> int:
    """All that happens in one run."""
    report = run(seed, kinds, world_of=WORLDS[api])
    print("\n".join(report.events))
    print(f"seed {seed} ({', '.join(report.kinds) or 'no weather'}): {report.broken or 'all is well'}")
    return 1 if report.broken else 0


def reports(seeds: range, kinds: Sequence[str] | None, processes: int, api: str) -> Iterator[Report]:
    """Each seed's, as they come."""
    asked = [(seed, kinds, api) for seed in seeds]
    if processes == 1:
        yield from map(tried, asked)
        return
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=100) as pool:
        yield from pool.imap_unordered(tried, asked)


def many(seeds: range, kinds: Sequence[str] | None, processes: int, api: str, *, first: bool) -> int:
    """All *seeds*, or until the *first* that breaks a promise; how many did."""
    began, jobs, seconds, bad, done = time.monotonic(), 0, 0.0, 0, 0
    for report in reports(seeds, kinds, processes, api):
        done += 1
        jobs, seconds = jobs + report.jobs, seconds + report.seconds
        if report.broken:
            bad += 1
            print(f"FAIL seed {report.seed} ({', '.join(report.kinds)}): {report.broken[0][:500]}", flush=True)
            if first:
                break
    spent = time.monotonic() - began
    print(
        f"{'FAIL' if bad else 'ok  '} {done} seeds of {api} from {seeds.start}, {jobs} jobs,"
        f" {seconds / 3600:.0f} simulated hours: {bad} broke a promise, {spent:.0f} s",
        flush=True,
    )
    return bad


def served(seeds: range) -> int:
    """The same worlds over PostgreSQL, where nothing can be replayed; how many broke a promise."""
    bad = 0
    with a_server() as server:
        for seed in seeds:
            report = run(seed, database=fresh(server))
            if report.broken:
                bad += 1
                print(
                    f"FAIL seed {seed} over PostgreSQL ({', '.join(report.kinds)}): {report.broken[0][:500]}",
                    flush=True,
                )
    print(f"{'FAIL' if bad else 'ok  '} {len(seeds)} seeds over PostgreSQL: {bad} broke a promise", flush=True)
    return bad


def main() -> int:
    """Run what was asked for; 0 if every promise held."""
    options = argparse.ArgumentParser(prog="simulator", description=__doc__)
    options.add_argument("--seed", type=int, help="tell the story of this seed")
    options.add_argument("--seeds", type=int, default=2_000)
    options.add_argument("--api", choices=WORLDS, default="v1")
    options.add_argument("--start", type=int, default=0)
    options.add_argument("--processes", type=int, default=1)
    options.add_argument("--first", action="store_true", help="end with the first seed that breaks a promise")
    options.add_argument("--kinds", nargs="*", choices={*KINDS, *V3_KINDS}, metavar="KIND", help="only this weather")
    options.add_argument("--week", type=int, default=0, metavar="JOBS", help="one simulated week of so many jobs")
    options.add_argument("--postgres", type=int, default=0, metavar="SEEDS", help="so many over PostgreSQL")
    asked = options.parse_args()
    # Processes that are dropped without goodbye had begun what they will not await.
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
    if asked.seed is not None:
        return story(asked.seed, asked.kinds, asked.api)
    seeds = range(asked.start, asked.start + asked.seeds)
    bad = many(seeds, asked.kinds, asked.processes, asked.api, first=asked.first)
    if asked.postgres:
        bad += served(range(asked.start, asked.start + asked.postgres))
    if asked.week:
        bad += week(asked.week)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
