"""`smile-async demo`: some hundred people registered and authenticated against a sandbox in a process of its own.

The sandbox is a child process, so that what is measured is the client and not a server that shares its core. A job of
the second pass is sent only after its user is on file: authenticating somebody unknown is refused.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from json import loads
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from smile_async.cli.output import ExitCode, aside, facts, people, plain, redrawn
from smile_async.cli.streams import print_document
from smile_async.errors import Unavailable
from smile_async.jobs.job import Job
from smile_async.session import SmileSession
from smile_async.traffic.outcomes import Failed, Finished

__all__ = ["Report", "demo", "neighbour"]

#: Seconds a sandbox may take to open its ports on a slow machine.
START_SECONDS = 60.0
#: Seconds it may take to close them again; then it is killed.
STOP_SECONDS = 5.0


@dataclass
class Report:
    """What the demo did; `seconds` count from the first job to the last verdict."""

    jobs: int = 0
    finished: int = 0
    failed: int = 0
    decisions: dict[str, int] = field(default_factory=dict)
    api_http_version: str = ""
    storage_http_version: str = ""
    jobs_per_second: float = 0.0
    polls_per_job: float = 0.0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)

    def note(self, outcome: Finished | Failed) -> None:
        """Count one outcome."""
        self.jobs += 1
        if isinstance(outcome, Failed):
            self.failed += 1
            self.errors.append(f"{type(outcome.error).__name__}: {outcome.error}")
            return
        self.finished += 1
        said = str(outcome.verdict.decision)
        self.decisions[said] = self.decisions.get(said, 0) + 1


@contextlib.asynccontextmanager
async def neighbour(latency: float, state: Path | None = None, *more: str) -> AsyncIterator[dict[str, str]]:
    """A sandbox in a child process, and the SMILE_* variables that lead to it; gone when the block is left.

    *state*: where it remembers its jobs; *more*: further options of `smile-async sandbox`.
    """
    ports = ("--port", "0", "--storage-port", "0")
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "smile_async", "sandbox", *ports, "--latency", str(latency)),
        *("--json", "--until-eof"),
        *(*([] if state is None else ["--state", str(state)]), *more),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Ctrl-C is for us: the sandbox must outlive the last request.
        start_new_session=True,
    )
    try:
        with anyio.fail_after(START_SECONDS):
            exports = await _exports(child)
        yield exports
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), STOP_SECONDS)
        except TimeoutError:
            child.kill()
            await child.wait()


async def _exports(child: asyncio.subprocess.Process) -> dict[str, str]:
    assert child.stdout is not None  # noqa: S101 - it was asked for
    line = await child.stdout.readline()
    if not line:
        raise Unavailable("the sandbox did not start: see what it said above")
    found: dict[str, str] = loads(line)
    return found


async def perform(users: int, latency: float, http: str, progress: Progress) -> Report:
    """Register *users* people and then authenticate them, nine pictures each, through one session."""
    # Needs another extra than the other commands.
    from smile_async.cli.pictures import portraits_of, write_pool  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="smile-demo-") as folder:
        starting = progress.add_task("starting a sandbox, drawing portraits", total=None)
        async with neighbour(latency) as found:
            pool = await asyncio.to_thread(write_pool, Path(folder))
            files = {f"user-{n}": [str(f) for f in portraits_of(n, pool, Path(folder))] for n in range(users)}
            progress.update(starting, total=1, completed=1, visible=False)
            async with SmileSession(
                found["SMILE_PARTNER_ID"],
                found["SMILE_API_KEY"],
                base_url=found["SMILE_BASE_URL"],
                ca_file=found["SMILE_CA_FILE"],
                http=http,
            ) as session:
                return await _two_passes(session, files, progress)


async def _two_passes(session: SmileSession, files: dict[str, list[str]], progress: Progress) -> Report:
    report = Report()
    began = time.perf_counter()
    for what, make in (("register", Job.register), ("authenticate", Job.authenticate)):
        shown = progress.add_task(what, total=len(files))
        jobs = (make(user, face, liveness=frames) for user, (face, *frames) in files.items())
        async with session.stream(jobs) as outcomes:
            async for outcome in outcomes:
                report.note(outcome)
                progress.advance(shown)
    report.seconds = time.perf_counter() - began
    report.jobs_per_second = report.jobs / report.seconds
    report.polls_per_job = session.stats.polls / report.jobs
    report.api_http_version = session.stats.api_http_version
    report.storage_http_version = session.stats.storage_http_version
    return report


def demo(
    users: Annotated[int, typer.Option(help="People to register and then authenticate, 9 images each.", min=1)] = 200,
    latency: Annotated[float, typer.Option(help="Seconds the sandbox takes to decide a job.", min=0.0)] = 0.0,
    http: Annotated[str, typer.Option(help="Engine: httpx, httpx2 or pyreqwest.")] = "httpx",
    json: Annotated[bool, typer.Option("--json", help="One line of JSON on standard output.")] = False,
) -> int:
    """See it work: 200 made-up people, a sandbox.

    They are registered and then authenticated, against a sandbox on this machine.
    """
    what, how_far = TextColumn("{task.description}"), MofNCompleteColumn()
    columns = (SpinnerColumn(), what, BarColumn(), how_far, TimeElapsedColumn())
    console = redrawn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        report = asyncio.run(perform(users, latency, http, progress))
    if json:
        print_document({**asdict(report), "errors": report.errors[:5]})
    else:
        _show(report)
    return ExitCode.ERROR if report.failed else ExitCode.DONE


def _show(report: Report) -> None:
    found = [
        ("jobs", f"{report.jobs} in {report.seconds:.1f} s"),
        ("finished, failed", f"{report.finished}, {report.failed}"),
        *sorted(report.decisions.items()),
        ("jobs per second", f"{report.jobs_per_second:.1f}"),
        ("polls per job", f"{report.polls_per_job:.2f}"),
        ("API", report.api_http_version),
        ("storage", report.storage_http_version),
    ]
    people().print(facts(found))
    for error in report.errors[:5]:
        aside().print(f"[red]failed[/red] {plain(error)}")
