"""A minute of mixed faults at full speed, then the full counts of cancels and fuzz: `make soak`, not `make test`.

Prints a report and exits 1 if a job was lost or doubled, memory grew, or anything but a SmileError came out.
`--seconds`, `--seed`, `--cancels`, `--fuzz` (0 skips a part) and `--http` change what is done.
"""

import argparse
import asyncio
import gc
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cancel_storm import assert_at_rest, storm
from fault_proxy import FaultProxy, Trouble
from street import ENGINES, Pictures, session_of

from smile_async import Finished, Job, Limits, Pace, SmileError, SmileSession
from smile_async import session as module
from smile_async.sandbox import RunningSandbox, Sandbox
from smile_async.traffic import poller

#: MB by which resident memory may differ between the second and the last third of the run.
FLAT_MB = 40.0
#: Jobs at once.
WORKERS = 48
#: Of a request, that something goes wrong with one of the next.
TROUBLE = 0.15
#: Seconds after which a silent connection is noticed, instead of thirty: more faults a minute.
SILENCE = 1.5


def resident_mb() -> float:
    """Resident memory of this process."""
    with Path("/proc/self/statm").open() as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _pictures() -> Pictures:
    with tempfile.TemporaryDirectory(prefix="smile-soak-") as folder:
        return Pictures.made_in(Path(folder))


async def trouble(session: SmileSession, sandbox: Sandbox, proxies: list[FaultProxy], rng: random.Random) -> None:
    """Something goes wrong about every few requests, for ever.

    Not every few milliseconds: where nobody sends anything because all is down, a backlog would keep it down.
    """
    legs, seen = ["upload", "put", "job_status"], 0
    while True:
        told = session.stats
        made = told.submitted + told.polls + told.retries
        if made <= seen:
            await asyncio.sleep(0.01)
            continue
        seen += 1
        if rng.random() > TROUBLE:
            continue
        act = rng.randrange(10)
        leg: Any = rng.choice(legs)
        if act < 2:
            sandbox.fault(leg, status=rng.choice([500, 502]), effect=rng.random() < 0.5)
        elif act < 4:
            sandbox.fault(leg, cut=True, effect=rng.random() < 0.5)
        elif act < 5:
            sandbox.fault(leg, delay=rng.random())
        elif act < 6:
            sandbox.fault("put", status=403)
        elif act < 7 and rng.random() < 0.05:
            sandbox.fault(leg, status=rng.choice([429, 503]), headers={"Retry-After": "0"})
        else:
            proxy = rng.choice(proxies)
            occasion: Any = rng.choice(["accept", "request", "reply"])
            deed: Any = rng.choice(["reset", "close", "reset", "silence"] if rng.random() < 0.1 else ["reset", "close"])
            proxy.troubles[:] = [each for each in proxy.troubles if not each.done][-20:]
            proxy.troubles.append(Trouble(occasion, deed, half=rng.random() < 0.5))


def arrived(sandbox: Sandbox, job: Job) -> bool:
    """Whether the provider has this job's zip."""
    record = sandbox.jobs.get(job.job_id)
    return record is not None and record.zip_at is not None


async def life(session: SmileSession, sandbox: Sandbox, job: Job, give_up: float) -> str:
    """One job, called again for as long as its errors say so; how it ended."""
    calls = 0
    error: SmileError | None = None
    while time.monotonic() < give_up:
        calls += 1
        try:
            if (
                error is None
                or error.retryable
                or error.ticket is None
                or (sandbox.jobs.get(job.job_id) is not None and sandbox.jobs[job.job_id].zip_at is None)
            ):
                verdict = await session.verify(job, patience=20)
            else:
                verdict = await session.wait(error.ticket, patience=20)
        except SmileError as told:
            error = told
            if told.ticket is None and sandbox.count(job.job_id):
                return "LIE: no ticket, but the provider has the job"
            await asyncio.sleep(0.05)
        else:
            return "first call" if calls == 1 else "called again" if verdict.approved else "WRONG VERDICT"
    return f"LOST ({type(error).__name__})"


async def mixed_faults(http: str, seconds: float, seed: int) -> dict[str, Any]:
    """So many seconds of jobs through proxies that break connections, to a sandbox that breaks replies."""
    with pytest.MonkeyPatch.context() as patched:
        for where, name in ((module, "API_SECONDS"), (module, "UPLOAD_SECONDS"), (poller, "API_SECONDS")):
            patched.setattr(where, name, SILENCE)
        return await _served(http, seconds, random.Random(seed), _pictures())


async def _served(http: str, seconds: float, rng: random.Random, pictures: Pictures) -> dict[str, Any]:
    async with Sandbox.serve(latency=0.05) as running:
        sandbox = running.sandbox
        sandbox.enroll("ada")
        api = FaultProxy(urlsplit(running.base_url).port or 0)
        storage = FaultProxy(urlsplit(running.storage_url).port or 0)
        async with api, storage:
            sandbox.storage_url = f"https://127.0.0.1:{storage.port}"
            where = {"base_url": f"https://127.0.0.1:{api.port}/v1", "http": http}
            async with session_of(running, pace=Pace.fixed(0.05, 1, 0.1), **where) as session:
                return await _run(session, running, [api, storage], pictures, rng, seconds)


async def _run(
    session: SmileSession,
    running: RunningSandbox,
    proxies: list[FaultProxy],
    pictures: Pictures,
    rng: random.Random,
    seconds: float,
) -> dict[str, Any]:
    sandbox = running.sandbox
    ends: Counter[str] = Counter()
    ids: list[str] = []
    memory: list[float] = []
    started = time.monotonic()
    stop = started + seconds

    async def work() -> None:
        while time.monotonic() < stop:
            job = pictures.job()
            ids.append(job.job_id)
            ends[await life(session, sandbox, job, stop + 60)] += 1

    async def watch() -> None:
        while True:
            await asyncio.sleep(seconds / 30)
            memory.append(resident_mb())

    helpers = [asyncio.create_task(trouble(session, sandbox, proxies, rng)), asyncio.create_task(watch())]
    workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
    await asyncio.sleep(max(0.0, stop - time.monotonic()))
    for helper in helpers:
        helper.cancel()
    sandbox.mend()
    for proxy in proxies:
        proxy.troubles.clear()
        proxy.hang_up()
    await asyncio.gather(*workers)
    assert_at_rest(session)
    third = len(memory) // 3
    doubled = sum(sandbox.count(job_id) > 1 or sandbox.jobs[job_id].processed > 1 for job_id in ids)
    return {
        "jobs": len(ids),
        "jobs/s": round(len(ids) / (time.monotonic() - started), 1),
        "ends": dict(ends),
        "doubled": doubled,
        "lost": sum(count for end, count in ends.items() if end not in ("first call", "called again")),
        "retries": session.stats.retries,
        "connections retired": session._api.retired,
        # The sandbox keeps every job in this same process: its books are the growth that is allowed.
        "MB, each third": [round(max(memory[at : at + third] or [0.0]), 1) for at in (0, third, 2 * third)],
        "grew MB": round(max(memory[2 * third :]) - max(memory[third : 2 * third]), 1) if third else 0.0,
    }


async def cancels(http: str, count: int, seed: int) -> dict[str, Any]:
    """So many cancels in flight, then 1,000 requests."""
    async with Sandbox.serve() as running:
        running.sandbox.enroll("ada")
        pictures = _pictures()
        async with session_of(running, http=http, pace=Pace.fixed(0.02, 1, 0.02), limits=Limits()) as session:
            cut = await storm(session, running.sandbox, pictures, count, random.Random(seed))
            known = await session.submit(pictures.job())
            replies = await asyncio.gather(*(session.status(known) for _ in range(1000)))
            async with session.stream([pictures.job() for _ in range(20)]) as outcomes:
                finished = [each async for each in outcomes]
            assert all(isinstance(each, Finished) for each in finished)
            gc.collect()
            assert_at_rest(session)
            return {"cancelled": cut, "succeeded afterwards": len(replies) + len(finished)}


def fuzz(count: int, seed: int) -> dict[str, Any]:
    """The fuzz tests, so many cases each."""
    environment = {**os.environ, "FUZZ": str(count), "FUZZ_SEED": str(seed)}
    started = time.monotonic()
    modules = [str(Path(__file__).with_name("promises") / name) for name in ("test_fuzz.py", "test_v3_fuzz.py")]
    # A whole session per ten replies would take hours: the pure functions take the full count.
    chosen = [sys.executable, "-m", "pytest", "-q", *modules, "-k", "not whole_sessions"]
    ended = subprocess.run(chosen, env=environment, check=False)
    return {"cases": count, "seconds": round(time.monotonic() - started), "exit code": ended.returncode}


def main() -> int:
    """Run what was asked for, print the report; 0 if every promise held."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--seed", type=int, default=20_261_123)
    options.add_argument("--cancels", type=int, default=10_000)
    options.add_argument("--fuzz", type=int, default=100_000)
    options.add_argument("--http", nargs="*", default=list(ENGINES))
    asked = options.parse_args()
    print(f"seed {asked.seed}")
    good = True
    for http in asked.http:
        if asked.seconds:
            report = asyncio.run(mixed_faults(http, asked.seconds, asked.seed))
            held = not report["lost"] and not report["doubled"] and report["grew MB"] < FLAT_MB
            good &= held
            print(f"{'ok  ' if held else 'FAIL'} {http}, {asked.seconds:.0f} s of mixed faults: {report}", flush=True)
        if asked.cancels:
            print(f"ok   {http}: {asyncio.run(cancels(http, asked.cancels, asked.seed))}", flush=True)
    if asked.fuzz:
        report = fuzz(asked.fuzz, asked.seed)
        good &= report["exit code"] == 0
        print(f"{'ok  ' if report['exit code'] == 0 else 'FAIL'} fuzz: {report}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
