"""smile_async as a contender, on any engine: each scenario is a function, run in a process of its own.

Only public names are used, as a user would: what is measured is what anybody gets.
"""

import asyncio
import gc
import socket
import sys
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from meter import Window, accepting, memory_mb, spec, tell

from smile_async import CallbackReceiver, Consent, Finished, IdInfo, Job, Limits, Pace, Person, SmileSession

#: Seconds: longer than any scenario, so that nobody runs out of patience.
PATIENCE = 3600.0


POLLS = 2
#: Whom a job of V3 is about, and what was agreed to.
ADA = Person("Ada", "Obi", "ada.obi@example.com")
CONSENT = Consent("https://shop.example/privacy")


def session(told: dict[str, Any], limits: Limits, pace: Pace) -> SmileSession:
    v3 = told.get("api") == "v3"
    return SmileSession(
        told["partner_id"],
        told["api_key"],
        base_url=told["base_url_v3" if v3 else "base_url"],
        api=told.get("api", "v1"),
        consent=CONSENT if v3 else None,
        ca_file=told["ca_file"],
        http=told["engine"],
        limits=limits,
        pace=pace,
        ledger=told.get("ledger"),
        callback_url=told.get("callback_url"),
    )


def jobs(told: dict[str, Any], count: int, who: str = "user") -> Iterator[Job]:
    if told.get("lookups"):
        return (Job.enhanced_kyc(f"user-{n}", IdInfo(**told["lookups"])) for n in range(count))
    selfie, *liveness = told["images"]
    person = ADA if told.get("api") == "v3" else None
    return (Job.authenticate(f"{who}-{n}", selfie, liveness=liveness, person=person) for n in range(count))


def verdict_of(outcome: Any) -> Any:
    if not isinstance(outcome, Finished) or not outcome.verdict.approved:
        raise RuntimeError(f"a job went wrong: {outcome}")
    # V3's tells nothing of the server's: all its jobs are decided at the same poll.
    raw = outcome.verdict.raw
    return raw if "Polls" in raw else {"Available": None, "Polls": POLLS}


async def throughput(told: dict[str, Any]) -> dict[str, Any]:
    """A warm-up, then so many jobs, from the first submitted to the last verdict."""
    window = Window(told)
    async with session(told, Limits(), told["pace"]) as open_session:
        for count in (told["warm"], told["jobs"]):
            window.open()
            async with open_session.stream(jobs(told, count), patience=PATIENCE) as outcomes:
                async for outcome in outcomes:
                    window.verdict(verdict_of(outcome))
        return window.close() | {"api": open_session.stats.api_http_version}


async def pending(told: dict[str, Any]) -> dict[str, Any]:
    """Steady state: as many jobs pending as may be, one starts when one ends; measured once the first have ended.

    Jobs that began together are polled together, so a stretch may hold a tenth more of beginnings than of ends. What it
    held is counted in requests: as many jobs as those are worth.
    """
    window = Window(told)
    level = told["pending"]
    seen = 0
    held: list[int] = []
    async with (
        session(told, Limits(pending=level), told["pace"]) as open_session,
        open_session.stream(jobs(told, told["warm"] + told["jobs"] + 2 * level), patience=PATIENCE) as outcomes,
    ):
        async for outcome in outcomes:
            raw = verdict_of(outcome)
            seen += 1
            if seen == told["warm"]:
                before = open_session.stats
                window.open()
                continue
            if seen > told["warm"]:
                window.verdict(raw)
                if window.done % 50 == 0:
                    held.append(open_session.stats.pending)
                if window.done == told["jobs"]:
                    break
        after = open_session.stats
        polls = after.polls - before.polls
        # An /upload, a PUT and the polls.
        window.done = round((2 * (after.submitted - before.submitted) + polls) / (2 + told["polls"]))
        return window.close() | {"pending": sum(held) / len(held), "polls_per_job": polls / window.done}


async def people(told: dict[str, Any]) -> dict[str, Any]:
    """So many a second call `verify`, each a person who waits; *callbacks*: their verdicts are posted to us as well."""
    window = Window(told)
    holder, port = free_port()
    url = f"http://127.0.0.1:{port}/" if told["callbacks"] else None
    whole = session({**told, "callback_url": url}, Limits(), told["pace"])

    async def person(job: Job) -> None:
        window.verdict((await whole.verify(job, patience=PATIENCE)).raw)

    async with whole, receiving(whole, port if url else 0):
        # Other people first: what is learned of them is no knowledge of those who count.
        for count, who in ((told["warm"], "learned"), (told["jobs"], "user")):
            window.open()
            async with asyncio.TaskGroup() as tasks:
                for job in jobs(told, count, who):
                    tasks.create_task(person(job))
                    await asyncio.sleep(1 / told["per_second"])
        holder.close()
        return window.close() | {"api": whole.stats.api_http_version}


@asynccontextmanager
async def receiving(whole: SmileSession, port: int) -> AsyncIterator[None]:
    """A server in our own loop that takes the callbacks of a session; none at port 0."""
    if not port:
        yield
        return
    from granian.constants import Interfaces  # noqa: PLC0415 - of this scenario alone
    from granian.server.embed import Server  # noqa: PLC0415

    server = Server(CallbackReceiver(whole), port=port, interface=Interfaces.ASGINL, log_enabled=False)
    serving = asyncio.create_task(server.serve())
    try:
        await accepting(port)
        yield
    finally:
        server.stop()
        await serving


def free_port() -> tuple[socket.socket, int]:
    """A port nobody else gets while the returned socket lives, for granian shares ports."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(("127.0.0.1", 0))
    return holder, holder.getsockname()[1]


async def memory(told: dict[str, Any]) -> dict[str, Any]:
    """Many jobs with a fixed number pending, read to the end; the figure is the peak."""
    window = Window(told)
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
    """Bytes a pending job takes: what grows between a few and many of them while none is decided.

    The source pauses at each mark until nothing is in flight: otherwise the images of sixteen uploads, ten times the
    difference looked for, would be counted at one mark and not at the other.
    """
    few, many = told["marks"]
    paths = told["images"]
    on = asyncio.Event()
    if told["trace"]:
        tracemalloc.start()

    async def source() -> AsyncIterator[Job]:
        for number in range(many):
            if number == few:
                await on.wait()
            # Paths are made anew for each job, as they would be in a program that walks through directories.
            yield Job.authenticate(f"user-{number}", _anew(paths[0]), liveness=[_anew(path) for path in paths[1:]])

    async with session(told, Limits(), Pace.fixed(PATIENCE, 1, PATIENCE)) as open_session:

        async def settled(mark: int) -> float:
            while open_session.stats.pending < mark or open_session.stats.in_flight:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)
            gc.collect()
            return tracemalloc.get_traced_memory()[0] if told["trace"] else memory_mb("VmRSS") * 2**20

        async with open_session.stream(source(), patience=PATIENCE):
            small = await settled(few)
            on.set()
            large = await settled(many)
    return {"bytes_per_pending": (large - small) / (many - few), "peak_rss_mb": memory_mb("VmHWM")}


def _anew(path: str) -> str:
    return "".join([path[:1], path[1:]])


async def brief(told: dict[str, Any]) -> dict[str, Any]:
    """A burst, and out: what matters is the process's exit code."""
    return await throughput(told | {"warm": 0})


SCENARIOS = {each.__name__: each for each in (throughput, pending, people, memory, slope, brief)}


def main() -> None:
    told = spec()
    told["pace"] = Pace.fixed(*told["pace"]) if told.get("pace") else Pace()
    with tempfile.TemporaryDirectory(prefix="smile-bench-ledger-") as folder:
        if told.get("on_record"):
            told["ledger"] = f"{folder}/ledger"
        measure(told)


def measure(told: dict[str, Any]) -> None:
    if told.get("profile"):
        import cProfile  # noqa: PLC0415 - only for those who asked

        profiler = cProfile.Profile()
        profiler.runcall(partial(asyncio.run, SCENARIOS[told["scenario"]](told)))
        profiler.dump_stats(told["profile"])
        return
    tell(asyncio.run(SCENARIOS[told["scenario"]](told)))


if __name__ == "__main__":
    sys.exit(main())
