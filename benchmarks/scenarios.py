"""What is measured: each scenario runs its contenders in interleaved rounds and derives its figures from them.

Ratios are taken within a round and then the median over rounds: a machine that slows down between rounds slows both
sides of a ratio.
"""

import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from lab import (
    ENGINES,
    HANDWRITTEN,
    SDK_PYTHON,
    SDK_V3_PYTHON,
    Contender,
    Facts,
    Failure,
    floor,
    middle,
    once,
    ours,
    run,
    sdk,
    sdk_v3,
    server,
)


@dataclass
class Plan:
    """How long to measure; `say` reports progress."""

    rounds: int
    jobs: int
    quick: bool
    images: list[str]
    say: Callable[[str], None] = lambda _line: None


@dataclass
class Figure:
    """One figure of the goals: what was measured against what should be; `ok` None if there was no goal."""

    what: str
    value: float
    goal: str = ""
    ok: bool | None = None
    unit: str = ""


@dataclass
class Report:
    """Rows by contender, one for each round, and the figures they come to."""

    rows: dict[str, list[Facts]] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)

    def add(self, name: str, row: Facts) -> None:
        self.rows.setdefault(name, []).append(row)

    def ratio(self, above: str, below: str, key: str = "cpu_ms_per_job") -> float | None:
        pairs = zip(self.rows.get(above, []), self.rows.get(below, []), strict=False)
        found = [a[key] / b[key] for a, b in pairs]
        return median(found) if found else None

    def at_most(self, what: str, value: float | None, goal: float, label: str = "", unit: str = "") -> None:
        if value is not None:
            self.figures.append(Figure(what, value, label or f"≤ {goal:g}", value <= goal, unit))

    def told(self, what: str, value: float | None, unit: str = "") -> None:
        if value is not None:
            self.figures.append(Figure(what, value, unit=unit))


#: Both polls of a throughput job come this many seconds apart: short, so that little waits at the end of a run.
QUICK_PACE = (0.1, 1, 0.1)
#: Every job of a comparison is decided at this poll, so that all contenders send the same number of requests.
POLLS = 2


def throughput(plan: Plan) -> Report:
    """CPU per job and jobs a second, all contenders, verdict at the second poll."""
    report = Report()
    fast = [ours(engine, pace=QUICK_PACE) for engine in ENGINES]
    fast += [floor(engine, kind) for engine in ENGINES for kind in ("prebuilt", "bare", "plain")]
    slow = [HANDWRITTEN, sdk(32), sdk(200)]
    # The SDK sleeps four seconds a job: as many jobs as its threads carry in a few waves tell as much.
    counts = {"smile-id-core, 32 threads": 64 if plan.quick else 128, "smile-id-core, 200 threads": 400}
    if not SDK_PYTHON.exists():
        plan.say("no .venv-sdk: smile-id-core is left out (make bench sets it up)")
    for number in range(plan.rounds):
        for contender in [*fast, *slow]:
            if not contender.present or (plan.quick and contender.name.endswith("200 threads")):
                continue
            jobs = counts.get(contender.name, plan.jobs)
            told = {"scenario": "throughput", "jobs": jobs, "warm": min(40, jobs), "polls": POLLS}
            row = once(contender, ["--polls", str(POLLS)], plan.images, **told)
            report.add(contender.name, row)
            plan.say(f"round {number + 1}: {contender.name}: {row['cpu_ms_per_job']:.2f} ms")
    _ratios(report)
    return report


def _ratios(report: Report) -> None:
    threads = "smile-id-core, 32 threads"
    for engine, share in (("httpx", 6), ("pyreqwest", 15), ("httpx2", 0)):
        value = report.ratio(f"smile_async on {engine}", threads)
        if value is None:
            continue
        what = f"CPU per job, {engine} ÷ smile-id-core (32 threads)"
        if share:
            report.at_most(what, value, 1 / share, f"≤ 1/{share} = {1 / share:.3f}")
        else:
            report.told(what, value)
    for engine, goal in (("httpx", 1.25), ("httpx2", 1.25), ("pyreqwest", 1.5)):
        name = f"smile_async on {engine}"
        report.at_most(f"CPU per job ÷ plain loop, {engine}", report.ratio(name, f"plain loop on {engine}"), goal)
        report.told(f"CPU per job ÷ bare loop, {engine}", report.ratio(name, f"bare loop on {engine}"))
        report.told(f"CPU per job ÷ prebuilt bytes, {engine}", report.ratio(name, f"prebuilt loop on {engine}"))
    report.told("CPU per job, httpx ÷ hand-written", report.ratio("smile_async on httpx", HANDWRITTEN.name))


#: Whom a lookup is about.
PERSON = {"country": "NG", "id_type": "NIN_V2", "id_number": "00000000000", "first_name": "Ada", "last_name": "Obi"}


def enhanced_kyc(plan: Plan) -> Report:
    """CPU per lookup, one request each: the fewer bytes a job has, the more of its cost is ours."""
    report = Report()
    threads = sdk(32)
    contenders = [made for engine in ENGINES for made in (ours(engine), floor(engine, "bare"))]
    for number in range(plan.rounds):
        for contender in [*contenders, threads]:
            if not contender.present:
                continue
            told = {"scenario": "throughput", "jobs": 4 * plan.jobs, "warm": 200, "lookups": PERSON}
            row = once(contender, [], plan.images, **told)
            report.add(contender.name, row)
            plan.say(f"round {number + 1}: {contender.name}: {row['cpu_ms_per_job']:.3f} ms")
    for engine in ENGINES:
        name = f"smile_async on {engine}"
        what = f"CPU per lookup ÷ bare loop, {engine}"
        report.at_most(what, report.ratio(name, f"bare loop on {engine}"), 1.25)
        what = f"CPU per lookup, {engine} ÷ smile-id-core (32 threads)"
        report.told(what, report.ratio(name, threads.name))
    return report


def v3(plan: Plan) -> Report:
    """The same jobs by V3, one multipart POST and two polls each, beside v1 and the official SDK of V3."""
    report = Report()
    threads = sdk_v3(32, pace=QUICK_PACE)
    if not threads.present:
        plan.say(f"no {SDK_V3_PYTHON.parts[-3]}: usesmileid is left out (make bench sets it up)")
    contenders = [("", ours(engine, pace=QUICK_PACE)) for engine in ENGINES]
    contenders += [(", V3", ours(engine, pace=QUICK_PACE, api="v3")) for engine in ENGINES]
    for number in range(plan.rounds):
        for mark, contender in [*contenders, ("", threads)]:
            if not contender.present:
                continue
            told = {"scenario": "throughput", "jobs": plan.jobs, "warm": 40, "polls": POLLS}
            row = once(contender, ["--polls", str(POLLS)], plan.images, **told)
            report.add(contender.name + mark, row)
            plan.say(f"round {number + 1}: {contender.name}{mark}: {row['cpu_ms_per_job']:.2f} ms")
    for engine in ENGINES:
        name = f"smile_async on {engine}"
        report.at_most(f"CPU per job, V3 ÷ v1, {engine}", report.ratio(f"{name}, V3", name), 1.0)
        report.told(f"jobs/s, V3 ÷ v1, {engine}", report.ratio(f"{name}, V3", name, "jobs_per_s"))
        what = f"CPU per job, V3, {engine} ÷ usesmileid (32 threads)"
        report.at_most(what, report.ratio(f"{name}, V3", threads.name), 1 / 8, "≤ 1/8 = 0.125")
        what = f"jobs/s, V3, {engine} ÷ usesmileid (32 threads)"
        report.told(what, report.ratio(f"{name}, V3", threads.name, "jobs_per_s"))
    return report


def ledger(plan: Plan) -> Report:
    """What it costs to have each job on record in a SQLite file before it is sent."""
    report = Report()
    for number in range(plan.rounds):
        for engine in ("httpx", "pyreqwest"):
            for kept in (False, True):
                contender = ours(engine, pace=QUICK_PACE, on_record=kept)
                name = f"{contender.name}{', with a ledger' if kept else ''}"
                told = {"scenario": "throughput", "jobs": plan.jobs, "warm": 40}
                row = once(contender, ["--polls", str(POLLS)], plan.images, **told)
                report.add(name, row)
                plan.say(f"round {number + 1}: {name}: {row['cpu_ms_per_job']:.2f} ms")
    for engine, goal in (("httpx", 1.15), ("pyreqwest", None)):
        name = f"smile_async on {engine}"
        value = report.ratio(f"{name}, with a ledger", name)
        if goal:
            report.at_most(f"CPU per job with a ledger ÷ without, {engine}", value, goal)
        else:
            report.told(f"CPU per job with a ledger ÷ without, {engine}", value)
    return report


def _rate(plan: Plan, engine: str) -> float:
    row = once(
        ours(engine, pace=QUICK_PACE),
        ["--polls", str(POLLS)],
        plan.images,
        scenario="throughput",
        jobs=200,
        warm=40,
    )
    return float(row["jobs_per_s"])


def _pace(level: int, rate: float) -> tuple[float, int, float]:
    """Seconds between polls with which *level* jobs are pending at *rate*, a little short: the client stays busy."""
    gap = 0.8 * level / rate / POLLS
    return gap, 1, gap


def pending(plan: Plan) -> Report:
    """Jobs a second with many pending ÷ with few, at a fixed pace, polls per job equal."""
    report = Report()
    many = 2_000 if plan.quick else 10_000
    engines = ("httpx", "pyreqwest")
    rates = {engine: _rate(plan, engine) for engine in engines}
    for number in range(plan.rounds):
        for engine in engines:
            for level in (200, many):
                told = {"pending": level, "warm": max(level, 400), "jobs": max(level, 2000), "polls": POLLS}
                contender = ours(engine, pace=_pace(level, rates[engine]))
                row = once(contender, ["--polls", str(POLLS)], plan.images, scenario="pending", **told)
                name = f"{contender.name}, {level:,} pending"
                report.add(name, row)
                plan.say(f"round {number + 1}: {name}: {row['jobs_per_s']:.0f} jobs/s, {row['pending']:.0f} pending")
    for engine in engines:
        few, lots = (f"smile_async on {engine}, {level:,} pending" for level in (200, many))
        value = report.ratio(lots, few, "jobs_per_s")
        asked = report.ratio(lots, few, "polls_per_job")
        if value is not None and asked is not None:
            what = f"jobs/s with {many:,} pending ÷ with 200, {engine}"
            # With fewer polls for each job the flatter curve would be no merit.
            report.figures.append(Figure(what, value, "≥ 0.9", value >= 0.9 and abs(asked - 1) < 0.05))
        report.told(f"polls per job with {many:,} pending ÷ with 200, {engine}", asked)
        report.told(f"CPU per job with {many:,} pending ÷ with 200, {engine}", report.ratio(lots, few))
    return report


def memory(plan: Plan) -> Report:
    """Peak memory of a long stream with many pending, and what one pending job takes."""
    report = Report()
    level, total = (1_000, 2_000) if plan.quick else (10_000, 20_000)
    for engine in ("httpx", "pyreqwest"):
        contender = ours(engine, pace=_pace(level, _rate(plan, engine)))
        told = {"scenario": "memory", "pending": level, "jobs": total}
        row = once(contender, ["--polls", str(POLLS)], plan.images, **told)
        report.add(contender.name, row)
        plan.say(f"{contender.name}: {row['peak_rss_mb']:.0f} MB, {row['pending']:,} pending at most")
        what = f"peak RSS, {total:,} jobs, {row['pending']:,} pending, {engine}"
        report.at_most(what, row["peak_rss_mb"], 150, unit="MB")
    marks = [200, 2_000] if plan.quick else [1_000, 20_000]
    for how, trace in (("RSS", False), ("tracemalloc", True)):
        told = {"scenario": "slope", "marks": marks, "trace": trace}
        row = once(ours("pyreqwest"), ["--decide", "never"], plan.images, **told)
        report.add(f"slope by {how}", row)
        kilobytes = row["bytes_per_pending"] / 1000
        if kilobytes <= 0:
            raise Failure(f"{kilobytes:.2f} kB per pending job can not be: something else shrank meanwhile")
        report.at_most(f"memory per pending job by {how}", kilobytes, 3, unit="kB")
    return report


def ten_seconds(plan: Plan) -> Report:
    """Wall time of many jobs that each take ten seconds to decide, adaptive pace, against what the CPU allows."""
    report = Report()
    jobs = 1_000 if plan.quick else 5_000
    contender = ours("httpx")
    for _ in range(1 if plan.quick else min(plan.rounds, 3)):
        row = once(contender, ["--decide", "10"], plan.images, scenario="throughput", jobs=jobs)
        row["bound"] = 10 + 1.3 * row["cpu"]
        report.add(contender.name, row)
        plan.say(f"{row['wall']:.1f} s, allowed {row['bound']:.1f} s")
    share = median(row["wall"] / row["bound"] for row in report.rows[contender.name])
    report.at_most(f"wall ÷ (10 s + 1.3 x CPU) of {jobs:,} jobs of 10 s", share, 1.0)
    return report


def lateness(plan: Plan) -> Report:
    """As shipped: durations log-normal (median 6 s, p95 40 s, cut at 60), everybody polls at the pace of his own."""
    report = Report()
    script = ["--decide", "lognormal:6:40:60:1"]
    jobs = 200 if plan.quick else 1_000
    official = Contender("smile_async, Pace.fixed()", "ours.py", {"engine": "httpx", "pace": (2.0, 3, 4.0)})
    for contender in (ours("httpx"), ours("pyreqwest"), official, HANDWRITTEN, sdk(200)):
        if contender.present:
            row = once(contender, script, plan.images, scenario="throughput", jobs=jobs)
            report.add(contender.name, row)
            plan.say(f"{contender.name}: {row['polls_per_job']:.1f} polls, {row['late_mean']:.2f} s late")
            report.told(f"polls + lateness/2, {contender.name}", row["polls_per_job"] + row["late_mean"] / 2)
    return report


#: People who begin to wait in a second: some 200 wait at a time, well within `Limits.eager_polls`.
PEOPLE_PER_SECOND = 15


def waiting(plan: Plan) -> Report:
    """People: 15 a second, durations log-normal (median 6 s, p95 40 s, cut at 60), as shipped, pace learned before."""
    report = Report()
    script = ["--decide", "lognormal:6:40:60:1"]
    jobs, learned = (60, 60) if plan.quick else (plan.jobs // 2, 1000)
    told = {"jobs": jobs, "warm": 30, "per_second": PEOPLE_PER_SECOND, "callbacks": False}
    others = [each for each in (HANDWRITTEN, sdk(400)) if each.present]
    called = Contender("smile_async, with callbacks", "ours.py", {"engine": "httpx", "callbacks": True})
    # Who learns nothing needs no more than a warm-up.
    learner = ours("httpx", warm=learned)
    for _ in range(1 if plan.quick else min(plan.rounds, 2)):
        for contender in (learner, *others, called):
            row = once(contender, script, plan.images, tries=1, scenario="people", **told)
            row["price_paid"] = row["polls_per_job"] + 4 * row["late_mean"]
            report.add(contender.name, row)
            plan.say(f"{contender.name}: {row['polls_per_job']:.1f} polls, {row['late_mean']:.2f} s late")
    for other in others:
        value = report.ratio(learner.name, other.name, "price_paid")
        report.at_most(f"polls + 4 x lateness ÷ {other.name}", value, 1.0, "< 1")
        value = report.ratio(called.name, other.name, "late_mean")
        report.at_most(f"lateness with callbacks ÷ {other.name}", value, 1.0, "< 1")
    report.at_most("median lateness with callbacks", middle(report.rows[called.name], "late_p50"), 0.05, unit="s")
    return report


def exits(plan: Plan) -> Report:
    """Short processes: each does a few jobs and must end with exit code 0."""
    report = Report()
    times = 5 if plan.quick else 50
    for engine in ENGINES:
        with server(["--polls", str(POLLS)]) as facts:
            told = {"scenario": "brief", "jobs": 20, "exits": True}
            rows = [run(ours(engine, pace=QUICK_PACE), facts, plan.images, **told) for _ in range(times)]
        bad = sum(row["exit_code"] != 0 for row in rows)
        report.rows[f"smile_async on {engine}"] = rows
        report.at_most(f"bad exits of {times} short processes, {engine}", bad, 0)
        plan.say(f"{engine}: {bad} bad exits of {times}")
    return report


def pace(plan: Plan) -> Report:
    """The adaptive pace in virtual time against one who knows the durations; as in tests/timing/test_pacing.py."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from clairvoyant import EVEN, MIX, QUICK, Street, draws, optimum, pay, sample  # noqa: PLC0415 - no package

    from smile_async import Pace  # noqa: PLC0415

    report = Report()
    for name, law in (("5 % reviewed", MIX), ("none reviewed", QUICK), ("all at 8 to 12 s", EVEN)):
        best = optimum(law)
        bills = []
        for seed in range(1 if plan.quick else 5):
            street = Street(Pace().rhythm(), draws(law, random.Random(seed)), 10)
            street.run(lambda s: s.finished >= 500)
            bills.append(pay(street.rhythm, sample(law, 400)))
        cost, polls, late = (math.fsum(bill[n] for bill in bills) / len(bills) for n in range(3))
        official = pay(Pace.fixed().rhythm(), sample(law, 400))[0]
        report.add(name, {"cost": cost, "polls_per_job": polls, "late_mean": late, "optimum": best})
        if law is EVEN:
            report.at_most(f"polls per job, {name}", polls, 2.5)
            report.at_most(f"mean lateness, {name}", late, 1.5, unit="s")
        else:
            report.at_most(f"polls + lateness/2 ÷ optimum ({best:.2f}), {name}", cost / best, 1.15)
        report.told(f"official rhythm ÷ optimum, {name}", official / best)
    return report


SCENARIOS: dict[str, Callable[[Plan], Report]] = {
    each.__name__: each
    for each in (throughput, enhanced_kyc, v3, ledger, pending, memory, ten_seconds, lateness, waiting, exits, pace)
}
