"""The whole table of real gateways and engines: part of `make soak`, not of `make test`.

Prints a line for each: jobs approved, seconds, requests and retries, and the same without the gateway; exits 1 if a job
was not approved or is not one provider job, a request waited for its deadline, or it took more than twice the time or
1.2 times the requests. `--jobs`, `--http` and `--row` (a part of a name) change what is done.
"""

import argparse
import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from gateway_runs import ROWS, STRAIGHT, Report, Row, run
from street import ENGINES

from smile_async import Limits

#: Seconds; a request that nobody answers takes 30.
NO_WAIT = 25.0


def through(row: Row, jobs: int, http: str) -> Report:
    """So many jobs on one engine."""
    with tempfile.TemporaryDirectory(prefix="smile-gateway-") as folder:
        return asyncio.run(run(row, Path(folder), jobs, http))


def flaws(report: Report, undisturbed: Report, jobs: int, row: Row) -> list[str]:
    """What of the promise was not kept."""
    held = jobs * row.holds / Limits().uploads
    found = {
        "not approved": report.approved < jobs,
        "not one provider job each": report.doubled > 0,
        "a request waited for its deadline": report.slowest > NO_WAIT,
        "more than twice the time": report.seconds > 2 * (undisturbed.seconds + held),
        "more than 1.2 times the requests": report.requests > 1.2 * undisturbed.requests,
    }
    return [what for what, so in found.items() if so]


def main() -> int:
    """Run what was asked for, print the table; 0 if every promise held."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jobs", type=int, default=2000)
    options.add_argument("--http", nargs="*", default=list(ENGINES))
    options.add_argument("--row", default="")
    asked = options.parse_args()
    good = True
    for http in asked.http:
        undisturbed: dict[tuple[float, float], Report] = {}
        for row in ROWS:
            if asked.row not in row.name:
                continue
            pace = row.latency, row.gap
            if pace not in undisturbed:
                undisturbed[pace] = through(replace(STRAIGHT, latency=row.latency, gap=row.gap), asked.jobs, http)
                print(f"     {http}, {STRAIGHT.name}: {undisturbed[pace]}", flush=True)
            report = through(row, asked.jobs, http)
            wrong = flaws(report, undisturbed[pace], asked.jobs, row)
            good &= not wrong
            print(f"{'FAIL' if wrong else 'ok  '} {http}, {row.name}: {report}; {', '.join(wrong)}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
