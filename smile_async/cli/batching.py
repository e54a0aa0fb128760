"""What the batch commands do once they are understood: the ledger opened, the run driven, its progress shown."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from smile_async.batch import Planner, Run, Tally, read_manifest, render
from smile_async.cli.output import ExitCode, aside, paint, people
from smile_async.codes import Decision
from smile_async.errors import SmileError
from smile_async.ledger import Ledger, State
from smile_async.ledger.batches import Batches
from smile_async.session import SmileSession
from smile_async.settings import Limits

__all__ = ["Standing", "drive", "forget", "show_end", "show_standing", "standing"]

#: Jobs that wait for a verdict in one process: each keeps its paths in memory, about 2 kB.
PENDING = 20_000
#: Problems that are shown; all of them are in the ledger.
SHOWN = 20


@dataclass
class Standing:
    """How far a batch is."""

    name: str
    states: dict[str, int]
    decisions: dict[str, int]
    problems: list[tuple[int, str]] = field(default_factory=list)
    #: Earlier rows that the manifest does not hold any more.
    gone: int = 0
    #: Why the run ended before its rows did.
    trouble: SmileError | None = None
    unread: bool = False

    @property
    def rows(self) -> int:
        """All rows on record."""
        return sum(self.states.values())

    @property
    def failed(self) -> int:
        """Rows that can not go on by themselves."""
        return self.states.get(State.FAILED, 0)

    @property
    def pending(self) -> int:
        """Rows without a last word."""
        return self.rows - self.failed - self.states.get(State.FINAL, 0)

    @property
    def exit_code(self) -> ExitCode:
        """What the shell is told."""
        if self.problems:
            return ExitCode.BAD_INPUT
        if self.failed or self.trouble is not None:
            return ExitCode.ERROR
        return ExitCode.PENDING if self.pending or self.unread else ExitCode.DONE

    def document(self) -> dict[str, Any]:
        """As a machine reads it."""
        return {
            "batch": self.name,
            "rows": self.rows,
            "done": self.states.get(State.FINAL, 0),
            "pending": self.pending,
            "failed": self.failed,
            "states": self.states,
            "decisions": self.decisions,
            "problems": [{"line": line, "why": why} for line, why in self.problems],
            "gone": self.gone,
            "read_whole": not self.unread,
            "trouble": None if self.trouble is None else str(self.trouble),
        }


async def standing(where: str, name: str | None) -> Standing:
    """How far a batch is, while somebody else may be writing."""
    async with Ledger(where, read_only=True) as ledger:
        batches = Batches(ledger)
        name = await batches.only(name)
        return Standing(name, await batches.counts(name), await batches.decisions(name))


async def forget(where: str, *, user_id: str | None = None, before: float = 0.0) -> int:
    """Erase one person, or what ended before a moment."""
    async with Ledger(where) as ledger:
        batches = Batches(ledger)
        return await (batches.purge(before) if user_id is None else batches.erase(user_id))


async def drive(
    where: str, name: str | None, told: dict[str, Any] | None, given: dict[str, Any], retry: str
) -> Standing:
    """One run of a batch, told anew or (*told* None) as the last time."""
    if told is None:
        # Opening for writing would make one where there is none.
        Ledger(where, read_only=True).place.take()
    async with Ledger(where) as ledger:
        batches = Batches(ledger)
        if told is None:
            name = await batches.only(name)
            told = await batches.options(name)
        elif name is None:
            names = await batches.names()
            name = Path(told["manifest"]).stem if not names else await batches.only(None)
        number = await batches.start(name, told)
        limits = Limits(jobs_per_second=told["rate"], pending=PENDING)
        async with SmileSession.from_env(ledger=ledger, limits=limits, **given) as session:
            run = Run(
                session,
                ledger,
                Planner(ledger, name, number, retry),
                until=told["until"],
                patience=told["patience"],
                drain=told["drain"],
            )
            with _interruptible(run), _shown(run):
                await run.go(read_manifest(Path(told["manifest"]), told["job_type"]))
        return await _end(ledger, run, name, number, told["out"])


async def _end(ledger: Ledger, run: Run, name: str, number: int, out: str | None) -> Standing:
    batches = Batches(ledger)
    end = Standing(name, {}, {}, trouble=run.trouble, unread=not run.tally.whole)
    try:
        await ledger.flush()
        if run.tally.whole:
            end.gone = await batches.read_whole(name, number)
        end.states, end.decisions = await batches.counts(name), await batches.decisions(name)
        end.problems = await batches.problems(name, number)
        if out is not None:
            await render(batches, name, Path(out))
    except (SmileError, OSError) as error:
        if run.trouble is None:
            raise
        # The disk that stopped the run is still full: what is on it is enough to go on from.
        aside().print(f"[red]{type(error).__name__}[/red]: {escape(str(error))}")
    return end


@contextmanager
def _interruptible(run: Run) -> Iterator[None]:
    """Ctrl-C once: no more rows, and a while for those under way. Twice: out at once; the ledger knows the rest."""
    if threading.current_thread() is not threading.main_thread():
        # Signals belong to the main thread, and so to whoever called us from there.
        yield
        return
    loop = asyncio.get_running_loop()

    def asked_to_stop() -> None:
        if run.stopping:
            os._exit(ExitCode.PENDING)
        aside().print("stopping: jobs under way get a moment; once more to leave at once, both can be resumed")
        run.stop()

    for which in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(which, asked_to_stop)
    try:
        yield
    finally:
        for which in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(which)


@contextmanager
def _shown(run: Run) -> Iterator[None]:
    """Progress on standard error, refreshed a few times a second and not with each of a million rows."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=aside(), transient=True, refresh_per_second=4) as progress:
        shown = progress.add_task("batch", total=None, rate="", said="")
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def refresh() -> None:
            while True:
                progress.update(shown, **_figures(run.tally, loop.time() - began))
                await asyncio.sleep(0.25)

        showing = asyncio.create_task(refresh())
        try:
            yield
        finally:
            showing.cancel()


def _figures(tally: Tally, seconds: float) -> dict[str, Any]:
    said = "  ".join(f"{decision} {count:,}" for decision, count in sorted(tally.decisions.items()))
    return {
        "total": tally.rows,
        "completed": tally.rows - tally.pending,
        "description": "batch" if tally.whole else "batch (still reading)",
        "rate": f"{tally.fresh / seconds:.1f}/s" if seconds > 0 else "",
        "said": f"{said}  pending {tally.pending:,}  failed {tally.failed:,}",
    }


def show_end(end: Standing) -> None:
    """What a run came to, on standard error: standard output is for machines."""
    for line, why in end.problems[:SHOWN]:
        aside().print(f"[red]line {line}[/red]: {escape(why)}")
    if len(end.problems) > SHOWN:
        aside().print(f"… and {len(end.problems) - SHOWN:,} more lines with a problem")
    if end.gone:
        aside().print(f"[yellow]the manifest has shrunk[/yellow]: {end.gone:,} earlier rows are not in it any more")
    if end.trouble is not None:
        aside().print(f"[red]stopped[/red]: {type(end.trouble).__name__}: {escape(str(end.trouble))}")
    aside().print(_table(end))
    if end.pending or end.failed or end.unread:
        aside().print("[dim]go on with: smile-async batch resume (or retry-failed) --ledger …[/dim]")


def show_standing(found: Standing) -> None:
    """How far a batch is, on standard output."""
    people().print(_table(found))


def _table(found: Standing) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_row("batch", escape(found.name))
    facts.add_row("rows", f"{found.rows:,}")
    for word in ("done", "pending", "failed"):
        facts.add_row(word, f"{found.document()[word]:,}")
    for decision, count in sorted(found.decisions.items()):
        facts.add_row(paint(Decision(decision)), f"{count:,}")
    return facts
