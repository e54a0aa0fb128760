"""Run the benchmarks: `python benchmarks/run.py [SCENARIO …] [--rounds N] [--jobs N] [--quick]`.

Prints a table for each scenario and one of the figures we set ourselves as goals, met or missed, and writes everything
that was measured to benchmarks/results/ as JSON.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from lab import DISTURBED, IDLE_ENOUGH, RESULTS, Facts, middle, pictures, spread
from scenarios import SCENARIOS, Figure, Plan, Report

#: Column heading, key, format; a column nobody measured is left out.
COLUMNS = [
    ("CPU ms/job", "cpu_ms_per_job", "{:.2f}"),
    ("jobs/s", "jobs_per_s", "{:.1f}"),
    ("peak MB", "peak_rss_mb", "{:.0f}"),
    ("pending", "pending", "{:,.0f}"),
    ("polls/job", "polls_per_job", "{:.2f}"),
    ("late p50 s", "late_p50", "{:.3f}"),
    ("late p95 s", "late_p95", "{:.3f}"),
    ("late p99 s", "late_p99", "{:.3f}"),
    ("late mean s", "late_mean", "{:.3f}"),
    ("polls + 4 x late", "price_paid", "{:.2f}"),
    ("wall s", "wall", "{:.1f}"),
    ("client busy", "busy", "{:.0%}"),
    ("server idle", "server_idle", "{:.0%}"),
    ("others on core", "disturbed", "{:.0%}"),
]


def table(heads: list[str], lines: list[list[str]]) -> str:
    widths = [max(len(line[n]) for line in [heads, *lines]) for n in range(len(heads))]

    def drawn(line: list[str]) -> str:
        cells = [
            cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        return "| " + " | ".join(cells) + " |"

    rule = "|-" + "-|-".join("-" * width for width in widths) + "-|"
    return "\n".join([drawn(heads), rule, *map(drawn, lines)])


def measured(report: Report) -> str:
    shown = [c for c in COLUMNS if any(middle(rows, c[1]) is not None for rows in report.rows.values())]
    lines = []
    for name, rows in report.rows.items():
        cells = [name + flags(rows)]
        for _, key, form in shown:
            value, between = middle(rows, key), spread(rows, key)
            text = "-" if value is None else form.format(value)
            if key == "cpu_ms_per_job" and between is not None and len(rows) > 1:
                text += f" ({form.format(between[0])} to {form.format(between[1])})"
            cells.append(text)
        lines.append(cells)
    return table(["contender", *(head for head, _, _ in shown)], lines)


def flags(rows: list[Facts]) -> str:
    idle = middle(rows, "server_idle")
    others = middle(rows, "disturbed")
    text = " [server busy]" if idle is not None and idle < IDLE_ENOUGH else ""
    return text + (" [disturbed]" if others is not None and others > DISTURBED else "")


def judged(figures: list[Figure]) -> str:
    words = {True: "met", False: "MISSED", None: ""}
    lines = [[f.what, f"{f.value:.3g} {f.unit}".strip(), f.goal, words[f.ok]] for f in figures]
    return table(["figure", "measured", "goal", ""], lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; all by default")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (5; 1 with --quick)")
    parser.add_argument("--jobs", type=int, help="jobs a contender does in a round (1500; 200 with --quick)")
    parser.add_argument("--quick", action="store_true", help="small numbers: to see that everything runs")
    args = parser.parse_args()
    unknown = [name for name in args.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}")
    rounds, jobs = args.rounds or (1 if args.quick else 5), args.jobs or (200 if args.quick else 1500)
    if os.cpu_count() == 1:
        print("only one core: client and server share it, and no figure means much")
    figures: list[Figure] = []
    with pictures() as images:
        plan = Plan(rounds, jobs, args.quick, images, lambda line: print(f"  {line}", file=sys.stderr, flush=True))
        for name in args.scenarios or SCENARIOS:
            print(f"\n## {name}: {(SCENARIOS[name].__doc__ or '').strip()}", flush=True)
            began = os.getloadavg()[0]
            report = SCENARIOS[name](plan)
            print(f"\n{measured(report)}\n", flush=True)
            figures += report.figures
            keep(name, report, {"rounds": rounds, "jobs": jobs, "quick": args.quick, "load_before": began})
    print(f"\n## figures\n\n{judged(figures)}")
    return 0


def commit() -> str:
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def keep(name: str, report: Report, about: Facts) -> None:
    RESULTS.mkdir(exist_ok=True)
    about |= {"python": platform.python_version(), "cores": os.cpu_count(), "at": time.strftime("%Y-%m-%dT%H:%M:%S")}
    about["commit"] = commit()
    whole = {"scenario": name, **about, "figures": [asdict(figure) for figure in report.figures], "rows": report.rows}
    path = RESULTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
