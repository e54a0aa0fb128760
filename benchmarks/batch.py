"""What a ledger costs, and what a second worker brings.

Durable intents a second, CPU a job with and without a ledger, time and memory of a large manifest, and the throughput
of two workers against one. Run `python benchmarks/batch.py` (three minutes), with `--full` (1,000,000 rows), or with
the names of some of: manifest intents overhead campaign workers. Prints one line of JSON a figure. CPU is this
process's alone; the sandbox is another one, except where the client is the child.
"""

import asyncio
import io
import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa
from PIL import Image as Picture

from smile_async import Job, SmileSession
from smile_async.batch import Planner, read_manifest
from smile_async.cli.demo import neighbour
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.ledger.schema import jobs as job_rows
from smile_async.sandbox import RunningSandbox, Sandbox

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from postgres import serving

FULL = "--full" in sys.argv
JOBS = 2_000 if FULL else 500
ROWS = 1_000_000 if FULL else 100_000
INTENTS = 50_000 if FULL else 10_000
#: Rows of a campaign that are really sent before it is stopped, and rows that workers share.
SENT = 20_000 if FULL else 1_000
SHARED = 2_400 if FULL else 1_200


def say(what: str, **figures: object) -> None:
    print(json.dumps({"what": what, **figures}), flush=True)


async def intents(folder: Path) -> None:
    """Durable intents a second, with 16 (the default uploads at once) and 256 who wait for each commit."""
    for waiting in (16, 256):
        async with Ledger(folder / f"intents-{waiting}") as ledger:
            number = INTENTS if waiting == 256 else INTENTS // 10
            jobs = iter([Job.authenticate("ada", use_enrolled_image=True) for _ in range(number)])

            async def begin(jobs=jobs, ledger=ledger) -> None:
                for job in jobs:
                    await ledger.begin(job, b"d" * 32)

            began = time.perf_counter()
            await asyncio.gather(*(begin() for _ in range(waiting)))
            say("durable intents", waiting=waiting, per_second=round(number / (time.perf_counter() - began)))


async def overhead(folder: Path) -> None:
    """CPU milliseconds a job of the same stream, without a ledger and with one, best of three each, taking turns."""
    out = io.BytesIO()
    Picture.new("RGB", (320, 400), (200, 150, 120)).save(out, "JPEG")
    frames = []
    for number in range(9):
        frames.append(str(folder / f"{number}.jpg"))
        Path(frames[-1]).write_bytes(out.getvalue())  # noqa: ASYNC240
    spent: dict[bool, list[float]] = {False: [], True: []}
    async with neighbour(0.0) as found:
        for turn in range(6):
            kept = bool(turn % 2)
            ledger = folder / f"overhead-{turn}" if kept else None
            async with SmileSession(
                found["SMILE_PARTNER_ID"],
                found["SMILE_API_KEY"],
                base_url=found["SMILE_BASE_URL"],
                ca_file=found["SMILE_CA_FILE"],
                ledger=ledger,
            ) as session:
                jobs = (Job.register(f"{turn}-{n}", frames[0], liveness=frames[1:]) for n in range(JOBS))
                began = time.process_time()
                async with session.stream(jobs) as outcomes:
                    async for _ in outcomes:
                        pass
                spent[kept].append((time.process_time() - began) / JOBS * 1000)
    without, with_one = min(spent[False]), min(spent[True])
    share = round(100 * (with_one / without - 1), 1)
    say("CPU a job", ms_without=round(without, 3), ms_with=round(with_one, 3), overhead_percent=share)


async def manifest(folder: Path) -> None:
    """Time to the first job, rows planned a second, and peak memory of a large manifest."""
    path = folder / "m.csv"
    with path.open("w") as file:
        file.write("user_id,selfie,liveness\n")
        frames = ";".join(f"/pictures/frame_{n}.jpg" for n in range(8))
        file.writelines(f"user-{n},/pictures/{n}.jpg,{frames}\n" for n in range(ROWS))
    async with Ledger(folder / "manifest") as ledger:
        began = time.perf_counter()
        number = await Batches(ledger).start("m", {})
        planner, rows = Planner(ledger, "m", number), read_manifest(path)
        first = None
        while (work := await planner.next(rows)) is not None:
            first = first or time.perf_counter() - began
            assert len(work.send) == work.rows
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = round(ROWS / seconds)
    say("manifest", rows=ROWS, first_job_s=round(first or 0, 3), rows_per_second=rate, peak_rss_mb=round(peak))


def picture(folder: Path) -> Path:
    Picture.new("RGB", (96, 128), (200, 150, 120)).save(folder / "selfie.jpg")
    return folder / "selfie.jpg"


def registrations(path: Path, selfie: Path, rows: int) -> Path:
    with path.open("w") as file:
        file.write("user_id,selfie,job_type\n")
        file.writelines(f"user-{n},{selfie},4\n" for n in range(rows))
    return path


async def command(running: RunningSandbox, *arguments: object) -> asyncio.subprocess.Process:
    about = {"SMILE_PARTNER_ID": running.partner_id, "SMILE_API_KEY": running.api_key}
    about |= {"SMILE_BASE_URL": running.base_url, "SMILE_CA_FILE": str(running.ca_file)}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "smile_async.cli", *map(str, arguments)),
        env={**os.environ, **about},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/status").read_text().splitlines()


async def campaign(folder: Path) -> None:
    """`batch run` on a large manifest with instant verdicts: time to the first job, memory while it goes on."""
    path = registrations(folder / "campaign.csv", picture(folder), ROWS)
    async with Sandbox.serve(console=False, decode=False) as running:
        began = time.perf_counter()
        child = await command(running, "batch", "run", path, "--ledger", folder / "campaign")
        while not running.sandbox.jobs:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        first, memory = time.perf_counter() - began, []
        for quarter in (1, 2, 3, 4):
            while len(running.sandbox.jobs) < SENT * quarter / 4:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            memory.append(round(resident_mb(child.pid)))
        seconds = time.perf_counter() - began
        (peak,) = (line.split()[1] for line in _status(child.pid) if line.startswith("VmHWM"))
        child.send_signal(signal.SIGINT)
        await child.wait()
    facts = {"first_job_s": round(first, 2), "jobs_per_second": round(SENT / seconds)}
    rss = {"rss_mb_each_quarter": memory, "peak_rss_mb": round(int(peak) * 1024 / 1e6)}
    say("campaign", rows=ROWS, sent=SENT, **facts, **rss)


async def workers(folder: Path) -> None:
    """Two workers against one: 20 uploads each, half a second an upload, rows in chunks of 40."""
    path = registrations(folder / "shared.csv", picture(folder), SHARED)
    home = Path(tempfile.mkdtemp(prefix="smile-bench-pg-"))
    home.chmod(0o755)  # noqa: ASYNC240
    rates = []
    with serving(home) as server:
        for number in (1, 2):
            url = server.database(f"workers_{number}")
            async with Sandbox.serve(console=False, decode=False) as running:
                running.sandbox.fault("put", delay=0.5, times=None)
                await (await command(running, "batch", "run", path, "--ledger", url, "--enqueue", "--chunk", 40)).wait()
                crew = [
                    await command(running, "worker", "--ledger", url, "--until-empty", "--uploads", 20)
                    for _ in range(number)
                ]
                for each in crew:
                    await each.wait()
            async with Ledger(url) as ledger, ledger.reading() as connection:
                span = sa.func.max(job_rows.c.final_at) - sa.func.min(job_rows.c.sent_at)
                rates.append(SHARED / (await connection.execute(sa.select(span))).scalar_one())
    figures = {"jobs_per_second_one": round(rates[0], 1), "jobs_per_second_two": round(rates[1], 1)}
    say("workers", rows=SHARED, **figures, times_one=round(rates[1] / rates[0], 2))


async def main() -> None:
    wanted = [name for name in sys.argv[1:] if not name.startswith("-")]
    with tempfile.TemporaryDirectory(prefix="smile-bench-") as name:
        for part in (manifest, intents, overhead, campaign, workers):
            if not wanted or part.__name__ in wanted:
                await part(Path(name))


asyncio.run(main())
