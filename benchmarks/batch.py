"""What a ledger costs: durable intents a second, CPU a job with and without it, and a large manifest's memory.

Run `python benchmarks/batch.py` (a minute) or with `--full` (1,000,000 rows). Prints one line of JSON a figure. The
sandbox is a process of its own; CPU is this process's alone.
"""

import asyncio
import io
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image as Picture

from smile_async import Job, SmileSession
from smile_async.batch import Planner, read_manifest
from smile_async.cli.demo import neighbour
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches

FULL = "--full" in sys.argv
JOBS = 2_000 if FULL else 500
ROWS = 1_000_000 if FULL else 100_000
INTENTS = 50_000 if FULL else 10_000


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


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="smile-bench-") as name:
        folder = Path(name)
        await manifest(folder)
        await intents(folder)
        await overhead(folder)


asyncio.run(main())
