"""smile_async as a contender, on any engine: each scenario is a function, run in a process of its own.

Only public names are used, as a user would: what is measured is what anybody gets.
"""

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Iterator
from functools import partial
from typing import Any

from meter import Window, memory_mb, spec, tell

from smile_async import Finished, Job, Limits, Pace, SmileSession

#: Seconds: longer than any scenario, so that nobody runs out of patience.
PATIENCE = 3600.0


def session(told: dict[str, Any], limits: Limits, pace: Pace) -> SmileSession:
    return SmileSession(
        told["partner_id"],
        told["api_key"],
        base_url=told["base_url"],
        ca_file=told["ca_file"],
        http=told["engine"],
        limits=limits,
        pace=pace,
    )


def jobs(told: dict[str, Any], count: int) -> Iterator[Job]:
    selfie, *liveness = told["images"]
    return (Job.authenticate(f"user-{n}", selfie, liveness=liveness) for n in range(count))


def verdict_of(outcome: Any) -> Any:
    if not isinstance(outcome, Finished) or not outcome.verdict.approved:
        raise RuntimeError(f"a job went wrong: {outcome}")
    return outcome.verdict.raw


async def throughput(told: dict[str, Any]) -> dict[str, Any]:
    """A warm-up, then so many jobs, from the first submitted to the last verdict."""
    window = Window(told["server_pid"])
    async with session(told, Limits(), told["pace"]) as open_session:
        for count in (told["warm"], told["jobs"]):
            window.open()
            async with open_session.stream(jobs(told, count), patience=PATIENCE) as outcomes:
                async for outcome in outcomes:
                    window.verdict(verdict_of(outcome))
        return window.close() | {"api": open_session.stats.api_http_version}


async def pending(told: dict[str, Any]) -> dict[str, Any]:
    """Steady state: as many jobs pending as may be, one starts when one ends; measured once the first have ended."""
    window = Window(told["server_pid"])
    level = told["pending"]
    seen = 0
    held: list[int] = []
    async with (
        session(told, Limits(pending=level), told["pace"]) as open_session,
        open_session.stream(jobs(told, told["jobs"] + 3 * level), patience=PATIENCE) as outcomes,
    ):
        async for outcome in outcomes:
            raw = verdict_of(outcome)
            seen += 1
            if seen == told["warm"]:
                polls = open_session.stats.polls
                window.open()
                continue
            if seen > told["warm"]:
                window.verdict(raw)
                if window.done % 50 == 0:
                    held.append(open_session.stats.pending)
                if window.done == told["jobs"]:
                    sent = open_session.stats.polls - polls
                    break
        figures = window.close()
        return figures | {"pending": sum(held) / len(held), "polls_per_job": sent / figures["jobs"]}


async def memory(told: dict[str, Any]) -> dict[str, Any]:
    """Many jobs with a fixed number pending, read to the end; the figure is the peak."""
    window = Window(told["server_pid"])
    most = 0
    before = memory_mb("VmRSS")
    async with session(told, Limits(pending=told["pending"]), told["pace"]) as open_session:
        window.open()
        async with open_session.stream(jobs(told, told["jobs"]), patience=PATIENCE) as outcomes:
            async for outcome in outcomes:
                window.verdict(verdict_of(outcome))
                most = max(most, open_session.stats.pending)
        return window.close() | {"pending": most, "rss_before_mb": before}


async def slope(told: dict[str, Any]) -> dict[str, Any]:
    """Bytes a pending job takes: what grows between a few and many of them while none is decided."""
    marks = sorted(told["marks"])
    if told["trace"]:
        tracemalloc.start()
    sizes: list[float] = []
    async with session(told, Limits(), Pace.fixed(PATIENCE, 1, PATIENCE)) as open_session:
        # Paths are made anew for each job, as they would be in a program that walks through directories.
        paths = told["images"]
        fresh = (
            Job.authenticate(f"user-{n}", _anew(paths[0]), liveness=[_anew(path) for path in paths[1:]])
            for n in range(marks[-1])
        )
        async with open_session.stream(fresh, patience=PATIENCE):
            for mark in marks:
                while open_session.stats.pending < mark:  # noqa: ASYNC110 - the session tells, it does not call
                    await asyncio.sleep(0.005)
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0] if told["trace"] else memory_mb("VmRSS") * 2**20)
    (few, many), (small, large) = (marks[0], marks[-1]), (sizes[0], sizes[-1])
    return {"bytes_per_pending": (large - small) / (many - few), "peak_rss_mb": memory_mb("VmHWM")}


def _anew(path: str) -> str:
    return "".join([path[:1], path[1:]])


async def brief(told: dict[str, Any]) -> dict[str, Any]:
    """A burst, and out: what matters is the process's exit code."""
    return await throughput(told | {"warm": 0})


SCENARIOS = {each.__name__: each for each in (throughput, pending, memory, slope, brief)}


def main() -> None:
    told = spec()
    told["pace"] = Pace.fixed(*told["pace"]) if told.get("pace") else Pace()
    if told.get("profile"):
        import cProfile  # noqa: PLC0415 - only for those who asked

        profiler = cProfile.Profile()
        profiler.runcall(partial(asyncio.run, SCENARIOS[told["scenario"]](told)))
        profiler.dump_stats(told["profile"])
        return
    tell(asyncio.run(SCENARIOS[told["scenario"]](told)))


if __name__ == "__main__":
    sys.exit(main())
